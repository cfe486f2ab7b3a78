import test from 'ava'
import type { EmbeddedBroker } from '../../src/broker/broker.ts'
import { tagFilterOf } from '../../src/model/tag-filter.ts'
import {
  bodiesOf,
  codeOf,
  isPending,
  newMessage,
  pullRequest,
  startBroker,
} from '../support/broker.ts'

const publish = (broker: EmbeddedBroker, ...bodies: string[]) =>
  broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))

test('a pull answers at once when what is there does not match', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'untagged')
  const filter = tagFilterOf(['eu'])
  const pulled = await broker.pull(pullRequest('orders', { filter, waitMs: 15_000 }))
  t.is(pulled.status, 'no-match')
  t.is(Number(pulled.nextOffset), 1)
})

test('tags with the same hash are told apart', async (t) => {
  const { broker } = await startBroker(t)
  const [wanted, other] = ['Aa', 'BB']
  await broker.publish([
    newMessage('orders', { queueId: 0, tag: other, body: 'other' }),
    newMessage('orders', { queueId: 0, tag: wanted, body: 'wanted' }),
  ])
  const filter = tagFilterOf([wanted])
  const pulled = await broker.pull(pullRequest('orders', { filter }))
  t.deepEqual(bodiesOf(pulled), ['wanted'])
  t.is(pulled.count, 1)
  const none = await broker.pull(pullRequest('orders', { filter, maxMessages: 1 }))
  t.is(none.status, 'no-match')
})

test('many pulls of one queue are woken some at a turn', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const turns: number[] = []
  let turn = 0
  const pulls = Array.from({ length: 500 }, async () => {
    const pulled = await broker.pull(pullRequest('orders', { waitMs: 15_000 }))
    turns[turn] = (turns[turn] ?? 0) + 1
    return bodiesOf(pulled)
  })
  const all = Promise.all(pulls)
  let isOver = false
  void all.then(() => {
    isOver = true
  })
  await publish(broker, 'news')
  while (!isOver) {
    turn++
    await new Promise((resolve) => setImmediate(resolve))
  }
  for (const bodies of await all) t.deepEqual(bodies, ['news'])
  t.true(Math.max(...turns.filter((count) => count !== undefined)) <= 128)
})

test('a held pull comes back at its time, with how far it looked', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await broker.topics.ensure('orders')
  const plain = broker.pull(pullRequest('orders', { queueId: 1, waitMs: 15_000 }))
  const filter = tagFilterOf(['eu'])
  const filtered = broker.pull(pullRequest('orders', { filter, waitMs: 15_000 }))
  await publish(broker, 'untagged')
  clock.advance(14_999)
  t.true(await isPending(test, plain))
  clock.advance(1)
  t.is((await plain).status, 'at-end')
  t.is((await filtered).status, 'no-match')
  t.is(Number((await filtered).nextOffset), 1)
})

test('the count of held pulls has a limit', async (t) => {
  const { broker } = await startBroker(t, { heldPullsMax: 1 })
  await broker.topics.ensure('orders')
  const first = broker.pull(pullRequest('orders', { waitMs: 15_000 }))
  t.is(await codeOf(broker.pull(pullRequest('orders', { waitMs: 15_000 }))), 'BUSY')
  await publish(broker, 'one')
  t.deepEqual(bodiesOf(await first), ['one'])
  const next = broker.pull(pullRequest('orders', { offset: 1, waitMs: 15_000 }))
  await publish(broker, 'two')
  t.deepEqual(bodiesOf(await next), ['two'])
})

test('a message that arrives while a read from the disk is under way is not missed', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.topics.ensure('orders')
  faults.readsAreSlow = true
  const pulling = broker.pull(pullRequest('orders', { waitMs: 15_000 }))
  await publish(broker, 'meanwhile')
  t.deepEqual(bodiesOf(await pulling), ['meanwhile'])
})

test('a closing broker answers the pulls it holds', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const pulling = broker.pull(pullRequest('orders', { waitMs: 15_000 }))
  await broker.topics.list()
  await broker.close()
  t.is((await pulling).status, 'at-end')
  t.is(await codeOf(broker.pull(pullRequest('orders'))), 'CLOSED')
})

test('a watcher that throws does not keep the news from others', async (t) => {
  const { broker } = await startBroker(t)
  let heard = 0
  broker.watch('orders', () => {
    throw new Error('a mistake')
  })
  broker.watch('orders', () => heard++)
  await publish(broker, 'a')
  t.is(heard, 1)
})
