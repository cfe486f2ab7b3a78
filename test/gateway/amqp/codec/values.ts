// Arbitrary AMQP values as bytes, made by an encoder that is not ours: rhea's writer.
import { createRequire } from 'node:module'
import fc from 'fast-check'

interface Typed {
  readonly value: unknown
}

interface Writer {
  write(value: Typed): void
  toBuffer(): Buffer
}

type Wrap = (value: unknown) => Typed

export interface RheaTypes {
  readonly Writer: new () => Writer
  described(descriptor: Typed, value: Typed): Typed
  wrap_array(values: unknown[], typecode: number): Typed
  readonly wrap_boolean: Wrap
  readonly wrap_ubyte: Wrap
  readonly wrap_ushort: Wrap
  readonly wrap_uint: Wrap
  readonly wrap_ulong: Wrap
  readonly wrap_byte: Wrap
  readonly wrap_short: Wrap
  readonly wrap_int: Wrap
  readonly wrap_long: Wrap
  readonly wrap_float: Wrap
  readonly wrap_double: Wrap
  readonly wrap_timestamp: Wrap
  readonly wrap_char: Wrap
  readonly wrap_uuid: Wrap
  readonly wrap_binary: Wrap
  readonly wrap_string: Wrap
  readonly wrap_symbol: Wrap
  readonly wrap: Wrap
  readonly List32: Wrap
  readonly List8: Wrap
  readonly Map32: Wrap
}

const require = createRequire(import.meta.url)
export const rheaTypes = require('rhea/lib/types.js') as RheaTypes

export function encoded(value: Typed): Buffer {
  const writer = new rheaTypes.Writer()
  writer.write(value)
  return Buffer.from(writer.toBuffer())
}

const t = rheaTypes
const U32_MAX = 0xffff_ffff
const anyText = fc
  .string({ unit: 'binary', maxLength: 300 })
  .map((text) => Buffer.from(text).toString())

export const scalar: fc.Arbitrary<Typed> = fc.oneof(
  fc.constant(t.wrap(null)),
  fc.boolean().map(t.wrap_boolean),
  fc.nat(255).map(t.wrap_ubyte),
  fc.nat(65_535).map(t.wrap_ushort),
  fc.nat(U32_MAX).map(t.wrap_uint),
  fc.maxSafeNat().map(t.wrap_ulong),
  fc.integer({ min: -128, max: 127 }).map(t.wrap_byte),
  fc.integer({ min: -32_768, max: 32_767 }).map(t.wrap_short),
  fc.integer().map(t.wrap_int),
  fc.maxSafeInteger().map(t.wrap_long),
  fc.float().map(t.wrap_float),
  fc.double().map(t.wrap_double),
  fc.nat(4_102_444_800_000).map(t.wrap_timestamp),
  fc.nat(0x10ffff).map(t.wrap_char),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => t.wrap_uuid(Buffer.from(b))),
  fc.uint8Array({ maxLength: 300 }).map((b) => t.wrap_binary(Buffer.from(b))),
  anyText.map(t.wrap_string),
  fc.string({ maxLength: 300 }).map(t.wrap_symbol),
)

export const anyValue: fc.Arbitrary<Typed> = fc.letrec<{ value: Typed }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 6 }).map(t.List32),
    fc.array(fc.nat(100).map(t.wrap_uint), { maxLength: 6 }).map(t.List8),
    fc
      .array(fc.tuple(fc.string().map(t.wrap_symbol), tie('value')), { maxLength: 5 })
      .map((pairs) => t.Map32(pairs.flat())),
    fc.array(fc.nat(U32_MAX), { maxLength: 20 }).map((list) => t.wrap_array(list, 0x70)),
    fc.array(fc.string(), { maxLength: 20 }).map((list) => t.wrap_array(list, 0xb3)),
    fc.tuple(fc.nat(255), tie('value')).map(([code, value]) => described(code, value)),
  ),
})).value

/** rhea marks the value itself, so a shared one must not be marked twice. */
function described(code: number, value: Typed): Typed {
  return t.described(t.wrap_ulong(code), Object.assign(Object.create(value), value) as Typed)
}
