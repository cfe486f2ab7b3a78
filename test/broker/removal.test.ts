import test from 'ava'
import type { EmbeddedBroker } from '../../src/broker/broker.ts'
import { groupDefaults } from '../../src/model/group.ts'
import { codeOf, newMessage, startBroker } from '../support/broker.ts'

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
