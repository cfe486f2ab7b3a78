// What counts as an attempt: what a consumer says it failed at, and of what a lost or silent
// consumer held only the message that it was handed first.
import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { ANY_QUEUE, type ReceivedMessage } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { RecordView } from '../../../src/model/record.ts'
import {
  bodiesOf,
  newMessage,
  pullRequest,
  receiptsOf,
  receiveRequest,
  startBroker,
} from '../../support/broker.ts'

const RETRIES = 16

const publish = (broker: EmbeddedBroker, count: number, queueId = ANY_QUEUE) =>
  broker.publish(
    Array.from({ length: count }, (_, i) => newMessage('orders', { queueId, body: `m${i}` })),
  )

const receive = (
  broker: EmbeddedBroker,
  memberId: string,
  maxMessages = 100,
): Promise<readonly ReceivedMessage[]> =>
  broker.receive(receiveRequest('orders', 'billing', { memberId, maxMessages }))

const attemptsOf = (received: readonly ReceivedMessage[]): Record<string, number> =>
  Object.fromEntries(received.map((one, i) => [bodiesOf(received)[i]!, one.attempt]))

async function deadLetters(broker: EmbeddedBroker): Promise<string[]> {
  const exists = await broker.topics.get('%DLQ%billing')
  return exists === undefined ? [] : bodiesOf(await broker.pull(pullRequest('%DLQ%billing')))
}

test('fifty lives that settle one message and are lost with ninety-nine dead-letter nothing', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 150)
  for (let life = 0; life < 50; life++) {
    const [first, ...rest] = await receive(broker, `life-${life}`)
    await broker.ack([first!.receipt])
    await broker.abandon(receiptsOf(rest))
  }
  t.deepEqual(await deadLetters(broker), [])
  const left = await receive(broker, 'last', 200)
  t.is(left.length, 100)
  // That at the head of each queue was once what a consumer was on.
  t.true(left.every(({ attempt }) => attempt <= 2))
})

test('a message that every consumer is lost with is a dead letter after its retries, and nothing else is', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 100, 0)
  let lives = 0
  for (; (await deadLetters(broker)).length === 0; lives++) {
    await broker.abandon(receiptsOf(await receive(broker, `life-${lives}`)))
  }
  t.is(lives, RETRIES + 1)
  t.deepEqual(await deadLetters(broker), ['m0'])
  const rest = await receive(broker, 'last')
  t.is(rest.length, 99)
  t.true(rest.every(({ attempt }) => attempt === 1))
})

test('of what one consumer leaves until its time is over, what it was handed first counts', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 10)
  const first = await receive(broker, 'slow', 4)
  const second = await receive(broker, 'slow', 6)
  clock.advance(30_000)
  const again = attemptsOf(await receive(broker, 'other'))
  const expected = Object.fromEntries(bodiesOf([...first, ...second]).map((body) => [body, 1]))
  t.deepEqual(again, { ...expected, [bodiesOf(first)[0]!]: 2 })
})

test('each consumer counts by itself', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 6, 0)
  await receive(broker, 'one', 3)
  await receive(broker, 'two', 3)
  clock.advance(30_000)
  t.deepEqual(attemptsOf(await receive(broker, 'three')), {
    m0: 2,
    m1: 1,
    m2: 1,
    m3: 2,
    m4: 1,
    m5: 1,
  })
})

test('a consumer that hangs on a message dead-letters that one alone, however long it hangs', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 10, 0)
  const hang = async (periods: number): Promise<void> => {
    for (let period = 0; period < periods; period++) {
      await receive(broker, 'hung')
      clock.advance(30_000)
    }
  }
  await hang(RETRIES + 1)
  const dead = await broker.pull(pullRequest('%DLQ%billing', { waitMs: 1000 }))
  t.deepEqual(bodiesOf(dead), ['m0'])
  await hang(100)
  t.deepEqual(await deadLetters(broker), ['m0'])
  const rest = await receive(broker, 'other')
  t.is(rest.length, 9)
  t.true(rest.every(({ attempt }) => attempt === 1))
})

test('a consumer that went on after a slow message may fail at the next', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 4, 0)
  await receive(broker, 'slow', 2)
  clock.advance(30_000)
  const again = await receive(broker, 'slow', 2)
  await broker.ack(receiptsOf(again.slice(0, 1)))
  await broker.abandon(receiptsOf(again.slice(1)))
  t.deepEqual(attemptsOf(await receive(broker, 'other')), { m1: 2, m2: 1, m3: 1 })
})

for (const [answer, settle] of Object.entries({
  acknowledges: (broker: EmbeddedBroker, one: ReceivedMessage) => broker.ack([one.receipt]),
  refuses: (broker: EmbeddedBroker, one: ReceivedMessage) => broker.nack([one.receipt]),
})) {
  test(`a consumer that ${answer} each message too late fails at each, until they are dead letters`, async (t) => {
    const { broker, clock } = await startBroker(t)
    await publish(broker, 2, 0)
    for (let i = 0; i < 2 * (RETRIES + 1); i++) {
      const [one] = await receive(broker, 'slow', 1)
      clock.advance(30_000)
      t.not((await settle(broker, one!))[0], null)
    }
    const dead = (offset: number) =>
      broker.pull(pullRequest('%DLQ%billing', { offset: queueOffset(offset), waitMs: 1000 }))
    t.is(bodiesOf(await dead(0))[0], 'm0')
    t.deepEqual(bodiesOf(await dead(1)), ['m1'])
  })
}

test('a lost consumer whose message was counted already loses nothing more', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 3, 0)
  await receive(broker, 'slow', 1)
  clock.advance(15_000)
  const later = await receive(broker, 'slow', 2)
  clock.advance(15_000)
  await broker.abandon(receiptsOf(later))
  t.deepEqual(attemptsOf(await receive(broker, 'other')), { m0: 2, m1: 1, m2: 1 })
})

test('what is renewed in time counts nothing of what is behind it', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 3, 0)
  const [first] = await receive(broker, 'busy', 3)
  clock.advance(20_000)
  await broker.extend([first!.receipt], 30_000)
  clock.advance(10_000)
  t.deepEqual(attemptsOf(await receive(broker, 'other')), { m1: 1, m2: 1 })
})

test('a message that is not for one consumer waits for another, and nothing waits behind it', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 2, 0)
  const [refused] = await receive(broker, 'one', 1)
  await broker.release([refused!.receipt], { isNotHere: true })
  t.deepEqual(bodiesOf(await receive(broker, 'one')), ['m1'])
  t.deepEqual(await receive(broker, 'one'), [])
  t.deepEqual(attemptsOf(await receive(broker, 'two')), { m0: 1 })
})

test('a consumer that waits is given what another one does not want', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 1, 0)
  const [refused] = await receive(broker, 'one')
  const request = (memberId: string) =>
    broker.receive(receiveRequest('orders', 'billing', { memberId, waitMs: 60_000 }))
  const one = request('one')
  const two = request('two')
  await broker.nack([refused!.receipt], undefined, { isNotHere: true })
  t.deepEqual(attemptsOf(await two), { m0: 2 })
  await publish(broker, 1, 1)
  t.deepEqual(bodiesOf(await one), ['m0'])
})

test('what a consumer does not want and fails each time is a dead letter after its retries', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 1, 0)
  for (let i = 0; i <= RETRIES; i++) {
    const received = await receive(broker, `member-${i}`)
    t.is(received.length, 1)
    await broker.nack(receiptsOf(received), undefined, { isNotHere: true })
  }
  t.deepEqual(await deadLetters(broker), ['m0'])
})

test('in order, a message that is not for a consumer holds up what is behind it', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 2, 0)
  const ordered = (memberId: string) =>
    broker.receive(receiveRequest('orders', 'billing', { memberId, ordered: true, queueId: 0 }))
  await broker.release(receiptsOf(await ordered('one')), { isNotHere: true })
  t.deepEqual(await ordered('one'), [])
  const other = await ordered('two')
  t.deepEqual(bodiesOf(other), ['m0'])
  await broker.ack(receiptsOf(other))
  t.deepEqual(bodiesOf(await ordered('one')), ['m1'])
})

test('more than can be kept from a consumer are failures to it', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 1100, 0)
  const received = await receive(broker, 'one', 2000)
  t.is(received.length, 1100)
  await broker.release(receiptsOf(received), { isNotHere: true })
  const again = await receive(broker, 'one', 2000)
  t.is(again.length, 1100 - 1024)
  t.true(again.every(({ attempt }) => attempt === 2))
  t.is((await receive(broker, 'two', 2000)).length, 1024)
})

test('what is said of a message goes with it, in place, as a retry and as a dead letter', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 1, 0)
  const first = await receive(broker, 'one')
  t.is(first[0]?.note, undefined)
  await broker.release(receiptsOf(first), { note: 'seen' })
  const second = await receive(broker, 'two')
  t.is(second[0]?.note, 'seen')
  await broker.nack(receiptsOf(second), 0)
  const third = await receive(broker, 'three')

  t.is(new RecordView(third[0]!.record).property('__NOTE'), 'seen')
  await broker.nack(receiptsOf(third), 0, { note: 'seen twice' })
  const fourth = await receive(broker, 'four')
  t.is(new RecordView(fourth[0]!.record).property('__NOTE'), 'seen twice')
  await broker.deadLetter(receiptsOf(fourth), 'bad')
  const { records } = await broker.pull(pullRequest('%DLQ%billing'))
  t.is(new RecordView(records).property('__NOTE'), 'seen twice')
})
