import { PROPERTY } from '../../../src/model/properties.ts'
import { recordsOf } from '../../../src/model/record.ts'
import {
  bodiesOf,
  codesOf,
  newMessage,
  pullRequest,
  receiptsOf,
  receiveRequest,
} from '../../support/broker.ts'
import type { BrokerUnderTest, Case } from '../broker.ts'
import { firstQueue, newGroup, newTopic, read, send, stored, WAIT_MS, watched } from './support.ts'

/** A topic with these messages, and a group that receives them. */
async function consumed({ port }: BrokerUnderTest, ...bodies: string[]) {
  const topic = await newTopic(port)
  const group = await newGroup(port)
  await send(port, topic, ...bodies)
  await read(port, topic, bodies.length)
  const receive = (shape: object = {}) =>
    port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS, ...shape }))
  return { topic, group, receive }
}

const deadLetters = async (test: BrokerUnderTest, group: string, count: number) =>
  read(test.port, `%DLQ%${group}`, count)

async function firstDeadLetter({ port }: BrokerUnderTest, group: string) {
  const topic = `%DLQ%${group}`
  for (const { brokerName, queueId } of await port.topics.ranges(topic)) {
    const { records } = await port.pull(pullRequest(topic, { brokerName, queueId }))
    for (const record of recordsOf(records)) return record
  }
  return undefined
}

export function settling(test: Case): void {
  test('a receipt settles once', async (t, at) => {
    const { receive } = await consumed(at, 'a')
    const receipts = receiptsOf(await receive())
    t.deepEqual(await at.port.ack(receipts), [null])
    const [again] = codesOf(await at.port.ack(receipts))
    t.true(again === 'RECEIPT_EXPIRED' || again === null)
    t.deepEqual(codesOf(await at.port.deadLetter(receipts, 'late')), ['RECEIPT_EXPIRED'])
    t.deepEqual(await receive({ waitMs: 0 }), [])
  })

  test('after its invisible time a message is received again, as another attempt', async (t, at) => {
    const { receive } = await consumed(at, 'a')
    const first = receiptsOf(await receive({ invisibleMs: 10_000 }))
    const again = receive({ waitMs: 60_000 })
    const state = watched(again)
    await at.pass(9_900)
    t.false(state.isSettled)
    await at.pass(4_000)
    t.deepEqual(bodiesOf(await again), ['a'])
    t.is((await again)[0]?.attempt, 2)
    t.deepEqual(codesOf(await at.port.ack(first)), ['RECEIPT_EXPIRED'])
    t.deepEqual(await at.port.ack(receiptsOf(await again)), [null])
  })

  test('an extended message stays with its consumer', async (t, at) => {
    const { receive } = await consumed(at, 'a')
    const receipts = receiptsOf(await receive({ invisibleMs: 10_000 }))
    await at.pass(9_000)
    t.deepEqual(await at.port.extend(receipts, 10_000), [null])
    const again = receive({ waitMs: 60_000 })
    const state = watched(again)
    await at.pass(9_000)
    t.false(state.isSettled)
    await at.pass(6_000)
    t.deepEqual(bodiesOf(await again), ['a'])
  })

  test('a released message comes again and is not counted, that of a lost consumer is', async (t, at) => {
    const { receive } = await consumed(at, 'a')
    t.deepEqual(await at.port.release(receiptsOf(await receive())), [null])
    const second = await receive()
    t.is(second[0]?.attempt, 1)
    t.deepEqual(await at.port.abandon(receiptsOf(second)), [null])
    t.is((await receive())[0]?.attempt, 2)
    t.deepEqual(codesOf(await at.port.abandon(receiptsOf(second))), ['RECEIPT_EXPIRED'])
  })

  test(
    'released messages come back in their order, before new ones',
    async (t, at) => {
      const { topic, receive } = await consumed(at, 'a', 'b', 'c')
      const received = await receive()
      await send(at.port, topic, 'd')
      await read(at.port, topic, 4)
      await at.port.release(receiptsOf([received[2]!, received[0]!]))
      await at.port.release(receiptsOf([received[1]!]))
      t.deepEqual(bodiesOf(await receive()), ['a', 'b', 'c', 'd'])
    },
    'promptReturn',
  )

  test(
    'a refused message comes at once the first time, and is a dead letter after its retries',
    async (t, at) => {
      const { group, receive } = await consumed(at, 'bad')
      const definition = await at.port.groups.ensure(group)
      await at.port.groups.put({ ...definition, retryTimesMax: 1 })
      await at.port.nack(receiptsOf(await receive()))
      const again = await receive()
      t.is(again[0]?.attempt, 2)
      await at.port.nack(receiptsOf(again))
      t.deepEqual(await deadLetters(at, group, 1), ['bad'])
      t.deepEqual(await receive({ waitMs: 0 }), [])
    },
    'promptReturn',
  )

  test('a refused message with a delay comes after it', async (t, at) => {
    const { receive } = await consumed(at, 'bad')
    await at.port.nack(receiptsOf(await receive()), 30_000)
    const again = receive({ waitMs: 120_000 })
    const state = watched(again)
    await at.pass(29_000)
    t.false(state.isSettled)
    await at.pass(6_000)
    t.deepEqual(bodiesOf(await again), ['bad'])
    t.is((await again)[0]?.attempt, 2)
  })

  test('a rejected message is a dead letter of its topic', async (t, at) => {
    const { topic, group, receive } = await consumed(at, 'bad')
    const receipts = receiptsOf(await receive())
    t.deepEqual(await at.port.deadLetter(receipts, 'not a number'), [null])
    const dead = await firstDeadLetter(at, group)
    t.is(dead?.body.toString(), 'bad')
    t.is(dead?.property(PROPERTY.retryTopic), topic)
    t.deepEqual(codesOf(await at.port.ack(receipts)), ['RECEIPT_EXPIRED'])
  })

  test(
    'a dead letter says why it was rejected',
    async (t, at) => {
      const { group, receive } = await consumed(at, 'bad')
      await at.port.deadLetter(receiptsOf(await receive()), 'not a number')
      const dead = await firstDeadLetter(at, group)
      t.is(dead?.property(PROPERTY.deadLetterReason), 'not a number')
    },
    'reasons',
  )

  test('a message that a reader by position sends back returns by the retry topic', async (t, at) => {
    const { port, pass } = at
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const { brokerName } = await firstQueue(port, topic)
    const [result] = await port.publish([
      newMessage(topic, { brokerName, queueId: 0, body: 'bad' }),
    ])
    const { position } = stored(result)
    await port.sendBack({ group, brokerName, position, delayLevel: 3 })
    const reading = read(port, `%RETRY%${group}`, 1)
    const state = watched(reading)
    await pass(9_500)
    t.false(state.isSettled)
    await pass(3_000)
    t.deepEqual(await reading, ['bad'])
    await port.sendBack({ group, brokerName, position, delayLevel: -1 })
    t.deepEqual(await deadLetters(at, group, 1), ['bad'])
  })

  test(
    'a message that is not for one consumer waits for another, with the note',
    async (t, at) => {
      const { receive } = await consumed(at, 'a')
      const first = await receive({ memberId: 'one' })
      await at.port.release(receiptsOf(first), { isNotHere: true, note: 'try the other' })
      t.deepEqual(await receive({ memberId: 'one', waitMs: 0 }), [])
      const [second] = await receive({ memberId: 'two' })
      t.is(second?.note, 'try the other')
    },
    'handBack',
  )
}
