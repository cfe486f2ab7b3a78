import test from 'ava'
import { StatusFeed } from '../../src/client/calls/status.ts'
import type { Directory } from '../../src/client/routes/name-servers.ts'
import { Outages } from '../../src/client/routes/outages.ts'
import { Routes } from '../../src/client/routes/routes.ts'
import { PERM_READ, PERM_READ_WRITE } from '../../src/model/topic.ts'
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
