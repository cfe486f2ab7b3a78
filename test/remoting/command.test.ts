import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
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
  FrameSplitter,
  type HeaderCodec,
} from '../../src/remoting/frame.ts'

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
