import test from 'ava'
import fc from 'fast-check'
import {
  AmqpSymbol,
  Described,
  Timestamp,
  Uuid,
  ValueReader,
} from '../../../src/gateway/amqp/codec/value-reader.ts'
import { skipValue } from '../../../src/gateway/amqp/codec/value-size.ts'
import { AmqpError } from '../../../src/gateway/amqp/errors.ts'
import { anyValue, encoded, rheaTypes as types } from './values.ts'

const read = (bytes: Buffer) => new ValueReader(bytes).read()
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** undefined when it was refused; anything but the protocol error fails the test. */
function attempt(bytes: Buffer, work: (bytes: Buffer) => unknown): unknown {
  try {
    return work(bytes)
  } catch (error) {
    if (!(error instanceof AmqpError)) throw error
    return undefined
  }
}

test('every type that another encoder writes is read back', (t) => {
  const id = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
  const cases: [{ value: unknown }, unknown][] = [
    [types.wrap(null), null],
    [types.wrap_boolean(true), true],
    [types.wrap_uint(0), 0],
    [types.wrap_uint(4_000_000_000), 4_000_000_000],
    [types.wrap_ulong(2 ** 40), 2 ** 40],
    [types.wrap_long(-(2 ** 40)), -(2 ** 40)],
    [types.wrap_byte(-1), -1],
    [types.wrap_short(-2), -2],
    [types.wrap_int(-300), -300],
    [types.wrap_double(0.5), 0.5],
    [types.wrap_char(0x1f600), '😀'],
    [types.wrap_string('ä'.repeat(200)), 'ä'.repeat(200)],
    [types.wrap_symbol('amqp:x'), new AmqpSymbol('amqp:x')],
    [types.wrap_timestamp(1_700_000_000_000), new Timestamp(1_700_000_000_000)],
    [types.wrap_uuid(id), new Uuid('00112233-4455-6677-8899-aabbccddeeff')],
    [types.wrap_binary(id), id],
    [types.wrap([1, 'a', [true]]), [1, 'a', [true]]],
    [types.wrap_array([1, 2, 3], 0x70), [1, 2, 3]],
  ]
  for (const [value, expected] of cases) t.deepEqual(read(encoded(value)), expected)
})

test('integers beyond 2^53 keep every digit', (t) => {
  t.is(read(hex('80 ffffffffffffffff')), 0xffff_ffff_ffff_ffffn)
  t.is(read(hex('81 8000000000000000')), -0x8000_0000_0000_0000n)
})

test('a map is a Map, so that no key reaches a prototype', (t) => {
  const value = types.Map32([types.wrap_symbol('__proto__'), types.wrap_string('x')])
  const map = read(encoded(value))
  t.true(map instanceof Map)
  t.deepEqual([...(map as Map<unknown, unknown>)], [['__proto__', 'x']])
  t.is((Object.prototype as { x?: string }).x, undefined)
})

test('an array of more nulls than our limit is refused before any is made', (t) => {
  const error = t.throws(() => read(hex('f0 00000005 00001001 40')), { instanceOf: AmqpError })
  t.is(error?.condition, 'amqp:decode-error')
})

test('elements without bytes are counted over the whole value', (t) => {
  const one = hex('f0 00000005 00000600 43')
  const three = Buffer.concat([hex('d0 00000022 00000003'), one, one, one])
  t.throws(() => read(three), { instanceOf: AmqpError, message: /4096/ })
})

test('more elements than bytes are refused', (t) => {
  t.throws(() => read(hex('d0 00000006 ffffffff 4040')), { instanceOf: AmqpError })
  t.throws(() => read(hex('f0 00000009 40000000 70 00000001')), { instanceOf: AmqpError })
})

test('nesting ends at its limit, in lists and in descriptors', (t) => {
  let list = hex('45')
  for (let depth = 0; depth < 20_000; depth++) {
    if (list.length < 200)
      list = Buffer.concat([hex(`c0 ${(list.length + 1).toString(16).padStart(2, '0')} 01`), list])
  }
  t.throws(() => read(list), { instanceOf: AmqpError, message: /nest/ })
  t.throws(() => read(Buffer.alloc(60_000)), { instanceOf: AmqpError, message: /nest/ })
  t.throws(() => skipValue(Buffer.alloc(60_000), 0, 60_000), { instanceOf: AmqpError })
})

test('text that is not UTF-8 is refused', (t) => {
  t.throws(() => read(hex('a1 02 c328')), { instanceOf: AmqpError, message: /UTF-8/ })
})

test('any value of another encoder is read to its last byte, and its size is known without reading', (t) => {
  fc.assert(
    fc.property(anyValue, (value) => {
      const bytes = encoded(value)
      const reader = new ValueReader(bytes)
      reader.read()
      return reader.at === bytes.length && skipValue(bytes, 0, bytes.length) === bytes.length
    }),
  )
  t.pass()
})

test('random bytes are read or refused, and nothing else happens', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (random) => {
      const bytes = Buffer.from(random)
      attempt(bytes, read)
      attempt(bytes, (all) => skipValue(all, 0, all.length))
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

test('mutated values are read or refused, and nothing else happens', (t) => {
  const mutation = fc.tuple(anyValue, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }))
  fc.assert(
    fc.property(mutation, ([value, changes]) => {
      const bytes = encoded(value)
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte
      attempt(bytes, read)
      attempt(bytes.subarray(0, bytes.length - 1), read)
    }),
    { numRuns: 1000 },
  )
  t.pass()
})

test('a described value keeps its descriptor', (t) => {
  t.deepEqual(read(hex('00 53 24 45')), new Described(0x24, []))
  t.deepEqual(read(hex('00 a3 03 612e62 a1 01 78')), new Described(new AmqpSymbol('a.b'), 'x'))
})
