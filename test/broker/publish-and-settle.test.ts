// Messages and settlements that hold together: through kills, full disks, expiry and each other.
import test, { type ExecutionContext } from 'ava'
import { groupDefaults } from '../../src/model/group.ts'
import type { ReceivedMessage, Verdict } from '../../src/model/message.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  pullRequest,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
  type TestBroker,
  topicOf,
} from '../support/broker.ts'

const GROUP = 'billing'
const COUNT = 12
const ACK: Verdict = { kind: 'ack' }

const bodies = Array.from({ length: COUNT }, (_, i) => `m${i}`)

async function filled(t: ExecutionContext, queues = 2): Promise<TestBroker> {
  const started = await startBroker(t)
  const { broker } = started
  await broker.groups.put({ ...groupDefaults(GROUP), retryTimesMax: 1000 })
  await broker.topics.put(topicOf('in', queues))
  await broker.topics.put(topicOf('out', 1))
  await broker.publish(bodies.map((body) => newMessage('in', { body })))
  return started
}

const receive = ({ broker }: TestBroker, shape: object = {}) =>
  broker.receive(receiveRequest('in', GROUP, { maxMessages: 3, ...shape }))

/** One message in, one out, as one transaction; every fourth is refused or given up instead. */
function settle({ broker }: TestBroker, messages: readonly ReceivedMessage[], round: number) {
  const settlements = messages.map(
    ({ receipt }, i): { receipt: typeof receipt; verdict: Verdict } => {
      const at = round * 3 + i
      if (at % 4 !== 3) return { receipt, verdict: ACK }
      const verdict = at % 8 === 3 ? ({ kind: 'nack', delayMs: 0 } as const) : DEAD
      return { receipt, verdict }
    },
  )
  const done = messages.filter((_, i) => settlements[i]!.verdict === ACK)
  const out = bodiesOf(done).map((body) => newMessage('out', { body, queueId: 0 }))
  return broker.publishAndSettle(out, settlements)
}
const DEAD: Verdict = { kind: 'deadLetter', reason: 'the test says so' }

async function work(at: TestBroker): Promise<void> {
  for (let round = 0; ; round += 2) {
    const [one, two] = [await receive(at), await receive(at)]
    if (one.length + two.length === 0) return
    // Both on the same queues at once.
    await Promise.all([settle(at, one, round), settle(at, two, round + 1)])
  }
}

const storedIn = async ({ broker }: TestBroker, topic: string): Promise<string[]> =>
  (await broker.topics.get(topic)) === undefined
    ? []
    : bodiesOf(await broker.pull(pullRequest(topic, { maxMessages: 1000 })))

/** Each message is in one place: worked on, given up, or to come again. */
async function everythingOnce(t: ExecutionContext, at: TestBroker, when: string): Promise<void> {
  const places = [...(await storedIn(at, 'out')), ...(await storedIn(at, `%DLQ%${GROUP}`))]
  for (;;) {
    const messages = await receive(at, { maxMessages: 100 })
    if (messages.length === 0) break
    places.push(...bodiesOf(messages))
    await at.broker.ack(receiptsOf(messages))
  }
  t.deepEqual(places.sort(), [...bodies].sort(), when)
}

test('killed before any append, a transaction is there as a whole or not at all', async (t) => {
  const whole = await filled(t)
  const before = whole.faults.appends
  await work(whole)
  const appends = whole.faults.appends - before
  t.true(appends > 5, String(appends))
  await everythingOnce(t, whole, 'alive')
  for (let lived = 0; lived < appends; lived++) {
    const at = await filled(t)
    const died = new Promise<void>((resolve) => {
      at.faults.died = resolve
    })
    at.faults.diesAt = at.faults.appends + lived
    const running = work(at)
    await Promise.race([died, running])
    await at.faults.idle()
    const after = await at.crash()
    at.faults.bury()
    await running.catch(() => {})
    await everythingOnce(t, after, `killed before append ${lived + 1} of ${appends}`)
    await after.close()
    await at.close()
  }
})

test('a disk that is full: nothing has changed, and the same call goes through later', async (t) => {
  const at = await filled(t, 1)
  const messages = await receive(at)
  at.faults.isReadOnly = true
  t.is(await codeOf(settle(at, messages, 0)), 'READ_ONLY')
  t.deepEqual(await storedIn(at, 'out'), [])
  at.faults.becomesWritable()
  t.is((await settle(at, messages, 0)).length, 3)
  await everythingOnce(t, at, 'after it')
})

test('acknowledgements during a transaction that fails are durable all the same', async (t) => {
  const at = await filled(t, 1)
  const [first, ...others] = receiptsOf(await receive(at))
  at.faults.beforeAppend = () => {
    at.faults.beforeAppend = () => {}
    void at.broker.ack(others)
    throw new Error('this append fails')
  }
  await t.throwsAsync(at.broker.publishAndSettle([], [{ receipt: first!, verdict: ACK }]))
  const after = await at.reopen()
  const again = await receive(after, { maxMessages: 100 })
  t.deepEqual(bodiesOf(again), [bodies[0]!, ...bodies.slice(3)])
})

test('of two at once on one queue, the one that fails settles nothing', async (t) => {
  const at = await filled(t, 1)
  const [first, second] = receiptsOf(await receive(at))
  at.faults.beforeAppend = () => {
    at.faults.beforeAppend = () => {}
    throw new Error('this append fails')
  }
  const results = await Promise.allSettled(
    [first!, second!].map((receipt) => at.broker.publishAndSettle([], [{ receipt, verdict: ACK }])),
  )
  t.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled'],
  )
  const after = await at.crash()
  const again = bodiesOf(await receive(after, { maxMessages: 100 }))
  t.deepEqual(again, [bodies[0]!, ...bodies.slice(2)])
})

test('a message whose time ran out during the append stays with its next consumer', async (t) => {
  const at = await filled(t, 1)
  const [message] = await receive(at, { maxMessages: 1, invisibleMs: 1000 })
  const idle = { memberId: 'other', maxMessages: 1, invisibleMs: 60_000 }
  let next: Promise<readonly ReceivedMessage[]> | undefined
  at.faults.beforeAppend = () => {
    at.faults.beforeAppend = () => {}
    at.clock.advance(2000)
    next = receive(at, idle)
  }
  const { receipt } = message!
  await at.broker.publishAndSettle([], [{ receipt, verdict: { kind: 'nack' } }])
  t.deepEqual(bodiesOf(await next!), [bodies[0]!])
  const rest = await receive(at, { maxMessages: 100 })
  t.deepEqual(bodiesOf(rest), bodies.slice(1))
})

test('what hands a message back in a transaction that fails leaves no trace at it', async (t) => {
  const at = await filled(t, 1)
  const [message] = await receive(at, { maxMessages: 1 })
  const { receipt } = message!
  const handBack = { isNotHere: true, note: 'of the transaction' }
  for (const kind of ['release', 'nack'] as const) {
    const settlements = [{ receipt, verdict: { kind, handBack } }]
    const tooLate = [newMessage('out', { queueId: 7 })]
    t.is(await codeOf(at.broker.publishAndSettle(tooLate, settlements)), 'QUEUE_NOT_FOUND')
  }
  await at.broker.release([receipt])
  const [again] = await receive(at, { maxMessages: 1 })
  t.deepEqual(bodiesOf([again!]), [bodies[0]!])
  t.is(again!.note, undefined)
})

test('a group that is moved while it settles keeps its new place', async (t) => {
  const at = await filled(t, 1)
  const receipts = receiptsOf(await receive(at))
  const settling = at.broker.publishAndSettle(
    [],
    receipts.map((receipt) => ({ receipt, verdict: DEAD })),
  )
  const { minOffset } = await at.broker.cursors.range(queueOf('in'))
  await at.broker.cursors.reset(GROUP, queueOf('in'), minOffset)
  await settling.catch(() => {})
  t.deepEqual(bodiesOf(await receive(at, { maxMessages: 100 })), bodies)
})

test('one delivery cannot be settled twice in one call', async (t) => {
  const at = await filled(t, 1)
  const [receipt] = receiptsOf(await receive(at, { maxMessages: 1 }))
  const settlements = [ACK, DEAD].map((verdict) => ({ receipt: receipt!, verdict }))
  t.is(await codeOf(at.broker.publishAndSettle([], settlements)), 'RECEIPT_EXPIRED')
  t.deepEqual(await at.broker.ack([receipt!]), [null])
})
