// Options and messages are written in JavaScript as well as in TypeScript, where a name that is
// written wrong would be left out without a word, and a value of another kind would be a TypeError
// from somewhere within.
import { didYouMean } from '../../did-you-mean.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'

/** What a value has to be, and how a person is told so. */
export interface Kind {
  readonly due: string
  readonly is: (value: unknown) => boolean
}

const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && !Number.isNaN(value)

export const KIND = {
  text: { due: 'a string', is: (value) => typeof value === 'string' },
  texts: {
    due: 'a list of strings',
    is: (value) => Array.isArray(value) && value.every((one) => typeof one === 'string'),
  },
  flag: { due: 'true or false', is: (value) => typeof value === 'boolean' },
  number: { due: 'a number', is: (value) => typeof value === 'number' },
  count: {
    due: 'a whole number from 0 on',
    is: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  },
  ms: {
    due: 'a number of milliseconds from 0 on',
    is: (value) => Number.isFinite(value) && (value as number) >= 0,
  },
  /** That may be endless, or over already. */
  wait: { due: 'a number of milliseconds', is: isNumber },
  signal: { due: 'an AbortSignal', is: (value) => value instanceof AbortSignal },
  work: { due: 'a function', is: (value) => typeof value === 'function' },
  list: { due: 'a list', is: Array.isArray },
  object: { due: 'an object', is: (value) => typeof value === 'object' && value !== null },
} as const satisfies Readonly<Record<string, Kind>>

/** `true`: whatever uses it looks at it. */
export type Known<T> = Readonly<Record<keyof T, Kind | true>>

/**
 * Makes no list of the names: every message is looked at.
 *
 * @param what 'option of connect'
 * @throws BrokerError for a name that is none of the known ones, or a value of another kind
 */
export function checkNames<T extends object>(
  what: string,
  given: T,
  known: Known<T>,
  code: ErrorCode = 'ARGUMENT_INVALID',
): void {
  checkKind(`what has each ${what}`, given, KIND.object, code)
  for (const name in given) {
    if (!Object.hasOwn(given, name)) continue
    if (Object.hasOwn(known, name)) {
      const kind = known[name]
      const value = given[name]
      if (kind !== true && value !== undefined) checkKind(name, value, kind, code)
      continue
    }
    const names = Object.keys(known)
    throw new BrokerError(
      code,
      `'${name}' is no ${what}${didYouMean(name, names)}; it has ${names.join(', ')}`,
    )
  }
}

/** @throws BrokerError */
export function checkKind(
  name: string,
  value: unknown,
  { due, is }: Kind,
  code: ErrorCode = 'ARGUMENT_INVALID',
): void {
  if (!is(value)) throw new BrokerError(code, `'${name}' is ${shown(value)}; ${due} is due`)
}

const SHOWN_CHARS = 40

/** Any value, also one without a text of its own. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, SHOWN_CHARS))
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`
  return String(value)
}
