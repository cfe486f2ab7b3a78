import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { openReceipt } from '../../../src/broker/consume/held/receipt.ts'
import type { ReceivedMessage, ReceiveRequest } from '../../../src/model/message.ts'
import { logPosition, queueOffset } from '../../../src/model/positions.ts'
import { RecordView, recordsOf } from '../../../src/model/record.ts'
import { parseSqlFilter } from '../../../src/model/sql92/sql-filter.ts'
import { EVERY_TAG, type TagFilter, tagFilterOf } from '../../../src/model/tag-filter.ts'
import {
  BROKER,
  bodiesOf,
  codeOf,
  isPending,
  newMessage,
  pullRequest,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  topicOf,
} from '../../support/broker.ts'
import { eventually } from '../../support/waiting.ts'

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

test('a held pull steps over however many messages come at once', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const [wanted, other] = ['Aa', 'BB']
  const filter = tagFilterOf([wanted])
  const held = broker.pull(pullRequest('orders', { filter, maxMessages: 1, waitMs: 15_000 }))
  const tagged = (tag: string) => newMessage('orders', { queueId: 0, tag, body: tag })
  await broker.publish([...Array.from({ length: 60_000 }, () => tagged(other)), tagged(wanted)])
  t.deepEqual(bodiesOf(await held), [wanted])
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

const publishTo = (broker: EmbeddedBroker, queueId: number, ...bodies: string[]) =>
  broker.publish(bodies.map((body) => newMessage('orders', { queueId, body })))

const ordered = (shape: Partial<ReceiveRequest> = {}) =>
  receiveRequest('orders', 'billing', { ordered: true, ...shape })

test('in order, a queue gives one message at a time, and queues do not wait for each other', async (t) => {
  const { broker } = await startBroker(t)
  await publishTo(broker, 0, '0a', '0b')
  await publishTo(broker, 1, '1a', '1b')
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
  await publishTo(broker, 0, 'a', 'b')
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
  await publishTo(broker, 0, 'a', 'b')
  await broker.abandon(receiptsOf(await broker.receive(ordered())))
  const again = await broker.receive(ordered())
  t.deepEqual(bodiesOf(again), ['a'])
  t.is(again[0]?.attempt, 2)
})

test('in order, a message that does not fit any more is not overtaken by the next one', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 2))
  const large = 'x'.repeat(500)
  await publishTo(broker, 1, large, 'small')
  // Twice, so that the next receive begins with the other queue.
  for (let i = 0; i < 2; i++) {
    await broker.release(receiptsOf(await broker.receive(ordered())))
  }
  await publishTo(broker, 0, 'a')
  const received = await broker.receive(ordered({ maxBytes: 500 }))
  t.deepEqual(bodiesOf(received), ['a'])
  t.deepEqual(bodiesOf(await broker.receive(ordered())), [large])
})

test('in order, a message beyond its attempts is a dead letter and its queue goes on', async (t) => {
  const { broker, clock } = await startBroker(t)
  const group = await broker.groups.ensure('billing')
  await broker.groups.put({ ...group, retryTimesMax: 2 })
  await publishTo(broker, 0, 'bad', 'good')
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
  await publishTo(first.broker, 0, 'a', 'b')
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
    await publishTo(broker, queueId, ...Array.from({ length: 20 }, (_, i) => `${queueId}:${i}`))
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

// A group's messages that came back, when its consumers have another filter by then.

const EU = tagFilterOf(['eu'])
const US = tagFilterOf(['us'])

const publishTagged = (broker: EmbeddedBroker, ...tags: string[]) =>
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
  await publishTagged(broker, 'eu', 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  await publishTagged(broker, 'us')
  const others = await receive(broker, US)
  t.deepEqual(bodiesOf(others), ['us0'])
  await broker.ack(receiptsOf(others))
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0', 'eu1'])
})

test('consumers without a filter get what one left out before', async (t) => {
  const { broker } = await startBroker(t)
  await publishTagged(broker, 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EVERY_TAG)), ['eu0'])
})

test('a released message that no filter selects holds up no ordered consumer', async (t) => {
  const { broker } = await startBroker(t)
  await publishTagged(broker, 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  await publishTagged(broker, 'us')
  t.deepEqual(bodiesOf(await receive(broker, US, { ordered: true })), ['us0'])
})

test('a failed message that comes again waits for consumers whose filter selects it', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publishTagged(broker, 'eu')
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
  await publishTagged(before.broker, 'eu')
  await before.broker.release(receiptsOf(await receive(before.broker, EU)))
  t.deepEqual(await receive(before.broker, US), [])
  const { broker } = await before.reopen()
  t.deepEqual(await receive(broker, US), [])
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0'])
})

test('a reset of the group brings back what waits for another filter', async (t) => {
  const { broker } = await startBroker(t)
  await publishTagged(broker, 'eu')
  await broker.release(receiptsOf(await receive(broker, EU)))
  t.deepEqual(await receive(broker, US), [])
  await broker.cursors.reset('billing', queueOf('orders'), queueOffset(0))
  t.deepEqual(bodiesOf(await receive(broker, EU)), ['eu0'])
})

// Messages that a group is handed by a condition over their properties.

const priced = (price: number) =>
  newMessage('orders', { queueId: 0, properties: { price: `${price}` }, body: `${price}` })

test('a receive by a condition steps over what it does not select', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish(Array.from({ length: 300 }, (_, i) => priced(i)))
  const filter = parseSqlFilter('price >= 298 OR price = 7')
  const messages = await broker.receive(receiveRequest('orders', 'billing', { filter }))
  t.deepEqual(bodiesOf(messages), ['7', '298', '299'])
  await broker.ack(receiptsOf(messages))
  t.is(await broker.cursors.committed('billing', queueOf('orders')), 300 as never)
})

test('a pull by a condition looks far for what it was asked for, and goes on behind the last', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish(Array.from({ length: 3000 }, (_, i) => priced(i % 500)))
  const filter = parseSqlFilter('price = 499')
  const few = await broker.pull(pullRequest('orders', { filter, maxMessages: 4 }))
  t.deepEqual(few.offsets.map(Number), [499, 999, 1499, 1999])
  t.deepEqual(bodiesOf(few), ['499', '499', '499', '499'])
  t.is(Number(few.nextOffset), 2000)
  const size = few.records.length / 4
  const small = await broker.pull(pullRequest('orders', { filter, maxBytes: 2.5 * size }))
  t.deepEqual(small.offsets.map(Number), [499, 999])
  t.is(Number(small.nextOffset), 1499)
  const rest = await broker.pull(pullRequest('orders', { filter, offset: 2000, maxMessages: 4 }))
  t.deepEqual(rest.offsets.map(Number), [2499, 2999])
  t.is(Number(rest.nextOffset), 3000)
})

test('a message that came back is handed out by the condition of that time', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([priced(1), priced(2)])
  const request = (sql: string) =>
    receiveRequest('orders', 'billing', { filter: parseSqlFilter(sql) })
  await broker.release(receiptsOf(await broker.receive(request('price > 0'))))
  t.deepEqual(bodiesOf(await broker.receive(request('price > 1'))), ['2'])
})

test('members of a group that select by different conditions exclude each other', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([priced(1), priced(2)])
  const request = (sql: string) =>
    receiveRequest('orders', 'billing', { filter: parseSqlFilter(sql) })
  await broker.receive(request('price > 0'))
  await t.throwsAsync(broker.receive(request('price > 1')), { code: 'SUBSCRIPTION_CONFLICT' })
})

test('a message of a deleted topic is found by neither place nor key', async (t) => {
  const { broker } = await startBroker(t)
  const publish = (body: string) =>
    broker.publish([newMessage('orders', { queueId: 0, body, properties: { KEYS: 'k' } })])
  await publish('old')
  const { records } = await broker.pull(pullRequest('orders'))
  const { position } = [...recordsOf(records)][0]!
  await broker.topics.delete('orders')
  await publish('new')
  t.is(await broker.lookup.byPosition(BROKER, position), undefined)
  const found = await broker.lookup.byKey('orders', 'k', { max: 10 })
  t.deepEqual(
    found.map((record) => new RecordView(record).body.toString()),
    ['new'],
  )
})

test("the broker's own facts are found by no lookup", async (t) => {
  const { broker, store } = await startBroker(t)
  await broker.topics.ensure('orders')
  const { logStart, logEnd } = store.status()
  for (let position: number = logStart; position < logEnd; position++) {
    t.is(await broker.lookup.byPosition(BROKER, logPosition(position)), undefined)
  }
})

test('the status counts what went in and out', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage('orders', { queueId: 0 }), newMessage('orders', { queueId: 0 })])
  await broker.pull(pullRequest('orders', { maxMessages: 1 }))
  const status = await broker.status()
  t.like(status, { messagesIn: 2, messagesOut: 1, writable: true, flush: 'sync', groups: 0 })
  t.true(status.logEnd > status.logStart)
})
