// What a hold refuses stands in the log: it is answered with an error, and happens once.
import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import type { PublishReceipt } from '../../../src/model/message.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import {
  BROKER,
  bodiesOf,
  codesOf,
  newMessage,
  pullRequest,
  receiptsOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'

/** From here on nothing is confirmed. */
function unconfirmed({ store }: TestBroker): void {
  const refusal = new BrokerError('NO_REPLICA', 'no slave is connected')
  store.replication.hold().refuse(Number.MAX_SAFE_INTEGER as never, refusal)
}

test('a dead letter that no slave confirms is written once', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  await broker.publish([newMessage('orders', { queueId: 0, body: 'bad' })])
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  unconfirmed(test)
  t.deepEqual(codesOf(await broker.deadLetter(receiptsOf(received), 'bad')), ['NO_REPLICA'])
  t.deepEqual(codesOf(await broker.deadLetter(receiptsOf(received), 'bad')), ['RECEIPT_EXPIRED'])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%DLQ%billing'))), ['bad'])
  test.clock.advance(3_600_000)
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
})

test('a message that is sent back while no slave confirms it comes again', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  const [published] = await broker.publish([newMessage('orders', { queueId: 0, body: 'again' })])
  const { position } = published as PublishReceipt
  await broker.groups.ensure('billing')
  unconfirmed(test)
  const request = { group: 'billing', brokerName: BROKER, position, delayLevel: 1 }
  await t.throwsAsync(broker.sendBack(request), { code: 'NO_REPLICA' })
  const retry = broker.pull(pullRequest('%RETRY%billing', { waitMs: 60_000 }))
  clock.advance(1_000)
  t.deepEqual(bodiesOf(await retry), ['again'])
})

test('a transaction that no slave confirms is there as a whole, once', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  await broker.publish([newMessage('orders', { queueId: 0, body: 'in' })])
  const [received] = await broker.receive(receiveRequest('orders', 'billing'))
  const settlements = [{ receipt: received!.receipt, verdict: { kind: 'ack' } as const }]
  unconfirmed(test)
  const out = [newMessage('out', { queueId: 0, body: 'out' })]
  await t.throwsAsync(broker.publishAndSettle(out, settlements), { code: 'NO_REPLICA' })
  await t.throwsAsync(broker.publishAndSettle(out, settlements), { code: 'RECEIPT_EXPIRED' })
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('out'))), ['out'])
})

test('a group and a topic of their first use are there though no slave confirms them', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  unconfirmed(test)
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
  await t.throwsAsync(broker.topics.put(topicOf('made', 1)), { code: 'NO_REPLICA' })
  const before = test.faults.appends
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
  t.is(test.faults.appends, before)
  t.deepEqual(await broker.receive(receiveRequest('made', 'billing')), [])
})

test('what is due goes once, and what follows without delay, though no slave confirms it', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  const later = ['a', 'b'].map((body, i) => {
    const properties = { [PROPERTY.timerDelayMs]: String(1_000 + i) }
    return newMessage('orders', { queueId: 0, body, properties })
  })
  await broker.publish(later)
  unconfirmed(test)
  const waiting = broker.pull(pullRequest('orders', { waitMs: 60_000 }))
  clock.advance(1_000)
  t.deepEqual(bodiesOf(await waiting), ['a'])
  const next = broker.pull(pullRequest('orders', { offset: 1, waitMs: 60_000 }))
  clock.advance(1)
  t.deepEqual(bodiesOf(await next), ['b'])
})
