import test, { type ExecutionContext } from 'ava'
import { type EmbeddedBroker, openBroker } from '../../../src/broker/broker.ts'
import type { BrokerError } from '../../../src/errors.ts'
import { delayLevelMs } from '../../../src/model/delay-levels.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { openStoreIn } from '../../../src/store/open.ts'
import {
  bodiesOf,
  codesOf,
  drain,
  isPending,
  newMessage,
  pullRequest,
  queueOf,
  startBroker,
  topicOf,
} from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { LogLines } from '../../support/log-lines.ts'
import { Random } from '../../support/random.ts'
import { MemoryPlace } from '../../support/simulation/memory-key-value.ts'
import { SimulatedDisk } from '../../support/simulation/simulated-disk.ts'

const KIB = 1024
const DAY_MS = 86_400_000

const publish = (broker: EmbeddedBroker, body: string, properties: Record<string, string>) =>
  broker.publish([newMessage('orders', { queueId: 0, body, properties })])

const held = (broker: EmbeddedBroker, offset = 0) =>
  broker.pull(pullRequest('orders', { offset, waitMs: 3 * DAY_MS }))

test('each of the 18 delay levels delivers after its time', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  for (let level = 18; level >= 1; level--) await publish(broker, `${level}`, { DELAY: `${level}` })
  t.is((await broker.status()).pendingDelayed, 18)
  let passedMs = 0
  for (let level = 1; level <= 18; level++) {
    const pulling = held(broker, level - 1)
    clock.advance(delayLevelMs(level) - passedMs - 1)
    t.true(await isPending(test, pulling), `level ${level} is not early`)
    clock.advance(1)
    t.deepEqual(bodiesOf(await pulling), [`${level}`])
    passedMs = delayLevelMs(level)
  }
  t.is((await broker.status()).pendingDelayed, 0)
})

test('a delivered message is as it was sent, and says where it waited for its time', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 4))
  const properties = { DELAY: '1', colour: 'red', KEYS: 'k1' }
  const message = newMessage('orders', { queueId: 2, tag: 'eu', flag: 3, properties })
  await broker.publish([message])
  const pulling = broker.pull(pullRequest('orders', { queueId: 2, waitMs: DAY_MS }))
  clock.advance(1000)
  const [record] = [...recordsOf((await pulling).records)]
  t.is(record?.topic, 'orders')
  t.is(record?.queueId, 2)
  t.is(record?.flag, 3)
  t.is(record?.bornTimestamp, message.bornTimestamp)
  t.deepEqual(record?.bornHost, message.bornHost)
  const all = record?.properties()
  t.is(all?.get(PROPERTY.uniqueKey)?.length, 32)
  all?.delete(PROPERTY.uniqueKey)
  t.deepEqual(Object.fromEntries(all ?? []), {
    ...{ TAGS: 'eu', colour: 'red', KEYS: 'k1' },
    ...{ DELAY: '1', REAL_TOPIC: 'orders', REAL_QID: '2', TIMER_OUT_MS: String(clock.now()) },
    ...{ CLUSTER: 'DefaultCluster', MSG_REGION: 'DefaultRegion', TRACE_ON: 'true' },
  })
})

test('a delayed message whose properties leave no room for its destination spoils no other', async (t) => {
  const { broker } = await startBroker(t)
  const properties = { DELAY: '1', big: 'x'.repeat(32_680) }
  const results = await broker.publish([
    newMessage('orders', { properties }),
    newMessage('orders', { queueId: 0, body: 'good' }),
  ])
  t.is((results[0] as BrokerError).code, 'MESSAGE_TOO_LARGE')
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['good'])
})

test('a time may be a delay in seconds or ms, or a point in time', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  const start = clock.now()
  await publish(broker, 'd', { __STARTDELIVERTIME: `${start + 4000}` })
  await publish(broker, 'c', { TIMER_DELIVER_MS: `${start + 3000}` })
  await publish(broker, 'b', { TIMER_DELAY_SEC: '2' })
  await publish(broker, 'a', { TIMER_DELAY_MS: '1000' })
  for (const [offset, body] of ['a', 'b', 'c', 'd'].entries()) {
    const pulling = held(broker, offset)
    clock.advance(999)
    t.true(await isPending(test, pulling))
    clock.advance(1)
    t.deepEqual(bodiesOf(await pulling), [body])
  }
})

test('a time in the past is now, a level above 18 is 18, and a level wins over a timer', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 'past', { TIMER_DELIVER_MS: '1000' })
  t.deepEqual(bodiesOf(await broker.pull(pullRequest('orders'))), ['past'])
  await publish(broker, 'levels', { DELAY: '99', TIMER_DELAY_MS: '5' })
  const pulling = held(broker, 1)
  clock.advance(7_199_999)
  t.is((await broker.status()).pendingDelayed, 1)
  clock.advance(1)
  t.deepEqual(bodiesOf(await pulling), ['levels'])
})

test("a level above 18 is stored as 18, as by Apache's broker", async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 'far', { DELAY: '99', colour: 'red' })
  const pulling = held(broker)
  clock.advance(7_199_999)
  t.is((await broker.status()).pendingDelayed, 1)
  clock.advance(1)
  const [record] = [...recordsOf((await pulling).records)]
  t.is(record?.property(PROPERTY.delay), '18')
  t.is(record?.property('colour'), 'red')
})

test('a level with a fraction is the level below it', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'a', { DELAY: '2.5' })
  const pulling = held(broker)
  clock.advance(4999)
  t.true(await isPending(test, pulling))
  clock.advance(1)
  t.deepEqual(bodiesOf(await pulling), ['a'])
})

test('a delay that is no number or too long is refused', async (t) => {
  const { broker, clock } = await startBroker(t)
  const times = [
    { TIMER_DELAY_MS: 'soon' },
    { TIMER_DELAY_SEC: String(3 * 86_400 + 1) },
    { __STARTDELIVERTIME: String(clock.now() + 4 * DAY_MS) },
  ]
  for (const properties of times) {
    t.deepEqual(codesOf(await publish(broker, 'x', properties)), ['MESSAGE_INVALID'])
  }
})

test('a message that is due is delivered once, whenever the broker is killed', async (t) => {
  let test = await startBroker(t)
  const bodies = Array.from({ length: 40 }, (_, i) => `${i}`)
  for (const body of bodies) await publish(test.broker, body, { DELAY: '1' })
  const parked = await test.crash()
  t.is((await parked.broker.status()).pendingDelayed, 40)
  parked.clock.advance(1000)
  // Kill it while the copies are being written, again and again.
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setImmediate(resolve))
    test = await (i === 0 ? parked : test).crash()
    test.clock.advance(1000)
  }
  const pulled = await test.broker.pull(
    pullRequest('orders', { offset: 0, maxMessages: 100, waitMs: 1000 }),
  )
  const all = bodiesOf(pulled)
  while (all.length < 40) {
    const more = await test.broker.pull(
      pullRequest('orders', { offset: all.length, maxMessages: 100, waitMs: 1000 }),
    )
    all.push(...bodiesOf(more))
  }
  await drain(test)
  t.is((await test.broker.cursors.range(queueOf('orders'))).maxOffset as number, 40)
  t.deepEqual(all.sort(), [...bodies].sort())
  t.is((await test.broker.status()).pendingDelayed, 0)
})

test('what became due while the broker was away is delivered at its start', async (t) => {
  const first = await startBroker(t)
  await publish(first.broker, 'late', { DELAY: '5' })
  await first.close()
  first.clock.advance(DAY_MS)
  const { broker, clock } = await first.reopen()
  const pulling = held(broker)
  clock.advance(0)
  t.deepEqual(bodiesOf(await pulling), ['late'])
})

test('a wall clock set back makes nothing come early, and nothing is lost', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'a', { DELAY: '5' })
  clock.jump(-3_600_000)
  const pulling = held(broker)
  clock.advance(3_600_000)
  t.true(await isPending(test, pulling))
  await clock.advanceAsync(60_000)
  t.deepEqual(bodiesOf(await pulling), ['a'])
})

test('a wall clock set forward is noticed within a minute', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'a', { TIMER_DELAY_SEC: '86400' })
  const pulling = held(broker)
  clock.jump(DAY_MS)
  await clock.advanceAsync(60_000)
  t.deepEqual(bodiesOf(await pulling), ['a'])
})

test('a message due sooner than those that wait is not kept waiting by them', async (t) => {
  const { broker, clock } = await startBroker(t)
  await publish(broker, 'later', { DELAY: '3' })
  await publish(broker, 'sooner', { DELAY: '1' })
  const pulling = held(broker)
  clock.advance(1000)
  t.deepEqual(bodiesOf(await pulling), ['sooner'])
})

test('while the store takes nothing a due message waits, and comes when it does again', async (t) => {
  const { broker, clock, faults } = await startBroker(t)
  await publish(broker, 'a', { DELAY: '1' })
  faults.isReadOnly = true
  await clock.advanceAsync(5000)
  t.is((await broker.status()).pendingDelayed, 1)
  faults.isReadOnly = false
  const pulling = held(broker)
  await clock.advanceAsync(1000)
  t.deepEqual(bodiesOf(await pulling), ['a'])
})

test('a delayed message of a deleted topic is dropped', async (t) => {
  const test = await startBroker(t)
  const { broker, clock } = test
  await publish(broker, 'a', { DELAY: '1' })
  await broker.topics.delete('orders')
  await clock.advanceAsync(1000)
  await drain(test)
  t.is((await broker.status()).pendingDelayed, 0)
  t.is(await broker.topics.get('orders'), undefined)
})

test('a delayed message of a deleted topic does not come to its namesake, nor after a crash', async (t) => {
  const first = await startBroker(t)
  await publish(first.broker, 'old', { DELAY: '1' })
  await first.broker.topics.delete('orders')
  await publish(first.broker, 'new', { DELAY: '1' })
  const { broker, clock } = await first.crash()
  const pulling = held(broker)
  await clock.advanceAsync(1000)
  t.deepEqual(bodiesOf(await pulling), ['new'])
  t.is((await broker.status()).pendingDelayed, 0)
})

test('a message that is due while its topic is deleted and made again does not come to the namesake', async (t) => {
  const test = await startBroker(t)
  const { broker, clock, store } = test
  for (let i = 0; i < 20; i++) await publish(broker, 'old', { DELAY: '1' })
  const readAt = store.readAt.bind(store)
  let reads = 0
  let isRenewed = (): void => {}
  const renewed = new Promise<void>((resolve) => {
    isRenewed = resolve
  })
  store.readAt = async (position, bytesMax) => {
    // The records of the first sixteen are read by then.
    if (++reads === 17) {
      await broker.topics.delete('orders')
      await publish(broker, 'new', {})
      isRenewed()
    }
    return readAt(position, bytesMax)
  }
  await clock.advanceAsync(1000)
  // On the disk: a broker that closes takes nothing new.
  await renewed
  await broker.close()
  const { broker: after } = await test.reopen()
  t.deepEqual(bodiesOf(await after.pull(pullRequest('orders'))), ['new'])
  t.is((await after.status()).pendingDelayed, 0)
})

test('a delayed message whose queue is gone goes to one that is there', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.topics.put(topicOf('orders', 4))
  await broker.publish([
    newMessage('orders', { queueId: 3, body: 'a', properties: { DELAY: '1' } }),
  ])
  await broker.topics.put(topicOf('orders', 2))
  const pulling = broker.pull(pullRequest('orders', { queueId: 1, waitMs: DAY_MS }))
  clock.advance(1000)
  t.deepEqual(bodiesOf(await pulling), ['a'])
})

test('many due messages are delivered in the order of their times', async (t) => {
  const { broker, clock } = await startBroker(t)
  const count = 3000
  const start = clock.now()
  const messages = Array.from({ length: count }, (_, i) =>
    newMessage('orders', {
      queueId: 0,
      body: `${(i * 7) % count}`,
      properties: { TIMER_DELIVER_MS: `${start + 1 + ((i * 7) % count)}` },
    }),
  )
  await broker.publish(messages)
  clock.advance(count + 1)
  const all: string[] = []
  while (all.length < count) {
    const request = pullRequest('orders', { offset: all.length, maxMessages: count, waitMs: 1000 })
    all.push(...bodiesOf(await broker.pull(request)))
  }
  t.deepEqual(
    all,
    Array.from({ length: count }, (_, i) => `${i}`),
  )
})

/** A hundred messages of that size that are due at once, and how many reads they take at a time. */
async function dueAtOnce(t: ExecutionContext, bytes: number) {
  const test = await startBroker(t)
  const { broker, clock, store } = test
  const readAt = store.readAt.bind(store)
  const most = { small: 0, any: 0 }
  const reading = { small: 0, any: 0 }
  store.readAt = async (position, bytesMax) => {
    const kind = bytesMax === undefined ? 'any' : 'small'
    most[kind] = Math.max(most[kind], ++reading[kind])
    const record = await readAt(position, bytesMax)
    reading[kind]--
    if (bytesMax !== undefined && record !== undefined) t.true(record.length <= bytesMax)
    return record
  }
  const properties = { TIMER_DELAY_MS: '1000' }
  const messages = Array.from({ length: 100 }, (_, i) =>
    newMessage('orders', { queueId: 0, body: `${i}`.padStart(bytes), properties }),
  )
  await broker.publish(messages)
  await clock.advanceAsync(1000)
  const pulled = await broker.pull(pullRequest('orders', { maxMessages: 100, waitMs: 1000 }))
  t.deepEqual(
    bodiesOf(pulled),
    messages.map(({ body }) => body.toString()),
  )
  return most
}

test('many large messages that are due at once are not all read into memory at once', async (t) => {
  const { any } = await dueAtOnce(t, 5000)
  t.true(any > 0 && any <= 16, `${any} records at once`)
})

test('small messages that are due at once are read together, but not all before the syncs', async (t) => {
  t.deepEqual(await dueAtOnce(t, 100), { small: 16, any: 0 })
})

/**
 * A broker on a disk whose reads the test can make fail, with a delayed message that is in no
 * memory.
 */
async function startWithParked(t: ExecutionContext) {
  const inPool = (fn: () => void): void => void setImmediate(fn)
  const disk = new SimulatedDisk({ random: new Random(1), inPool })
  const clock = new FakeClock()
  const log = new LogLines()
  const store = await openStoreIn({
    logPath: '/log',
    viewsPath: '/views',
    disk,
    place: new MemoryPlace({ random: new Random(1) }),
    clock,
    log,
    storeHost: NO_HOST,
    closed() {},
    logOptions: { frameBytesMax: 64 * KIB, tailBytesMax: 192 * KIB, reserveBytes: 0 },
  })
  const broker = openBroker({ store, clock, log, options: {} })
  t.teardown(() => broker.close().then(() => store.close()))
  await publish(broker, 'parked', { DELAY: '1' })
  for (let i = 0; i < 30; i++) {
    await broker.publish([newMessage('others', { body: '.'.repeat(32 * KIB) })])
  }
  const eventsOf = (level: string) =>
    log.lines.filter((line) => line.level === level).map(({ evt }) => evt)
  return { broker, store, disk, clock, eventsOf }
}

test('a disk that fails to read for a while makes a delayed message late and does not lose it', async (t) => {
  const { broker, store, disk, clock, eventsOf } = await startWithParked(t)
  disk.readFault = 'EIO'
  await clock.advanceAsync(20_000)
  t.true(eventsOf('warn').includes('delays.late'))
  disk.readFault = undefined
  const pulling = held(broker)
  clock.advance(1000)
  t.deepEqual(bodiesOf(await pulling), ['parked'])
  t.is(store.status().pendingDue, 0)
})

test('a delayed message that stays unreadable is given up with an error', async (t) => {
  const { store, disk, clock, eventsOf } = await startWithParked(t)
  disk.readFault = 'EIO'
  for (let i = 0; i < 100 && store.status().pendingDue > 0; i++) await clock.advanceAsync(1000)
  t.true(eventsOf('error').includes('delays.damaged'))
  t.is(store.status().pendingDue, 0)
})
