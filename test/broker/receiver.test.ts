import test from 'ava'
import type { EmbeddedBroker } from '../../src/broker/broker.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { tagFilterOf } from '../../src/model/tag-filter.ts'
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
} from '../support/broker.ts'

const publish = (broker: EmbeddedBroker, ...bodies: string[]) =>
  broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))

const lagOf = async (broker: EmbeddedBroker, group: string) =>
  (await broker.groups.lags(group)).find(
    ({ topic, queueId }) => topic === 'orders' && queueId === 0,
  )

test('a message is received once and, when acknowledged, never again', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'a', 'b')
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(received), ['a', 'b'])
  t.deepEqual(
    received.map(({ attempt }) => attempt),
    [1, 1],
  )
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
  t.deepEqual(await broker.ack(receiptsOf(received)), [null, null])
  t.deepEqual(codesOf(await broker.ack(receiptsOf(received))), [
    'RECEIPT_EXPIRED',
    'RECEIPT_EXPIRED',
  ])
  t.deepEqual(await broker.receive(receiveRequest('orders', 'billing')), [])
})

test('consumers of one group compete, groups do not', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'a', 'b')
  const one = { maxMessages: 1 }
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'billing', one))), ['a'])
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'billing', one))), ['b'])
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'audit'))), ['a', 'b'])
})

test('a new group starts at the first message or at the end, as its first consumer says', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'old')
  t.deepEqual(await broker.receive(receiveRequest('orders', 'late', { startAt: 'last' })), [])
  await publish(broker, 'new')
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'late'))), ['new'])
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'early'))), ['old', 'new'])
})

test('where a new group started survives a crash', async (t) => {
  const first = await startBroker(t)
  await publish(first.broker, 'old')
  await first.broker.receive(receiveRequest('orders', 'late', { startAt: 'last' }))
  await publish(first.broker, 'new')
  const { broker } = await first.crash()
  const received = await broker.receive(receiveRequest('orders', 'late', { startAt: 'last' }))
  t.deepEqual(bodiesOf(received), ['new'])
})

test('a receive waits for a message and comes back empty-handed at its time', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const first = broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000 }))
  const second = broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000 }))
  t.true(await isPending(test, first))
  await publish(broker, 'a')
  t.deepEqual(bodiesOf(await first), ['a'])
  clock.advance(5000)
  t.deepEqual(await second, [])
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

test('a waiting receive ends with its signal and takes no message with it', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.ensure('orders')
  await broker.groups.ensure('billing')
  const stop = new AbortController()
  const receiving = codeOf(
    broker.receive(receiveRequest('orders', 'billing', { waitMs: 5000, signal: stop.signal })),
  )
  await broker.topics.list()
  stop.abort()
  t.is(await receiving, 'ABORTED')
  await publish(broker, 'a')
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'billing'))), ['a'])
  const late = receiveRequest('orders', 'billing', { signal: stop.signal })
  t.is(await codeOf(broker.receive(late)), 'ABORTED')
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

test('a receive may ask for one queue only', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish(
    [0, 1].map((queueId) => newMessage('orders', { queueId, body: `${queueId}` })),
  )
  const received = await broker.receive(receiveRequest('orders', 'billing', { queueId: 1 }))
  t.deepEqual(bodiesOf(received), ['1'])
})

test('a receive asks for a queue that is there, and for one message and one ms at least', async (t) => {
  const { broker } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 2))
  const ask = (shape: object) => codeOf(broker.receive(receiveRequest('orders', 'billing', shape)))
  t.is(await ask({ queueId: 2 }), 'QUEUE_NOT_FOUND')
  t.is(await ask({ maxMessages: 0 }), 'ARGUMENT_INVALID')
  t.is(await ask({ invisibleMs: 0 }), 'ARGUMENT_INVALID')
})

test('a receive takes no more bytes than asked, but one message at least', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'x'.repeat(3000), 'y'.repeat(3000), 'z'.repeat(3000))
  const receive = async (maxBytes: number) =>
    bodiesOf(await broker.receive(receiveRequest('orders', 'billing', { maxBytes }))).map(
      (b) => b[0],
    )
  t.deepEqual(await receive(1), ['x'])
  t.deepEqual(await receive(10_000), ['y', 'z'])
})

test('only messages whose tag is wanted are received; the others are done for the group', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish(
    ['eu', 'us', 'eu', 'Aa', 'BB'].map((tag) =>
      newMessage('orders', { queueId: 0, tag, body: tag }),
    ),
  )
  const filter = tagFilterOf(['eu', 'Aa'])
  const received = await broker.receive(receiveRequest('orders', 'billing', { filter }))
  t.deepEqual(bodiesOf(received), ['eu', 'eu', 'Aa'])
  await broker.ack(receiptsOf(received))
  t.is((await lagOf(broker, 'billing'))?.lag, 0)
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

test('after its invisible time a message is received again, as another attempt', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'a', 'b')
  const first = await broker.receive(
    receiveRequest('orders', 'billing', { invisibleMs: 10_000, maxMessages: 1 }),
  )
  const waiting = broker.receive(
    receiveRequest('orders', 'billing', { queueId: 0, waitMs: 60_000, maxMessages: 1 }),
  )
  t.deepEqual(bodiesOf(await waiting), ['b'])
  const again = broker.receive(receiveRequest('orders', 'billing', { waitMs: 60_000 }))
  clock.advance(9999)
  t.true(await isPending(test, again))
  clock.advance(1)
  t.deepEqual(bodiesOf(await again), ['a'])
  t.is((await again)[0]?.attempt, 2)
  t.deepEqual(codesOf(await broker.ack(receiptsOf(first))), ['RECEIPT_EXPIRED'])
  t.deepEqual(await broker.ack(receiptsOf(await again)), [null])
})

test('an extended message stays with its consumer', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'a')
  const received = await broker.receive(receiveRequest('orders', 'billing', { invisibleMs: 1000 }))
  clock.advance(900)
  t.deepEqual(await broker.extend(receiptsOf(received), 5000), [null])
  const again = broker.receive(receiveRequest('orders', 'billing', { waitMs: 60_000 }))
  clock.advance(4999)
  t.true(await isPending(test, again))
  clock.advance(1)
  t.deepEqual(bodiesOf(await again), ['a'])
  t.deepEqual(codesOf(await broker.extend(receiptsOf(received), 5000)), ['RECEIPT_EXPIRED'])
})

test('a jump of the wall clock ends no invisible time', async (t) => {
  const test = await startBroker(t)
  await publish(test.broker, 'a')
  await test.broker.receive(receiveRequest('orders', 'billing'))
  test.clock.jump(86_400_000)
  test.clock.advance(1000)
  t.deepEqual(await test.broker.receive(receiveRequest('orders', 'billing')), [])
})

test('a released message is available at once and not counted, that of a lost consumer is', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'a')
  const receive = () => broker.receive(receiveRequest('orders', 'billing'))
  const first = await receive()
  t.deepEqual(await broker.release(receiptsOf(first)), [null])
  const second = await receive()
  t.is(second[0]?.attempt, 1)
  t.deepEqual(await broker.abandon(receiptsOf(second)), [null])
  const third = await receive()
  t.is(third[0]?.attempt, 2)
  t.deepEqual(codesOf(await broker.abandon(receiptsOf(second))), ['RECEIPT_EXPIRED'])
})

test('released messages come back in their order, before new ones', async (t) => {
  const { broker } = await startBroker(t)
  await publish(broker, 'a', 'b', 'c')
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  await publish(broker, 'd')
  await broker.release(receiptsOf([received[2]!, received[0]!]))
  await broker.release(receiptsOf([received[1]!]))
  const again = await broker.receive(receiveRequest('orders', 'billing'))
  t.deepEqual(bodiesOf(again), ['a', 'b', 'c', 'd'])
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

test('a group that may not consume receives nothing', async (t) => {
  const { broker } = await startBroker(t)
  const group = await broker.groups.ensure('billing')
  await broker.groups.put({ ...group, consumeEnabled: false })
  t.is(await codeOf(broker.receive(receiveRequest('orders', 'billing'))), 'PERMISSION_DENIED')
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
