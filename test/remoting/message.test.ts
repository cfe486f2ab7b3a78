import { deflateSync } from 'node:zlib'
import test from 'ava'
import { INFLATED_BODY_BYTES_MAX } from '../../src/model/limits.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { recordBytes, writeRecord } from '../../src/model/record.ts'
import { decodeMessages, inflateBody } from '../../src/remoting/message.ts'

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
  t.throws(() => inflateBody(Buffer.from('x'), 0x101), { message: /compressed with LZ4/ })
  t.throws(() => inflateBody(Buffer.from('x'), 0x1), { message: /cannot be inflated/ })
})

test('records that are cut short are told', (t) => {
  t.throws(() => decodeMessages(record(Buffer.from('x')).subarray(0, -1)), {
    message: /no whole record/,
  })
})
