import test from 'ava'
import { queueOffset } from '../../../src/model/positions.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  pullRequest,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
} from '../../support/broker.ts'

const eu = (body: string) => newMessage('orders', { tag: 'eu', body })

test('a pull holds on a light queue as on any other', async (t) => {
  const { broker } = await startBroker(t)
  const { topic, offset } = await broker.lightQueues.bind('orders/#', undefined)
  const pulling = broker.pull(pullRequest(topic, { offset, waitMs: 5000 }))
  await broker.publish([eu('a')])
  t.deepEqual(bodiesOf(await pulling), ['a'])
})

test('a durable light queue and the group on it survive a crash', async (t) => {
  const first = await startBroker(t)
  const { topic } = await first.broker.lightQueues.bind('orders/#', 'one')
  await first.broker.publish([eu('a'), eu('b')])
  const received = await first.broker.receive(receiveRequest(topic, 'devices'))
  await first.broker.ack(receiptsOf(received.slice(0, 1)))
  const { broker } = await first.reopen()
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest(topic, 'devices'))), ['b'])
  t.deepEqual(
    (await broker.groups.lags('devices')).map((lag) => lag.topic),
    ['%LMQ%orders/#', '%RETRY%devices'],
  )
})

test('a light queue lives until its last binding is undone, also across a crash', async (t) => {
  const first = await startBroker(t)
  const { topic } = await first.broker.lightQueues.bind('orders/#', 'one')
  await first.broker.lightQueues.bind('orders/#', 'two')
  await first.broker.lightQueues.unbind('orders/#', 'two')
  const { broker } = await first.crash()
  await broker.groups.ensure('devices')
  t.is((await broker.pull(pullRequest(topic))).status, 'at-end')
  await broker.cursors.commit('devices', queueOf(topic), queueOffset(0))
  const waiting = codeOf(broker.pull(pullRequest(topic, { waitMs: 5000 })))
  await broker.topics.list()
  await broker.lightQueues.unbind('orders/#', 'one')
  t.is(await waiting, 'TOPIC_NOT_FOUND')
  t.is(await codeOf(broker.pull(pullRequest(topic))), 'TOPIC_NOT_FOUND')
  t.is(await codeOf(broker.receive(receiveRequest(topic, 'devices'))), 'TOPIC_NOT_FOUND')
  t.is(await broker.cursors.committed('devices', queueOf(topic)), undefined)
})

test('undoing a binding that is not there changes nothing', async (t) => {
  const { broker } = await startBroker(t)
  await t.notThrowsAsync(broker.lightQueues.unbind('orders/#', 'one'))
  await broker.lightQueues.bind('orders/#', undefined)
  await broker.lightQueues.unbind('orders/#', 'one')
  const { topic } = await broker.lightQueues.bind('orders/#', undefined)
  t.is((await broker.pull(pullRequest(topic))).status, 'at-end')
})

test('a binding that could not be written is not there', async (t) => {
  const { broker, faults } = await startBroker(t)
  faults.isReadOnly = true
  t.is(await codeOf(broker.lightQueues.bind('orders/#', 'one')), 'READ_ONLY')
  t.is(await codeOf(broker.pull(pullRequest('%LMQ%orders/#'))), 'TOPIC_NOT_FOUND')
})

test('two owners that bind one filter at once both get its queue', async (t) => {
  const { broker } = await startBroker(t)
  const both = await Promise.all([
    broker.lightQueues.bind('orders/#', 'one'),
    broker.lightQueues.bind('orders/#', 'one'),
  ])
  await broker.publish([eu('a')])
  for (const { topic, offset } of both) {
    t.deepEqual(bodiesOf(await broker.pull(pullRequest(topic, { offset }))), ['a'])
  }
})

test('an owner binds a filter once, however often it says so', async (t) => {
  const first = await startBroker(t)
  const { topic } = await first.broker.lightQueues.bind('orders/#', 'one')
  const { broker } = await first.crash()
  await broker.lightQueues.bind('orders/#', 'one')
  await broker.publish([eu('a')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(topic))), ['a'])
  await broker.lightQueues.unbind('orders/#', 'one')
  t.is(await codeOf(broker.pull(pullRequest(topic))), 'TOPIC_NOT_FOUND')
})

test("releasing an owner undoes all its bindings and no other owner's", async (t) => {
  const first = await startBroker(t)
  const a = await first.broker.lightQueues.bind('a/#', 'one')
  const b = await first.broker.lightQueues.bind('b/#', 'one')
  await first.broker.lightQueues.bind('b/#', 'two')
  await first.broker.lightQueues.unbindAll('one')
  await first.broker.lightQueues.unbindAll('nobody')
  for (const { broker } of [first, await first.crash()]) {
    t.is(await codeOf(broker.pull(pullRequest(a.topic))), 'TOPIC_NOT_FOUND')
    t.is((await broker.pull(pullRequest(b.topic))).status, 'at-end')
  }
})

test('a filter bound again while its last binding is undone gets what comes', async (t) => {
  const { broker } = await startBroker(t)
  await broker.lightQueues.bind('orders/#', 'one')
  const unbinding = broker.lightQueues.unbind('orders/#', 'one')
  const { topic, offset } = await broker.lightQueues.bind('orders/#', 'two')
  await unbinding
  await broker.publish([eu('a')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(topic, { offset }))), ['a'])
})

test('a group on a queue that is unbound and bound anew at once misses nothing of the new one', async (t) => {
  const { broker } = await startBroker(t)
  const { topic } = await broker.lightQueues.bind('orders/#', 'one')
  await broker.publish([eu('a'), eu('b'), eu('c')])
  const receive = () => broker.receive(receiveRequest(topic, 'devices'))
  await broker.ack(receiptsOf(await receive()))
  const unbinding = broker.lightQueues.unbind('orders/#', 'one')
  await broker.lightQueues.bind('orders/#', 'two')
  await unbinding
  await broker.publish([eu('d')])
  t.deepEqual(bodiesOf(await receive()), ['d'])
})

test('an owner without a name, or with too long a one, is refused', async (t) => {
  const { broker } = await startBroker(t)
  for (const owner of ['', 'x'.repeat(4097)]) {
    t.is(await codeOf(broker.lightQueues.bind('a', owner)), 'ARGUMENT_INVALID')
  }
})

test('what a release could not undo while the store took nothing is undone when it takes something', async (t) => {
  const first = await startBroker(t)
  const { broker, faults } = first
  const { topic } = await broker.lightQueues.bind('a/+', 'owner')
  await broker.lightQueues.bind('b/+', 'owner')
  faults.isReadOnly = true
  await t.throwsAsync(broker.lightQueues.unbindAll('owner'), { code: 'READ_ONLY' })
  // Bound again for the owner that has the name now.
  faults.isReadOnly = false
  const { topic: kept } = await broker.lightQueues.bind('b/+', 'owner')
  faults.becomesWritable()
  await faults.idle()
  const { broker: after } = await first.crash()
  t.is(await codeOf(after.pull(pullRequest(topic))), 'TOPIC_NOT_FOUND')
  await t.notThrowsAsync(after.pull(pullRequest(kept)))
})

test('a binding that could not be undone is there, with its queue', async (t) => {
  const { broker, faults } = await startBroker(t)
  const { topic } = await broker.lightQueues.bind('orders/+', 'owner')
  faults.isReadOnly = true
  await t.throwsAsync(broker.lightQueues.unbind('orders/+', 'owner'), { code: 'READ_ONLY' })
  faults.isReadOnly = false
  await broker.publish([eu('a')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(topic))), ['a'])
  await broker.lightQueues.unbind('orders/+', 'owner')
  await t.throwsAsync(broker.pull(pullRequest(topic)), { code: 'TOPIC_NOT_FOUND' })
})

test('a queue that is held and owned goes with the last of both', async (t) => {
  const { broker } = await startBroker(t)
  const { hold, letGo, bind, unbind } = broker.lightQueues
  const { topic } = await hold('orders/+')
  t.is((await bind('orders/+', 'one')).topic, topic)
  await hold('orders/+')
  await letGo('orders/+')
  await unbind('orders/+', 'one')
  await broker.publish([eu('a')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(topic))), ['a'])
  await letGo('orders/+')
  await letGo('orders/+')
  t.is(await codeOf(broker.pull(pullRequest(topic))), 'TOPIC_NOT_FOUND')
  await bind('orders/+', 'one')
  await letGo('orders/+')
  t.is((await broker.pull(pullRequest(topic))).status, 'at-end')
})

test('after a crash a held queue is gone, with its groups, and an owned one is not', async (t) => {
  const first = await startBroker(t)
  const held = await first.broker.lightQueues.hold('orders/+')
  const both = await first.broker.lightQueues.hold('orders/#')
  await first.broker.lightQueues.bind('orders/#', 'one')
  await first.broker.publish([eu('a'), eu('b')])
  for (const { topic } of [held, both]) {
    t.is((await first.broker.receive(receiveRequest(topic, 'devices'))).length, 2)
  }
  const second = await first.crash()
  await second.faults.idle()
  t.is(await codeOf(second.broker.pull(pullRequest(held.topic))), 'TOPIC_NOT_FOUND')
  t.is(await second.broker.cursors.committed('devices', queueOf(held.topic)), undefined)
  const { broker } = await second.crash()
  t.is((await broker.lightQueues.hold('orders/+')).offset, queueOffset(0))
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest(both.topic, 'devices'))), ['a', 'b'])
  await broker.lightQueues.unbind('orders/#', 'one')
  t.is(await codeOf(broker.pull(pullRequest(both.topic))), 'TOPIC_NOT_FOUND')
})

test('a queue that is held again at the start, before the last hold is undone, stays', async (t) => {
  const first = await startBroker(t)
  for (const filter of ['a/+', 'b/+']) await first.broker.lightQueues.hold(filter)
  const { broker, faults } = await first.crash()
  const { topic } = await broker.lightQueues.hold('b/+')
  await faults.idle()
  t.is((await broker.pull(pullRequest(topic))).status, 'at-end')
})

test('a hold that could not be written is none, and one that could not be undone is undone later', async (t) => {
  const { broker, faults } = await startBroker(t)
  faults.isReadOnly = true
  t.is(await codeOf(broker.lightQueues.hold('orders/+')), 'READ_ONLY')
  t.is(await codeOf(broker.pull(pullRequest('%LMQ%orders/+'))), 'TOPIC_NOT_FOUND')
  faults.isReadOnly = false
  const { topic } = await broker.lightQueues.hold('orders/+')
  faults.isReadOnly = true
  await t.notThrowsAsync(broker.lightQueues.letGo('orders/+'))
  faults.isReadOnly = false
  faults.becomesWritable()
  await faults.idle()
  t.is(await codeOf(broker.pull(pullRequest(topic))), 'TOPIC_NOT_FOUND')
})
