import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import {
  formatReplyName,
  parseReplyAddress,
  parseReplyName,
  replyAddressOf,
  replyToMqtt,
  replyToTopic,
} from '../../src/gateway/shared/reply-address.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 })

test('whatever address and correlation id, one name brings both back and is an MQTT topic', (t) => {
  fc.assert(
    fc.property(text, fc.option(text, { nil: undefined }), (address, correlationId) => {
      const name = formatReplyName({ address, correlationId })
      t.deepEqual(parseReplyName(name), { address, correlationId })
      t.notRegex(name, /[+#\s]/)
    }),
  )
})

test('an address says which protocol its requester speaks', (t) => {
  t.deepEqual(parseReplyAddress('10.0.0.1@7#1'), { kind: 'client', clientId: '10.0.0.1@7#1' })
  t.deepEqual(parseReplyAddress(replyToMqtt('a/b')), { kind: 'mqtt', name: 'a/b' })
  t.deepEqual(parseReplyAddress(replyToTopic('T', 'x/y')), {
    kind: 'topic',
    topic: 'T',
    tag: 'x/y',
  })
  const none = { kind: 'topic', topic: 'T', tag: undefined }
  t.deepEqual(parseReplyAddress(replyToTopic('T', undefined)), none)
})

for (const wrong of ['mqtt:', 'mqtt:$SYS/a', 'mqtt:a/+', 'mqtt:a\u0000', 'topic:', 'topic:a.b']) {
  test(`${JSON.stringify(wrong)} is no address of a reply`, (t) => {
    t.is(
      t.throws(() => parseReplyAddress(wrong), { instanceOf: BrokerError })!.code,
      'NAME_INVALID',
    )
  })
}

test('a reply goes to none of the topics of the system', (t) => {
  const error = t.throws(() => parseReplyAddress('topic:RMQ_SYS_TRANS_HALF_TOPIC'))
  t.is(BrokerError.from(error).code, 'PERMISSION_DENIED')
})

test('a response topic as the first versions kept it is one', (t) => {
  const properties = new Map([
    ['REPLY_TO_CLIENT', 'answers/7'],
    ['MQTT_TOPIC', 'questions'],
  ])
  t.is(replyAddressOf(properties), 'mqtt:answers/7')
})
