import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import type { BrokerOptions } from '../../../src/broker/options.ts'
import { ANY_QUEUE } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { PERM_INHERIT, PERM_READ_WRITE } from '../../../src/model/topic.ts'
import {
  bodiesOf,
  codeOf,
  codesOf,
  drain,
  newMessage,
  pullRequest,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  topicOf,
} from '../../support/broker.ts'

test('the topics that clients of RocketMQ expect are there from the start', async (t) => {
  const { broker } = await startBroker(t, { clusterName: 'C', brokerName: 'b' })
  const queues = new Map((await broker.topics.list()).map((topic) => [topic.name, topic]))
  t.is(queues.get('TBW102')?.writeQueues, 8)
  t.is(queues.get('TBW102')?.perm, PERM_READ_WRITE | PERM_INHERIT)
  t.is(queues.get('SCHEDULE_TOPIC_XXXX')?.readQueues, 18)
  t.is(queues.get('C')?.readQueues, 16)
  t.is(queues.get('MQTT')?.readQueues, 4)
  for (const name of ['SELF_TEST_TOPIC', 'OFFSET_MOVED_EVENT', 'RMQ_SYS_TRACE_TOPIC', 'b']) {
    t.is(queues.get(name)?.readQueues, 1, name)
  }
})

test('TBW102 is there only while topics are created on first use', async (t) => {
  const { broker } = await startBroker(t, { autoCreateTopics: false })
  t.is(await broker.topics.get('TBW102'), undefined)
})

test('a created topic survives a crash right after', async (t) => {
  const first = await startBroker(t)
  await first.broker.topics.put({ ...topicOf('orders', 3), ordered: true })
  const second = await first.crash()
  t.deepEqual(await second.broker.topics.get('orders'), { ...topicOf('orders', 3), ordered: true })
})

test('what an operator takes away from the broker is still away after a crash', async (t) => {
  const first = await startBroker(t)
  let changes = 0
  first.broker.permission.watch(() => changes++)
  await first.broker.publish([newMessage('orders', { body: 'kept' })])
  await first.broker.permission.set(4)
  await first.broker.permission.set(4)
  t.is(changes, 1)
  const { broker } = await first.crash()
  t.is(await broker.permission.get(), 4)
  t.deepEqual(codesOf(await broker.publish([newMessage('orders')])), ['PERMISSION_DENIED'])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['kept'])
  await broker.permission.set(2)
  t.is(await codeOf(broker.pull(pullRequest('orders'))), 'PERMISSION_DENIED')
  t.is(await codeOf(broker.receive(receiveRequest('orders', 'g'))), 'PERMISSION_DENIED')
  t.is(await codeOf(broker.permission.set(3)), 'ARGUMENT_INVALID')
})

test('of changes of what the broker allows at the same time the last one holds', async (t) => {
  const { broker } = await startBroker(t)
  await Promise.all([broker.permission.set(4), broker.permission.set(6)])
  t.is(await broker.permission.get(), 6)
})

test('a first message creates its topic durably, with the queues that its sender asks for', async (t) => {
  const first = await startBroker(t)
  await first.broker.publish([newMessage('a'), newMessage('b', { createQueues: 7 })])
  const second = await first.crash()
  t.is((await second.broker.topics.get('a'))?.writeQueues, 4)
  t.is((await second.broker.topics.get('b'))?.writeQueues, 7)
})

test('without creation on first use a message and a pull find no topic', async (t) => {
  const { broker } = await startBroker(t, { autoCreateTopics: false })
  t.deepEqual(codesOf(await broker.publish([newMessage('orders')])), ['TOPIC_NOT_FOUND'])
  t.is(await codeOf(broker.pull(pullRequest('orders'))), 'TOPIC_NOT_FOUND')
  t.is(await codeOf(broker.receive(receiveRequest('orders', 'g'))), 'TOPIC_NOT_FOUND')
  t.is(await codeOf(broker.topics.ensure('orders')), 'TOPIC_NOT_FOUND')
})

test('what is missing is to be created by hand only where its use does not create it', async (t) => {
  const missing = async (options: Partial<BrokerOptions>): Promise<string[]> => {
    const { broker } = await startBroker(t, options)
    const errors = await Promise.all([
      t.throwsAsync(broker.topics.ranges('orders')),
      t.throwsAsync(broker.groups.lags('g')),
    ])
    return errors.map((error) => error?.message ?? '')
  }
  t.deepEqual(await missing({}), [
    "the topic 'orders' does not exist",
    "the consumer group 'g' does not exist",
  ])
  t.deepEqual(await missing({ autoCreateTopics: false, autoCreateGroups: false }), [
    "the topic 'orders' does not exist; create it first, or set broker.autoCreateTopics",
    "the consumer group 'g' does not exist; create it first, or set broker.autoCreateGroups",
  ])
})

test('a message that must not create its topic does not', async (t) => {
  const { broker } = await startBroker(t)
  const message = newMessage('orders', { createTopic: false })
  t.deepEqual(codesOf(await broker.publish([message])), ['TOPIC_NOT_FOUND'])
  t.is(await broker.topics.get('orders'), undefined)
})

test('the count of topics has a limit', async (t) => {
  const { broker } = await startBroker(t, { topicsMax: 2 })
  await broker.topics.ensure('a')
  await broker.topics.ensure('b')
  t.is(await codeOf(broker.topics.ensure('c')), 'QUOTA_EXCEEDED')
  t.deepEqual(codesOf(await broker.publish([newMessage('d'), newMessage('a')])), [
    'QUOTA_EXCEEDED',
    null,
  ])
  await broker.topics.delete('a')
  await t.notThrowsAsync(broker.topics.ensure('c'))
})

test('the topics of a group that is not there are not made, for they have no limit of their own', async (t) => {
  const { broker } = await startBroker(t)
  t.deepEqual(codesOf(await broker.publish([newMessage('%DLQ%nobody')])), ['TOPIC_NOT_FOUND'])
  for (const topic of ['%DLQ%nobody', '%RETRY%nobody']) {
    t.is(await codeOf(broker.pull(pullRequest(topic))), 'TOPIC_NOT_FOUND')
    t.is(await codeOf(broker.topics.put(topicOf(topic, 1))), 'TOPIC_NOT_FOUND')
    t.is(await broker.topics.get(topic), undefined)
  }
  await broker.groups.ensure('billing')
  t.is((await broker.pull(pullRequest('%DLQ%billing'))).status, 'at-end')
  await t.notThrowsAsync(broker.topics.put(topicOf('%RETRY%billing', 2)))
})

test('a deleted topic is gone with its messages, even after it was made again', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  await broker.publish([newMessage('orders', { queueId: 0, body: 'old' })])
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  await broker.ack(receiptsOf(received))
  await broker.topics.delete('orders')
  t.is(await broker.topics.get('orders'), undefined)
  t.is(await broker.cursors.committed('billing', queueOf('orders')), undefined)
  await broker.publish([newMessage('orders', { queueId: 0, body: 'new' })])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['new'])
  const second = await first.crash()
  t.deepEqual(bodiesOf(await second.broker.pull(pullRequest('orders'))), ['new'])
  t.deepEqual(bodiesOf(await second.broker.receive(receiveRequest('orders', 'billing'))), ['new'])
})

test('deleting a topic ends the pulls and receives that wait for it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const pulling = codeOf(broker.pull(pullRequest('orders', { waitMs: 15_000 })))
  const receiving = codeOf(broker.receive(receiveRequest('orders', 'billing', { waitMs: 15_000 })))
  await broker.cursors.range(queueOf('orders'))
  await broker.topics.delete('orders')
  t.is(await pulling, 'TOPIC_NOT_FOUND')
  t.is(await receiving, 'TOPIC_NOT_FOUND')
})

test('a topic that is made anew while the old one is being deleted stays', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  await broker.publish([newMessage('orders', { queueId: 0, body: 'old' })])
  const deleting = broker.topics.delete('orders')
  await broker.publish([newMessage('orders', { queueId: 0, body: 'new' })])
  await deleting
  const second = await first.crash()
  t.truthy(await second.broker.topics.get('orders'))
  t.deepEqual(bodiesOf(await second.broker.pull(pullRequest('orders'))), ['new'])
})

test("the broker's own topics cannot be deleted", async (t) => {
  const { broker } = await startBroker(t)
  t.is(await codeOf(broker.topics.delete('MQTT')), 'PERMISSION_DENIED')
  t.is(await codeOf(broker.topics.delete('nothing')), 'TOPIC_NOT_FOUND')
})

test('a changed built-in topic stays changed', async (t) => {
  const first = await startBroker(t)
  await first.broker.topics.put(topicOf('MQTT', 12))
  const second = await first.reopen()
  t.is((await second.broker.topics.get('MQTT'))?.readQueues, 12)
})

test('watchers of topics hear of every change until they stop watching', async (t) => {
  const { broker } = await startBroker(t)
  let heard = 0
  const watch = broker.topics.watch(() => heard++)
  await broker.topics.put(topicOf('orders', 1))
  await broker.publish([newMessage('created')])
  await broker.topics.delete('orders')
  t.is(heard, 3)
  watch[Symbol.dispose]()
  await broker.topics.ensure('more')
  t.is(heard, 3)
})

test('a group consumes the queues that its topic gets later', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 1))
  const waiting = broker.receive(
    receiveRequest('orders', 'billing', { waitMs: 15_000, startAt: 'last', queueId: ANY_QUEUE }),
  )
  await broker.topics.put(topicOf('orders', 2))
  await broker.publish([newMessage('orders', { queueId: 1, body: 'on the new queue' })])
  t.deepEqual(bodiesOf(await waiting), ['on the new queue'])
})

test('a topic made while the disk is full is made durable by the first message that gets through', async (t) => {
  const first = await startBroker(t)
  first.faults.isReadOnly = true
  t.deepEqual(codesOf(await first.broker.publish([newMessage('orders')])), ['READ_ONLY'])
  first.faults.isReadOnly = false
  await first.broker.publish([newMessage('orders', { queueId: 0 })])
  const second = await first.crash()
  t.is((await second.broker.topics.get('orders'))?.writeQueues, 4)
})

test('a deletion that a crash cuts off leaves no place for a topic made again', async (t) => {
  const first = await startBroker(t)
  const { broker, faults } = first
  await broker.topics.put(topicOf('orders', 1024))
  await broker.publish([newMessage('orders', { queueId: 1023 })])
  // More places than one append takes.
  const groups = ['g0', 'g1', 'g2', 'g3', 'g4']
  for (const group of groups) await broker.receive(receiveRequest('orders', group))
  for (const group of groups) {
    await broker.cursors.commit(group, queueOf('orders', 1023), queueOffset(1))
  }
  first.clock.advance(1000)
  await drain(first)
  faults.diesAt = faults.appends + 1
  const died = new Promise<void>((resolve) => {
    faults.died = resolve
  })
  broker.topics.delete('orders').catch(() => {})
  await died
  await faults.idle()
  const second = await first.crash()
  t.is(await second.broker.topics.get('orders'), undefined)
  await second.broker.topics.put(topicOf('orders', 1024))
  const places = async ({ cursors }: EmbeddedBroker) =>
    await Promise.all(groups.map((group) => cursors.committed(group, queueOf('orders', 1023))))
  const none = groups.map(() => undefined)
  t.deepEqual(await places(second.broker), none)
  t.deepEqual(await places((await second.reopen()).broker), none)
  faults.bury()
})
