// A batch that is stored whole or not at all.
import test from 'ava'
import { APPEND_BYTES_TARGET } from '../../src/broker/options.ts'
import { BrokerError } from '../../src/errors.ts'
import {
  bodiesOf,
  newMessage,
  pullRequest,
  queueOf,
  startBroker,
  topicOf,
} from '../support/broker.ts'

test('of a batch with a refused message none is stored, and the error names it', async (t) => {
  const { broker } = await startBroker(t, { bodyBytesMax: 10 })
  await broker.topics.put(topicOf('orders', 1))
  const error = await t.throwsAsync(
    broker.publishTogether([
      newMessage('orders', { body: 'good' }),
      newMessage('orders', { body: 'more than ten bytes' }),
      newMessage('orders', { body: 'good too' }),
    ]),
    { instanceOf: BrokerError, code: 'MESSAGE_TOO_LARGE' },
  )
  t.regex(
    error.message,
    /nothing of the batch was stored.* message 2 of its 3 .*bodyBytesMax is 10/,
  )
  t.is((await broker.cursors.range(queueOf('orders'))).maxOffset as number, 0)
})

test('a batch larger than several appends usually are is one append', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const before = faults.appends
  const body = 'x'.repeat(APPEND_BYTES_TARGET / 2)
  await broker.publishTogether(new Array(5).fill(newMessage('orders', { body })))
  t.is(faults.appends - before, 1)
})

test('others are served while a large batch is checked', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const batch = broker.publishTogether(new Array(10_000).fill(newMessage('orders')))
  await new Promise((resolve) => setImmediate(resolve))
  const other = broker.publish([newMessage('orders', { body: 'other' })])
  t.is((await batch)[0]!.queueOffset as number, 1)
  await other
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders', { maxMessages: 1 }))), ['other'])
})

test('a topic that is deleted while its batch is checked takes nothing of it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const batch = broker.publishTogether(new Array(10_000).fill(newMessage('orders')))
  const deleted = broker.topics.delete('orders')
  const error = await t.throwsAsync(batch, { instanceOf: BrokerError })
  t.is((error as BrokerError).code, 'TOPIC_NOT_FOUND')
  await deleted
})

test('a batch that the store refuses is refused whole', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.publish([newMessage('orders')])
  faults.isReadOnly = true
  await t.throwsAsync(broker.publishTogether([newMessage('orders'), newMessage('orders')]), {
    code: 'READ_ONLY',
  })
})
