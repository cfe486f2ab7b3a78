import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { tagFilterOf } from '../../../src/model/tag-filter.ts'
import {
  bodiesOf,
  codeOf,
  codesOf,
  isPending,
  newMessage,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  topicOf,
} from '../../support/broker.ts'

const publish = (broker: EmbeddedBroker, ...bodies: string[]) =>
  broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))

test('where a new group started survives a crash', async (t) => {
  const first = await startBroker(t)
  await publish(first.broker, 'old')
  await first.broker.receive(receiveRequest('orders', 'late', { startAt: 'last' }))
  await publish(first.broker, 'new')
  const { broker } = await first.crash()
  const received = await broker.receive(receiveRequest('orders', 'late', { startAt: 'last' }))
  t.deepEqual(bodiesOf(received), ['new'])
})

test('waiting consumers share what arrives', async (t) => {
  const test = await startBroker(t)
  const { broker } = test
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const waiting = [1, 2, 3].map(() =>
    broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000 })),
  )
  t.true(await isPending(test, Promise.race(waiting)))
  await publish(broker, 'a', 'b', 'c', 'd', 'e', 'f')
  t.deepEqual((await Promise.all(waiting)).map(bodiesOf), [
    ['a', 'b'],
    ['c', 'd'],
    ['e', 'f'],
  ])
})

test('the count of waiting receives has a limit', async (t) => {
  const { broker } = await startBroker(t, { heldReceivesMax: 1 })
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const request = receiveRequest('orders', 'billing', { waitMs: 5000 })
  const first = broker.receive(request)
  t.is(await codeOf(broker.receive(request)), 'BUSY')
  await publish(broker, 'a')
  t.deepEqual(bodiesOf(await first), ['a'])
})

test('a receive goes over all queues of the topic in turn', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 3))
  const bodies = ['0a', '0b', '1a', '1b', '2a', '2b']
  await broker.publish(
    bodies.map((body) => newMessage('orders', { queueId: Number(body[0]), body })),
  )
  const first: string[] = []
  for (let i = 0; i < 8; i++) {
    const one = await broker.receive(receiveRequest('orders', 'billing', { maxMessages: 1 }))
    first.push(...bodiesOf(one))
  }
  t.deepEqual([...first].sort(), bodies)
  t.deepEqual([...new Set(first.slice(0, 3).map((body) => body[0]))].sort(), ['0', '1', '2'])
})

test('a long stretch without a matching tag is stepped over', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  const bulk = Array.from({ length: 5000 }, () =>
    newMessage('orders', { queueId: 0, tag: 'us', body: '' }),
  )
  for (let i = 0; i < 30; i++) await broker.publish(bulk)
  await broker.publish([newMessage('orders', { queueId: 0, tag: 'eu', body: 'found' })])
  const filter = tagFilterOf(['eu'])
  const received = await broker.receive(
    receiveRequest('orders', 'billing', { filter, waitMs: 5000 }),
  )
  t.deepEqual(bodiesOf(received), ['found'])
})

test('what no filter wants is looked through bit by bit, also for a receive that does not wait', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.groups.ensure('billing')
  await broker.topics.ensure('orders')
  for (const queueId of [0, 1, 2, 3]) {
    const bulk = Array.from({ length: 4096 }, () =>
      newMessage('orders', { queueId, tag: 'us', body: '' }),
    )
    for (let i = 0; i < 4; i++) await broker.publish(bulk)
  }
  await broker.publish([newMessage('orders', { queueId: 3, tag: 'eu', body: 'found' })])
  const request = receiveRequest('orders', 'billing', { filter: tagFilterOf(['eu']) })
  const receiving = broker.receive(request)
  t.true(faults.reads <= 2, `${faults.reads} reads in one turn of the event loop`)
  t.deepEqual(bodiesOf(await receiving), ['found'])
  t.deepEqual(await broker.receive(request), [])
})

test('members of one group must agree on the filter while they consume', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage('orders', { queueId: 0, tag: 'eu', body: 'eu' })])
  const filter = tagFilterOf(['eu'])
  const received = await broker.receive(receiveRequest('orders', 'billing', { filter }))
  const other = receiveRequest('orders', 'billing', { filter: tagFilterOf(['us']) })
  t.is(await codeOf(broker.receive(other)), 'SUBSCRIPTION_CONFLICT')
  await broker.ack(receiptsOf(received))
  await broker.publish([newMessage('orders', { queueId: 0, tag: 'us', body: 'us' })])
  t.deepEqual(bodiesOf(await broker.receive(other)), ['us'])
})

test('members that name the same tags in another order agree', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish(
    ['eu', 'us'].map((tag) => newMessage('orders', { queueId: 0, tag, body: tag })),
  )
  const receive = (...tags: string[]) => {
    const request = { maxMessages: 1, filter: tagFilterOf(tags) }
    return broker.receive(receiveRequest('orders', 'billing', request))
  }
  t.deepEqual(bodiesOf(await receive('eu', 'us')), ['eu'])
  t.deepEqual(bodiesOf(await receive('us', 'eu')), ['us'])
})

test('a jump of the wall clock ends no invisible time', async (t) => {
  const test = await startBroker(t)
  await publish(test.broker, 'a')
  await test.broker.receive(receiveRequest('orders', 'billing'))
  test.clock.jump(86_400_000)
  test.clock.advance(1000)
  t.deepEqual(await test.broker.receive(receiveRequest('orders', 'billing')), [])
})

test('unsettled messages of a group are bounded by count and by bytes', async (t) => {
  const { broker } = await startBroker(t, { inFlightMax: 3, inFlightBytesMax: 100_000 })
  await publish(broker, 'a', 'b', 'c', 'd')
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(received), ['a', 'b', 'c'])
  const waiting = broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000 }))
  await broker.ack(receiptsOf(received.slice(0, 1)))
  t.deepEqual(bodiesOf(await waiting), ['d'])

  await broker.publish(
    ['x', 'y'].map((body) => newMessage('large', { queueId: 0, body: body.repeat(200_000) })),
  )
  const one = { maxMessages: 1 }
  const first = await broker.receive(receiveRequest('large', 'billing', one))
  t.is(first.length, 1)
  t.deepEqual(await broker.receive(receiveRequest('large', 'billing', one)), [])
  await broker.ack(receiptsOf(first))
  t.is((await broker.receive(receiveRequest('large', 'billing', one))).length, 1)
})

test('messages that must come from the disk are received all the same', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.publish(
    Array.from({ length: 8 }, (_, i) => newMessage('orders', { queueId: i % 4, body: `${i}` })),
  )
  await broker.groups.ensure('billing')
  faults.readsAreSlow = true
  const bodies: string[] = []
  let released = 0
  for (let i = 0; bodies.length < 8 + released; i++) {
    const received = await broker.receive(
      receiveRequest('orders', 'billing', { waitMs: i % 2 && 99 }),
    )
    bodies.push(...bodiesOf(received))
    if (i === 0) {
      released = received.length
      await broker.release(receiptsOf(received))
    } else await broker.ack(receiptsOf(received))
  }
  t.deepEqual([...new Set(bodies)].sort(), [...'01234567'])
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
})

test('what is loaded from the disk is loaded once', async (t) => {
  const { broker, faults } = await startBroker(t)
  await broker.publish(
    Array.from({ length: 256 }, (_, i) => newMessage('orders', { queueId: i % 4, body: `${i}` })),
  )
  await broker.groups.ensure('billing')
  faults.readsAreSlow = true
  faults.reads = 0
  for (let count = 0; count < 256; ) {
    const received = await broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000 }))
    count += received.length
    await broker.ack(receiptsOf(received))
  }
  t.is(faults.reads, 256 / 32)
})

test('a disk that does not read fails the receive, and nothing is lost', async (t) => {
  const { broker, faults } = await startBroker(t)
  await publish(broker, 'a')
  faults.readsAreSlow = true
  faults.readsFail = true
  t.is(await codeOf(broker.receive(receiveRequest('orders', 'billing'))), 'STORE_CORRUPT')
  faults.readsFail = false
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'billing'))), ['a'])
})

test('a receipt of an earlier process settles nothing', async (t) => {
  const first = await startBroker(t)
  await publish(first.broker, 'a')
  const old = await first.broker.receive(receiveRequest('orders', 'billing'))
  const { broker } = await first.reopen()
  t.deepEqual(codesOf(await broker.ack(receiptsOf(old))), ['RECEIPT_EXPIRED'])
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(received), ['a'])
  t.deepEqual(codesOf(await broker.ack(receiptsOf(old))), ['RECEIPT_EXPIRED'])
})

test('a closing broker sends waiting receives home empty-handed', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const receiving = broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000 }))
  await broker.topics.list()
  await broker.close()
  t.deepEqual(await receiving, [])
  t.is(await codeOf(broker.receive(receiveRequest('orders', 'billing'))), 'CLOSED')
  t.is(await codeOf(broker.ack([])), 'CLOSED')
})

test('a receive that waits gets what a reset brings back', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([newMessage('orders', { queueId: 0, body: 'a' })])
  await broker.ack(receiptsOf(await broker.receive(receiveRequest('orders', 'billing'))))
  const waiting = broker.receive(receiveRequest('orders', 'billing', { waitMs: 60_000 }))
  await broker.cursors.reset('billing', queueOf('orders'), queueOffset(0))
  t.deepEqual(bodiesOf(await waiting), ['a'])
})
