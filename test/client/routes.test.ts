import test from 'ava'
import type { Directory } from '../../src/client/name-servers.ts'
import { Routes } from '../../src/client/routes.ts'
import { PERM_READ_WRITE } from '../../src/model/topic.ts'
import type { BrokerAddresses, TopicRoute } from '../../src/remoting/requests/route.ts'
import { FakeClock } from '../support/fake-clock.ts'

const BROKER: BrokerAddresses = {
  brokerName: 'broker-a',
  cluster: 'DefaultCluster',
  addresses: new Map([[0, '127.0.0.1:10911']]),
}
const ROUTE: TopicRoute = {
  brokers: [BROKER],
  queues: [
    {
      brokerName: 'broker-a',
      readQueues: 1,
      writeQueues: 1,
      perm: PERM_READ_WRITE,
      topicSysFlag: 0,
    },
  ],
  orderTopicConf: undefined,
}

/** Knows every topic from the n-th question on. */
function directory(questions: number): { readonly asked: () => number } & Directory {
  let asked = 0
  return {
    asked: () => asked,
    route: async () => (++asked >= questions ? ROUTE : undefined),
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

test('a topic is known once the name servers have it, and its queues are its own then', async (t) => {
  const clock = new FakeClock()
  const names = directory(4)
  const routes = new Routes(names, clock)
  await passing(clock, routes.untilKnown('T'))
  t.is(names.asked(), 4)
  t.is((await routes.writableQueues('T')).length, 1)
})

test('a topic that no name server ever has ends the wait in time', async (t) => {
  const clock = new FakeClock()
  const routes = new Routes(directory(Number.MAX_SAFE_INTEGER), clock)
  const waiting = passing(clock, routes.untilKnown('T', { timeoutMs: 3000 }))
  await t.throwsAsync(waiting, { code: 'NO_ROUTE', message: /do not know the topic 'T' yet/ })
  t.true(clock.monotonic() <= 3010)
})
