import test from 'ava'
import fc from 'fast-check'
import { FastSend } from '../../../src/gateway/remoting/fast-send.ts'
import { messagesOf } from '../../../src/gateway/remoting/message.ts'
import type { NewMessage } from '../../../src/model/message.ts'
import { decodeCommand } from '../../../src/remoting/command.ts'
import { scanBinaryHeader } from '../../../src/remoting/fast/binary-scan.ts'
import { HeaderScan } from '../../../src/remoting/fast/header-scan.ts'
import { CODEC_BINARY, CODEC_JSON, type HeaderCodec } from '../../../src/remoting/frame.ts'
import { encodeBinaryHeader } from '../../../src/remoting/header/binary-header.ts'
import { readFields } from '../../../src/remoting/layout.ts'
import { SEND_V2 } from '../../../src/remoting/requests/send.ts'

const scan = new HeaderScan()
const fast = new FastSend(scan)
const host = { ip: 1, port: 2 }

type Taken = NewMessage | undefined

function byFast(bytes: Buffer, bodyAt: number, codec: HeaderCodec = CODEC_JSON): Taken {
  fast.reset()
  const isScanned =
    codec === CODEC_JSON ? scan.scan(bytes, 0, bodyAt) : scanBinaryHeader(scan, bytes, 0, bodyAt)
  if (!isScanned) return undefined
  return fast.message(bodyAt, bytes.length, host, () => true)
}

function byGeneral(bytes: Buffer, bodyAt: number, codec: HeaderCodec): Taken {
  try {
    const command = decodeCommand(bytes, 0, bodyAt, bytes.length, codec)
    const fields = readFields(SEND_V2, command.fields)
    const { version } = command
    const sender = { host, version, mayCreate: true, bodyBytesMax: 4 * 1024 * 1024 }
    return [...messagesOf(fields, command.body, sender)][0]
  } catch {
    return undefined
  }
}

/** Buffers of different kinds with the same bytes are the same. */
const plain = (message: NewMessage): object => ({
  ...message,
  body: Buffer.from(message.body).toString('hex'),
  properties: Buffer.from(message.properties).toString('hex'),
})

const i32 = fc.oneof(fc.integer({ min: -2, max: 20 }), fc.integer())
const fields = fc.record(
  {
    a: fc.constant('PG'),
    b: fc.oneof(fc.constant('Topic'), fc.string()),
    c: fc.oneof(fc.constant('TBW102'), fc.string()),
    d: i32,
    e: i32,
    f: fc.oneof(fc.constantFrom(0, 2, 4), fc.constant(0), i32),
    g: fc.maxSafeNat(),
    h: i32,
    i: fc.oneof(fc.constant('TAGS\u0001A\u0002KEYS\u0001k\u0002'), fc.string({ unit: 'grapheme' })),
    j: i32,
    k: fc.boolean(),
    l: i32,
    m: fc.constantFrom(false, false, false, true),
    n: fc.string(),
  },
  { requiredKeys: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'] },
)
const header = fc.record({ code: fc.constant(310), version: i32, opaque: i32, extFields: fields })

test('what the hot path takes is what the general way makes of it', (t) => {
  let taken = 0
  fc.assert(
    fc.property(header, fc.boolean(), fc.uint8Array({ maxLength: 40 }), (head, asText, body) => {
      const values = Object.entries(head.extFields)
      const extFields = asText
        ? Object.fromEntries(values.map(([name, value]) => [name, String(value)]))
        : head.extFields
      const json = Buffer.from(JSON.stringify({ ...head, extFields }))
      const bytes = Buffer.concat([json, body])
      const message = byFast(bytes, json.length)
      if (message === undefined) return
      taken++
      t.deepEqual(plain(message), plain(byGeneral(bytes, json.length, CODEC_JSON)!))
    }),
    { numRuns: 1000 },
  )
  t.true(taken > 100, `the hot path took only ${taken} of 1000`)
})

test('what the hot path takes of binary headers is what the general way makes of it', (t) => {
  let taken = 0
  const damage = fc.option(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })))
  fc.assert(
    fc.property(header, damage, fc.uint8Array({ maxLength: 40 }), (head, damaged, body) => {
      const values = Object.entries(head.extFields)
      const encoded = encodeBinaryHeader({
        ...{ code: 310, language: 'CPP', version: head.version, opaque: 1, flag: 0 },
        remark: undefined,
        fields: new Map(values.map(([name, value]) => [name, String(value)])),
      })
      if (damaged !== null) encoded[damaged[0] % encoded.length] = damaged[1]
      const bytes = Buffer.concat([encoded, body])
      const message = byFast(bytes, encoded.length, CODEC_BINARY)
      if (message === undefined) return
      taken++
      t.deepEqual(plain(message), plain(byGeneral(bytes, encoded.length, CODEC_BINARY)!))
    }),
    { numRuns: 2000 },
  )
  t.true(taken > 40, `the hot path took only ${taken} of 2000`)
})

const usual = {
  ...{ a: 'PG', b: 'T', c: 'TBW102', d: '4', e: '1', f: '0', g: '1700000000000', h: '0' },
  ...{ i: 'TAGS\u0001A\u0002', j: '0', k: 'false', m: 'false' },
}
const made = (changed: object): Buffer =>
  Buffer.from(JSON.stringify({ code: 310, opaque: 1, extFields: { ...usual, ...changed } }))

test('an ordinary send is taken', (t) => {
  const bytes = made({})
  const message = byFast(bytes, bytes.length)!
  t.is(message.topic, 'T')
  t.is(message.queueId, 1)
  t.is(Buffer.from(message.properties).toString(), 'TAGS\u0001A\u0002')
})

for (const [what, changed] of [
  ['a batch', { m: 'true' }],
  ['a batch, in capitals', { m: 'TRUE' }],
  ['compressed', { f: '1' }],
  ['without a group', { a: undefined }],
  ['without a topic', { b: undefined }],
  ['without a topic to create it after', { c: undefined }],
  ['with a queue that is no number', { e: 'x' }],
  ['with a queue beyond 32 bits', { e: '4294967297' }],
  ['with an end of attempts beyond 32 bits', { l: '4294967297' }],
  ['born before time', { g: '-1' }],
] as const) {
  test(`a send that is ${what} is left to the general way`, (t) => {
    const bytes = made(changed)
    t.is(byFast(bytes, bytes.length), undefined)
  })
}
