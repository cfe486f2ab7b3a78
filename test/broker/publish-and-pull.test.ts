import test from 'ava'
import type { Broker } from '../../src/gateway/gateway.ts'
import type { PublishReceipt } from '../../src/model/message.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { recordsOf } from '../../src/model/record.ts'
import { EVERY_TAG, tagFilterOf } from '../../src/model/tag-filter.ts'
import { newMessage, receiveRequest, startBroker } from '../support/broker.ts'

const pullFrom = (topic: string, queueId: number, offset: number) => ({
  topic,
  queueId,
  offset: queueOffset(offset),
  maxMessages: 32,
  maxBytes: 1024 * 1024,
  filter: EVERY_TAG,
  waitMs: 0,
})

test('the embedded broker satisfies the Broker port', async (t) => {
  const { broker } = await startBroker(t)
  const port: Broker = broker
  t.is(port.identity.brokerName, 'broker-a')
})

test('a published message is pulled from its queue', async (t) => {
  const { broker } = await startBroker(t)
  const [result] = await broker.publish([newMessage('orders', { queueId: 2, body: 'one' })])
  const receipt = result as PublishReceipt
  t.is(receipt.queueId, 2)
  t.is(receipt.queueOffset, queueOffset(0))
  const pulled = await broker.pull(pullFrom('orders', 2, 0))
  t.is(pulled.status, 'found')
  t.deepEqual(
    [...recordsOf(pulled.records)].map((record) => record.body.toString()),
    ['one'],
  )
  t.is(pulled.nextOffset, queueOffset(1))
})

test('a pull at the end waits for a message whose tag matches', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const filter = tagFilterOf(['eu'])
  const pulling = broker.pull({ ...pullFrom('orders', 0, 0), filter, waitMs: 15_000 })
  await broker.publish([newMessage('orders', { queueId: 0, tag: 'us' })])
  await broker.publish([newMessage('orders', { queueId: 0, tag: 'eu', body: 'wanted' })])
  const pulled = await pulling
  t.is(pulled.status, 'found')
  t.is([...recordsOf(pulled.records)][0]?.body.toString(), 'wanted')
})

test('a message is received, acknowledged and not received again', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage('orders', { body: 'one' }), newMessage('orders')])
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  t.is(received.length, 2)
  t.deepEqual(await broker.ack(received.map(({ receipt }) => receipt)), [null, null])
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
  const [lag] = (await broker.groups.lags('billing')).filter(({ topic }) => topic === 'orders')
  t.is(lag?.inFlight, 0)
  t.is(lag?.lag, 0)
})
