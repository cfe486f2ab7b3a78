// A group's messages that came back, when its consumers have another filter by then.
import test from 'ava'
import type { EmbeddedBroker } from '../../src/broker/broker.ts'
import type { ReceivedMessage } from '../../src/model/message.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { EVERY_TAG, type TagFilter, tagFilterOf } from '../../src/model/tag-filter.ts'
import {
  bodiesOf,
  newMessage,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
} from '../support/broker.ts'
import { eventually } from '../support/waiting.ts'

const EU = tagFilterOf(['eu'])
const US = tagFilterOf(['us'])

const publish = (broker: EmbeddedBroker, ...tags: string[]) =>
  broker.publish(
    tags.map((tag, i) => newMessage('orders', { queueId: 0, tag, body: `${tag}${i}` })),
  )

const receive = (
  broker: EmbeddedBroker,
  filter: TagFilter,
  shape: { ordered?: boolean; maxMessages?: number } = {},
): Promise<readonly ReceivedMessage[]> =>
  broker.receive(receiveRequest('orders', 'billing', { filter, ...shape }))

test('a released message waits for consumers whose filter selects it', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'eu', 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  await publish(broker, 'us')
  const others = await receive(broker, US)
  t.deepEqual(bodiesOf(others), ['us0'])
  await broker.ack(receiptsOf(others))
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0', 'eu1'])
})

test('consumers without a filter get what one left out before', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EVERY_TAG)), ['eu0'])
})

test('a released message that no filter selects holds up no ordered consumer', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  await publish(broker, 'us')
  t.deepEqual(bodiesOf(await receive(broker, US, { ordered: true })), ['us0'])
})

test('a failed message that comes again waits for consumers whose filter selects it', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 'eu')
  for (let i = 0; i < 2; i++) {
    const received = await receive(broker, EU)
    t.is(received.length, 1)
    await broker.nack(receiptsOf(received))
  }
  await clock.advanceAsync(60_000)
  await eventually(async () => {
    const lags = await broker.groups.lags('billing')
    return lags.some(({ topic, lag }) => topic === '%RETRY%billing' && lag === 1) || undefined
  })
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0'])
})

test('what waits for another filter is left for the group, also after a restart', async (t) => {
  const before = await startBroker(t)
  await publish(before.broker, 'eu')
  await before.broker.release(receiptsOf(await receive(before.broker, EU)))
  t.deepEqual(await receive(before.broker, US), [])
  const { broker } = await before.reopen()
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0'])
})

test('a reset of the group brings back what waits for another filter', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  t.deepEqual(await receive(broker, US), [])
  await broker.cursors.reset('billing', queueOf('orders'), queueOffset(0))
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0'])
})
