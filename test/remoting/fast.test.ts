import test from 'ava'
import fc from 'fast-check'
import { parseOffsetMessageId } from '../../src/model/message-id.ts'
import { decodeCommand, requestHeader } from '../../src/remoting/command.ts'
import { scanBinaryHeader } from '../../src/remoting/fast/binary-scan.ts'
import { HeaderScan, integerIn } from '../../src/remoting/fast/header-scan.ts'
import { pullResponseHead } from '../../src/remoting/fast/pull-response.ts'
import { SendResponses, TRANSACTION_ID_BYTES } from '../../src/remoting/fast/send-response.ts'
import { SignedScan } from '../../src/remoting/fast/signed-scan.ts'
import { CODEC_BINARY, CODEC_JSON, FrameSplitter } from '../../src/remoting/frame.ts'
import { decodeBinaryHeader, encodeBinaryHeader } from '../../src/remoting/header/binary-header.ts'
import { decodeJsonHeader, encodeJsonHeader } from '../../src/remoting/header/json-header.ts'
import { unescapeJson } from '../../src/remoting/json/json-unescape.ts'
import { sign, signedContent, signFields } from '../../src/remoting/signature.ts'

const scan = new HeaderScan()

/** JSON.parse moves numeric names to the front, and no one asks for the order. */
const byName = (fields: ReadonlyMap<string, string>): Map<string, string> =>
  new Map([...fields].toSorted(([a], [b]) => (a < b ? -1 : 1)))

/** What the scan found, in the form of the general decoder; undefined when it declined. */
function scannedJson(bytes: Buffer, scan: HeaderScan): object | undefined {
  if (!scan.scan(bytes, 0, bytes.length)) return undefined
  const fields = new Map<string, string>()
  for (let i = 0; i < scan.count; i++) {
    const value = Buffer.alloc(scan.valueEnd[i]! - scan.valueAt[i]!)
    const end = unescapeJson(bytes, scan.valueAt[i]!, scan.valueEnd[i]!, value, 0)
    fields.set(
      bytes.toString('utf8', scan.nameAt[i]!, scan.nameEnd[i]!),
      value.toString('utf8', 0, end),
    )
  }
  return {
    code: scan.code,
    flag: scan.flag,
    opaque: scan.opaque,
    version: scan.version,
    fields: byName(fields),
  }
}

function decodedJson(bytes: Buffer): object {
  const { code, flag, opaque, version, fields } = decodeJsonHeader(bytes, 0, bytes.length)
  // Lone surrogates have no bytes of their own.
  const plain = [...fields].map(([k, v]) => [k, Buffer.from(v).toString()] as const)
  return { code, flag, opaque, version, fields: byName(new Map(plain)) }
}

const i32 = fc.integer()
const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean())
const jsonHeader = fc.record(
  {
    code: i32,
    language: fc.constantFrom('JAVA', 'GO'),
    version: i32,
    opaque: i32,
    flag: i32,
    remark: fc.oneof(fc.string(), fc.constant(null)),
    extFields: fc.dictionary(fc.stringMatching(/^[a-zA-Z_]{1,12}$/), value, { maxKeys: 10 }),
    serializeTypeCurrentRPC: fc.constant('JSON'),
    unknown: fc.boolean(),
  },
  { requiredKeys: ['code'] },
)

test('a scan of a JSON header finds what JSON.parse finds', (t) => {
  let hits = 0
  fc.assert(
    fc.property(jsonHeader, fc.constantFrom(undefined, 1, '\t'), (head, indent) => {
      const bytes = Buffer.from(JSON.stringify(head, null, indent))
      const found = scannedJson(bytes, scan)
      if (found === undefined) return
      hits++
      t.deepEqual(found, decodedJson(bytes))
    }),
    { numRuns: 500 },
  )
  t.true(hits > 200, `only ${hits} of 500 ordinary headers were scanned`)
})

test('a damaged header is declined, or means what JSON.parse says', (t) => {
  fc.assert(
    fc.property(jsonHeader, fc.nat(), fc.integer({ min: 0, max: 255 }), (head, at, byte) => {
      const bytes = Buffer.from(JSON.stringify(head))
      bytes[at % bytes.length] = byte
      const found = scannedJson(bytes, scan)
      if (found !== undefined) t.deepEqual(found, decodedJson(bytes))
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

const changes = fc.array(fc.tuple(fc.nat(), fc.constantFrom(...'0179a"\\ -,}\u0001\x80')), {
  minLength: 1,
  maxLength: 3,
})

test('a header that is like the one before is declined, or means what JSON.parse says', (t) => {
  let hits = 0
  fc.assert(
    fc.property(jsonHeader, changes, (head, changed) => {
      const extFields = { ...head.extFields, i: 'K\u0001"v\\"\u0002' }
      const first = Buffer.from(`  ${JSON.stringify({ ...head, extFields })}`)
      const start = 2
      const like = Buffer.concat([Buffer.from('{{{'), first.subarray(start)])
      for (const [at, c] of changed) like[3 + (at % (like.length - 3))] = c.charCodeAt(0)
      const fresh = new HeaderScan()
      fresh.scan(first, start, first.length)
      const found = scannedJson(like.subarray(3), fresh)
      if (found === undefined) return
      hits++
      t.deepEqual(found, decodedJson(like.subarray(3)))
    }),
    { numRuns: 5000 },
  )
  t.true(hits > 300, `only ${hits} of 5,000 changed headers were scanned`)
})

test('a correlation id in place of another of as many digits is read, or too large', (t) => {
  const head = (opaque: string) => Buffer.from(`{"code":310,"opaque":${opaque},"extFields":{}}`)
  const one = new HeaderScan()
  const read = (opaque: string) => one.scan(head(opaque), 0, head(opaque).length) && one.opaque
  const ids = ['2147483647', '1000000000', '2147483648', '0000000001', '2000000000']
  t.deepEqual(ids.map(read), [2147483647, 1000000000, false, false, 2000000000])
})

test('a truncated JSON header is declined', (t) => {
  const bytes = Buffer.from(
    '{"code":310,"extFields":{"a":"PG","b":"T","i":"K\\u0001v\\u0002"},"flag":0,"opaque":12}',
  )
  t.true(scan.scan(bytes, 0, bytes.length))
  for (let end = 0; end < bytes.length; end++) t.false(scan.scan(bytes, 0, end), `${end} bytes`)
})

test("a scan reads our own encoder's headers", (t) => {
  const bytes = encodeJsonHeader({
    code: 310,
    language: 'JAVA',
    version: 479,
    opaque: -5,
    flag: 2,
    remark: undefined,
    fields: new Map([
      ['b', 'T'],
      ['i', 'TAGS\u0001A\u0002'],
    ]),
  })
  t.true(scan.scan(bytes, 0, bytes.length))
  t.is(scan.opaque, -5)
  t.is(scan.flag, 2)
  t.is(bytes.toString('latin1', scan.valueAt[scan.find('b')], scan.valueEnd[scan.find('b')]), 'T')
  t.is(scan.isEscaped[scan.find('i')], 1)
  t.is(scan.find('c'), -1)
})

for (const [what, text] of [
  ['a nested field', '{"code":1,"extFields":{"a":{"b":1}}}'],
  ['a null field', '{"code":1,"extFields":{"a":null}}'],
  ['an escaped name', '{"code":1,"extFields":{"\\u0061":"x"}}'],
  ['a fraction', '{"code":1.0}'],
  ['no code', '{"opaque":1}'],
  ['text after the object', '{"code":1} x'],
  ['a raw control character', '{"code":1,"extFields":{"a":"\u0001"}}'],
] as const) {
  test(`a header with ${what} is left to the general decoder`, (t) => {
    const bytes = Buffer.from(text)
    t.false(scan.scan(bytes, 0, bytes.length))
  })
}

test('an escaped string becomes the bytes of its text', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.boolean(), (text, isAscii) => {
      const quoted = JSON.stringify(text).slice(1, -1)
      const escaped = isAscii
        ? quoted.replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
        : quoted
      const bytes = Buffer.from(escaped)
      const target = Buffer.alloc(bytes.length)
      const end = unescapeJson(bytes, 0, bytes.length, target, 0)
      t.is(target.toString('hex', 0, end), Buffer.from(text).toString('hex'))
    }),
  )
})

test('illegal escapes are told', (t) => {
  for (const text of ['\\x', '\\', '\\u12', '\\u12g4', '\\u\u0010000']) {
    const bytes = Buffer.from(text)
    t.is(unescapeJson(bytes, 0, bytes.length, Buffer.alloc(20), 0), -1, text)
  }
})

test('integers of a JSON header are read from their digits', (t) => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (number) => {
      const bytes = Buffer.from(String(number))
      const isShort = String(Math.abs(number)).length <= 15
      t.is(integerIn(bytes, 0, bytes.length), isShort ? number : Number.NaN)
    }),
  )
  for (const text of ['', '-', '1a', '+1', ' 1', '1.5']) {
    t.is(integerIn(Buffer.from(text), 0, text.length), Number.NaN, text)
  }
})

/** What the scan found, in the form of the decoder; undefined when it declined. */
function scannedBinary(bytes: Buffer): object | undefined {
  if (!scanBinaryHeader(scan, bytes, 0, bytes.length)) return undefined
  const fields = new Map<string, string>()
  for (let i = 0; i < scan.count; i++) {
    fields.set(
      bytes.toString('utf8', scan.nameAt[i]!, scan.nameEnd[i]!),
      bytes.toString('utf8', scan.valueAt[i]!, scan.valueEnd[i]!),
    )
  }
  const { code, flag, opaque, version } = scan
  return { code, flag, opaque, version, fields }
}

function decodedBinary(bytes: Buffer): object {
  const { code, flag, opaque, version, fields } = decodeBinaryHeader(bytes, 0, bytes.length)
  return { code, flag, opaque, version, fields }
}

const i16 = fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const binaryHeader = fc.record({
  code: i16,
  language: fc.constantFrom('JAVA', 'GO'),
  version: i16,
  opaque: fc.integer(),
  flag: fc.integer(),
  remark: fc.option(text, { nil: undefined }),
  fields: fc.array(fc.tuple(text, text), { maxLength: 10 }).map((pairs) => new Map(pairs)),
})

test('a scan of a binary header finds what the decoder finds', (t) => {
  fc.assert(
    fc.property(binaryHeader, (head) => {
      const bytes = encodeBinaryHeader(head)
      t.deepEqual(scannedBinary(bytes), decodedBinary(bytes))
    }),
  )
})

test('a damaged header is declined, or means what the decoder says', (t) => {
  let taken = 0
  fc.assert(
    fc.property(binaryHeader, fc.nat(), fc.integer({ min: 0, max: 255 }), (head, at, byte) => {
      const bytes = encodeBinaryHeader(head)
      bytes[at % bytes.length] = byte
      const found = scannedBinary(bytes)
      if (found === undefined) return
      taken++
      // The bytes of a text stay as they are, so it must be one.
      for (let i = 0; i < scan.count; i++) {
        const value = bytes.subarray(scan.valueAt[i], scan.valueEnd[i])
        t.deepEqual(Buffer.from(value.toString()), value)
      }
      t.deepEqual(found, decodedBinary(bytes))
    }),
    { numRuns: 3000 },
  )
  t.true(taken > 100, `only ${taken} of 3000 were scanned`)
})

test('a truncated binary header is declined', (t) => {
  const fields = new Map([
    ['a', 'PG'],
    ['b', 'T'],
  ])
  const head = { code: 310, language: 'JAVA', version: 479, opaque: 12, flag: 0, remark: 'r' }
  const bytes = encodeBinaryHeader({ ...head, fields })
  t.truthy(scannedBinary(bytes))
  for (let end = 0; end < bytes.length; end++) {
    t.false(scanBinaryHeader(scan, bytes, 0, end), `${end} bytes`)
  }
})

test('the fields end where their length says, not where the header does', (t) => {
  const head = { code: 310, language: 'JAVA', version: 0, opaque: 1, flag: 0, remark: undefined }
  const bytes = encodeBinaryHeader({ ...head, fields: new Map([['b', 'T']]) })
  const longer = Buffer.concat([bytes, Buffer.from('more')])
  t.deepEqual(scannedBinary(longer), decodedBinary(longer))
})

test('a header with more fields than the scan has room for is left to the decoder', (t) => {
  const head = { code: 310, language: 'JAVA', version: 0, opaque: 1, flag: 0, remark: undefined }
  const fieldsOf = (count: number): Map<string, string> =>
    new Map(Array.from({ length: count }, (_, i) => [`f${i}`, 'x']))
  t.truthy(scannedBinary(encodeBinaryHeader({ ...head, fields: fieldsOf(64) })))
  t.is(scannedBinary(encodeBinaryHeader({ ...head, fields: fieldsOf(65) })), undefined)
})

const signed = new SignedScan(scan)
const credentials = { accessKey: 'user', secretKey: 'secret-key' }

test('the signed bytes of a scanned header are those of the decoded one, in both codecs', (t) => {
  const fields = fc.dictionary(
    fc.stringMatching(/^[a-zA-Z_]{1,10}$/),
    fc.string({ unit: 'grapheme' }),
    { maxKeys: 12 },
  )
  fc.assert(
    fc.property(fields, fc.uint8Array({ maxLength: 50 }), fc.boolean(), (given, body, isJson) => {
      const all = signFields(credentials, new Map(Object.entries(given)), body)
      const header = requestHeader({ code: 310, opaque: 1, fields: all })
      const bytes = isJson ? encodeJsonHeader(header) : encodeBinaryHeader(header)
      const isScanned = isJson
        ? scan.scan(bytes, 0, bytes.length)
        : scanBinaryHeader(scan, bytes, 0, bytes.length)
      t.true(isScanned)
      const read = signed.read()!
      t.is(read.accessKey, 'user')
      t.is(sign('secret-key', [read.content, body]), read.signature)
      t.deepEqual(read.content, signedContent(all, body)[0] as Buffer)
    }),
  )
})

const readSigned = (fields: string): ReturnType<SignedScan['read']> => {
  const bytes = Buffer.from(`{"code":310,"extFields":{${fields}}}`)
  t0(scan.scan(bytes, 0, bytes.length))
  return signed.read()
}
const t0 = (isScanned: boolean): void => {
  if (!isScanned) throw new Error('not scanned')
}

test('an unsigned header, and one with a name twice, is left to the general way', (t) => {
  t.is(readSigned('"b":"T"'), undefined)
  t.is(readSigned('"b":"T","AccessKey":"user"'), undefined)
  t.is(readSigned('"b":"T","b":"U","AccessKey":"user","Signature":"x"'), undefined)
  t.truthy(readSigned('"b":"T","AccessKey":"user","Signature":"x"'))
})

const codec = fc.constantFrom(CODEC_JSON, CODEC_BINARY)

function decodedFrame(bytes: Buffer): ReturnType<typeof decodeCommand> {
  let command: ReturnType<typeof decodeCommand> | undefined
  new FrameSplitter((...frame) => {
    command = decodeCommand(...frame)
  }).push(bytes)
  return command!
}

test('a prefabricated answer to a send reads as one that is built anew', (t) => {
  const host = { ip: 0x0a000001, port: 10_911 }
  const responses = new SendResponses(host)
  fc.assert(
    fc.property(
      codec,
      fc.integer(),
      fc.integer({ min: 0, max: 1023 }),
      fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()),
      (codec, opaque, queueId, [queueOffset, position]) => {
        // Written over earlier ones, as on the hot path, and behind another.
        const target = Buffer.alloc(3 + responses.bytesMax, 'x')
        const end = responses.write(target, 3, codec, opaque, queueId, queueOffset, position)
        const answer = decodedFrame(target.subarray(3, end))
        t.is(answer.codec, codec)
        t.is(answer.code, 0)
        t.is(answer.fields.get('TRACE_ON'), 'true')
        t.is(answer.flag, 1)
        t.is(answer.opaque, opaque)
        t.is(answer.fields.get('queueId'), String(queueId))
        t.is(answer.fields.get('queueOffset'), String(queueOffset))
        t.deepEqual(parseOffsetMessageId(answer.fields.get('msgId')!), { host, position } as never)
      },
    ),
  )
})

test('a prefabricated answer to a half message reads as one that is built anew', (t) => {
  const host = { ip: 0x0a000001, port: 10911 }
  const responses = new SendResponses(host)
  const id = fc.stringMatching(/^[\w.:-]{1,64}$/)
  fc.assert(
    fc.property(fc.integer(), fc.maxSafeNat(), id, (opaque, position, transactionId) => {
      const target = Buffer.alloc(3 + responses.bytesMax + 64 + TRANSACTION_ID_BYTES, 'x')
      const end = responses.writeHalf(target, 3, opaque, 5, 0, position, transactionId)
      const answer = decodedFrame(target.subarray(3, end))
      t.is(answer.code, 0)
      t.is(answer.opaque, opaque)
      t.is(answer.fields.get('transactionId'), transactionId)
      t.is(answer.fields.get('queueId'), '5')
      t.deepEqual(parseOffsetMessageId(answer.fields.get('msgId')!), { host, position } as never)
    }),
  )
})

test('a prefabricated head of an answer to a pull reads as one that is built anew', (t) => {
  fc.assert(
    fc.property(
      fc.constantFrom('found', 'at-end', 'no-match', 'moved' as const),
      codec,
      fc.integer(),
      fc.tuple(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat()),
      fc.uint8Array({ maxLength: 50 }),
      (outcome, codec, opaque, [nextOffset, minOffset, maxOffset], records) => {
        const offsets = { nextOffset, minOffset, maxOffset }
        const head = pullResponseHead(outcome, codec, opaque, offsets, records.length)
        const answer = decodedFrame(Buffer.concat([head, records]))
        t.is(answer.codec, codec)
        t.is(answer.opaque, opaque)
        t.is(answer.remark, outcome === 'found' ? 'FOUND' : answer.remark)
        t.is(answer.fields.get('suggestWhichBrokerId'), '0')
        t.is(answer.fields.get('nextBeginOffset'), String(nextOffset))
        t.is(answer.fields.get('minOffset'), String(minOffset))
        t.is(answer.fields.get('maxOffset'), String(maxOffset))
        t.deepEqual(new Uint8Array(answer.body), records)
      },
    ),
  )
})

// Computed from Apache RocketMQ's AclUtils for these values.
const SIGNATURE = 'q51PLFRpwfiU1YgTKyB/gsYYppc='
const BODY = Buffer.from('hello')

test('the signature is the one that RocketMQ computes', (t) => {
  const fields = new Map([
    ['topic', 'T'],
    ['queueId', '0'],
    ['AccessKey', 'RocketMQ'],
  ])
  t.is(sign('12345678', signedContent(fields, BODY)), SIGNATURE)
})

test('the signature field itself is not signed', (t) => {
  const credentials = { accessKey: 'RocketMQ', secretKey: '12345678' }
  const signed = signFields(
    credentials,
    new Map([
      ['topic', 'T'],
      ['queueId', '0'],
    ]),
    BODY,
  )
  t.is(signed.get('Signature'), SIGNATURE)
  t.is(sign('12345678', signedContent(signed, BODY)), SIGNATURE)
})
