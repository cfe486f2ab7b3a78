import test from 'ava'
import fc from 'fast-check'
import { requestHeader } from '../../src/remoting/command.ts'
import { scanBinaryHeader } from '../../src/remoting/fast/binary-scan.ts'
import { HeaderScan } from '../../src/remoting/fast/header-scan.ts'
import { SignedScan } from '../../src/remoting/fast/signed-scan.ts'
import { encodeBinaryHeader } from '../../src/remoting/header/binary-header.ts'
import { encodeJsonHeader } from '../../src/remoting/header/json-header.ts'
import { sign, signedContent, signFields } from '../../src/remoting/signature.ts'

const scan = new HeaderScan()
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

const scanned = (fields: string): ReturnType<SignedScan['read']> => {
  const bytes = Buffer.from(`{"code":310,"extFields":{${fields}}}`)
  t0(scan.scan(bytes, 0, bytes.length))
  return signed.read()
}
const t0 = (isScanned: boolean): void => {
  if (!isScanned) throw new Error('not scanned')
}

test('an unsigned header, and one with a name twice, is left to the general way', (t) => {
  t.is(scanned('"b":"T"'), undefined)
  t.is(scanned('"b":"T","AccessKey":"user"'), undefined)
  t.is(scanned('"b":"T","b":"U","AccessKey":"user","Signature":"x"'), undefined)
  t.truthy(scanned('"b":"T","AccessKey":"user","Signature":"x"'))
})
