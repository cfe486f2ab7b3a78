import test from 'ava'
import { sign, signedContent, signFields } from '../../src/remoting/signature.ts'

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
