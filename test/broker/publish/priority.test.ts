import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { newMessage, pullRequest, startBroker, topicOf } from '../../support/broker.ts'

/** As its sender asks, of the queues 0 to 3: queue 2. */
for (const [what, properties, queueId, isKept] of [
  ['no priority', {}, 2, false],
  ['the lowest one', { priority: '0' }, 0, true],
  ['one in between', { priority: '1' }, 1, true],
  ['one above the last queue', { priority: '9' }, 3, true],
  ['one below 0', { priority: '-1' }, 2, true],
  ['one that is no number', { priority: 'abc' }, 2, true],
  ['one that is no int', { priority: '4294967296' }, 2, true],
  ['one beside an ordering key', { priority: '1', orderingKey: 'k' }, 2, false],
  ['one beside the ordering key of ali-ons', { priority: '1', orderingKeyAliOns: 'k' }, 2, false],
  ['one beside a level that delays nothing', { priority: '1', delay: '0' }, 2, false],
] as const) {
  test(`a message with ${what} goes to queue ${queueId}`, async (t) => {
    const { broker } = await startBroker(t)
    await broker.topics.put(topicOf('orders', 4))
    const named = Object.entries(properties).map(([key, value]) => [
      PROPERTY[key as keyof typeof PROPERTY],
      value,
    ])
    const message = newMessage('orders', { queueId: 2, properties: Object.fromEntries(named) })
    const [result] = await broker.publish([message])
    t.is(result instanceof BrokerError ? result : result!.queueId, queueId)
    const [record] = [...recordsOf((await broker.pull(pullRequest('orders', { queueId }))).records)]
    t.is(record?.queueId, queueId)
    t.is(record?.property(PROPERTY.priority) !== undefined, isKept)
    t.is(record?.property(PROPERTY.uniqueKey)?.length, 32)
  })
}

test('the priorities of a batch that is stored together move none of it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 4))
  const messages = ['3', '0'].map((priority) =>
    newMessage('orders', { queueId: 2, properties: { [PROPERTY.priority]: priority } }),
  )
  const receipts = await broker.publishTogether(messages)
  t.deepEqual(
    receipts.map(({ queueId }) => queueId),
    [2, 2],
  )
})
