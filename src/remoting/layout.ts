// Layouts of header fields: a request family declares its fields once, with their types, and both
// sides read and write through the declaration. On the wire every value is a string.
import type { Fields } from './header/header.ts'
import { invalidRequest } from './protocol-error.ts'

export interface Field<T> {
  parse(text: string, name: string): T
  print(value: T): string
  readonly isOptional: boolean
  /** Name on the wire where it differs from the layout's (the letters of SEND_MESSAGE_V2). */
  readonly wireName?: string
}

type OptionalField<T> = Field<T> & { readonly isOptional: true }
// biome-ignore lint/suspicious/noExplicitAny: a layout holds fields of every type, and `unknown` is not assignable both ways.
export type Layout = { readonly [name: string]: Field<any> }

type ValueOf<F> = F extends Field<infer T> ? T : never
type OptionalNames<L extends Layout> = {
  [K in keyof L]: L[K] extends OptionalField<unknown> ? K : never
}[keyof L]

/** The typed values of a layout. */
export type Values<L extends Layout> = {
  readonly [K in Exclude<keyof L, OptionalNames<L>>]: ValueOf<L[K]>
} & { readonly [K in OptionalNames<L>]?: ValueOf<L[K]> | undefined }

const INTEGER = /^-?\d{1,19}$/

export const text: Field<string> = {
  parse: (value) => value,
  print: (value) => value,
  isOptional: false,
}

/** 32 bits, signed. */
export const int: Field<number> = {
  parse(value, name) {
    const number = Number(value)
    if (!INTEGER.test(value) || (number | 0) !== number) {
      throw invalidRequest(
        `the field '${name}' is '${value.slice(0, 40)}'; a 32-bit integer is due`,
      )
    }
    return number
  },
  print: String,
  isOptional: false,
}

const LONG_END = 2 ** 63
const LONG_MAX = 2n ** 63n - 1n
const LONG_MIN = -(2n ** 63n)

/** 64 bits on the wire; beyond 2^53 rounded, which only open ends of time ranges use. */
export const long: Field<number> = {
  parse(value, name) {
    if (!INTEGER.test(value)) {
      throw invalidRequest(`the field '${name}' is '${value.slice(0, 40)}'; an integer is due`)
    }
    return Number(value)
  },
  // The digits of a rounded extreme are more than a Java client reads.
  print: (value) =>
    Math.abs(value) < LONG_END ? String(value) : String(value > 0 ? LONG_MAX : LONG_MIN),
  isOptional: false,
}

/** RocketMQ's client for C++, and those for Python over it, write 0 and 1. */
export const bool: Field<boolean> = {
  parse: (value) => value === '1' || value.toLowerCase() === 'true',
  print: String,
  isOptional: false,
}

export const optional = <T>(field: Field<T>): OptionalField<T> => ({ ...field, isOptional: true })

export const named = <F extends Field<unknown>>(wireName: string, field: F): F => ({
  ...field,
  wireName,
})

export const layout = <L extends Layout>(fields: L): L => fields

/** @throws BrokerError ARGUMENT_INVALID for a missing or malformed field */
export function readFields<L extends Layout>(shape: L, fields: Fields): Values<L> {
  const values: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(shape)) {
    const value = fields.get(field.wireName ?? name)
    // The binary codec cannot tell an empty value from an absent one.
    if (value === undefined || (value === '' && field.parse !== text.parse)) {
      if (field.isOptional) continue
      throw invalidRequest(`the request lacks the field '${field.wireName ?? name}'`)
    }
    values[name] = field.parse(value, field.wireName ?? name)
  }
  return values as Values<L>
}

export function writeFields<L extends Layout>(shape: L, values: Values<L>): Map<string, string> {
  const fields = new Map<string, string>()
  for (const [name, field] of Object.entries(shape)) {
    const value = (values as Record<string, unknown>)[name]
    if (value !== undefined) fields.set(field.wireName ?? name, field.print(value))
  }
  return fields
}
