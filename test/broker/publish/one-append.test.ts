// What one acknowledgement of the broker stands for is one append, so that no kill falls between
// its parts.
import test, { type ExecutionContext } from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { groupDefaults } from '../../../src/model/group.ts'
import {
  newMessage,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../../support/broker.ts'

const GROUP = 'billing'

type Request = (test: TestBroker) => Promise<unknown>

/** A message in a consumer's hands. */
async function received({ broker }: TestBroker, retryTimesMax = 16) {
  await broker.groups.put({ ...groupDefaults(GROUP), retryTimesMax })
  await broker.topics.put(topicOf('orders', 1))
  await broker.receive(receiveRequest('orders', GROUP))
  await broker.publish([newMessage('orders')])
  return receiptsOf(await broker.receive(receiveRequest('orders', GROUP)))
}

const bodies = (count: number) => Array.from({ length: count }, () => newMessage('new'))

/** By what is acknowledged: what is there before, and the request. */
const REQUESTS: Readonly<Record<string, (test: TestBroker) => Promise<Request>>> = {
  'a batch with the topic that it makes and the state that goes with it': async () => (test) =>
    test.broker.publish(bodies(3), [
      { id: 'session', state: Buffer.from('s') },
      { id: 'retained', state: 'message', message: 2 },
    ]),
  'a nack and the retry topic': async (test) => {
    const receipts = await received(test)
    return ({ broker }) => broker.nack(receipts, 1000)
  },
  'a dead letter and its topic': async (test) => {
    const receipts = await received(test)
    return ({ broker }) => broker.deadLetter(receipts, 'no')
  },
  'the last attempt': async (test) => {
    const receipts = await received(test, 0)
    return ({ broker }) => broker.abandon(receipts)
  },
  'messages with the settlements of others': async (test) => {
    const receipts = await received(test)
    return ({ broker }) =>
      broker.publishAndSettle(
        bodies(3),
        receipts.map((receipt) => ({ receipt, verdict: { kind: 'deadLetter', reason: 'no' } })),
      )
  },
  'a message that is sent back': async ({ broker }) => {
    await broker.groups.ensure(GROUP)
    const [sent] = await broker.publish([newMessage('orders')])
    if (sent === undefined || sent instanceof BrokerError) throw new Error('not sent')
    const { brokerName, position } = sent
    const request = { group: GROUP, brokerName, position, delayLevel: -1 }
    return (test) => test.broker.sendBack(request)
  },
  'a commit of a half message': async ({ broker }) => {
    const properties = { TRAN_MSG: 'true', PGROUP: GROUP }
    const [half] = await broker.publish([newMessage('orders', { properties })])
    if (half === undefined || half instanceof BrokerError) throw new Error('not sent')
    return (test) => test.broker.transactions.end({ half, group: GROUP, outcome: 'commit' })
  },
  'a group and its retry topic': async () => (test) => test.broker.groups.ensure(GROUP),
  'a light queue and its owner': async () => (test) => test.broker.lightQueues.bind('a/+', 'me'),
  'the end of a light queue, its owner and the places on it': async ({ broker }) => {
    const { topic, offset } = await broker.lightQueues.bind('a/+', 'me')
    await broker.groups.ensure(GROUP)
    await broker.cursors.commit(GROUP, queueOf(topic), offset)
    return (test) => test.broker.lightQueues.unbind('a/+', 'me')
  },
  'a deleted topic with the places on it': async (test) => {
    await received(test)
    return ({ broker }) => broker.topics.delete('orders')
  },
  'a deleted group with its places and its retry topic': async (test) => {
    const receipts = await received(test)
    await test.broker.nack(receipts)
    return ({ broker }) => broker.groups.delete(GROUP)
  },
}

async function appendsOf(t: ExecutionContext, name: string): Promise<number> {
  const test = await startBroker(t)
  const request = await REQUESTS[name]!(test)
  const before = test.faults.appends
  await request(test)
  return test.faults.appends - before
}

for (const name of Object.keys(REQUESTS)) {
  test(`one append: ${name}`, async (t) => t.is(await appendsOf(t, name), 1))
}

test('where a group starts is in the log before what is sent after its first commit', async (t) => {
  const first = await startBroker(t)
  const { broker, faults } = first
  await broker.topics.put(topicOf('orders', 1))
  await broker.groups.ensure(GROUP)
  await broker.publish([newMessage('orders')])
  const { maxOffset } = await broker.cursors.range(queueOf('orders'))
  await broker.cursors.commit(GROUP, queueOf('orders'), maxOffset)
  await broker.publish([newMessage('orders')])
  await faults.idle()
  const after = await first.crash()
  t.is(await after.broker.cursors.committed(GROUP, queueOf('orders')), maxOffset)
})
