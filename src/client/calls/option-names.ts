// Options and messages are written in JavaScript as well as in TypeScript, where a name that is
// written wrong would be left out without a word.
import { didYouMean } from '../../did-you-mean.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'

/**
 * Makes no list of the names: every message is looked at.
 *
 * @param what 'option of connect'
 * @throws BrokerError for a name that is none of the known ones
 */
export function checkNames<T extends object>(
  what: string,
  given: T,
  known: Readonly<Record<keyof T, true>>,
  code: ErrorCode = 'ARGUMENT_INVALID',
): void {
  for (const name in given) {
    if (Object.hasOwn(known, name) || !Object.hasOwn(given, name)) continue
    const names = Object.keys(known)
    throw new BrokerError(
      code,
      `'${name}' is no ${what}${didYouMean(name, names)}; it has ${names.join(', ')}`,
    )
  }
}
