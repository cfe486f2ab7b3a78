import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { groupDefaults } from '../../../src/model/group.ts'
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

test('a group and what it may do survive a crash', async (t) => {
  const first = await startBroker(t)
  const group = { ...groupDefaults('billing'), retryTimesMax: 3, retryQueues: 2 }
  await first.broker.groups.put(group)
  const { broker } = await first.crash()
  t.deepEqual(await broker.groups.get('billing'), group)
  t.is((await broker.topics.get('%RETRY%billing'))?.readQueues, 2)
})

test('more retry queues make a larger retry topic', async (t) => {
  const { broker } = await startBroker(t)
  const group = await broker.groups.ensure('billing')
  await broker.groups.put({ ...group, retryQueues: 4 })
  t.is((await broker.topics.get('%RETRY%billing'))?.readQueues, 4)
})

test('the retry topic of a group goes only with the group', async (t) => {
  const { broker } = await startBroker(t)
  await broker.groups.ensure('billing')
  t.is(await codeOf(broker.topics.delete('%RETRY%billing')), 'PERMISSION_DENIED')
  t.is(await codeOf(broker.topics.ensure('%DLQ%billing')), 'no error')
})

test('groups have legal names, sensible counts and a limit', async (t) => {
  const { broker } = await startBroker(t, { groupsMax: 1 })
  const put = (change: object) => codeOf(broker.groups.put({ ...groupDefaults('g'), ...change }))
  t.is(await put({ name: 'a b' }), 'NAME_INVALID')
  t.is(await put({ name: 'x'.repeat(121) }), 'NAME_INVALID')
  t.is(await put({ retryQueues: 0 }), 'ARGUMENT_INVALID')
  t.is(await put({ retryTimesMax: -1 }), 'ARGUMENT_INVALID')
  t.is(await put({}), 'no error')
  t.is(await put({ retryTimesMax: 2 }), 'no error')
  t.is(await put({ name: 'h' }), 'QUOTA_EXCEEDED')
})

test('a definition that could not be written is not there', async (t) => {
  const { broker, faults } = await startBroker(t)
  faults.isReadOnly = true
  t.is(await codeOf(broker.groups.put(groupDefaults('billing'))), 'READ_ONLY')
  t.is(await broker.groups.get('billing'), undefined)
})

test('while the store is read-only a new group reads, and is written by its next use', async (t) => {
  const first = await startBroker(t)
  await first.broker.publish([newMessage('orders', { body: 'a' })])
  const receive = () => first.broker.receive(receiveRequest('orders', 'billing'))
  first.faults.isReadOnly = true
  t.deepEqual(bodiesOf(await receive()), ['a'])
  t.deepEqual(await receive(), [])
  t.is(await (await first.crash()).broker.groups.get('billing'), undefined)
  first.faults.isReadOnly = false
  t.deepEqual(await receive(), [])
  const { broker } = await first.crash()
  t.not(await broker.groups.get('billing'), undefined)
  t.not(await broker.topics.get('%RETRY%billing'), undefined)
})

test('groups and topics that came while the store was read-only are written when it takes them', async (t) => {
  const first = await startBroker(t)
  first.faults.isReadOnly = true
  await first.broker.groups.ensure('billing')
  await first.broker.topics.ensure('orders')
  await first.broker.groups.ensure('gone')
  first.faults.becomesWritable()
  await first.broker.groups.delete('gone')
  while (!(await first.broker.groups.get('billing'))) await first.clock.advanceAsync(0)
  await first.broker.publish([newMessage('other')])
  const { broker } = await first.crash()
  t.not(await broker.groups.get('billing'), undefined)
  t.not(await broker.topics.get('orders'), undefined)
  t.is(await broker.groups.get('gone'), undefined)
})

test('groups that cannot be written are bounded', async (t) => {
  const { broker, faults } = await startBroker(t)
  faults.isReadOnly = true
  for (let i = 0; i < 1024; i++) await broker.groups.ensure(`g${i}`)
  t.is(await codeOf(broker.groups.ensure('more')), 'READ_ONLY')
  t.is(await broker.groups.get('more'), undefined)
  t.is(await broker.topics.get('%RETRY%more'), undefined)
  t.is(await codeOf(broker.groups.ensure('g7')), 'no error')
})

test('a deleted group forgets where it stood, and its dead letters stay', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  await broker.publish(['a', 'b', 'c'].map((body) => newMessage('orders', { queueId: 0, body })))
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  await broker.ack(receiptsOf(received.slice(0, 1)))
  await broker.deadLetter(receiptsOf(received.slice(1, 2)), 'bad')
  await broker.nack(receiptsOf(received.slice(2)), 0)
  await broker.groups.delete('billing')
  t.is(await broker.groups.get('billing'), undefined)
  t.is(await broker.topics.get('%RETRY%billing'), undefined)
  t.is(await broker.cursors.committed('billing', queueOf('orders')), undefined)
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%DLQ%billing'))), ['b'])
  const second = await first.crash()
  t.is(await second.broker.groups.get('billing'), undefined)
  const again = await second.broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(again), ['a', 'b', 'c'])
})

test('a retry that waits for a deleted group does not come to its namesake', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.publish([newMessage('orders', { queueId: 0, body: 'a' })])
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  await broker.nack(receiptsOf(received), 1000)
  await broker.groups.delete('billing')
  await broker.groups.ensure('billing')
  await clock.advanceAsync(1000)
  while ((await broker.status()).pendingDelayed > 0) await clock.advanceAsync(0)
  t.is((await broker.pull(pullRequest('%RETRY%billing'))).status, 'at-end')
})

test('deleting a group sends its waiting consumers home and voids what they hold', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.publish([newMessage('orders')])
  await broker.receive(receiveRequest('orders', 'billing'))
  const waiting = codeOf(broker.receive(receiveRequest('orders', 'billing', { waitMs: 90_000 })))
  await broker.topics.list()
  await broker.groups.delete('billing')
  t.is(await waiting, 'GROUP_NOT_FOUND')
  t.notThrows(() => clock.advance(60_000))
  t.is(await codeOf(broker.groups.delete('billing')), 'GROUP_NOT_FOUND')
})

test('a group that is deleted with its offsets kept goes on there when it is made again', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  await broker.publish(['a', 'b'].map((body) => newMessage('orders', { queueId: 0, body })))
  await broker.ack(
    receiptsOf(await broker.receive(receiveRequest('orders', 'billing', { maxMessages: 1 }))),
  )
  await broker.groups.delete('billing', { keepOffsets: true })
  t.is(await broker.groups.get('billing'), undefined)
  const second = await first.reopen()
  t.is(Number(await second.broker.cursors.committed('billing', queueOf('orders'))), 1)
  t.deepEqual(bodiesOf(await second.broker.receive(receiveRequest('orders', 'billing'))), ['b'])
})

test('a group that is deleted while it gets more retry queues stays deleted', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  const group = { ...groupDefaults('billing'), retryQueues: 1 }
  await broker.groups.put(group)
  const larger = codeOf(broker.groups.put({ ...group, retryQueues: 4 }))
  await broker.groups.delete('billing')
  t.is(await larger, 'GROUP_NOT_FOUND')
  const second = await first.crash()
  t.is(await second.broker.groups.get('billing'), undefined)
})

const MIB = 1024 * 1024
/** What deletes it is longer than the smallest message of a flood. */
const NAME = 'a'.repeat(120)

/** More than may wait for the disk, down to the last few bytes. */
const flood = (broker: EmbeddedBroker): Promise<unknown> => {
  const sizes = [...Array(8).fill(4 * MIB), ...Array(70).fill(MIB / 16), ...Array(500).fill(1)]
  return Promise.all(
    sizes.map((size) => broker.publish([newMessage('flood', { body: 'x'.repeat(size) })])),
  )
}

test('a topic that cannot be deleted because too much waits for the disk is there, and can be deleted later', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  await broker.publish([newMessage(NAME)])
  const flooding = flood(broker)
  t.is(await codeOf(broker.topics.delete(NAME)), 'BUSY')
  t.truthy(await broker.topics.get(NAME))
  await flooding
  await broker.topics.delete(NAME)
  const second = await first.reopen()
  t.is(await second.broker.topics.get(NAME), undefined)
})

test('a topic is deleted while much waits for the disk, as long as there is room for that', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage(NAME)])
  const body = 'x'.repeat(4 * MIB)
  const flooding = broker.publish(new Array(6).fill(newMessage('flood', { body })))
  await broker.topics.delete(NAME)
  t.is(await broker.topics.get(NAME), undefined)
  await flooding
})

test('a group that cannot be deleted because too much waits for the disk is there, and can be deleted later', async (t) => {
  const first = await startBroker(t)
  const { broker } = first
  await broker.groups.put(groupDefaults(NAME))
  const flooding = flood(broker)
  t.is(await codeOf(broker.groups.delete(NAME)), 'BUSY')
  t.truthy(await broker.groups.get(NAME))
  await flooding
  await broker.groups.delete(NAME)
  const second = await first.reopen()
  t.is(await second.broker.groups.get(NAME), undefined)
})

test('a filter that cannot be let go because too much waits for the disk is bound, and can be let go later', async (t) => {
  const first = await startBroker(t)
  const { broker, store } = first
  const { topic } = await broker.lightQueues.bind(`${NAME}/+`, 'owner')
  const flooding = flood(broker)
  t.is(await codeOf(broker.lightQueues.unbind(`${NAME}/+`, 'owner')), 'BUSY')
  await flooding
  await broker.lightQueues.unbind(`${NAME}/+`, 'owner')
  await broker.publish([newMessage('other')])
  t.deepEqual([...store.facts('binding')], [], topic)
})
