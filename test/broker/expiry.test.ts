import test from 'ava'
import type { EmbeddedBroker } from '../../src/broker/broker.ts'
import { EXPIRED } from '../../src/broker/consume/numbers.ts'
import type { Receipt } from '../../src/model/message.ts'
import { PROPERTY } from '../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../src/model/record.ts'
import { parseTagFilter } from '../../src/model/tag-filter.ts'
import {
  bodiesOf,
  codesOf,
  isPending,
  newMessage,
  pullRequest,
  receiveRequest,
  startBroker,
  topicOf,
} from '../support/broker.ts'

const HOUR_MS = 3_600_000

const publish = (broker: EmbeddedBroker, body: string, properties: Record<string, string> = {}) =>
  broker.publish([newMessage('orders', { queueId: 0, body, properties })])

const receive = async (broker: EmbeddedBroker, topic = 'orders'): Promise<string[]> => {
  const received = await broker.receive(receiveRequest(topic, 'G'))
  await broker.ack(received.map(({ receipt }): Receipt => receipt))
  return received.map(({ record }) => new RecordView(record).body.toString())
}

test('a time to live is kept as the point in time when it is over', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 'a', { TRIVET_TTL_MS: '5000', TRIVET_EXPIRES_MS: '1', colour: 'red' })
  const [record] = [...recordsOf((await broker.pull(pullRequest('orders'))).records)]
  t.is(record?.property(PROPERTY.expiresMs), String(clock.now() + 5000))
  t.is(record?.property(PROPERTY.timeToLiveMs), undefined)
  t.is(record?.property('colour'), 'red')
  t.is(record?.property(PROPERTY.cluster), 'DefaultCluster')
})

for (const properties of [{ TRIVET_TTL_MS: 'soon' }, { TRIVET_EXPIRES_MS: '-1' }]) {
  test(`an expiry that is no number of ms is refused: ${JSON.stringify(properties)}`, async (t) => {
    const { broker } = await startBroker(t)
    t.deepEqual(codesOf(await publish(broker, 'x', properties)), ['MESSAGE_INVALID'])
  })
}

test('a pull steps over what has expired, whatever it selects, and holds on', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'short', { TRIVET_TTL_MS: '1000', TAGS: 'A' })
  await publish(broker, 'long', { TRIVET_TTL_MS: '2001', TAGS: 'A' })
  await publish(broker, 'for ever', { TAGS: 'A' })
  clock.advance(1000)
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['long', 'for ever'])
  clock.advance(1001)
  const filter = parseTagFilter('A')
  const pulled = await broker.pull(pullRequest('orders', { filter }))
  t.deepEqual(bodiesOf(pulled), ['for ever'])
  t.is(pulled.nextOffset, 3 as never)
  const none = await broker.pull(pullRequest('orders', { maxMessages: 1 }))
  t.is(none.status, 'no-match')
  t.is(none.nextOffset, 1 as never)
  const held = broker.pull(pullRequest('orders', { offset: 3, waitMs: HOUR_MS }))
  await publish(broker, 'gone', { TRIVET_EXPIRES_MS: '1' })
  t.true(await isPending(test, held))
  await publish(broker, 'here')
  t.deepEqual(bodiesOf(await held), ['here'])
})

test('an expired message is not received, new or handed back, and the group goes on behind it', async (t) => {
  const { broker, clock, crash } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  await publish(broker, 'held', { TRIVET_TTL_MS: '1000' })
  const [held] = await broker.receive(receiveRequest('orders', 'G'))
  await publish(broker, 'new', { TRIVET_TTL_MS: '1000' })
  await publish(broker, 'for ever')
  clock.advance(1000)
  await broker.release([held!.receipt])
  t.deepEqual(await receive(broker), ['for ever'])
  const [lag] = await broker.groups.lags('G')
  t.is(lag!.lag, 0)
  clock.advance(1000)
  const again = await crash()
  t.deepEqual(await again.broker.receive(receiveRequest('orders', 'G')), [])
})

test('a retry that has expired is not received either', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 'failing', { TRIVET_TTL_MS: '15000' })
  for (const _ of [1, 2]) {
    const [received] = await broker.receive(receiveRequest('orders', 'G'))
    await broker.nack([received!.receipt])
  }
  await publish(broker, 'next')
  clock.advance(10_000)
  await broker.pull(pullRequest('%RETRY%G', { waitMs: HOUR_MS }))
  clock.advance(5000)
  t.deepEqual(await receive(broker), ['next'])
})

test('where expired messages are dead-lettered they come to the dead letters, which do not expire', async (t) => {
  const { broker, clock, numbers } = await startBroker(t, { expired: 'deadLetter' })
  await publish(broker, 'held', { TRIVET_TTL_MS: '1000' })
  const [held] = await broker.receive(receiveRequest('orders', 'G'))
  await publish(broker, 'new', { TRIVET_TTL_MS: '1000' })
  await publish(broker, 'for ever')
  clock.advance(1000)
  await broker.release([held!.receipt])
  t.deepEqual(await receive(broker), ['for ever'])
  const bodies: string[] = []
  for (let offset = 0; offset < 2; ) {
    const pulled = await broker.pull(pullRequest('%DLQ%G', { offset, waitMs: HOUR_MS }))
    bodies.push(...bodiesOf(pulled))
    for (const record of recordsOf(pulled.records)) {
      t.is(record.property(PROPERTY.deadLetterReason), 'expired')
      t.is(record.property(PROPERTY.expiresMs), undefined)
    }
    offset = Number(pulled.nextOffset)
  }
  t.deepEqual(bodies.sort(), ['held', 'new'])
  const lags = await broker.groups.lags('G')
  t.true(lags.every(({ lag }) => lag === 0))
  t.is(numbers.counter(EXPIRED).value, 2)
})

test('in order, an expired message holds nothing up', async (t) => {
  const { broker, clock } = await startBroker(t, { expired: 'deadLetter' })
  await publish(broker, 'short', { TRIVET_TTL_MS: '1000' })
  await publish(broker, 'for ever')
  clock.advance(1000)
  const asked = receiveRequest('orders', 'G', { ordered: true, queueId: 0, waitMs: HOUR_MS })
  const received = await broker.receive(asked)
  t.deepEqual(
    received.map(({ record }) => new RecordView(record).body.toString()),
    ['for ever'],
  )
})
