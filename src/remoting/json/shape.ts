// Shapes of JSON bodies: the members of an object are declared once, with their types, and both
// sides read and write through the declaration, as layout.ts does with header fields. Members are
// written in the order of their names, as fastjson does: some readers of object keys rely on it.
import type { Json } from './json.ts'
import { type JsonOut, jsonBody } from './json-emitter.ts'
import { asObject, flagOf, numberOf, parseObject, textOf } from './json-members.ts'

export interface Shape<T> {
  of(value: Json | undefined): T
  out(value: T): JsonOut
  /** Name on the wire where it differs from the member's. */
  readonly wireName?: string
}

export interface ObjectShape<T> extends Shape<T> {
  out(value: T): { readonly [member: string]: JsonOut }
}

// biome-ignore lint/suspicious/noExplicitAny: an object holds members of every type, and `unknown` is not assignable both ways.
type Members = { readonly [name: string]: Shape<any> }
/** The values that a shape reads and writes. */
export type Shaped<S> = S extends Shape<infer T> ? T : never

/** A missing member takes the default. */
export const stringOr = (absent: string): Shape<string> => ({
  of: (value) => textOf(value) || absent,
  out: (value) => value,
})
const numberOr = (absent: number): Shape<number> => ({
  of: (value) => numberOf(value, absent),
  out: (value) => value,
})
const booleanOr = (absent: boolean): Shape<boolean> => ({
  of: (value) => flagOf(value, absent),
  out: (value) => value,
})
export const string = stringOr('')
export const number = numberOr(0)
export const boolean = booleanOr(false)

export const list = <T>(item: Shape<T>): Shape<readonly T[]> => ({
  of: (value) => (Array.isArray(value) ? value.map((one) => item.of(one)) : []),
  out: (values) => values.map((value) => item.out(value)),
})

/** A map in which each value stands under a name of its own, as `nameOf` says. */
export const table = <T>(item: Shape<T>, nameOf: (value: T) => string): Shape<readonly T[]> => ({
  of: (value) =>
    [...asObject(value)].flatMap(([name, one]) => (typeof name === 'string' ? [item.of(one)] : [])),
  out: (values) => new Map(values.map((value) => [nameOf(value), item.out(value)])),
})

export const wire = <T>(wireName: string, shape: Shape<T>): Shape<T> => ({ ...shape, wireName })

/** `fixed`: members that are written, and not read. */
export function object<M extends Members>(
  members: M,
  fixed: { readonly [name: string]: JsonOut } = {},
): ObjectShape<{ readonly [K in keyof M]: Shaped<M[K]> }> {
  type Values = { readonly [K in keyof M]: Shaped<M[K]> }
  const read = Object.entries(members)
  const written = [
    ...read.map(([name, shape]) => {
      return [shape.wireName ?? name, (values: Values) => shape.out(values[name])] as const
    }),
    ...Object.entries(fixed).map(([name, value]) => [name, () => value] as const),
  ].toSorted(([a], [b]) => (a < b ? -1 : 1))
  return {
    of(value) {
      const map = asObject(value)
      const values = read.map(([name, shape]) => [name, shape.of(map.get(shape.wireName ?? name))])
      return Object.fromEntries(values)
    },
    out: (values) => Object.fromEntries(written.map(([name, out]) => [name, out(values)])),
  }
}

/** An object with one member: its value. */
export const only = <T>(name: string, shape: Shape<T>): Shape<T> => ({
  of: (value) => shape.of(asObject(value).get(name)),
  out: (value) => ({ [name]: shape.out(value) }),
})

/** Throws BrokerError ARGUMENT_INVALID when the body is no object. */
export const decoder =
  <T>(shape: Shape<T>) =>
  (body: Buffer): T =>
    shape.of(parseObject(body))

export const encoder =
  <T>(shape: Shape<T>) =>
  (value: T): Buffer =>
    jsonBody(shape.out(value))
