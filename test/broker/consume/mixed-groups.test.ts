// Native members, which share queues by RocketMQ's own rules, and consumers per message in one
// group.
import test from 'ava'
import { queueOffset } from '../../../src/model/positions.ts'
import {
  bodiesOf,
  isPending,
  pullRequest,
  queueOf,
  receiptsOf,
  receiveRequest,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'
import {
  BY_CIRCLE,
  client,
  device,
  GROUP,
  Native,
  pass,
  RETRY,
  receive,
  send,
  settle,
  start,
  TOPIC,
} from '../../support/native/group-natives.ts'

test('natives leave the virtual member its share, which is handed out per message', async (t) => {
  const test = await start(t)
  const [a, b] = [await new Native(test, 'a').join(), await new Native(test, 'b').join()]
  await settle(test, a, b)
  t.deepEqual(
    [a.queues, b.queues],
    [
      [0, 1],
      [2, 3],
    ],
  )
  await device(test)
  t.deepEqual(await receive(test), [])
  await settle(test, a, b)
  t.deepEqual([a.queues, b.queues], [[2], [3]])
  await send(test, 4)
  const received = await receive(test)
  t.deepEqual(bodiesOf(received).sort(), ['0/0', '1/0'])
  t.deepEqual([...(await a.pull()), ...(await b.pull())], ['2/0', '3/0'])
  const [virtual = ''] = await test.broker.clients.consumerIds(GROUP)
  const queues = (await test.broker.clients.virtualQueues(GROUP, virtual)) ?? []
  t.deepEqual(
    queues.filter(({ topic }) => topic === TOPIC).map(({ queueId }) => queueId),
    [0, 1],
  )
})

test('natives that divide by circle leave other queues', async (t) => {
  const test = await start(t)
  const a = await new Native(test, 'a', BY_CIRCLE).join()
  await device(test)
  await receive(test)
  await settle(test, a)
  t.deepEqual(a.queues, [1, 3])
  await pass(test, 10_000)
  await a.pull()
  await send(test, 4)
  t.deepEqual(bodiesOf(await receive(test)).sort(), ['0/0', '2/0'])
})

test('a queue begins where its native member had got to', async (t) => {
  const test = await start(t, 2)
  await send(test, 2, 3)
  const a = await new Native(test, 'a').join()
  await settle(test, a)
  t.is(a.got.length, 6)
  await device(test)
  await receive(test)
  await settle(test, a)
  await send(test, 2, 1, 3)
  t.deepEqual(bodiesOf(await receive(test)), ['0/3'])
  t.deepEqual(await a.pull(), ['1/3'])
})

/** A native member of a new group, that begins with what comes; one by the first message. */
async function joinNew(test: TestBroker, consumeFrom = 'CONSUME_FROM_LAST_OFFSET') {
  const { clients } = test.broker
  await clients.register(client('a', 'queue-assigned', [TOPIC, RETRY], consumeFrom))
  await clients.consumerIds(GROUP, 'a')
}

/** A device that begins with what comes gets the queue that the native member leaves. */
async function takeOver(test: TestBroker): Promise<void> {
  await device(test)
  await receive(test, { startAt: 'last' })
  await test.broker.clients.consumerIds(GROUP, 'a')
  await pass(test, 10_000)
}

test('a queue that natives left before they committed is handed out from where they began', async (t) => {
  const test = await start(t, 1)
  await send(test, 1)
  await joinNew(test)
  for (const offset of [1, 2]) {
    await test.broker.pull({ ...pullRequest(TOPIC, { offset, group: GROUP }), member: 'a' })
    await send(test, 1, 1, offset)
  }
  await takeOver(test)
  t.deepEqual(bodiesOf(await receive(test, { startAt: 'last' })), ['0/1', '0/2'])
})

test('so it is when they are gone before others come', async (t) => {
  const test = await start(t, 1)
  const { broker } = test
  await send(test, 1)
  await joinNew(test)
  await broker.pull({ ...pullRequest(TOPIC, { offset: 1, group: GROUP }), member: 'a' })
  await send(test, 1, 2, 1)
  await broker.clients.unregister('connection of a')
  t.is(await broker.cursors.committed(GROUP, queueOf(TOPIC)), undefined)
  t.deepEqual(
    (await broker.groups.lags(GROUP)).map(({ topic }) => topic),
    [RETRY],
  )
  await device(test)
  await broker.cursors.commit(GROUP, queueOf(TOPIC), queueOffset(3))
  t.deepEqual(bodiesOf(await receive(test, { startAt: 'last' })), ['0/1', '0/2'])
})

test('a group with a native that begins at the first message begins there', async (t) => {
  const test = await start(t, 1)
  await send(test, 1)
  await joinNew(test, 'CONSUME_FROM_FIRST_OFFSET')
  await takeOver(test)
  t.deepEqual(bodiesOf(await receive(test, { startAt: 'last' })), ['0/0'])
})

test('consumers that begin with what comes get it of queues that natives leave later', async (t) => {
  const test = await start(t, 1)
  await send(test, 1)
  await joinNew(test)
  await device(test)
  await test.broker.cursors.commit(GROUP, queueOf(TOPIC), queueOffset(1))
  await send(test, 1, 1, 1)
  await takeOver(test)
  t.deepEqual(bodiesOf(await receive(test, { startAt: 'last' })), ['0/1'])
})

test('a native member that still pulls a queue keeps it', async (t) => {
  const test = await start(t, 2)
  const a = await new Native(test, 'a').join()
  await a.rebalance()
  await device(test)
  await receive(test)
  for (let i = 0; i < 40; i++) {
    await a.pull()
    await pass(test, 500)
  }
  await send(test, 2)
  t.deepEqual(await receive(test), [])
  t.deepEqual(await a.pull(), ['0/0', '1/0'])
})

test('a native member that is busy keeps its queues by its commits', async (t) => {
  const test = await start(t, 2)
  const a = await new Native(test, 'a').join()
  await a.rebalance()
  await a.pull()
  await device(test)
  await receive(test)
  await a.rebalance()
  for (let i = 0; i < 20; i++) {
    await a.commit()
    await pass(test, 5_000)
  }
  await send(test, 2)
  t.deepEqual(bodiesOf(await receive(test)), ['0/0'])
})

test('a pull that waited before the change holds up nothing, and takes no message', async (t) => {
  const test = await start(t, 2)
  const a = await new Native(test, 'a').join()
  await settle(test, a)
  const held = a.hold(0)
  await device(test)
  await receive(test)
  await settle(test, a)
  await send(test, 2)
  t.deepEqual(bodiesOf(await receive(test)), ['0/0'])
  t.like(await held, { status: 'at-end', count: 0 })
})

test('a native that comes gets its queues when they are settled, without what was done', async (t) => {
  const test = await start(t, 2)
  await device(test)
  await send(test, 2, 3)
  const received = await receive(test)
  t.is(received.length, 6)
  await test.broker.ack(receiptsOf(received.slice(0, 1)))
  const a = await new Native(test, 'a').join()
  await a.rebalance()
  t.deepEqual(a.queues, [1])
  const pulled = a.pull(15_000)
  t.true(await isPending(test, pulled))
  await send(test, 2, 1, 3)
  t.deepEqual(bodiesOf(await receive(test)), ['0/3'])
  await test.broker.ack(receiptsOf(received.slice(1)))
  t.deepEqual(await pulled, [])
  t.deepEqual(await a.pull(), ['1/3'])
  await a.commit()
  t.is(Number(await test.broker.cursors.committed(GROUP, queueOf(TOPIC, 1))), 4)
})

test('what consumers per message gave back, natives get, and nothing that they did', async (t) => {
  const test = await start(t, 2)
  await device(test)
  await send(test, 2, 4)
  const received = await receive(test)
  const mine = received.filter((_, i) => bodiesOf(received)[i]?.startsWith('1/'))
  const a = await new Native(test, 'a').join()
  await a.rebalance()
  const pulled = a.pull(15_000)
  await test.broker.ack(receiptsOf([mine[1]!, mine[3]!]))
  await test.broker.release(receiptsOf([mine[0]!, mine[2]!]))
  const got = [...(await pulled), ...(await a.pull()), ...(await a.pull()), ...(await a.pull())]
  t.deepEqual(got, ['1/0', '1/2'])
  // Also a commit from before does not bring back what was done.
  await test.broker.cursors.commit(GROUP, queueOf(TOPIC, 1), queueOffset(1), 'a')
  t.is(Number(await test.broker.cursors.committed(GROUP, queueOf(TOPIC, 1))), 2)
})

test('a consumer that settles nothing keeps a queue from natives for a minute', async (t) => {
  const test = await start(t, 2)
  await device(test)
  await send(test, 2)
  const received = await receive(test, { invisibleMs: 600_000 })
  const a = await new Native(test, 'a').join()
  await a.rebalance()
  t.deepEqual(await a.pull(), [])
  await pass(test, 59_000)
  t.deepEqual(await a.pull(), [])
  await pass(test, 2_000)
  t.deepEqual(await a.pull(), ['1/0'])
  const results = await test.broker.ack(receiptsOf(received))
  t.is(results.filter((result) => result === null).length, 1)
})

test('when the last native leaves, every queue is handed out at once', async (t) => {
  const test = await start(t)
  const a = await new Native(test, 'a').join()
  await device(test)
  await receive(test)
  await settle(test, a)
  await send(test, 4)
  await a.leave()
  t.deepEqual(bodiesOf(await receive(test)).sort(), ['0/0', '1/0', '2/0', '3/0'])
})

test('when the last consumer per message leaves, natives have every queue at once', async (t) => {
  const test = await start(t)
  const a = await new Native(test, 'a').join()
  await device(test)
  await receive(test)
  await settle(test, a)
  const news: string[] = []
  using _ = test.broker.clients.watch((group) => news.push(group))
  await test.broker.clients.unregister('connection of device')
  t.true(news.includes(GROUP))
  t.deepEqual(await test.broker.clients.consumerIds(GROUP), ['a'])
  await a.rebalance()
  await send(test, 4)
  t.deepEqual((await a.pull()).sort(), ['0/0', '1/0', '2/0', '3/0'])
})

test('an orderly native locks a queue when consumers have settled it, and is told then', async (t) => {
  const test = await start(t, 2)
  const { broker } = test
  await device(test)
  await send(test, 2)
  const received = await receive(test)
  await new Native(test, 'a').join()
  await broker.clients.consumerIds(GROUP, 'a')
  const queue = queueOf(TOPIC, 1)
  for (let times = 0; times < 3; times++) {
    t.deepEqual(await broker.queueLocks.lock(GROUP, 'a', [queue]), [])
  }
  const news: string[] = []
  using _ = broker.clients.watch((group) => news.push(group))
  await broker.ack(receiptsOf(received))
  t.deepEqual(news, [GROUP])
  t.deepEqual(await broker.queueLocks.lock(GROUP, 'a', [queue]), [queue])
})

test('a queue that an orderly native has locked is not handed out', async (t) => {
  const test = await start(t, 2)
  const { broker } = test
  const a = await new Native(test, 'a').join()
  await a.rebalance()
  await broker.queueLocks.lock(GROUP, 'a', [queueOf(TOPIC, 0), queueOf(TOPIC, 1)])
  await device(test)
  await receive(test)
  await a.rebalance()
  await pass(test, 20_000)
  await send(test, 2)
  t.deepEqual(await receive(test), [])
  await broker.queueLocks.unlock(GROUP, 'a', [queueOf(TOPIC, 0)])
  await pass(test, 1_000)
  t.deepEqual(bodiesOf(await receive(test)), ['0/0'])
})

test('each client that receives per message has a virtual member, while there are queues', async (t) => {
  const test = await start(t, 4)
  const { clients } = test.broker
  await new Native(test, 'a').join()
  for (const id of ['d1', 'd2', 'd3', 'd4', 'd5']) await device(test, id)
  t.is((await clients.consumerIds(GROUP)).length, 4)
  for (const id of ['d1', 'd2', 'd3']) await clients.unregister(`connection of ${id}`)
  t.is((await clients.consumerIds(GROUP)).length, 3)
})

test('natives with one topic more than the consumers per message keep all queues', async (t) => {
  const test = await start(t, 2)
  const { broker } = test
  await broker.topics.put(topicOf('invoices', 2))
  await broker.clients.register(client('a', 'queue-assigned', [TOPIC, 'invoices', RETRY]))
  await device(test)
  t.deepEqual(await broker.clients.consumerIds(GROUP), ['a'])
  await broker.clients.register(client('device', 'per-message', [TOPIC, 'invoices']))
  t.is((await broker.clients.consumerIds(GROUP)).length, 2)
})

test('a topic that consumers without a registration receive no more is covered no more', async (t) => {
  const test = await start(t)
  await test.broker.topics.put(topicOf('other', 4))
  const register = (): Promise<void> =>
    test.broker.clients.register(client('10.0.0.1@1', 'queue-assigned', [TOPIC, 'other', RETRY]))
  const receive = (topic: string) => test.broker.receive(receiveRequest(topic, GROUP))
  await register()
  for (const topic of [TOPIC, 'other']) await receive(topic)
  const isShared = async () => (await test.broker.clients.consumerIds(GROUP)).length > 1
  await pass(test, 1000)
  t.true(await isShared())
  for (let n = 0; n < 16; n++) {
    await register()
    await receive(TOPIC)
    await pass(test, 10_000)
  }
  t.false(await isShared())
})

test('a client that becomes a native member is not compared with what it was, nor by the retry topic', async (t) => {
  const { broker } = await start(t)
  const { clients } = broker
  await clients.register(client('pops', 'per-message', [TOPIC, RETRY]))
  await clients.register(client('a', 'per-message', [TOPIC, RETRY]))
  await clients.register(client('a', 'queue-assigned', [TOPIC, RETRY]))
  t.true((await clients.consumerIds(GROUP, 'a')).includes('a'))
  t.is((await clients.consumerIds(GROUP)).length, 2)
})

test('members that broadcast take no part', async (t) => {
  const test = await start(t, 2)
  const { clients } = test.broker
  const [broadcasting] = client('b', 'queue-assigned').consumers
  await clients.register({
    ...client('b', 'queue-assigned'),
    consumers: [{ ...broadcasting!, model: 'broadcasting' }],
  })
  await device(test)
  await send(test, 2)
  t.is((await receive(test)).length, 2)
})

test('a group is moved with members of both kinds alive', async (t) => {
  const test = await start(t, 2)
  const { cursors } = test.broker
  await send(test, 2, 2)
  const a = await new Native(test, 'a').join()
  await settle(test, a)
  await device(test)
  await receive(test)
  await settle(test, a)
  for (const queueId of [0, 1]) await cursors.reset(GROUP, queueOf(TOPIC, queueId), queueOffset(0))
  t.deepEqual(bodiesOf(await receive(test)), ['0/0', '0/1'])
  const reader = {}
  const request = pullRequest(TOPIC, { queueId: 1, offset: 2, group: GROUP, reader, member: 'a' })
  t.like(await test.broker.pull(request), { status: 'reset', nextOffset: 0 })
})
