import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import {
  bodiesOf,
  codeOf,
  codesOf,
  drain,
  newMessage,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'
import { countTurns, endSlicesAtOnce } from '../../support/turns.ts'

const publish = (broker: EmbeddedBroker, ...bodies: string[]) =>
  broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))

const committed = async ({ broker }: TestBroker) =>
  (await broker.cursors.committed('billing', queueOf('orders'))) as number | undefined

async function start(t: Parameters<typeof startBroker>[0], ...bodies: string[]) {
  const test = await startBroker(t)
  await publish(test.broker, ...bodies)
  await test.broker.groups.ensure('billing')
  return test
}

test('a committed offset is kept at once and durable within a second', async (t) => {
  const first = await start(t, 'a', 'b')
  t.is(await committed(first), undefined)
  await first.broker.cursors.commit('billing', queueOf('orders'), queueOffset(2))
  t.is(await committed(first), 2)
  first.clock.advance(1000)
  await drain(first)
  t.is(await committed(await first.crash()), 2)
})

test('a close makes the latest offsets durable', async (t) => {
  const first = await start(t, 'a', 'b')
  await first.broker.cursors.commit('billing', queueOf('orders'), queueOffset(1))
  t.is(await committed(await first.reopen()), 1)
})

test('offsets that could not be written are written when the store takes them again', async (t) => {
  const first = await start(t, 'a', 'b')
  first.faults.isReadOnly = true
  await first.broker.cursors.commit('billing', queueOf('orders'), queueOffset(1))
  await first.clock.advanceAsync(2000)
  first.faults.isReadOnly = false
  await first.clock.advanceAsync(1000)
  await drain(first)
  t.is(await committed(await first.crash()), 1)
})

test('the offset of a group that receives stops before the first message that is not settled', async (t) => {
  const test = await start(t, 'a', 'b', 'c', 'd')
  const received = await test.broker.receive(receiveRequest('orders', 'billing'))
  await test.broker.ack(receiptsOf([received[1]!, received[2]!]))
  t.is(await committed(test), 0)
  await test.broker.ack(receiptsOf([received[0]!]))
  t.is(await committed(test), 3)
})

test('what was acknowledged out of order is not received again after a crash', async (t) => {
  const first = await start(t, ...'abcdef')
  const received = await first.broker.receive(receiveRequest('orders', 'billing'))
  await first.broker.ack(receiptsOf([received[1]!, received[2]!, received[4]!]))
  first.clock.advance(200)
  await drain(first)
  const second = await first.crash()
  t.is(await committed(second), 0)
  const again = await second.broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(again), ['a', 'd', 'f'])
})

test('attempts that were counted in place survive a crash', async (t) => {
  const first = await start(t, 'a', 'b')
  for (let i = 0; i < 3; i++) {
    const received = await first.broker.receive(receiveRequest('orders', 'billing'))
    await first.broker.abandon(receiptsOf(received.slice(0, 1)))
    await first.broker.release(receiptsOf(received.slice(1)))
  }
  first.clock.advance(200)
  await drain(first)
  const second = await first.crash()
  const again = await second.broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(
    again.map(({ attempt }) => attempt),
    [4, 1],
  )
})

test('a reset moves a group and voids what it had in hand', async (t) => {
  const test = await start(t, 'a', 'b', 'c')
  const { broker } = test
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  await broker.ack(receiptsOf(received.slice(0, 2)))
  await broker.cursors.reset('billing', queueOf('orders'), queueOffset(1))
  t.is(await committed(test), 1)
  t.deepEqual(codesOf(await broker.ack(receiptsOf(received.slice(2)))), ['RECEIPT_EXPIRED'])
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'billing'))), ['b', 'c'])
  const second = await test.crash()
  t.is(await committed(second), 1)
})

test('what was in hand before a reset does not undo it after a restart', async (t) => {
  const before = await start(t, 'a', 'b', 'c')
  const received = await before.broker.receive(receiveRequest('orders', 'billing'))
  await before.broker.cursors.reset('billing', queueOf('orders'), queueOffset(1))
  const test = await before.crash()
  const again = await test.broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(again), ['b', 'c'])
  const expired = Array(3).fill('RECEIPT_EXPIRED')
  t.deepEqual(codesOf(await test.broker.ack(receiptsOf(received))), expired)
  t.is(await committed(test), 1)
})

test('a commit beside a group that receives only moves it forward', async (t) => {
  const test = await start(t, 'a', 'b', 'c', 'd')
  const { broker } = test
  const received = await broker.receive(receiveRequest('orders', 'billing', { maxMessages: 3 }))
  await broker.ack(receiptsOf(received.slice(1, 2)))
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(1))
  t.is(await committed(test), 2)
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(0))
  t.is(await committed(test), 2)
  t.deepEqual(codesOf(await broker.ack(receiptsOf([received[0]!, received[2]!]))), [
    'RECEIPT_EXPIRED',
    null,
  ])
})

test('a receive in order goes on when a commit settles what holds its queue up', async (t) => {
  const { broker } = await start(t, 'a', 'b')
  const ordered = (waitMs: number) =>
    broker.receive(receiveRequest('orders', 'billing', { ordered: true, waitMs }))
  t.deepEqual(bodiesOf(await ordered(0)), ['a'])
  const waiting = ordered(60_000)
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(1))
  t.deepEqual(bodiesOf(await waiting), ['b'])
})

test('an offset beyond the end skips nothing that comes later', async (t) => {
  const test = await start(t, 'a', 'b')
  const { broker } = test
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(100))
  t.is(await committed(test), 2)
  const receive = () => broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(await receive(), [])
  for (const [i, move] of (['commit', 'reset'] as const).entries()) {
    await broker.cursors[move]('billing', queueOf('orders'), queueOffset(100))
    await broker.publish([newMessage('orders', { queueId: 0, body: `${i}` })])
    const received = await receive()
    t.deepEqual(bodiesOf(received), [`${i}`])
    await broker.ack(receiptsOf(received))
  }
})

test('the lags of a group name every queue it has to do with', async (t) => {
  const test = await start(t, 'a', 'b', 'c')
  const { broker } = test
  const received = await broker.receive(receiveRequest('orders', 'billing', { maxMessages: 2 }))
  await broker.ack(receiptsOf(received.slice(0, 1)))
  const lags = await broker.groups.lags('billing')
  t.deepEqual(
    lags.map(({ topic, queueId }) => `${topic}/${queueId}`),
    ['%RETRY%billing/0', 'orders/0', 'orders/1', 'orders/2', 'orders/3'],
  )
  const [, first] = lags
  t.like(first, { committedOffset: 1, inFlight: 1, lag: 2 })
  t.is(await codeOf(broker.groups.lags('nobody')), 'GROUP_NOT_FOUND')
})

test('others have their turn while the lags of a group are collected', async (t) => {
  const { broker, clock } = await start(t, 'a')
  await broker.receive(receiveRequest('orders', 'billing'))
  const turns = endSlicesAtOnce(t, clock)
  const lags = await broker.groups.lags('billing')
  const topics = new Set(lags.map(({ topic }) => topic))
  // One look begins the first slice.
  t.is(turns().size, 1 + topics.size + lags.length)
})

test('a group with very many offsets goes part by part, and made again during it keeps its new ones', async (t) => {
  const first = await startBroker(t)
  const { broker, faults } = first
  const topics = Array.from({ length: 9 }, (_, i) => `topic-${i}`)
  for (const topic of topics) {
    await broker.topics.put(topicOf(topic, 1024))
    await broker.receive(receiveRequest(topic, 'billing'))
  }
  await broker.publish([newMessage('topic-8', { queueId: 1023 })])
  first.clock.advance(1000)
  await drain(first)
  const turn = countTurns(t)
  const facts = new Map<number, number>()
  faults.beforeAppend = (group) => {
    facts.set(turn(), (facts.get(turn()) ?? 0) + (group.facts?.length ?? 0))
  }
  const deleted = broker.groups.delete('billing')
  await broker.groups.ensure('billing')
  await broker.cursors.commit('billing', queueOf('topic-8', 1023), queueOffset(1))
  await deleted
  t.true(facts.size >= 2, `${[...facts.values()]}`)
  t.true(Math.max(...facts.values()) < 5000, `${[...facts.values()]}`)
  const after = await first.crash()
  const found = async (topic: string, queueId: number) =>
    (await after.broker.cursors.committed('billing', queueOf(topic, queueId))) as number | undefined
  t.is(await found('topic-8', 1023), 1)
  t.is(await found('topic-8', 1022), undefined)
  t.is(await found('topic-0', 0), undefined)
})
