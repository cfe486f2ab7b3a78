import test from 'ava'
import fc from 'fast-check'
import { scanBinaryHeader } from '../../src/remoting/fast/binary-scan.ts'
import { HeaderScan } from '../../src/remoting/fast/header-scan.ts'
import { decodeBinaryHeader, encodeBinaryHeader } from '../../src/remoting/header/binary-header.ts'

const scan = new HeaderScan()

/** What the scan found, in the form of the decoder; undefined when it declined. */
function scanned(bytes: Buffer): object | undefined {
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

function decoded(bytes: Buffer): object {
  const { code, flag, opaque, version, fields } = decodeBinaryHeader(bytes, 0, bytes.length)
  return { code, flag, opaque, version, fields }
}

const i16 = fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 })
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const header = fc.record({
  code: i16,
  language: fc.constantFrom('JAVA', 'GO'),
  version: i16,
  opaque: fc.integer(),
  flag: fc.integer(),
  remark: fc.option(text, { nil: undefined }),
  fields: fc.array(fc.tuple(text, text), { maxLength: 10 }).map((pairs) => new Map(pairs)),
})

test('a scan finds what the decoder finds', (t) => {
  fc.assert(
    fc.property(header, (head) => {
      const bytes = encodeBinaryHeader(head)
      t.deepEqual(scanned(bytes), decoded(bytes))
    }),
  )
})

test('a damaged header is declined, or means what the decoder says', (t) => {
  let taken = 0
  fc.assert(
    fc.property(header, fc.nat(), fc.integer({ min: 0, max: 255 }), (head, at, byte) => {
      const bytes = encodeBinaryHeader(head)
      bytes[at % bytes.length] = byte
      const found = scanned(bytes)
      if (found === undefined) return
      taken++
      // The bytes of a text stay as they are, so it must be one.
      for (let i = 0; i < scan.count; i++) {
        const value = bytes.subarray(scan.valueAt[i], scan.valueEnd[i])
        t.deepEqual(Buffer.from(value.toString()), value)
      }
      t.deepEqual(found, decoded(bytes))
    }),
    { numRuns: 3000 },
  )
  t.true(taken > 100, `only ${taken} of 3000 were scanned`)
})

test('a truncated header is declined', (t) => {
  const fields = new Map([
    ['a', 'PG'],
    ['b', 'T'],
  ])
  const head = { code: 310, language: 'JAVA', version: 479, opaque: 12, flag: 0, remark: 'r' }
  const bytes = encodeBinaryHeader({ ...head, fields })
  t.truthy(scanned(bytes))
  for (let end = 0; end < bytes.length; end++) {
    t.false(scanBinaryHeader(scan, bytes, 0, end), `${end} bytes`)
  }
})

test('the fields end where their length says, not where the header does', (t) => {
  const head = { code: 310, language: 'JAVA', version: 0, opaque: 1, flag: 0, remark: undefined }
  const bytes = encodeBinaryHeader({ ...head, fields: new Map([['b', 'T']]) })
  const longer = Buffer.concat([bytes, Buffer.from('more')])
  t.deepEqual(scanned(longer), decoded(longer))
})

test('a header with more fields than the scan has room for is left to the decoder', (t) => {
  const head = { code: 310, language: 'JAVA', version: 0, opaque: 1, flag: 0, remark: undefined }
  const fieldsOf = (count: number): Map<string, string> =>
    new Map(Array.from({ length: count }, (_, i) => [`f${i}`, 'x']))
  t.truthy(scanned(encodeBinaryHeader({ ...head, fields: fieldsOf(64) })))
  t.is(scanned(encodeBinaryHeader({ ...head, fields: fieldsOf(65) })), undefined)
})
