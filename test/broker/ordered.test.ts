import test from 'ava'
import type { EmbeddedBroker } from '../../src/broker/broker.ts'
import { openReceipt } from '../../src/broker/consume/receipt.ts'
import type { ReceiveRequest } from '../../src/model/message.ts'
import {
  bodiesOf,
  isPending,
  newMessage,
  pullRequest,
  receiptsOf,
  receiveRequest,
  startBroker,
  topicOf,
} from '../support/broker.ts'

const publish = (broker: EmbeddedBroker, queueId: number, ...bodies: string[]) =>
  broker.publish(bodies.map((body) => newMessage('orders', { queueId, body })))

const ordered = (shape: Partial<ReceiveRequest> = {}) =>
  receiveRequest('orders', 'billing', { ordered: true, ...shape })

test('in order, a queue gives one message at a time, and queues do not wait for each other', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 0, '0a', '0b')
  await publish(broker, 1, '1a', '1b')
  const first = await broker.receive(ordered())
  t.deepEqual(bodiesOf(first).sort(), ['0a', '1a'])
  t.deepEqual(await broker.receive(ordered()), [])
  const waiting = broker.receive(ordered({ waitMs: 5000 }))
  const [a0] = first.filter(({ receipt }) => openReceipt(receipt).queueId === 0)
  await broker.ack([a0!.receipt])
  t.deepEqual(bodiesOf(await waiting), ['0b'])
  t.deepEqual(await broker.receive(ordered()), [])
})

test('in order, a message refused twice holds its queue up and comes back after a second', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 0, 'a', 'b')
  await broker.nack(receiptsOf(await broker.receive(ordered())))
  await broker.nack(receiptsOf(await broker.receive(ordered())))
  const waiting = broker.receive(ordered({ waitMs: 60_000 }))
  clock.advance(999)
  t.true(await isPending(test, waiting))
  clock.advance(1)
  t.deepEqual(bodiesOf(await waiting), ['a'])
  t.is((await waiting)[0]?.attempt, 3)
  await broker.nack(receiptsOf(await waiting), 7000)
  const again = broker.receive(ordered({ waitMs: 60_000 }))
  clock.advance(6999)
  t.true(await isPending(test, again))
  clock.advance(1)
  t.deepEqual(bodiesOf(await again), ['a'])
  await broker.ack(receiptsOf(await again))
  t.deepEqual(bodiesOf(await broker.receive(ordered())), ['b'])
})

test('in order, a released message is the next one', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 0, 'a', 'b')
  await broker.abandon(receiptsOf(await broker.receive(ordered())))
  const again = await broker.receive(ordered())
  t.deepEqual(bodiesOf(again), ['a'])
  t.is(again[0]?.attempt, 2)
})

test('in order, a message that does not fit any more is not overtaken by the next one', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 2))
  const large = 'x'.repeat(500)
  await publish(broker, 1, large, 'small')
  // Twice, so that the next receive begins with the other queue.
  for (let i = 0; i < 2; i++) {
    await broker.release(receiptsOf(await broker.receive(ordered())))
  }
  await publish(broker, 0, 'a')
  const received = await broker.receive(ordered({ maxBytes: 500 }))
  t.deepEqual(bodiesOf(received), ['a'])
  t.deepEqual(bodiesOf(await broker.receive(ordered())), [large])
})

test('in order, a message beyond its attempts is a dead letter and its queue goes on', async (t) => {
  const { broker, clock } = await startBroker(t)
  const group = await broker.groups.ensure('billing')
  await broker.groups.put({ ...group, retryTimesMax: 2 })
  await publish(broker, 0, 'bad', 'good')
  for (let attempt = 1; attempt <= 3; attempt++) {
    const waiting = broker.receive(ordered({ waitMs: 60_000 }))
    clock.advance(1000)
    t.is((await waiting)[0]?.attempt, attempt)
    await broker.nack(receiptsOf(await waiting))
  }
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%DLQ%billing'))), ['bad'])
  t.deepEqual(bodiesOf(await broker.receive(ordered())), ['good'])
})

test('attempts in order survive a crash', async (t) => {
  const first = await startBroker(t)
  await publish(first.broker, 0, 'a', 'b')
  await first.broker.nack(receiptsOf(await first.broker.receive(ordered())))
  await first.clock.advanceAsync(500)
  await first.store.append({ messages: [], facts: [{ kind: 'test', key: 'k', value: null }] })
  const { broker } = await first.crash()
  const again = await broker.receive(ordered())
  t.deepEqual(bodiesOf(again), ['a'])
  t.is(again[0]?.attempt, 2)
})

test('in order, many consumers never see two messages of one queue at once', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 3))
  for (const queueId of [0, 1, 2]) {
    await publish(broker, queueId, ...Array.from({ length: 20 }, (_, i) => `${queueId}:${i}`))
  }
  const seen: string[] = []
  const busy = new Set<number>()
  const consume = async (): Promise<void> => {
    while (seen.length < 60) {
      const received = await broker.receive(ordered({ maxMessages: 2, waitMs: 5000 }))
      for (const { receipt } of received) {
        t.false(busy.has(openReceipt(receipt).queueId))
        busy.add(openReceipt(receipt).queueId)
      }
      await new Promise((resolve) => setImmediate(resolve))
      seen.push(...bodiesOf(received))
      for (const { receipt } of received) busy.delete(openReceipt(receipt).queueId)
      await broker.ack(receiptsOf(received))
      if (seen.length === 60) await broker.close()
    }
  }
  await Promise.allSettled([consume(), consume(), consume(), consume()])
  for (const queueId of ['0', '1', '2']) {
    t.deepEqual(
      seen.filter((body) => body.startsWith(`${queueId}:`)),
      Array.from({ length: 20 }, (_, i) => `${queueId}:${i}`),
    )
  }
})
