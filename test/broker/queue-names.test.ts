// A queue is named by its topic, its broker and its id.
import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import { queueOffset } from '../../src/model/positions.ts'
import {
  codeOf,
  codesOf,
  newMessage,
  pullRequest,
  queueOf,
  receiveRequest,
  startBroker,
  topicOf,
} from '../support/broker.ts'

test('whatever answers a queue names its broker', async (t) => {
  const { broker } = await startBroker(t, { brokerName: 'mine' })
  await broker.topics.put(topicOf('orders', 1))
  const queue = { ...queueOf('orders'), brokerName: 'mine' }
  const arrival = new Promise((resolve) => {
    broker.watch('orders', (...news) => resolve(news))
  })
  const [receipt] = await broker.publish([newMessage('orders')])
  t.like(receipt, { brokerName: 'mine', queueId: 0 })
  t.deepEqual(await arrival, ['mine', 0, queueOffset(1)])
  t.like((await broker.topics.ranges('orders'))[0], queue)
  t.like(await broker.cursors.range(queue), queue)
  t.like(await broker.lightQueues.bind('a/+', undefined), { brokerName: 'mine', queueId: 0 })
  await broker.groups.ensure('billing')
  const [received] = await broker.receive(receiveRequest('orders', 'billing'))
  t.is(received?.brokerName, 'mine')
  await broker.cursors.commit('billing', queue, queueOffset(1))
  t.like((await broker.groups.lags('billing'))[1], queue)
  t.deepEqual(await broker.queueLocks.lock('billing', 'a', [queue]), [queue])
})

test('a queue of another broker is none of this one', async (t) => {
  const { broker } = await startBroker(t)
  const { cursors } = broker
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const [stored] = await broker.publish([newMessage('orders')])
  if (stored === undefined || stored instanceof BrokerError) throw new Error('not stored')
  const brokerName = 'another'
  const queue = { ...queueOf('orders'), brokerName }
  const offset = queueOffset(0)
  const calls = [
    broker.pull(pullRequest('orders', { brokerName })),
    broker.receive(receiveRequest('orders', 'billing', { brokerName })),
    cursors.committed('billing', queue),
    cursors.available('billing', queue),
    cursors.commit('billing', queue, offset),
    cursors.range(queue),
    cursors.byTime(queue, 0, 'lower'),
    cursors.reset('billing', queue, offset),
    broker.sendBack({ group: 'billing', ...stored, brokerName, delayLevel: 0 }),
  ]
  for (const call of calls) t.is(await codeOf(call), 'QUEUE_NOT_FOUND')
  const message = newMessage('orders', { queueId: 0, brokerName })
  t.deepEqual(codesOf(await broker.publish([message])), ['QUEUE_NOT_FOUND'])
  t.is(await broker.lookup.byPosition(brokerName, stored.position), undefined)
  t.deepEqual(await broker.queueLocks.lock('billing', 'a', [queue]), [])
})
