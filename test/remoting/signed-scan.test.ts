import test from 'ava'
import fc from 'fast-check'
import { requestHeader } from '../../src/remoting/command.ts'
import { HeaderScan } from '../../src/remoting/fast/header-scan.ts'
import { SignedScan } from '../../src/remoting/fast/signed-scan.ts'
import { decodeJsonHeader, encodeJsonHeader } from '../../src/remoting/header/json-header.ts'
import { sign, signedContent, signFields } from '../../src/remoting/signature.ts'

const scan = new HeaderScan()
const signed = new SignedScan(scan)
const credentials = { accessKey: 'user', secretKey: 'secret-key' }

test('the signed bytes of a scanned header are those of the decoded one', (t) => {
  const fields = fc.dictionary(
    fc.stringMatching(/^[a-zA-Z_]{1,10}$/),
    fc.string({ unit: 'grapheme' }),
    { maxKeys: 12 },
  )
  fc.assert(
    fc.property(fields, fc.uint8Array({ maxLength: 50 }), (given, body) => {
      const all = signFields(credentials, new Map(Object.entries(given)), body)
      const bytes = encodeJsonHeader(requestHeader({ code: 310, opaque: 1, fields: all }))
      t.true(scan.scan(bytes, 0, bytes.length))
      const read = signed.read()!
      t.is(read.accessKey, 'user')
      t.is(sign('secret-key', [read.content, body]), read.signature)
      const decoded = decodeJsonHeader(bytes, 0, bytes.length).fields
      t.deepEqual(read.content, signedContent(decoded, body)[0] as Buffer)
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
