import test, { type ExecutionContext } from 'ava'
import { type Client, type ConnectOptions, connect } from '../../src/client/index.ts'
import { PROPERTY } from '../../src/model/properties.ts'
import { BATCH_MESSAGES_MAX } from '../../src/remoting/batch-body.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { type Command, isOneWay } from '../../src/remoting/command.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  type FakeOptions,
  type FakeRocketmq,
  startFakeRocketmq,
} from '../support/native/fake-rocketmq.ts'
import { turn } from './pairing.ts'

async function pair(
  t: ExecutionContext,
  options: ConnectOptions = {},
  fakeOptions: FakeOptions = {},
): Promise<{ fake: FakeRocketmq; mq: Client }> {
  const fake = await startFakeRocketmq(t, fakeOptions)
  const mq = await connect({ nameServers: fake.address, timeoutMs: 60_000, ...options })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return { fake, mq }
}

const sends = (fake: FakeRocketmq): Command[] =>
  fake.requests.filter(({ code }) => code === REQUEST.sendMessageV2)

const idOf = ({ fields }: Command): string =>
  new RegExp(`${PROPERTY.uniqueKey}\u0001([^\u0002]+)`).exec(fields.get('i') ?? '')![1]!

/** Moves time on until the promise settles. */
async function whileTimePasses<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const done = (): void => {
    settled = true
  }
  promise.then(done, done)
  while (!settled) await clock.advanceAsync(10)
  return promise
}

test('an answer that is cut off leads to a second attempt with the same message id', async (t) => {
  const { fake, mq } = await pair(t)
  let cuts = 1
  fake.intercept(REQUEST.sendMessageV2, () => (cuts-- > 0 ? 'cut' : undefined))
  const { messageId } = await mq.send({ topic: 'T', body: 'x' })
  t.deepEqual(sends(fake).map(idOf), [messageId, messageId])
})

test('a broker that is down for a moment delays a send and does not fail it', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock, timeoutMs: 1e9 })
  await mq.send({ topic: 'T', body: 'before' })
  await fake.stop()
  const sending = whileTimePasses(clock, mq.send({ topic: 'T', body: 'after' }))
  // Time for several attempts.
  const backMs = clock.monotonic() + 1000
  while (clock.monotonic() < backMs) await new Promise(setImmediate)
  await fake.listen()
  await sending
  t.deepEqual(fake.bodies('T'), ['before', 'after'])
})

test('a send to a broker that stays away ends in time, naming the address', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock, timeoutMs: 5000 })
  await mq.send({ topic: 'T', body: 'x' })
  const { address } = fake
  await fake.stop()
  const began = clock.monotonic()
  const sending = whileTimePasses(clock, mq.send({ topic: 'T', body: 'y' }))
  const error = await t.throwsAsync(sending, { code: 'UNREACHABLE' })
  t.true(error.message.includes(address))
  t.true(clock.monotonic() - began <= 5100)
})

test('a broker that does not answer is asked again until the time is over', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock, timeoutMs: 7000 })
  fake.intercept(REQUEST.sendMessageV2, () => 'silence')
  await t.throwsAsync(whileTimePasses(clock, mq.send({ topic: 'T', body: 'x' })), {
    code: 'TIMED_OUT',
    message: /127\.0\.0\.1/,
  })
  t.is(sends(fake).length, 3)
})

test('a busy broker is asked again, one that refuses is not', async (t) => {
  const { fake, mq } = await pair(t)
  let busy = 2
  fake.intercept(REQUEST.sendMessageV2, () =>
    busy-- > 0 ? { code: RESPONSE.systemBusy, remark: 'slow down' } : undefined,
  )
  await mq.send({ topic: 'T', body: 'x' })
  t.is(sends(fake).length, 3)
  fake.intercept(REQUEST.sendMessageV2, () => ({
    code: RESPONSE.noPermission,
    remark: "'bob' may not publish to 'T'\nat java.lang.Stack",
  }))
  const refused = mq.send({ topic: 'T', body: 'y' })
  const error = await t.throwsAsync(refused, { code: 'PERMISSION_DENIED' })
  t.regex(error.message, /'bob' may not publish/)
  t.notRegex(error.message, /java\.lang/)
  t.is(sends(fake).length, 4)
})

test('what one read-only broker refuses is sent again, as to a full one', async (t) => {
  const { fake, mq } = await pair(t)
  let forbidden = 2
  const remark = 'the broker[127.0.0.1] sending message is forbidden'
  fake.intercept(REQUEST.sendMessageV2, () =>
    forbidden-- > 0 ? { code: RESPONSE.noPermission, remark } : undefined,
  )
  await mq.send({ topic: 'T', body: 'x' })
  t.is(sends(fake).length, 3)
})

test('a message whose flush took long counts as accepted: it is stored', async (t) => {
  const { fake, mq } = await pair(t)
  fake.intercept(REQUEST.sendMessageV2, () => ({
    code: RESPONSE.flushDiskTimeout,
    fields: { msgId: '7F00000100002A9F0000000000000000', queueId: 0, queueOffset: 9 },
  }))
  t.is((await mq.send({ topic: 'T', body: 'x' })).queueOffset, 9)
})

test('a send that is given up rejects with the reason at once', async (t) => {
  const { fake, mq } = await pair(t)
  fake.intercept(REQUEST.sendMessageV2, () => 'silence')
  const given = new AbortController()
  const sending = mq.send({ topic: 'T', body: 'x' }, { signal: given.signal })
  while (sends(fake).length === 0) await new Promise(setImmediate)
  given.abort(new Error('enough'))
  await t.throwsAsync(sending, { message: 'enough' })
})

test('a send that is given up while it waits for its turn is never sent, and the turns stay', async (t) => {
  const { fake, mq } = await pair(t)
  const answers: (() => void)[] = []
  fake.intercept(
    REQUEST.sendMessageV2,
    () => new Promise((resolve) => answers.push(() => resolve(undefined))),
  )
  const given = new AbortController()
  const first = mq.send({ topic: 'T', orderingKey: 'a', body: '1' })
  const second = mq.send({ topic: 'T', orderingKey: 'a', body: '2' }, { signal: given.signal })
  while (answers.length === 0) await new Promise(setImmediate)
  given.abort(new Error('enough'))
  await t.throwsAsync(second, { message: 'enough' })
  const third = mq.send({ topic: 'T', orderingKey: 'a', body: '3' })
  for (let i = 0; i < 20; i++) await new Promise(setImmediate)
  t.is(sends(fake).length, 1)
  answers.shift()!()
  await first
  while (answers.length === 0) await new Promise(setImmediate)
  answers.shift()!()
  await third
  t.deepEqual(fake.bodies('T'), ['1', '3'])
})

for (const [what, code] of [
  ['a route', REQUEST.getRoute],
  ['the broker to know the client', REQUEST.heartbeat],
] as const) {
  test(`the time and the signal of a send count while it waits for ${what}`, async (t) => {
    const { fake, mq } = await pair(t, { timeoutMs: 60_000 })
    fake.intercept(code, () => 'silence')
    const late = { code: 'TIMED_OUT', message: /no answer within/ }
    await t.throwsAsync(mq.send({ topic: 'T', body: 'x' }, { timeoutMs: 50 }), late)
    const given = new AbortController()
    const sending = mq.send({ topic: 'T', body: 'x' }, { signal: given.signal })
    setImmediate(() => given.abort(new Error('enough')))
    await t.throwsAsync(sending, { message: 'enough' })
  })
}

test('the waits of a send for a route, the template and a connection share one time', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock }, { topics: ['TBW102'] })
  const later = (): Promise<undefined> =>
    new Promise((resolve) => clock.after(700, () => resolve(undefined)))
  fake.intercept(REQUEST.getRoute, later)
  fake.intercept(REQUEST.heartbeat, later)
  const began = clock.monotonic()
  const sending = mq.send({ topic: 'new', body: 'x' }, { timeoutMs: 2000 })
  await t.throwsAsync(whileTimePasses(clock, sending), { code: 'TIMED_OUT' })
  t.true(clock.monotonic() - began <= 2020)
})

test("a one-way message without a time of its own has the client's", async (t) => {
  const { fake, mq } = await pair(t, { timeoutMs: 50 })
  fake.intercept(REQUEST.getRoute, () => 'silence')
  const sending = mq.sendOneWay({ topic: 'T', body: 'x' }, { timeoutMs: undefined })
  await t.throwsAsync(sending, { code: 'TIMED_OUT' })
})

test.serial('one signal may stand for many sends without a warning of a leak', async (t) => {
  const { mq } = await pair(t)
  const warnings: string[] = []
  const onWarning = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', onWarning)
  const { signal } = new AbortController()
  await Promise.all(
    Array.from({ length: 20 }, () => mq.send({ topic: 'T', body: 'x' }, { signal })),
  )
  await new Promise(setImmediate)
  process.off('warning', onWarning)
  t.deepEqual(warnings, [])
})

test('one key waits for its turn, other keys and messages without one do not', async (t) => {
  const { fake, mq } = await pair(t)
  const answers: (() => void)[] = []
  fake.intercept(
    REQUEST.sendMessageV2,
    () => new Promise((resolve) => answers.push(() => resolve(undefined))),
  )
  const until = async (count: number): Promise<void> => {
    while (sends(fake).length < count) await new Promise(setImmediate)
  }
  const all = [
    mq.send({ topic: 'T', orderingKey: 'a', body: 'a1' }),
    mq.send({ topic: 'T', orderingKey: 'a', body: 'a2' }),
    mq.send({ topic: 'T', orderingKey: 'b', body: 'b1' }),
    mq.send({ topic: 'T', body: 'free' }),
  ]
  await until(3)
  t.deepEqual(
    sends(fake)
      .map(({ body }) => body.toString())
      .toSorted(),
    ['a1', 'b1', 'free'],
  )
  for (const answer of answers.splice(0)) answer()
  await until(4)
  for (const answer of answers.splice(0)) answer()
  await Promise.all(all)
  t.is(sends(fake).at(-1)!.body.toString(), 'a2')
})

test('a failed send of a key does not hold up the next', async (t) => {
  const { fake, mq } = await pair(t)
  let refusals = 1
  fake.intercept(REQUEST.sendMessageV2, () =>
    refusals-- > 0 ? { code: RESPONSE.messageIllegal } : undefined,
  )
  const [first, second] = await Promise.allSettled([
    mq.send({ topic: 'T', orderingKey: 'a', body: '1' }),
    mq.send({ topic: 'T', orderingKey: 'a', body: '2' }),
  ])
  t.is(first.status, 'rejected')
  t.is(second.status, 'fulfilled')
})

test('a one-way message says so in its header', async (t) => {
  const { fake, mq } = await pair(t)
  await mq.sendOneWay({ topic: 'T', body: 'x' })
  while (sends(fake).length === 0) await new Promise(setImmediate)
  t.true(isOneWay(sends(fake)[0]!))
})

test('a topic that does not exist yet is sent to where the template says it will be', async (t) => {
  const { fake, mq } = await pair(t, {}, { topics: ['TBW102'], queues: 8 })
  for (let i = 0; i < 40; i++) await mq.send({ topic: 'new', body: 'x' })
  const queues = new Set(sends(fake).map(({ fields }) => fields.get('e')))
  t.deepEqual([...queues].toSorted(), ['0', '1', '2', '3'])
  t.is(sends(fake)[0]!.fields.get('c'), 'TBW102')
})

test('without a template a missing topic is an error that says how to create it', async (t) => {
  const { mq } = await pair(t)
  await t.throwsAsync(mq.send({ topic: 'missing', body: 'x' }), {
    code: 'TOPIC_NOT_FOUND',
    message: /trivet topic create missing/,
  })
})

test('the route is asked for once, and again after half a minute', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  await Promise.all([1, 2, 3].map(() => mq.send({ topic: 'T', body: 'x' })))
  t.is(fake.count(REQUEST.getRoute), 1)
  clock.advance(31_000)
  await mq.send({ topic: 'T', body: 'x' })
  t.is(fake.count(REQUEST.getRoute), 2)
})

test('a name server that is away does not stop sends to brokers that are known', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  await mq.send({ topic: 'T', body: 'x' })
  fake.intercept(REQUEST.getRoute, () => 'silence')
  clock.advance(31_000)
  await whileTimePasses(clock, mq.send({ topic: 'T', body: 'y' }))
  t.deepEqual(fake.bodies('T'), ['x', 'y'])
})

test('a batch that fails at the broker tells it of each message', async (t) => {
  const { fake, mq } = await pair(t)
  fake.intercept(REQUEST.sendBatchMessage, () => ({ code: RESPONSE.messageIllegal, remark: 'no' }))
  const error = await t.throwsAsync(
    mq.sendBatch([
      { topic: 'T', body: '1' },
      { topic: 'T', body: '2' },
    ]),
    { code: 'MESSAGE_INVALID', message: /^2 of 2 messages/, name: 'BatchError' },
  )
  t.truthy(error)
})

test('a batch is cut where it would be larger than a broker takes, and keeps its order', async (t) => {
  const { fake, mq } = await pair(t)
  const big = 'x'.repeat(1_500_000)
  const bodies = [`1${big}`, `2${big}`, `3${big}`, '4']
  const results = await mq.sendBatch(bodies.map((body) => ({ topic: 'T', orderingKey: 'k', body })))
  t.deepEqual(
    results.map((result) => result.queueOffset),
    [0, 1, 2, 3],
  )
  t.deepEqual(
    fake.bodies('T').map((body) => body[0]),
    ['1', '2', '3', '4'],
  )
  t.is(fake.count(REQUEST.sendBatchMessage), 2)
})

test('a batch is cut where it would have more messages than a broker takes', async (t) => {
  const { fake, mq } = await pair(t)
  const results = await mq.sendBatch(
    new Array(BATCH_MESSAGES_MAX + 2).fill({ topic: 'T', orderingKey: 'k', body: '' }),
  )
  t.is(results.length, BATCH_MESSAGES_MAX + 2)
  t.is(fake.count(REQUEST.sendBatchMessage), 2)
})

test('a message without a body goes in a batch, which has one, unless it is delayed', async (t) => {
  const { fake, mq } = await pair(t)
  await mq.send({ topic: 'T', body: '' })
  t.is(fake.count(REQUEST.sendBatchMessage), 1)
  await mq.send({ topic: 'T', body: '', delayMs: 60_000 })
  t.is(fake.count(REQUEST.sendBatchMessage), 1)
})

test('an empty batch makes no request', async (t) => {
  const { fake, mq } = await pair(t)
  const before = fake.requests.length
  t.deepEqual(await mq.sendBatch([]), [])
  t.is(fake.requests.length, before)
})

test('in order, messages without a key go to one queue, one after the other', async (t) => {
  const { fake, mq } = await pair(t, { inOrder: true }, { queues: 4 })
  let inHand = 0
  let most = 0
  fake.intercept(REQUEST.sendMessageV2, async () => {
    most = Math.max(most, ++inHand)
    await turn()
    inHand--
    return undefined
  })
  const bodies = ['0', '1', '2', '3', '4', '5', '6', '7']
  const results = await Promise.all(bodies.map((body) => mq.send({ topic: 'T', body })))
  t.deepEqual(fake.bodies('T', results[0]!.queueId), bodies)
  t.is(most, 1)
})

test('the send after one that was not answered in time asks for the route again', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock, timeoutMs: 1000 })
  const routes = (): number => fake.requests.filter(({ code }) => code === REQUEST.getRoute).length
  await mq.send({ topic: 'T', body: 'known' })
  const known = routes()
  let isSilent = true
  fake.intercept(REQUEST.sendMessageV2, () => (isSilent ? 'silence' : undefined))
  const silent = whileTimePasses(clock, mq.send({ topic: 'T', body: 'x' }))
  await t.throwsAsync(silent, { code: 'TIMED_OUT' })
  isSilent = false
  await mq.send({ topic: 'T', body: 'y' })
  t.is(routes(), known + 1)
})
