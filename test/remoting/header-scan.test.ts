import test from 'ava'
import fc from 'fast-check'
import { HeaderScan, integerIn } from '../../src/remoting/fast/header-scan.ts'
import { decodeJsonHeader, encodeJsonHeader } from '../../src/remoting/header/json-header.ts'
import { unescapeJson } from '../../src/remoting/json/json-unescape.ts'

const scan = new HeaderScan()

/** JSON.parse moves numeric names to the front, and no one asks for the order. */
const byName = (fields: ReadonlyMap<string, string>): Map<string, string> =>
  new Map([...fields].toSorted(([a], [b]) => (a < b ? -1 : 1)))

/** What the scan found, in the form of the general decoder; undefined when it declined. */
function scanned(bytes: Buffer): object | undefined {
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

function decoded(bytes: Buffer): object {
  const { code, flag, opaque, version, fields } = decodeJsonHeader(bytes, 0, bytes.length)
  // Lone surrogates have no bytes of their own.
  const plain = [...fields].map(([k, v]) => [k, Buffer.from(v).toString()] as const)
  return { code, flag, opaque, version, fields: byName(new Map(plain)) }
}

const i32 = fc.integer()
const value = fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean())
const header = fc.record(
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

test('a scan finds what JSON.parse finds', (t) => {
  let hits = 0
  fc.assert(
    fc.property(header, fc.constantFrom(undefined, 1, '\t'), (head, indent) => {
      const bytes = Buffer.from(JSON.stringify(head, null, indent))
      const found = scanned(bytes)
      if (found === undefined) return
      hits++
      t.deepEqual(found, decoded(bytes))
    }),
    { numRuns: 500 },
  )
  t.true(hits > 200, `only ${hits} of 500 ordinary headers were scanned`)
})

test('a damaged header is declined, or means what JSON.parse says', (t) => {
  fc.assert(
    fc.property(header, fc.nat(), fc.integer({ min: 0, max: 255 }), (head, at, byte) => {
      const bytes = Buffer.from(JSON.stringify(head))
      bytes[at % bytes.length] = byte
      const found = scanned(bytes)
      if (found !== undefined) t.deepEqual(found, decoded(bytes))
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

test('a truncated header is declined', (t) => {
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

test('integers are read from their digits', (t) => {
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
