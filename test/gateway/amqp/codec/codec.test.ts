import test from 'ava'
import fc from 'fast-check'
import { BrokerError, ERROR_CODES } from '../../../../src/errors.ts'
import { type FrameSink, FrameSplitter } from '../../../../src/gateway/amqp/codec/frame-splitter.ts'
import {
  remaining,
  serialAdd,
  serialDiff,
  serialNext,
} from '../../../../src/gateway/amqp/codec/serial.ts'
import {
  AmqpSymbol,
  Described,
  Timestamp,
  Uuid,
  ValueReader,
} from '../../../../src/gateway/amqp/codec/value-reader.ts'
import { skipValue } from '../../../../src/gateway/amqp/codec/value-size.ts'
import {
  AmqpError,
  CONDITION,
  conditionOf,
  describeError,
  shortDescription,
} from '../../../../src/gateway/amqp/errors.ts'
import { DECODE_DEPTH_MAX } from '../../../../src/gateway/amqp/limits.ts'
import { anyValue, encoded, rheaTypes as types } from './values.ts'

const U32 = fc.nat(0xffff_ffff)

test('serial numbers wrap at 2^32', (t) => {
  t.is(serialNext(0xffff_ffff), 0)
  t.is(serialDiff(2, 0xffff_fffe), 4)
  t.is(serialDiff(0xffff_fffe, 2), -4)
})

test('what is added is found again as a difference', (t) => {
  fc.assert(
    fc.property(U32, fc.nat(0x7fff_ffff), (n, by) => {
      t.is(serialDiff(serialAdd(n, by), n), by)
    }),
  )
})

test('what remains of any uint is right wherever the counts stand', (t) => {
  t.is(remaining(0x8000_0000, 0, 0), 0x8000_0000)
  t.is(remaining(0xffff_ffff, 3, 0), 0xffff_fffc)
  t.is(remaining(5, 8, 0), 0)
  fc.assert(
    fc.property(U32, U32, fc.nat(1_000_000), (allowed, seen, sent) => {
      t.is(remaining(allowed, serialAdd(seen, sent), seen), Math.max(0, allowed - sent))
    }),
  )
})

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
  t.throws(() => read(hex('d0 00000006 00000003 4040')), { instanceOf: AmqpError })
  t.throws(() => read(hex('f0 00000009 00000002 70 00000001')), { instanceOf: AmqpError })
})

test('nesting ends at its limit, in lists and in descriptors', (t) => {
  const lists = (levels: number): Buffer => {
    let list = hex('45')
    for (let level = 1; level < levels; level++) {
      list = Buffer.concat([Buffer.from([0xc0, list.length + 1, 1]), list])
    }
    return list
  }
  t.notThrows(() => read(lists(DECODE_DEPTH_MAX)))
  const nested = lists(DECODE_DEPTH_MAX + 2)
  t.throws(() => read(nested), { instanceOf: AmqpError, message: /nest/ })
  const described = Buffer.alloc(DECODE_DEPTH_MAX + 2)
  t.throws(() => read(described), { instanceOf: AmqpError, message: /nest/ })
  t.throws(() => skipValue(described, 0, described.length), { instanceOf: AmqpError })
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

const HEADER = Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1')
const FRAME_BYTES_MAX = 512

/** Notes what it is given; may ask for a pause after any piece. */
class Notes implements FrameSink {
  readonly pieces: string[] = []
  holdAfter = Number.POSITIVE_INFINITY

  onHeader(id: number): boolean {
    this.pieces.push(`header ${id}`)
    return this.pieces.length !== this.holdAfter
  }

  onFrame(type: number, channel: number, bytes: Buffer, at: number, end: number): boolean {
    this.pieces.push(`${type} ${channel} ${bytes.toString('hex', at, end)}`)
    return this.pieces.length !== this.holdAfter
  }
}

function frame(body: Uint8Array, channel = 0, type = 0, doff = 2): Buffer {
  const head = Buffer.alloc(doff * 4)
  head.writeUInt32BE(head.length + body.length)
  head[4] = doff
  head[5] = type
  head.writeUInt16BE(channel, 6)
  return Buffer.concat([head, body])
}

function split(chunks: readonly Buffer[]): { pieces: string[]; error: string | undefined } {
  const notes = new Notes()
  const splitter = new FrameSplitter(notes, FRAME_BYTES_MAX)
  try {
    for (const chunk of chunks) splitter.push(chunk)
  } catch (error) {
    if (!(error instanceof AmqpError)) throw error
    return { pieces: notes.pieces, error: error.condition }
  }
  return { pieces: notes.pieces, error: undefined }
}

test('frames come out whole wherever the chunks end', (t) => {
  const body = fc.uint8Array({ maxLength: 200 })
  const cuts = fc.array(fc.nat(2000), { maxLength: 12 })
  fc.assert(
    fc.property(fc.array(body, { maxLength: 12 }), cuts, (bodies, at) => {
      const stream = Buffer.concat([HEADER, ...bodies.map((bytes, i) => frame(bytes, i))])
      const whole = split([stream])
      const ends = [...new Set(at.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b)
      const chunks = [0, ...ends].map((from, i) => stream.subarray(from, ends[i] ?? stream.length))
      t.deepEqual(split(chunks), whole)
      t.is(whole.pieces.length, bodies.length + 1)
    }),
  )
})

test('one byte at a time gives the same frames', (t) => {
  const stream = Buffer.concat([HEADER, frame(Buffer.from('abc'), 7), frame(Buffer.alloc(0))])
  t.deepEqual(split([...stream].map((byte) => Buffer.from([byte]))), {
    pieces: ['header 0', '0 7 616263', '0 0 '],
    error: undefined,
  })
})

test('random bytes behind a header are cut or refused, the same however they are chunked', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (random, cut) => {
      const stream = Buffer.concat([HEADER, random])
      const chunks = [stream.subarray(0, cut), stream.subarray(cut)]
      t.deepEqual(split(chunks), split([stream]))
    }),
  )
})

test('an extended header is skipped', (t) => {
  t.deepEqual(split([HEADER, frame(Buffer.from('x'), 1, 0, 4)]).pieces[1], '0 1 78')
})

for (const [what, hex] of [
  ['a frame of no bytes', '0000000002000000'],
  ['a frame shorter than its header', '0000000702000000'],
  ['a frame beyond the limit', '7fffffff02000000'],
  ['a data offset within the header', '0000000801000000'],
  ['a data offset beyond the frame', '000000080f000000'],
  ['an unknown type of frame', '0000000802070000'],
] as const) {
  test(`${what} is refused at once`, (t) => {
    t.is(split([HEADER, Buffer.from(hex, 'hex')]).error, 'amqp:connection:framing-error')
  })
}

test('a claimed size is refused from its first four bytes, and nothing is kept for it', (t) => {
  const splitter = new FrameSplitter(new Notes(), FRAME_BYTES_MAX)
  splitter.push(HEADER)
  t.throws(() => splitter.push(Buffer.from('fffffff0', 'hex')), { instanceOf: AmqpError })
  t.is(splitter.keptBytes, 0)
})

for (const text of [
  'GET / HTTP/1.1\r\n\r\n',
  '\u0010\u0010\u0000\u0004MQTT',
  'AMQX....',
  '\u0000',
]) {
  test(`${JSON.stringify(text)} is no protocol header`, (t) => {
    t.deepEqual(split([Buffer.from(text, 'latin1')]).pieces, ['header -1'])
  })
}

test('another version is no header of ours', (t) => {
  t.deepEqual(split([Buffer.from('AMQP\u0000\u0000\u0009\u0001', 'latin1')]).pieces, ['header -1'])
})

test('a sink that holds gets the rest after resume, in order', (t) => {
  const notes = new Notes()
  notes.holdAfter = 2
  const splitter = new FrameSplitter(notes, FRAME_BYTES_MAX)
  const frames = [...'abcd'].map((letter) => frame(Buffer.from(letter)))
  splitter.push(Buffer.concat([HEADER, frames[0]!, frames[1]!]))
  splitter.push(Buffer.concat(frames.slice(2)))
  t.is(notes.pieces.length, 2)
  splitter.resume()
  t.deepEqual(notes.pieces, ['header 0', '0 0 61', '0 0 62', '0 0 63', '0 0 64'])
})

test('every code has a condition of the specification', (t) => {
  for (const code of ERROR_CODES) t.regex(conditionOf(code), /^amqp:[a-z:-]+$/)
})

test('an error is described by its condition and its own words', (t) => {
  t.deepEqual(describeError(new BrokerError('TOPIC_NOT_FOUND', 'no topic')), {
    condition: 'amqp:not-found',
    description: 'no topic',
  })
  t.deepEqual(describeError(new AmqpError(CONDITION.handleInUse, 'too much')), {
    condition: 'amqp:session:handle-in-use',
    description: 'too much',
  })
  t.is(describeError(new Error('boom')).condition, 'amqp:internal-error')
})

test("an error's text is cut where a character ends", (t) => {
  t.is(shortDescription('short'), 'short')
  t.is(shortDescription('x'.repeat(400)).length, 320)
  t.is(shortDescription(`x${'é'.repeat(200)}`), `x${'é'.repeat(159)}`)
})
