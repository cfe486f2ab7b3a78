import test from 'ava'
import fc from 'fast-check'
import { StatusFeed } from '../../src/client/calls/status.ts'
import type { Directory } from '../../src/client/routes/name-servers.ts'
import { Outages } from '../../src/client/routes/outages.ts'
import { Routes } from '../../src/client/routes/routes.ts'
import { UniqueIds, uniqueClientId } from '../../src/client/routes/unique-id.ts'
import { PERM_READ, PERM_READ_WRITE } from '../../src/model/topic.ts'
import { allocateAveragely, compareQueues, queueKey } from '../../src/remoting/allocation.ts'
import type { BrokerAddresses, TopicRoute } from '../../src/remoting/requests/route.ts'
import { FakeClock } from '../support/fake-clock.ts'

const BROKER: BrokerAddresses = {
  brokerName: 'broker-a',
  cluster: 'DefaultCluster',
  addresses: new Map([[0, '127.0.0.1:10911']]),
}

const routeOf = (readQueues: number, writeQueues: number, perm: number): TopicRoute => ({
  brokers: [BROKER],
  queues: [{ brokerName: 'broker-a', readQueues, writeQueues, perm, topicSysFlag: 0 }],
  orderTopicConf: undefined,
})
const routeOfBrokers = (...brokerNames: readonly string[]): TopicRoute => ({
  ...ROUTE,
  brokers: brokerNames.map((brokerName) => ({ ...BROKER, brokerName })),
  queues: brokerNames.map((brokerName) => ({ ...ROUTE.queues[0]!, brokerName })),
})
const ROUTE = routeOf(1, 1, PERM_READ_WRITE)
/** As our name servers answer for a topic that a send would create. */
const TEMPLATE = routeOf(4, 4, PERM_READ_WRITE)

/** Knows every topic from the n-th question on. */
function directory(
  questions: number,
  before?: TopicRoute,
  route = ROUTE,
): { readonly asked: () => number } & Directory {
  let asked = 0
  return {
    asked: () => asked,
    route: async () => (++asked >= questions ? route : before),
    brokers: async () => [BROKER],
    forgetTopic: async () => {},
  }
}

async function passing<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  let settled = false
  const done = (): void => {
    settled = true
  }
  promise.then(done, done)
  while (!settled) await clock.advanceAsync(10)
  return promise
}

const routesOver = (names: Directory, clock: FakeClock): Routes =>
  new Routes(names, clock, new Outages({ clock, status: new StatusFeed(), connectTimeoutMs: 1000 }))

test('a topic is known once the name servers have it, and its queues are its own then', async (t) => {
  const clock = new FakeClock()
  const names = directory(4)
  const routes = routesOver(names, clock)
  await passing(clock, routes.untilKnown('T', 1))
  t.is(names.asked(), 4)
  t.is((await routes.writableQueues('T')).length, 1)
})

test('a topic that no name server ever has ends the wait in time', async (t) => {
  const clock = new FakeClock()
  const routes = routesOver(directory(Number.MAX_SAFE_INTEGER), clock)
  const waiting = passing(clock, routes.untilKnown('T', 1, { timeoutMs: 3000 }))
  await t.throwsAsync(waiting, {
    code: 'NO_ROUTE',
    message: /'T' is created, but the name servers/,
  })
  t.true(clock.monotonic() <= 3010)
})

test('a topic that lacks a broker is asked for soon, until the broker is back or given up', async (t) => {
  const clock = new FakeClock()
  const two = routeOfBrokers('broker-a', 'broker-b')
  let route = two
  let asked = 0
  const names: Directory = {
    ...directory(1),
    route: async () => {
      asked++
      return route
    },
  }
  const routes = routesOver(names, clock)
  const count = async (): Promise<number> => (await routes.queues('T')).readable.length
  t.is(await count(), 2)
  route = routeOfBrokers('broker-a')
  await clock.advanceAsync(10_000)
  t.is(await count(), 2)
  await clock.advanceAsync(20_000)
  t.is(await count(), 1)
  t.true(routes.isPartial('T'))
  route = two
  await clock.advanceAsync(2_000)
  t.is(await count(), 2)
  t.false(routes.isPartial('T'))
  route = routeOfBrokers('broker-b')
  await clock.advanceAsync(30_000)
  t.is(await count(), 1)
  await clock.advanceAsync(601_000)
  await count()
  t.false(routes.isPartial('T'))
  const before = asked
  await clock.advanceAsync(20_000)
  await count()
  t.is(asked, before)
})

test('a broker that is missing when another denies a topic is looked for soon', async (t) => {
  const clock = new FakeClock()
  let route = routeOfBrokers('broker-a', 'broker-b')
  const routes = routesOver({ ...directory(1), route: async () => route }, clock)
  const count = async (): Promise<number> => (await routes.queues('T')).readable.length
  t.is(await count(), 2)
  routes.deny('T')
  route = routeOfBrokers('broker-a')
  t.is(await count(), 1)
  t.true(routes.isPartial('T'))
  route = routeOfBrokers('broker-a', 'broker-b')
  await clock.advanceAsync(2_000)
  t.is(await count(), 2)
})

test('a topic that a broker denies and no name server knows does not exist', async (t) => {
  const clock = new FakeClock()
  let route: TopicRoute | undefined = ROUTE
  const routes = routesOver({ ...directory(1), route: async () => route }, clock)
  await routes.queues('T')
  route = undefined
  routes.deny('T')
  await t.throwsAsync(routes.queues('T'), { code: 'TOPIC_NOT_FOUND' })
})

test('a topic that was just sent to is waited for, two seconds at most', async (t) => {
  const clock = new FakeClock()
  const names = directory(4)
  const routes = routesOver(names, clock)
  routes.made('T')
  t.is((await passing(clock, routes.queues('T'))).readable.length, 1)
  t.is(names.asked(), 4)
  const never = routesOver(directory(Number.MAX_SAFE_INTEGER), clock)
  never.made('T')
  const beganMs = clock.monotonic()
  await t.throwsAsync(passing(clock, never.queues('T')), {
    code: 'NO_ROUTE',
    message: /'T' is created, but the name servers/,
  })
  t.true(clock.monotonic() - beganMs <= 2_010)
  await clock.advanceAsync(2_000)
  await t.throwsAsync(never.queues('T'), { code: 'TOPIC_NOT_FOUND' })
})

test('the queues in which a send would create the topic are not taken for its own', async (t) => {
  const clock = new FakeClock()
  const names = directory(4, TEMPLATE)
  const routes = routesOver(names, clock)
  await passing(clock, routes.untilKnown('T', 1))
  t.is(names.asked(), 4)
  t.is((await routes.writableQueues('T')).length, 1)
})

test('queues that are not the own ones are not remembered when the wait ends without others', async (t) => {
  const clock = new FakeClock()
  const names = directory(Number.MAX_SAFE_INTEGER, TEMPLATE)
  const routes = routesOver(names, clock)
  const waiting = passing(clock, routes.untilKnown('T', 1, { timeoutMs: 100 }))
  await t.throwsAsync(waiting, {
    code: 'NO_ROUTE',
    message: /'T' is created, but the name servers/,
  })
  const before = names.asked()
  await routes.queues('T')
  t.is(names.asked(), before + 1)
})

test('a topic is known also where its broker permits only to read', async (t) => {
  const clock = new FakeClock()
  const routes = routesOver(directory(2, TEMPLATE, routeOf(1, 1, PERM_READ)), clock)
  await passing(clock, routes.untilKnown('T', 1))
  t.is((await routes.queues('T')).readable.length, 1)
})

test('a name server that says nothing ends the wait for a topic in time', async (t) => {
  const clock = new FakeClock()
  const silent: Directory = { ...directory(1), route: () => new Promise(() => {}) }
  const waiting = passing(clock, routesOver(silent, clock).untilKnown('T', 1, { timeoutMs: 3000 }))
  await t.throwsAsync(waiting, { code: 'TIMED_OUT' })
  t.true(clock.monotonic() <= 3010)
})

const queuesOf = (count: number, brokerName = 'a') =>
  Array.from({ length: count }, (_, queueId) => ({ topic: 'T', brokerName, queueId }))

const idsOf = (queues: readonly { queueId: number }[]) => queues.map((queue) => queue.queueId)

/** The formula as RocketMQ states it, written another way than the code under test. */
function stated(queues: number, members: number, index: number): number[] {
  const mod = queues % members
  const size =
    queues <= members
      ? 1
      : mod > 0 && index < mod
        ? Math.floor(queues / members) + 1
        : Math.floor(queues / members)
  const start = mod > 0 && index < mod ? index * size : index * size + mod
  const range = Math.min(size, queues - start)
  return Array.from({ length: Math.max(0, range) }, (_, i) => start + i)
}

test('eight queues among three members go three, three, two', (t) => {
  const members = ['m2', 'm0', 'm1']
  const shares = ['m0', 'm1', 'm2'].map((id) => idsOf(allocateAveragely(queuesOf(8), members, id)))
  t.deepEqual(shares, [
    [0, 1, 2],
    [3, 4, 5],
    [6, 7],
  ])
})

test("every member's share is the one that RocketMQ's formula states", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 80 }), (q, m) => {
      const members = Array.from({ length: m }, (_, i) => `m${String(i).padStart(3, '0')}`)
      for (const [index, id] of members.entries()) {
        const share = allocateAveragely(queuesOf(q).reverse(), members, id)
        if (JSON.stringify(idsOf(share)) !== JSON.stringify(stated(q, m, index))) return false
      }
      return true
    }),
  )
  t.pass()
})

test('every queue has exactly one reader, whichever member computes it, in any order', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      (members, count) => {
        const queues = [...queuesOf(count, 'b'), ...queuesOf(3, 'a')]
        const read = members.flatMap((id) =>
          allocateAveragely([...queues].reverse(), [...members].reverse(), id).map(queueKey),
        )
        return read.length === queues.length && new Set(read).size === queues.length
      },
    ),
  )
  t.pass()
})

test('a client that is not among the members reads nothing', (t) => {
  t.deepEqual(allocateAveragely(queuesOf(4), ['other'], 'me'), [])
})

test('queues are ordered by topic, then broker, then id as a number', (t) => {
  const sorted = [
    { topic: 'A', brokerName: 'z', queueId: 9 },
    { topic: 'B', brokerName: 'a', queueId: 2 },
    { topic: 'B', brokerName: 'a', queueId: 10 },
    { topic: 'B', brokerName: 'b', queueId: 0 },
  ]
  t.deepEqual([...sorted].reverse().sort(compareQueues), sorted)
})

test('an id has 32 upper-case hex digits and never comes twice', (t) => {
  const ids = new UniqueIds(new FakeClock())
  const made = Array.from({ length: 50_000 }, () => ids.next())
  t.is(new Set(made).size, made.length)
  t.true(made.every((id) => /^[0-9A-F]{32}$/.test(id)))
})

test('an id tells the time since its month began, across the turn of a month', (t) => {
  const newYear = new Date(2024, 0, 1).getTime()
  const clock = new FakeClock(newYear - 1000)
  const ids = new UniqueIds(clock)
  const msOf = (id: string): number => Number.parseInt(id.slice(20, 28), 16)
  t.is(msOf(ids.next()), newYear - 1000 - new Date(2023, 11, 1).getTime())
  clock.advance(1500)
  t.is(msOf(ids.next()), 500)
  clock.jump(-1400)
  t.is(msOf(ids.next()), newYear - 900 - new Date(2023, 11, 1).getTime())
})

test('two makers in one process do not collide', (t) => {
  const clock = new FakeClock()
  t.not(new UniqueIds(clock).next().slice(12, 20), new UniqueIds(clock).next().slice(12, 20))
})

test("a client id is RocketMQ's: address, process, something unique", (t) => {
  t.regex(uniqueClientId(), /^\d+\.\d+\.\d+\.\d+@\d+#[0-9a-f]{12}$/)
  t.not(uniqueClientId(), uniqueClientId())
})
