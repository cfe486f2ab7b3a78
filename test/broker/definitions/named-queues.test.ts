import test, { type ExecutionContext } from 'ava'
import { parseMessageFilter } from '../../../src/model/message-filter.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import type { TransactionEnd } from '../../../src/model/transaction.ts'
import type { MessageStore } from '../../../src/store/store.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  pullRequest,
  queueOf,
  receiveRequest,
  startBroker,
  type TestBroker,
} from '../../support/broker.ts'

const A = '%LMQ%$lmq/a'
const B = '%LMQ%$lmq/b'
const naming = (names: string, body: string, topic = 'orders') =>
  newMessage(topic, { body, properties: { INNER_MULTI_DISPATCH: names } })

test('a message is in its own queue and in each light queue that it names, once', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([naming('%LMQ%a,%LMQ%b,%LMQ%a', 'one'), naming('%LMQ%b', 'two', 'others')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(A))), ['one'])
  const both = await broker.pull(pullRequest(B))
  t.deepEqual(bodiesOf(both), ['one', 'two'])
  t.deepEqual(both.offsets.map(Number), [0, 1])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('others'))), ['two'])
})

test('a light queue has nothing of a topic that has its name', async (t) => {
  const { broker } = await startBroker(t)
  await broker.publish([naming('%LMQ%orders', 'a'), newMessage('orders', { body: 'b' })])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('%LMQ%$lmq/orders'))), ['a'])
})

test('a consumer may come before the first message that names its queue', async (t) => {
  const { broker } = await startBroker(t)
  const waiting = broker.pull(pullRequest(A, { waitMs: 60_000 }))
  t.like(await broker.cursors.range(queueOf(B)), { minOffset: 0, maxOffset: 0 })
  await broker.publish([naming('%LMQ%a', 'one')])
  t.deepEqual(bodiesOf(await waiting), ['one'])
})

test('named queues and places on them are there after a crash, and in rebuilt views', async (t) => {
  const first = await startBroker(t)
  await first.broker.groups.ensure('G')
  await first.broker.publish([naming('%LMQ%a', 'one'), naming('%LMQ%a', 'two')])
  await first.broker.cursors.commit('G', queueOf(A), queueOffset(1))
  const second = await first.reopen()
  t.is(Number(await second.broker.cursors.committed('G', queueOf(A))), 1)
  const { broker } = await second.crash()
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(A))), ['one', 'two'])
})

test('a delayed message is in its light queues when it is delivered, a half message when it is committed', async (t) => {
  const { broker, clock } = await startBroker(t)
  const delayed = newMessage('orders', {
    body: 'late',
    properties: { INNER_MULTI_DISPATCH: '%LMQ%a', DELAY: '1' },
  })
  await broker.publish([delayed])
  t.is((await broker.pull(pullRequest(A))).status, 'at-end')
  const waiting = broker.pull(pullRequest(A, { waitMs: 60_000 }))
  clock.advance(1000)
  t.deepEqual(bodiesOf(await waiting), ['late'])
  const half = newMessage('orders', {
    body: 'half',
    properties: { INNER_MULTI_DISPATCH: '%LMQ%b', TRAN_MSG: 'true', PGROUP: 'P' },
  })
  const [receipt] = await broker.publish([half])
  if (receipt === undefined || !('position' in receipt)) return t.fail()
  t.is((await broker.pull(pullRequest(B))).status, 'at-end')
  await broker.transactions.end({ half: receipt, group: 'P', outcome: 'commit' })
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(B))), ['half'])
})

test('a copy for the retry topic is in no light queue again', async (t) => {
  const { broker } = await startBroker(t)
  await broker.groups.ensure('G')
  const [receipt] = await broker.publish([naming('%LMQ%a', 'one')])
  if (!receipt || !('position' in receipt)) return t.fail()
  const { brokerName, position } = receipt
  await broker.sendBack({ group: 'G', brokerName, position, delayLevel: 1 })
  t.is(Number((await broker.cursors.range(queueOf(A))).maxOffset), 1)
})

const refused = async (t: ExecutionContext, names: string): Promise<string> => {
  const { broker } = await startBroker(t)
  return codeOf(broker.publish([naming(names, 'x')]).then(([result]) => Promise.reject(result)))
}

test('names of no light queue are refused, as are too many', async (t) => {
  const odd = ['%LMQ%a b', `%LMQ%${'x'.repeat(128)}`, A, '%LMQ%$lmq/#', '%LMQ%$lmq/a\u0000b']
  for (const names of ['orders', '%LMQ%', '%LMQ%a/b', ...odd]) {
    t.is(await refused(t, names), 'MESSAGE_INVALID', names)
  }
  const many = Array.from({ length: 65 }, (_, i) => `%LMQ%${i}`).join()
  t.is(await refused(t, many), 'MESSAGE_INVALID')
})

test('a pull makes no queue of a name that messages cannot name', async (t) => {
  const { broker } = await startBroker(t)
  for (const name of ['#', 'a/b', 'a\u0000b', 'x'.repeat(123)]) {
    const error = await codeOf(broker.pull(pullRequest(`%LMQ%$lmq/${name}`)))
    t.is(error, 'TOPIC_NOT_FOUND', name)
  }
})

test('beyond so many entries on their way messages wait with their senders', async (t) => {
  const { broker } = await startBroker(t)
  const names = Array.from({ length: 64 }, (_, i) => `%LMQ%${i}`).join()
  const messages = (count: number) => Array.from({ length: count }, () => naming(names, 'x'))
  t.is(await codeOf(broker.publishTogether(messages(257))), 'MESSAGE_INVALID')
  const results = await Promise.all([broker.publish(messages(256)), broker.publish(messages(1))])
  const codes = results.flat().map((result) => ('code' in result ? result.code : 'stored'))
  t.deepEqual([codes.filter((code) => code === 'stored').length, codes.at(-1)], [256, 'BUSY'])
  const [after] = await broker.publish(messages(1))
  t.false(after instanceof Error)
})

/** The most entries in light queues that appends under way have together; 64 for each message. */
function mostUnderWay({ store }: TestBroker): () => number {
  let most = 0
  let now = 0
  const { append } = Object.getPrototypeOf(store) as MessageStore
  store.append = async function (this: MessageStore, group) {
    const count = group.messages.length * 64
    now += count
    most = Math.max(most, now)
    try {
      return await append.call(this, group)
    } finally {
      now -= count
    }
  }
  return () => most
}

const SIXTY_FOUR = Array.from({ length: 64 }, (_, i) => `%LMQ%${i}`).join()

for (const [what, properties] of [
  ['delayed messages that are due', { DELAY: '1' }],
  ['half messages that are committed', { TRAN_MSG: 'true', PGROUP: 'P' }],
] as const) {
  test(`${what} together have no more entries on their way than that`, async (t) => {
    const host = await startBroker(t)
    const { broker, clock } = host
    const all = { INNER_MULTI_DISPATCH: SIXTY_FOUR, ...properties }
    const ends: TransactionEnd[] = []
    for (let i = 0; i < 4; i++) {
      const some = Array.from({ length: 200 }, () => newMessage('orders', { properties: all }))
      for (const half of await broker.publish(some)) {
        if (!('position' in half)) return t.fail(half.message)
        ends.push({ half, group: 'P', outcome: 'commit' })
      }
    }
    const most = mostUnderWay(host)
    const ended = 'DELAY' in properties ? [] : broker.transactions.endAll(ends)
    if ('DELAY' in properties) clock.advance(1000)
    for (let count = 0; count < ends.length; ) {
      const from = { offset: queueOffset(count), waitMs: 60_000 }
      count += (await broker.pull(pullRequest('%LMQ%$lmq/63', from))).count
    }
    t.deepEqual([...new Set(await ended)], 'DELAY' in properties ? [] : [undefined])
    t.true(most() <= 16_384, `${most()} entries`)
  })
}

test('as many queues may be named as broker.namedQueuesMax says, until one is deleted', async (t) => {
  const { broker } = await startBroker(t, { namedQueuesMax: 1 })
  await broker.publish([naming('%LMQ%a', 'one')])
  const [error] = await broker.publish([naming('%LMQ%b', 'two')])
  t.is((error as { code?: string }).code, 'QUOTA_EXCEEDED')
  t.is(await codeOf(broker.pull(pullRequest(B))), 'QUOTA_EXCEEDED')
  await broker.topics.delete(A)
  t.is(await codeOf(broker.topics.delete(A)), 'TOPIC_NOT_FOUND')
  await broker.publish([naming('%LMQ%b', 'two')])
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(B))), ['two'])
})

test('a condition selects in a light queue, of pulls and of consumers per message', async (t) => {
  const { broker } = await startBroker(t)
  const filter = parseMessageFilter('price > 5', 'SQL92')
  const priced = (price: string) =>
    newMessage('orders', { body: price, properties: { price, INNER_MULTI_DISPATCH: '%LMQ%a' } })
  await broker.publish(['3', '7', '4', '9'].map(priced))
  t.deepEqual(bodiesOf(await broker.pull(pullRequest(A, { filter }))), ['7', '9'])
  const received = await broker.receive(receiveRequest(A, 'G', { filter, maxMessages: 8 }))
  t.deepEqual(bodiesOf(received), ['7', '9'])
  const waiting = broker.pull(pullRequest(A, { filter, offset: queueOffset(4), waitMs: 60_000 }))
  await broker.publish([priced('1'), priced('8')])
  t.deepEqual(bodiesOf(await waiting), ['8'])
})
