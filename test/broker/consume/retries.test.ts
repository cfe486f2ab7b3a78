import test, { type ExecutionContext } from 'ava'
import { delayLevelMs } from '../../../src/model/delay-levels.ts'
import type { PublishReceipt, ReceivedMessage } from '../../../src/model/message.ts'
import { offsetMessageId } from '../../../src/model/message-id.ts'
import { logPosition, queueOffset } from '../../../src/model/positions.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { originalTopic } from '../../../src/model/routing-name.ts'
import {
  BROKER,
  bodiesOf,
  codeOf,
  codesOf,
  isPending,
  newMessage,
  pullRequest,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  viewOf,
} from '../../support/broker.ts'

const DAY_MS = 86_400_000

const receive = ({ broker }: TestBroker, waitMs = 0): Promise<readonly ReceivedMessage[]> =>
  broker.receive(receiveRequest('orders', 'billing', { waitMs }))

async function deadLetters({ broker }: TestBroker): Promise<string[]> {
  return bodiesOf(await broker.pull(pullRequest('%DLQ%billing')))
}

/** Waits for the next delivery and asserts that it comes after exactly this time. */
async function comesAfter(t: ExecutionContext, test: TestBroker, delayMs: number) {
  const waiting = receive(test, DAY_MS)
  test.clock.advance(delayMs - 1)
  t.true(await isPending(test, waiting), `not before ${delayMs} ms`)
  test.clock.advance(1)
  return waiting
}

test('a message that is always refused comes back at once, then on the ladder, and after 16 retries is one dead letter', async (t) => {
  const test = await startBroker(t)
  await test.broker.publish([newMessage('orders', { queueId: 0, tag: 'eu', body: 'bad' })])
  let received = await receive(test)
  for (let retry = 1; retry <= 16; retry++) {
    t.is(received[0]?.attempt, retry)
    t.deepEqual(await test.broker.nack(receiptsOf(received)), [null])
    received =
      retry === 1 ? await receive(test) : await comesAfter(t, test, delayLevelMs(1 + retry))
  }
  t.is(received[0]?.attempt, 17)
  t.deepEqual(await test.broker.nack(receiptsOf(received)), [null])
  t.deepEqual(await deadLetters(test), ['bad'])
  const waiting = receive(test, DAY_MS)
  test.clock.advance(DAY_MS)
  t.deepEqual(await waiting, [])
  t.deepEqual(await deadLetters(test), ['bad'])
})

test('a retried message knows where it comes from, and is otherwise the same', async (t) => {
  const test = await startBroker(t)
  const [published] = await test.broker.publish([
    newMessage('orders', {
      queueId: 0,
      tag: 'eu',
      flag: 7,
      properties: { colour: 'red', DELAY: '1' },
    }),
  ])
  const first = await comesAfter(t, test, 1000)
  await test.broker.nack(receiptsOf(first), 5000)
  const second = await comesAfter(t, test, 5000)
  await test.broker.nack(receiptsOf(second), 5000)
  const [third] = await comesAfter(t, test, 5000)
  const [a, b] = [viewOf(first[0]!), viewOf(third!)]
  t.is(b.topic, '%RETRY%billing')
  t.is(originalTopic(b), 'orders')
  t.is(b.reconsumeTimes, 2)
  t.is(third?.attempt, 3)
  t.is(b.body.toString(), a.body.toString())
  t.is(b.flag, 7)
  t.is(b.bornTimestamp, a.bornTimestamp)
  t.deepEqual(b.bornHost, a.bornHost)
  t.is(b.property(PROPERTY.uniqueKey), a.property(PROPERTY.uniqueKey))
  t.is(b.property('colour'), 'red')
  t.is(b.property(PROPERTY.originMessageId), offsetMessageId(a.storeHost, a.position))
  t.is(b.property(PROPERTY.delay), '1')
  t.is(b.property(PROPERTY.realTopic), '%RETRY%billing')
  t.false(published instanceof Error)
})

test('what is handed back waits for one level, says which, and comes once', async (t) => {
  const test = await startBroker(t)
  const [published] = await test.broker.publish([
    newMessage('orders', { queueId: 0, properties: { DELAY: '1' } }),
  ])
  t.false(published instanceof Error)
  await test.broker.groups.ensure('billing')
  const original = test.broker.pull(pullRequest('orders', { waitMs: 2000 }))
  t.true(await isPending(test, original))
  test.clock.advance(1000)
  const [record] = [...recordsOf((await original).records)]
  const { position } = record!
  await test.broker.sendBack({ group: 'billing', brokerName: BROKER, position, delayLevel: 0 })
  const retry = test.broker.pull(pullRequest('%RETRY%billing', { waitMs: 20_000 }))
  t.true(await isPending(test, retry))
  test.clock.advance(10_000)
  const copies = [...recordsOf((await retry).records)]
  t.deepEqual(
    copies.map((copy) => [copy.property(PROPERTY.delay), copy.property(PROPERTY.cluster)]),
    [['3', 'DefaultCluster']],
  )
  t.is((await test.broker.status()).pendingDelayed, 0)
})

test('what is handed back without room for a retry is a dead letter, not a refusal', async (t) => {
  const test = await startBroker(t)
  const big = newMessage('orders', { queueId: 0, properties: { big: 'x'.repeat(32_690) } })
  const [published] = await test.broker.publish([big])
  const { position } = published as PublishReceipt
  await test.broker.sendBack({ group: 'billing', brokerName: BROKER, position, delayLevel: 0 })
  const { records } = await test.broker.pull(pullRequest('%DLQ%billing'))
  t.is([...recordsOf(records)][0]?.property('big')?.length, 32_690)
})

test('a delay of nothing brings the message back at once', async (t) => {
  const test = await startBroker(t)
  await test.broker.publish([newMessage('orders', { body: 'again' })])
  await test.broker.nack(receiptsOf(await receive(test)), 0)
  const received = await receive(test)
  t.deepEqual(bodiesOf(received), ['again'])
  t.is(received[0]?.attempt, 2)
})

test('a message that a consumer rejects is a dead letter at once, with the reason', async (t) => {
  const test = await startBroker(t)
  await test.broker.publish([newMessage('orders', { tag: 'eu', body: 'bad' })])
  const received = await receive(test)
  const reason = `not a number\u0001\u0002${'!'.repeat(1000)}`
  t.deepEqual(await test.broker.deadLetter(receiptsOf(received), reason), [null])
  const { records } = await test.broker.pull(pullRequest('%DLQ%billing'))
  const [dead] = [...recordsOf(records)]
  t.regex(dead?.property(PROPERTY.deadLetterReason) ?? '', /^not a number {2}!{242}$/)
  t.is(dead?.property(PROPERTY.retryTopic), 'orders')
  t.is(dead?.property(PROPERTY.tags), 'eu')
  t.deepEqual(codesOf(await test.broker.ack(receiptsOf(received))), ['RECEIPT_EXPIRED'])
  t.deepEqual(await receive(test), [])
})

test('a message whose time is over too often is a dead letter', async (t) => {
  const test = await startBroker(t)
  const group = await test.broker.groups.ensure('billing')
  await test.broker.groups.put({ ...group, retryTimesMax: 2 })
  await test.broker.publish([newMessage('orders', { body: 'bad' })])
  for (let attempt = 1; attempt <= 3; attempt++) {
    const received = await receive(test, DAY_MS)
    t.is(received[0]?.attempt, attempt)
    test.clock.advance(30_000)
  }
  const { status } = await test.broker.pull(pullRequest('%DLQ%billing', { waitMs: 1000 }))
  t.is(status, 'found')
  t.deepEqual(await receive(test), [])
})

test('a refusal that has settled survives a crash right after: one copy, no original', async (t) => {
  const first = await startBroker(t)
  const bodies = ['retried', 'dead', 'left']
  await first.broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))
  const received = await receive(first)
  await first.broker.nack(receiptsOf(received.slice(0, 1)), 10_000)
  const second = await first.crash()
  t.deepEqual(bodiesOf(await receive(second)), ['dead', 'left'])
  await first.broker.deadLetter(receiptsOf(received.slice(1, 2)), 'bad')
  const third = await first.crash()
  t.deepEqual(bodiesOf(await receive(third)), ['left'])
  t.deepEqual(await deadLetters(third), ['dead'])
  const retry = receive(third, DAY_MS)
  third.clock.advance(10_000)
  t.deepEqual(bodiesOf(await retry), ['retried'])
})

test('a group that is moved while a refused message is on its way keeps no copy of it', async (t) => {
  const test = await startBroker(t)
  await test.broker.publish([newMessage('orders', { queueId: 0, body: 'again' })])
  const received = await receive(test)
  test.faults.readsAreSlow = true
  const refusing = test.broker.nack(receiptsOf(received), 0)
  await test.broker.cursors.reset('billing', queueOf('orders'), queueOffset(0))
  t.deepEqual(codesOf(await refusing), ['RECEIPT_EXPIRED'])
  const again = await receive(test, 1000)
  t.deepEqual(bodiesOf(again), ['again'])
  t.is(again[0]?.attempt, 1)
  await test.broker.ack(receiptsOf(again))
  t.deepEqual(await receive(test), [])
})

test('messages that fail together leave together', async (t) => {
  const test = await startBroker(t)
  const bodies = Array.from({ length: 600 }, (_, i) => `${i}`)
  await test.broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))
  const received = await test.broker.receive(
    receiveRequest('orders', 'billing', { maxMessages: 1000 }),
  )
  const results = await test.broker.deadLetter(receiptsOf(received), 'all of them')
  t.true(results.every((result) => result === null))
  const pulled = await test.broker.pull(pullRequest('%DLQ%billing', { maxMessages: 1000 }))
  t.deepEqual(bodiesOf(pulled), bodies)
})

test('while the store takes nothing a refused message stays with its consumer', async (t) => {
  const test = await startBroker(t)
  await test.broker.publish([newMessage('orders', { body: 'bad' }), newMessage('orders')])
  const received = await receive(test)
  test.faults.isReadOnly = true
  const refusing = test.broker.nack(receiptsOf(received), 1000)
  t.deepEqual(codesOf(await refusing), ['READ_ONLY', 'READ_ONLY'])
  t.deepEqual(await test.broker.ack(receiptsOf(received.slice(1))), [null])
  test.faults.isReadOnly = false
  t.deepEqual(await test.broker.nack(receiptsOf(received.slice(0, 1)), 0), [null])
  t.deepEqual(bodiesOf(await receive(test)), ['bad'])
})

test('a dead letter that could not be written is written once the store takes it', async (t) => {
  const test = await startBroker(t)
  const group = await test.broker.groups.ensure('billing')
  await test.broker.groups.put({ ...group, retryTimesMax: 0 })
  await test.broker.publish([newMessage('orders', { body: 'bad' })])
  await receive(test)
  test.faults.isReadOnly = true
  await test.clock.advanceAsync(30_000)
  t.deepEqual(await deadLetters(test), [])
  test.faults.isReadOnly = false
  // It stays for a while, is handed out once more, and fails again.
  const again = receive(test, DAY_MS)
  await test.clock.advanceAsync(10_000)
  await test.broker.nack(receiptsOf(await again))
  t.deepEqual(await deadLetters(test), ['bad'])
})

test('a topic keeps its retries from the consumers of another topic of the group', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  const from = (topic: string) => broker.receive(receiveRequest(topic, 'billing'))
  await broker.publish([newMessage('orders', { body: 'o' }), newMessage('refunds', { body: 'r' })])
  await broker.nack(receiptsOf(await from('orders')), 0)
  await broker.nack(receiptsOf(await from('refunds')), 0)
  t.deepEqual(bodiesOf(await from('refunds')), ['r'])
  t.deepEqual(bodiesOf(await from('orders')), ['o'])
  const third = await test.reopen()
  const again = (topic: string) => third.broker.receive(receiveRequest(topic, 'billing'))
  t.deepEqual(bodiesOf(await again('refunds')), ['r'])
  t.deepEqual(bodiesOf(await again('orders')), ['o'])
})

test('retries of a deleted topic are dropped and do not stand in the way', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  const from = (topic: string) => broker.receive(receiveRequest(topic, 'billing'))
  await broker.publish([newMessage('orders', { body: 'o' }), newMessage('refunds', { body: 'r' })])
  await broker.nack(receiptsOf(await from('orders')), 0)
  await broker.nack(receiptsOf(await from('refunds')), 0)
  await broker.topics.delete('orders')
  t.deepEqual(bodiesOf(await from('refunds')), ['r'])
  await broker.publish([newMessage('orders', { body: 'new' })])
  t.deepEqual(bodiesOf(await from('orders')), ['new'])
})

test('retries of a deleted topic do not come to its namesake, whether they wait or not', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  const from = (at = broker) => at.receive(receiveRequest('orders', 'billing'))
  await broker.publish([newMessage('orders', { body: 'a' }), newMessage('orders', { body: 'b' })])
  const received = receiptsOf(await from())
  await broker.nack(received.slice(0, 1), 0)
  await broker.nack(received.slice(1), 1000)
  await broker.topics.delete('orders')
  await broker.publish([newMessage('orders', { body: 'new' })])
  const second = await test.crash()
  await clock.advanceAsync(1000)
  t.deepEqual(bodiesOf(await from(second.broker)), ['new'])
  t.deepEqual(await from(second.broker), [])
  t.is((await second.broker.pull(pullRequest('%RETRY%billing'))).status, 'no-match')
})

test('deleting a topic makes room for the retries of others, and their waiting consumers get them', async (t) => {
  const test = await startBroker(t, { inFlightMax: 1 })
  const { broker } = test
  const from = (topic: string, waitMs = 0) =>
    broker.receive(receiveRequest(topic, 'billing', { waitMs }))
  await broker.publish([newMessage('orders', { body: 'o' }), newMessage('refunds', { body: 'r' })])
  await broker.nack(receiptsOf(await from('orders')), 0)
  await broker.nack(receiptsOf(await from('refunds')), 0)
  const waiting = from('refunds', 60_000)
  t.true(await isPending(test, waiting))
  await broker.topics.delete('orders')
  t.false(await isPending(test, waiting))
  t.deepEqual(bodiesOf(await waiting), ['r'])
})

test('the dead letters of a group are a topic that another group consumes with its own retries', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  await broker.publish([newMessage('orders', { body: 'bad' })])
  await broker.deadLetter(receiptsOf(await receive(test)), 'bad')
  const repair = () => broker.receive(receiveRequest('%DLQ%billing', 'repair'))
  await broker.nack(receiptsOf(await repair()), 0)
  const again = await repair()
  t.deepEqual(bodiesOf(again), ['bad'])
  t.is(originalTopic(viewOf(again[0]!)), 'orders')
})

test('a message that a pulling consumer sends back returns by the retry topic', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await broker.publish([newMessage('orders', { queueId: 0, body: 'bad' })])
  const { records } = await broker.pull(pullRequest('orders'))
  const [record] = [...recordsOf(records)]
  const position = record!.position
  await broker.sendBack({ group: 'billing', brokerName: BROKER, position, delayLevel: 0 })
  const retry = broker.pull(pullRequest('%RETRY%billing', { waitMs: DAY_MS }))
  clock.advance(9999)
  t.true(await isPending(test, retry))
  clock.advance(1)
  const [copy] = [...recordsOf((await retry).records)]
  t.is(copy?.reconsumeTimes, 1)
  t.is(copy?.property(PROPERTY.retryTopic), 'orders')
  t.is(copy?.property(PROPERTY.originMessageId), offsetMessageId(record!.storeHost, position))

  const back = copy!.position
  await broker.sendBack({
    group: 'billing',
    brokerName: BROKER,
    position: back,
    delayLevel: 1,
    retryTimesMax: 1,
  })
  t.deepEqual(await deadLetters(test), ['bad'])
  await broker.sendBack({ group: 'billing', brokerName: BROKER, position, delayLevel: -1 })
  t.deepEqual(await deadLetters(test), ['bad', 'bad'])
})

test('sending back what is no message is refused', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage('orders')])
  for (const position of [1, 1e15, -1, 0.5, 0]) {
    const at = { brokerName: BROKER, position: logPosition(position) }
    const request = { group: 'billing', ...at, delayLevel: 0 }
    t.is(await codeOf(broker.sendBack(request)), 'MESSAGE_NOT_FOUND', `${position}`)
  }
})

test('a refused message of a light queue comes back to that light queue only', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  const eu = await broker.lightQueues.bind('+/eu', 'one')
  const all = await broker.lightQueues.bind('#', 'one')
  const from = (topic: string) => broker.receive(receiveRequest(topic, 'billing'))
  await broker.publish([newMessage('orders', { tag: 'eu', body: 'o' })])
  await broker.nack(receiptsOf(await from(eu.topic)), 0)
  const own = await from(all.topic)
  t.deepEqual(bodiesOf(own), ['o'])
  t.is(own[0]?.attempt, 1)
  t.deepEqual(bodiesOf(await from('orders')), ['o'])
  const again = await from(eu.topic)
  t.is(again[0]?.attempt, 2)
  t.is(originalTopic(viewOf(again[0]!)), 'orders')
  t.deepEqual(await from(all.topic), [])
  t.deepEqual(await from('orders'), [])
})

test('a refused message whose properties have no room for the copy waits in place', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  const filter = `${'x'.repeat(3000)}/#`
  const { topic } = await broker.lightQueues.bind(filter, 'one')
  const properties = { MQTT_TOPIC: `${'x'.repeat(3000)}/y`, filler: 'f'.repeat(29_000) }
  await broker.publish([newMessage('orders', { body: 'o', properties })])
  const request = receiveRequest(topic, 'billing', { waitMs: DAY_MS })
  await broker.nack(receiptsOf(await broker.receive(request)))
  t.deepEqual(await broker.nack(receiptsOf(await broker.receive(request))), [null])
  const again = broker.receive(request)
  test.clock.advance(9999)
  t.true(await isPending(test, again))
  test.clock.advance(1)
  t.deepEqual(bodiesOf(await again), ['o'])
  t.is((await again)[0]?.attempt, 3)
})

test('a dead letter without room for its reason goes as it came, and holds up no other', async (t) => {
  const { broker } = await startBroker(t)
  // Written anew as UTF-8 these are three times as long.
  const properties = Buffer.alloc(20_000, 0xff)
  properties.write('filler\u0001')
  properties[properties.length - 1] = 2
  await broker.publish([
    { ...newMessage('orders', { queueId: 0, body: 'odd' }), properties },
    newMessage('orders', { queueId: 0, body: 'plain' }),
  ])
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(await broker.deadLetter(receiptsOf(received), 'no use'), [null, null])
  const dead = await broker.pull(pullRequest('%DLQ%billing'))
  t.deepEqual(bodiesOf(dead), ['odd', 'plain'])
})
