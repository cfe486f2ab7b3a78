import { deflateSync } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { INFLATED_BODY_BYTES_MAX } from '../../src/model/limits.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { recordBytes, writeRecord } from '../../src/model/record.ts'
import { PartialFrames } from '../../src/net/partial-frames.ts'
import { decodeBatchBody, encodeBatchBody } from '../../src/remoting/batch-body.ts'
import { LANGUAGES } from '../../src/remoting/codes.ts'
import {
  type Command,
  decodeCommand,
  encodeCommand,
  requestHeader,
} from '../../src/remoting/command.ts'
import {
  CODEC_BINARY,
  CODEC_JSON,
  FRAME_BYTES_MAX,
  FRAME_BYTES_MAX_UNAUTHENTICATED,
  FrameSplitter,
  type HeaderCodec,
} from '../../src/remoting/frame.ts'
import { inflateBody } from '../../src/remoting/inflated-body.ts'
import { decodeMessages } from '../support/native/wire-message.ts'

/** Splits `chunks` and answers each frame as [codec, header, body]. */
function split(chunks: readonly Buffer[], bytesMax = FRAME_BYTES_MAX): [number, string, string][] {
  const frames: [number, string, string][] = []
  const splitter = new FrameSplitter((bytes, headerAt, bodyAt, end, codec) => {
    frames.push([
      codec,
      bytes.toString('hex', headerAt, bodyAt),
      bytes.toString('hex', bodyAt, end),
    ])
  }, bytesMax)
  for (const chunk of chunks) {
    // As the socket does: the chunk is reused once the call is over.
    const copy = Buffer.from(chunk)
    splitter.push(copy)
    copy.fill(0xee)
  }
  return frames
}

function frame(codec: number, header: Uint8Array, body: Uint8Array): Buffer {
  const prefix = Buffer.alloc(8)
  prefix.writeInt32BE(4 + header.length + body.length)
  prefix.writeInt32BE((codec << 24) | header.length, 4)
  return Buffer.concat([prefix, header, body])
}

const anyFrame = fc.record({
  codec: fc.constantFrom(0, 1),
  header: fc.uint8Array({ maxLength: 300 }),
  body: fc.uint8Array({ maxLength: 6000 }),
})

test('any chunking of a stream of frames gives the same frames', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 }),
      (frames, sizes) => {
        const stream = Buffer.concat(frames.map((f) => frame(f.codec, f.header, f.body)))
        const chunks: Buffer[] = []
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length]!
          chunks.push(stream.subarray(at, at + size))
          at += size
        }
        const wanted = frames.map((f) => [
          f.codec,
          Buffer.from(f.header).toString('hex'),
          Buffer.from(f.body).toString('hex'),
        ])
        t.deepEqual(split(chunks), wanted as [number, string, string][])
      },
    ),
  )
})

test('a stream fed one byte at a time gives its frames', (t) => {
  const stream = Buffer.concat([
    frame(0, Buffer.from('one'), Buffer.alloc(0)),
    frame(1, Buffer.alloc(0), Buffer.from('two')),
    frame(0, Buffer.from('three'), Buffer.alloc(5000, 7)),
  ])
  const bytes = Array.from(stream, (_, at) => stream.subarray(at, at + 1))
  t.deepEqual(split(bytes), split([stream]))
  t.is(split(bytes).length, 3)
})

test('random bytes end in frames or in a protocol error, never in another error', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 10 }), (chunks) => {
      try {
        split(chunks.map((chunk) => Buffer.from(chunk)))
      } catch (error) {
        t.true(error instanceof BrokerError && error.code === 'PROTOCOL_ERROR', String(error))
      }
    }),
  )
  t.pass()
})

const refused = (bytes: Buffer, limit?: number) => () => split([bytes], limit)

test('a frame that claims 2 GiB is refused by its length word alone', (t) => {
  const error = t.throws(refused(Buffer.from('7fffffff', 'hex')), { instanceOf: BrokerError })
  t.regex(error.message, /claims 2147483647 bytes/)
})

test('negative and too small lengths are refused', (t) => {
  t.throws(refused(Buffer.from('ffffffff', 'hex')), { instanceOf: BrokerError })
  t.throws(refused(Buffer.from('00000003000000', 'hex')), { instanceOf: BrokerError })
})

test('a header longer than its frame is refused', (t) => {
  const error = t.throws(refused(Buffer.from('0000000400000001', 'hex')), {
    instanceOf: BrokerError,
  })
  t.regex(error.message, /claims a header of 1 bytes/)
})

test('a header over its limit is refused, and a body of that length is not', (t) => {
  const splitter = new FrameSplitter(() => {}, FRAME_BYTES_MAX, 100)
  splitter.push(frame(0, Buffer.alloc(100), Buffer.alloc(101)))
  t.throws(() => splitter.push(frame(0, Buffer.alloc(101), Buffer.alloc(0))), {
    message: /header of 101 bytes; 100 are allowed/,
  })
})

test('an unknown header codec is refused', (t) => {
  t.throws(refused(Buffer.from('0000000402000000', 'hex')), { instanceOf: BrokerError })
})

test('the limit before authentication is lower and can be raised between chunks', (t) => {
  const big = frame(0, Buffer.alloc(FRAME_BYTES_MAX_UNAUTHENTICATED), Buffer.alloc(0))
  t.throws(refused(big, FRAME_BYTES_MAX_UNAUTHENTICATED), { message: /before authentication/ })
  let frames = 0
  const splitter = new FrameSplitter(() => frames++, FRAME_BYTES_MAX_UNAUTHENTICATED)
  splitter.push(frame(0, Buffer.from('login'), Buffer.alloc(0)))
  splitter.frameBytesMax = FRAME_BYTES_MAX
  splitter.push(big)
  t.is(frames, 2)
})

test('a claimed large frame costs only the bytes that came', (t) => {
  const before = process.memoryUsage().arrayBuffers
  const splitters = Array.from({ length: 200 }, () => {
    const splitter = new FrameSplitter(() => {})
    splitter.push(Buffer.from('00ffffff000000', 'hex'))
    return splitter
  })
  t.true(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024)
  t.is(splitters.length, 200)
})

test('a splitter that is stopped leaves what follows the frame, and begins anew with it', (t) => {
  const heard: string[] = []
  const splitter = new FrameSplitter((bytes, headerAt, bodyAt) => {
    heard.push(bytes.toString('latin1', headerAt, bodyAt))
    splitter.stop()
  })
  const chunk = Buffer.concat(
    ['one', 'two'].map((name) => frame(0, Buffer.from(name), Buffer.alloc(0))),
  )
  const [first, second] = [chunk.subarray(0, 5), chunk.subarray(5)]
  t.is(splitter.push(first), 5)
  const taken = splitter.push(second)
  t.deepEqual(heard, ['one'])
  t.is(taken, chunk.length / 2 - 5)
  t.is(splitter.push(second.subarray(taken)), chunk.length / 2)
  t.deepEqual(heard, ['one', 'two'])
})

const KIB = 1024
/** A frame of 200 KiB. */
const FRAME = Buffer.alloc(200 * KIB)
FRAME.writeInt32BE(FRAME.length - 4)
const START = FRAME.subarray(0, 150 * KIB)
const REST = FRAME.subarray(START.length)

/** A peer whose frames count, and what became of them. */
function peerOf(frames: PartialFrames) {
  const peer = { dropped: 0, whole: 0 }
  const splitter = new FrameSplitter(
    () => peer.whole++,
    undefined,
    undefined,
    undefined,
    (bytes) =>
      frames.hold(peer, bytes, () => {
        peer.dropped++
      }),
  )
  return Object.assign(peer, {
    send: (bytes: Buffer) => splitter.push(bytes),
    close: () => splitter.close(),
  })
}

test('beyond the sum the oldest partial frame is given up, and the newer ones come whole', (t) => {
  const frames = new PartialFrames(400 * KIB)
  const peers = Array.from({ length: 3 }, () => peerOf(frames))
  for (const peer of peers) peer.send(START)
  t.deepEqual(
    peers.map(({ dropped }) => dropped),
    [1, 0, 0],
  )
  for (const peer of peers.slice(1)) peer.send(REST)
  t.deepEqual(
    peers.map(({ whole }) => whole),
    [0, 1, 1],
  )
})

test('a frame that came whole, or went with its peer, makes room', (t) => {
  const frames = new PartialFrames(400 * KIB)
  const first = peerOf(frames)
  for (let i = 0; i < 10; i++) {
    const peer = peerOf(frames)
    peer.send(START)
    if (i % 2 === 0) peer.send(REST)
    else peer.close()
    first.send(START)
    first.send(REST)
    t.deepEqual([peer.dropped, first.dropped, first.whole], [0, 0, i + 1])
  }
})

test('a frame that grows keeps its age', (t) => {
  const frames = new PartialFrames(400 * KIB)
  const [first, second, third] = Array.from({ length: 3 }, () => peerOf(frames))
  first!.send(START.subarray(0, 100 * KIB))
  second!.send(START)
  first!.send(START.subarray(100 * KIB))
  third!.send(START)
  t.deepEqual([first!.dropped, second!.dropped, third!.dropped], [1, 0, 0])
})

test('small partial frames are not counted', (t) => {
  const frames = new PartialFrames(0)
  const peer = peerOf(frames)
  peer.send(START.subarray(0, 64 * KIB))
  t.is(peer.dropped, 0)
  peer.send(START.subarray(64 * KIB))
  t.is(peer.dropped, 1)
})

function decodeFrame(bytes: Buffer): Command {
  let command: Command | undefined
  new FrameSplitter((...frame) => {
    command = decodeCommand(...frame)
  }).push(bytes)
  return command!
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const header = fc.record({
  code: fc.integer({ min: -32768, max: 32767 }),
  language: fc.constantFrom(...LANGUAGES),
  version: fc.integer({ min: 0, max: 32767 }),
  opaque: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  flag: fc.integer({ min: 0, max: 3 }),
  remark: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  fields: fc.array(fc.tuple(text, text), { maxLength: 6 }).map((pairs) => new Map(pairs)),
})

for (const [name, codec] of [
  ['JSON', CODEC_JSON],
  ['binary', CODEC_BINARY],
] as [string, HeaderCodec][]) {
  test(`a command comes back from the ${name} codec as it went in`, (t) => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 100 }), (head, body) => {
        const command = decodeFrame(encodeCommand(head, body, codec))
        const { body: decodedBody, codec: decodedCodec, ...rest } = command
        t.deepEqual(rest, head)
        t.deepEqual(new Uint8Array(decodedBody), body)
        t.is(decodedCodec, codec)
      }),
    )
  })

  test(`random ${name} headers end in a header or a protocol error`, (t) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decodeCommand(Buffer.from(bytes), 0, bytes.length, bytes.length, codec)
        } catch (error) {
          t.true(error instanceof BrokerError && error.code === 'PROTOCOL_ERROR', String(error))
        }
      }),
      { numRuns: 1000 },
    )
    t.pass()
  })
}

test('a mutated header ends in a header or a protocol error', (t) => {
  const fields = new Map([
    ['topic', 'T'],
    ['queueId', '3'],
  ])
  const valid = [CODEC_JSON, CODEC_BINARY] as const
  fc.assert(
    fc.property(
      fc.constantFrom(...valid),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      (codec, at, byte) => {
        const bytes = encodeCommand(
          requestHeader({ code: 10, opaque: 1, fields }),
          undefined,
          codec,
        )
        bytes[8 + (at % (bytes.length - 8))] = byte
        try {
          decodeCommand(bytes, 8, bytes.length, bytes.length, codec)
        } catch (error) {
          t.true(error instanceof BrokerError && error.code === 'PROTOCOL_ERROR', String(error))
        }
      },
    ),
    { numRuns: 2000 },
  )
  t.pass()
})

test("a binary header is encoded byte for byte as RocketMQ's", (t) => {
  const bytes = encodeCommand(
    {
      code: 105,
      language: 'JAVA',
      version: 401,
      opaque: 1,
      flag: 0,
      remark: undefined,
      fields: new Map([['topic', 'T']]),
    },
    undefined,
    CODEC_BINARY,
  )
  t.is(
    bytes.toString('hex'),
    '00000025010000210069000191000000010000000000000000' + '0000000c0005746f70696300000001' + '54',
  )
})

const decodeJson = (text: string): Command => {
  const bytes = Buffer.from(text)
  return decodeCommand(bytes, 0, bytes.length, bytes.length, CODEC_JSON)
}

test('field values that are numbers and booleans are read as text, null fields are left out', (t) => {
  const { fields } = decodeJson(
    '{"code":310,"opaque":1,"extFields":{"e":3,"k":false,"i":null,"b":"T"}}',
  )
  t.deepEqual(
    [...fields],
    [
      ['e', '3'],
      ['k', 'false'],
      ['b', 'T'],
    ],
  )
})

test('a __proto__ field is a field like any other', (t) => {
  const { fields } = decodeJson(
    '{"code":1,"extFields":{"__proto__":"x","constructor":"y"},"__proto__":{"code":9}}',
  )
  t.is(fields.get('__proto__'), 'x')
  t.is(fields.get('constructor'), 'y')
  t.is(({} as Record<string, unknown>)['code'], undefined)
})

for (const [what, text] of [
  ['no JSON', 'GET / HTTP/1.1'],
  ['a list', '[1]'],
  ['a code that is a word', '{"code":"one"}'],
  ['a code beyond 32 bits', '{"code":4294967296}'],
  ['a fractional opaque', '{"code":1,"opaque":1.5}'],
  ['fields that are no object', '{"code":1,"extFields":[1]}'],
  ['a nested field', '{"code":1,"extFields":{"a":{"b":1}}}'],
] as const) {
  test(`a header with ${what} is a protocol error`, (t) => {
    t.is(t.throws(() => decodeJson(text), { instanceOf: BrokerError }).code, 'PROTOCOL_ERROR')
  })
}

test('bytes of a JSON header that are no UTF-8 are read as U+FFFD', (t) => {
  const bytes = Buffer.from('{"code":1,"remark":"\xff"}', 'latin1')
  const { remark } = decodeCommand(bytes, 0, bytes.length, bytes.length, CODEC_JSON)
  t.is(remark, '\uFFFD')
})

test('bytes of a binary header that are no UTF-8 are read as U+FFFD', (t) => {
  const head = requestHeader({ code: 10, opaque: 1, fields: new Map([['topic', 'T']]) })
  const bytes = encodeCommand(head, undefined, CODEC_BINARY)
  bytes[bytes.length - 1] = 0xff
  t.is(decodeFrame(bytes).fields.get('topic'), '\uFFFD')
})

function record(body: Buffer, sysFlag = 0, entries: [string, string][] = []): Buffer {
  const draft = {
    ...{ topic: 'T', queueId: 2, flag: 7, sysFlag, bornTimestamp: 5, preparedPosition: 0 },
    ...{ bornHost: { ip: 0x7f000001, port: 50_000 }, reconsumeTimes: 1 },
    body,
    properties: encodeProperties(entries),
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  const storeHost = { ip: 0x0a000001, port: 10_911 }
  writeRecord(bytes, 0, draft, { queueOffset: 3, position: 100, storeTimestamp: 6, storeHost })
  return bytes
}

test('records become plain messages', (t) => {
  const records = Buffer.concat([
    record(Buffer.from('one'), 0, [
      ['UNIQ_KEY', 'C0FFEE'],
      ['TAGS', 'A'],
    ]),
    record(Buffer.from('two')),
  ])
  const [one, two] = decodeMessages(records)
  t.is(one!.messageId, 'C0FFEE')
  t.is(one!.offsetMessageId, '0A00000100002A9F0000000000000064')
  t.is(one!.bornHost, '127.0.0.1:50000')
  t.is(one!.properties.get('TAGS'), 'A')
  t.is(two!.messageId, two!.offsetMessageId)
  t.is(two!.body.toString(), 'two')
})

test('a compressed body is inflated, whichever way its kind of zlib is said', (t) => {
  const plain = Buffer.from('hello '.repeat(100))
  for (const sysFlag of [0x1, 0x301]) {
    const [message] = decodeMessages(record(deflateSync(plain), sysFlag))
    t.deepEqual(message!.body, plain)
  }
})

test('a body inflates to its limit and no further, and the reason is a sentence', (t) => {
  const { length } = inflateBody(deflateSync(Buffer.alloc(INFLATED_BODY_BYTES_MAX)), 1)
  t.is(length, INFLATED_BODY_BYTES_MAX)
  t.throws(() => inflateBody(deflateSync(Buffer.alloc(INFLATED_BODY_BYTES_MAX + 1)), 1), {
    message: /has more than 67108864 bytes when it is inflated$/,
  })
})

test('a body in another compression, or none at all, is told', (t) => {
  t.throws(() => inflateBody(Buffer.from('x'), 0x101), { message: /ends too early/ })
  t.throws(() => inflateBody(Buffer.from('x'), 0x701), { message: /an unknown method/ })
  t.throws(() => inflateBody(Buffer.from('x'), 0x1), { message: /cannot be inflated/ })
})

test('records that are cut short are told', (t) => {
  t.throws(() => decodeMessages(record(Buffer.from('x')).subarray(0, -1)), {
    message: /no whole record/,
  })
})

const item = fc.record({
  flag: fc.integer(),
  body: fc.uint8Array({ maxLength: 50 }),
  properties: fc.uint8Array({ maxLength: 50 }),
})

test('a batch comes back as it went in', (t) => {
  fc.assert(
    fc.property(fc.array(item, { maxLength: 5 }), (items) => {
      t.deepEqual([...decodeBatchBody(encodeBatchBody(items))], items)
    }),
  )
})

test('damaged batches are refused, never misread beyond their end', (t) => {
  fc.assert(
    fc.property(
      fc.array(item, { minLength: 1, maxLength: 3 }),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      (items, at, byte) => {
        const bytes = encodeBatchBody(items)
        bytes[at % bytes.length] = byte
        try {
          for (const { body, properties } of decodeBatchBody(bytes)) {
            t.true(body.length + properties.length <= bytes.length)
          }
        } catch (error) {
          t.true(error instanceof BrokerError && error.code === 'ARGUMENT_INVALID', String(error))
        }
      },
    ),
  )
  t.pass()
})
