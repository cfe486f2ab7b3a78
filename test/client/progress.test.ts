import test from 'ava'
import type { Delivery } from '../../src/client/index.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { PULL_FLAG } from '../../src/remoting/requests/pull.ts'
import { FakeClock } from '../support/fake-clock.ts'
import type { FakeRocketmq } from '../support/native/fake-rocketmq.ts'
import { closed, errorsOf, G, pair, pulls, quiet, until, untilWith } from './pairing.ts'

/** Offsets that commits of their own told for the topic, in order. */
const commits = (fake: FakeRocketmq): number[] =>
  fake.requests
    .filter(
      ({ code, fields }) => code === REQUEST.updateConsumerOffset && fields.get('topic') === 'T',
    )
    .map(({ fields }) => Number(fields.get('commitOffset')))

/** Offsets that pulls carried. */
const carried = (fake: FakeRocketmq): number[] =>
  pulls(fake)
    .filter(({ fields }) => (Number(fields.get('sysFlag')) & PULL_FLAG.commitOffset) !== 0)
    .map(({ fields }) => Number(fields.get('commitOffset')))

test('a pull carries what was settled before it', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (const body of ['0', '1', '2']) fake.store('T', 0, body)
  const subscription = mq.subscribe({ ...G, prefetch: 2 })
  for (let n = 0; n < 3; n++) await (await subscription.next()).value!.ack()
  await until(() => fake.committed.get('g:T:0') === 3)
  t.is(carried(fake).at(-1), 3)
  t.deepEqual(commits(fake), [])
})

test('a pull that has nothing new to tell commits nothing', async (t) => {
  const { fake, mq } = await pair(t)
  fake.committed.set('g:T:0', 0)
  fake.store('T', 0, '0')
  const subscription = mq.subscribe(G)
  await subscription.next()
  await until(() => pulls(fake).length === 2)
  t.deepEqual(carried(fake), [])
})

test('a group that is new is committed where it starts', async (t) => {
  const { fake, mq } = await pair(t)
  for (const body of ['0', '1']) fake.store('T', 0, body)
  const subscription = mq.subscribe({ ...G, from: 'last' })
  await subscription.ready
  await until(() => fake.committed.get('g:T:0') === 2)
  t.pass()
})

test('progress behind a pull that is held is committed 200 ms later, once for all of it', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (const body of ['0', '1']) fake.store('T', 0, body)
  const subscription = mq.subscribe(G)
  await subscription.ready
  const first = (await subscription.next()).value!
  const second = (await subscription.next()).value!
  await until(() => pulls(fake).length === 2)
  await clock.advanceAsync(1000)
  await first.ack()
  await second.ack()
  await clock.advanceAsync(199)
  await quiet(clock)
  t.deepEqual(commits(fake), [])
  await clock.advanceAsync(1)
  await until(() => fake.committed.get('g:T:0') === 2)
  await clock.advanceAsync(10_000)
  await quiet(clock)
  t.deepEqual(commits(fake), [2])
})

test('what lies before the oldest unsettled message is committed, and nothing beyond it', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (const body of ['0', '1', '2']) fake.store('T', 0, body)
  const subscription = mq.subscribe(G)
  await subscription.ready
  const held: Delivery[] = []
  while (held.length < 3) held.push((await subscription.next()).value!)
  await clock.advanceAsync(1000)
  await held[2]!.ack()
  await held[0]!.ack()
  await clock.advanceAsync(1000)
  await until(() => fake.committed.get('g:T:0') === 1)
  t.deepEqual(commits(fake), [1])
})

test('a consumer that closes commits at once', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  fake.store('T', 0, '0')
  let handled = 0
  const consumer = await mq.consume(G, () => void handled++)
  await until(() => handled === 1)
  await closed(consumer.close(), clock)
  t.is(fake.committed.get('g:T:0'), 1)
  t.true(fake.count(REQUEST.unregisterClient) > 0)
})

test('a broker that handles a pull after the commit behind it still has the last word', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (const body of ['0', '1']) fake.store('T', 0, body)
  let isClosed = false
  let isHandled = false
  // As Apache's broker, which has threads of their own for pulls and for commits.
  fake.intercept(REQUEST.pullMessage, async ({ fields }) => {
    if (fields.get('topic') === 'T' && fields.get('queueOffset') === '2') {
      await until(() => isClosed || clock.monotonic() > 100)
      isHandled = true
    }
    return undefined
  })
  let handled = 0
  const consumer = await mq.consume(G, async ({ queueOffset }) => {
    if (queueOffset === 1) await until(() => carried(fake).at(-1) === 1)
    handled++
  })
  await until(() => handled === 2)
  await closed(consumer.close(), clock)
  isClosed = true
  await until(() => isHandled)
  await quiet(clock)
  t.is(fake.committed.get('g:T:0'), 2)
})

test('the last commit waits for one that is under way, which may be handled beside it', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (const body of ['0', '1']) fake.store('T', 0, body)
  let isReleased = false
  fake.intercept(REQUEST.updateConsumerOffset, async ({ fields }) => {
    if (fields.get('commitOffset') === '1') await until(() => isReleased)
    return undefined
  })
  const subscription = mq.subscribe(G)
  const [first, second] = [await subscription.next(), await subscription.next()]
  await first.value!.ack()
  await untilWith(clock, () => commits(fake).length === 1)
  await second.value!.ack()
  const closing = subscription.close()
  await quiet(clock)
  t.deepEqual(commits(fake), [1])
  isReleased = true
  await closed(closing, clock)
  t.is(fake.committed.get('g:T:0'), 2)
})

test('what is settled when the last commit is on its way is refused: it comes again', async (t) => {
  const { fake, mq } = await pair(t)
  for (const body of ['0', '1']) fake.store('T', 0, body)
  let isReleased = false
  fake.intercept(REQUEST.updateConsumerOffset, async () => {
    await until(() => isReleased)
    return undefined
  })
  const subscription = mq.subscribe(G)
  const [first, second] = [await subscription.next(), await subscription.next()]
  await first.value!.ack()
  const closing = subscription.close({ deadlineMs: 0 })
  await until(() => commits(fake).length === 1)
  await t.throwsAsync(second.value!.ack(), { code: 'RECEIPT_EXPIRED' })
  isReleased = true
  await closing
  t.is(fake.committed.get('g:T:0'), 1)
})

test('a broker that comes back without the last commit is told again', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  fake.store('T', 0, '0')
  let handled = 0
  await mq.consume(G, () => void handled++)
  await until(() => handled === 1)
  await untilWith(clock, () => fake.committed.get('g:T:0') === 1, 100)
  await fake.stop()
  fake.committed.clear()
  await fake.listen()
  await untilWith(clock, () => fake.committed.get('g:T:0') === 1, 100)
  t.is(handled, 1)
})

test('a commit that is refused is told by the status, and tried again five seconds later', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  fake.store('T', 0, '0')
  let isRefused = true
  fake.intercept(REQUEST.updateConsumerOffset, () =>
    isRefused ? { code: RESPONSE.systemError, remark: 'not now' } : undefined,
  )
  const subscription = mq.subscribe(G)
  await subscription.ready
  const delivery = (await subscription.next()).value!
  await until(() => pulls(fake).length === 2)
  await clock.advanceAsync(1000)
  await delivery.ack()
  await clock.advanceAsync(200)
  await until(() => errorsOf(statuses).length === 1)
  await clock.advanceAsync(4900)
  await quiet(clock)
  t.is(commits(fake).length, 1)
  isRefused = false
  await clock.advanceAsync(200)
  await until(() => fake.committed.get('g:T:0') === 1)
  t.is(errorsOf(statuses).length, 1)
})

for (const { title, reset } of [
  {
    title: 'a member that is told of a reset',
    reset: (fake: FakeRocketmq) => fake.reset('g', 'T', 0, 1),
  },
  {
    title: 'a member whose pull is answered with a reset',
    reset: (fake: FakeRocketmq) => {
      let isTold = false
      fake.intercept(REQUEST.pullMessage, ({ fields }) => {
        if (isTold || fields.get('topic') !== 'T') return undefined
        isTold = true
        return {
          code: RESPONSE.pullOffsetMoved,
          remark: 'OFFSET_RESET',
          fields: { suggestWhichBrokerId: 0, nextBeginOffset: 1, minOffset: 0, maxOffset: 4 },
        }
      })
      fake.store('T', 0, '3')
    },
  },
]) {
  test(`${title} goes on there, and its old progress is not committed over it`, async (t) => {
    const clock = new FakeClock()
    const { fake, mq } = await pair(t, { clock })
    for (const body of ['0', '1', '2']) fake.store('T', 0, body)
    const subscription = mq.subscribe(G)
    await subscription.ready
    const old: Delivery[] = []
    while (old.length < 3) old.push((await subscription.next()).value!)
    await old[0]!.ack()
    await old[1]!.ack()
    await untilWith(clock, () => fake.committed.get('g:T:0') === 2, 100)
    reset(fake)
    await until(() => old[2]!.isExpired)
    const again = (await subscription.next()).value!
    t.is(again.text(), '1')
    await t.throwsAsync(old[2]!.ack(), { code: 'RECEIPT_EXPIRED' })
    await clock.advanceAsync(1000)
    await quiet(clock)
    t.is(fake.committed.get('g:T:0'), 1)
    await again.ack()
    await untilWith(clock, () => fake.committed.get('g:T:0') === 2, 100)
    await closed(subscription.close({ deadlineMs: 0 }), clock)
  })
}

test('a reset that skips messages takes away those that wait here', async (t) => {
  const { fake, mq } = await pair(t)
  for (const body of ['0', '1', '2', '3']) fake.store('T', 0, body)
  const subscription = mq.subscribe(G)
  const first = (await subscription.next()).value!
  fake.reset('g', 'T', 0, 3)
  await until(() => first.isExpired)
  t.is((await subscription.next()).value!.text(), '3')
})

test('in order the message in hand is finished before a reset is followed', async (t) => {
  const clock = new FakeClock()
  const { fake, mq } = await pair(t, { clock })
  for (const body of ['0', '1', '2']) fake.store('T', 0, body)
  const seen: string[] = []
  let finish: () => void = () => {}
  let running = 0
  let most = 0
  await mq.consume({ ...G, ordered: true, concurrency: 4 }, async (delivery) => {
    seen.push(delivery.text())
    most = Math.max(most, ++running)
    if (seen.length === 2) {
      await new Promise<void>((resolve) => {
        finish = resolve
      })
    }
    running--
  })
  await until(() => seen.length === 2)
  const before = fake.count(REQUEST.getConsumerList)
  fake.reset('g', 'T', 0, 0)
  await until(() => fake.count(REQUEST.getConsumerList) > before)
  for (let n = 0; n < 10; n++) {
    await clock.advanceAsync(300)
    await quiet(clock)
  }
  t.is(seen.length, 2)
  finish()
  await untilWith(clock, () => seen.length >= 5, 20)
  t.deepEqual(seen, ['0', '1', '0', '1', '2'])
  t.is(most, 1)
})

test('a reset of another group, or of one that broadcasts, changes nothing', async (t) => {
  const { fake, mq } = await pair(t)
  fake.store('T', 0, '0')
  const subscription = mq.subscribe({ ...G, broadcasting: true })
  const delivery = (await subscription.next()).value!
  fake.reset('g', 'T', 0, 0)
  fake.store('T', 0, '1')
  t.is((await subscription.next()).value!.text(), '1')
  t.false(delivery.isExpired)
})
