import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import type { TopicDefinition } from '../../src/model/topic.ts'
import { type Registration, RouteTable } from '../../src/namesrv/route-table.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { endSlicesAtOnce } from '../support/turns.ts'

const topic = (name: string, queues = 4, perm = 6): TopicDefinition => ({
  name,
  readQueues: queues,
  writeQueues: queues,
  perm,
  ordered: false,
  sysFlag: 0,
})
const TEMPLATE = topic('TBW102', 8, 7)

function registration(
  changed: Partial<Registration> & { topics?: TopicDefinition[]; counter?: number } = {},
): Registration {
  const { topics = [topic('A'), topic('B')], counter = 0, ...rest } = changed
  return {
    clusterName: 'C',
    brokerName: 'broker-a',
    brokerId: 0,
    address: '10.0.0.1:10911',
    haAddress: '10.0.0.1:10912',
    expiryMs: 120_000,
    connection: {},
    table: { version: { counter, stateVersion: 0, timestamp: 1 }, topics },
    nowMs: 0,
    ...rest,
  }
}

test('a light queue has a route over every broker, to one queue that is read', (t) => {
  const routes = new RouteTable()
  t.is(routes.route('%LMQ%a'), undefined)
  routes.register(registration())
  routes.register(registration({ brokerName: 'broker-b', address: '10.0.0.2:10911' }))
  t.deepEqual(
    routes.route('%LMQ%a')?.queues.map((queue) => [queue.brokerName, queue.readQueues, queue.perm]),
    [
      ['broker-a', 1, 4],
      ['broker-b', 1, 4],
    ],
  )
})

test('a topic has a route over every broker that registered it', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(
    registration({
      brokerName: 'broker-b',
      address: '10.0.0.2:10911',
      topics: [topic('A', 2), topic('X')],
    }),
  )
  const route = routes.route('A')!
  t.deepEqual(
    route.queues.map((q) => [q.brokerName, q.readQueues]),
    [
      ['broker-a', 4],
      ['broker-b', 2],
    ],
  )
  t.deepEqual(
    route.brokers.map((b) => [b.brokerName, b.addresses.get(0)]),
    [
      ['broker-a', '10.0.0.1:10911'],
      ['broker-b', '10.0.0.2:10911'],
    ],
  )
})

test('a slave is an address of its broker and brings no queues of its own', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(
    registration({ brokerId: 1, address: '10.0.0.9:10911', topics: [topic('S'), topic('A', 9)] }),
  )
  t.deepEqual(
    [...routes.route('A')!.brokers[0]!.addresses],
    [
      [0, '10.0.0.1:10911'],
      [1, '10.0.0.9:10911'],
    ],
  )
  t.is(routes.route('A')!.queues[0]!.readQueues, 4)
  t.is(routes.route('S'), undefined)
})

test('the route of a broker whose master is gone leads to its slave', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(registration({ brokerId: 1, address: '10.0.0.9:10911', topics: [] }))
  routes.unregister('10.0.0.1:10911')
  const route = routes.route('A')!
  t.deepEqual([...route.brokers[0]!.addresses], [[1, '10.0.0.9:10911']])
  t.is(route.queues[0]!.perm, 6)
  routes.unregister('10.0.0.9:10911')
  t.is(routes.route('A'), undefined)
})

test('a master that was replaced does not come back in place of its successor', (t) => {
  const routes = new RouteTable()
  const old = registration()
  const { version } = old.table
  const successor = registration({ address: '10.0.0.9:10911' })
  const newer = { ...successor.table, version: { ...version, stateVersion: 1001 } }
  routes.register(old)
  routes.register({ ...successor, table: newer })
  routes.register({ ...old, table: { ...old.table, version: { ...version, stateVersion: 7 } } })
  t.deepEqual([...routes.route('A')!.brokers[0]!.addresses], [[0, '10.0.0.9:10911']])
})

test('a missing topic has no route while no broker creates topics', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  t.is(routes.route('missing'), undefined)
  t.is(routes.newRoute('missing'), undefined)
})

test('a missing topic will have the route of a new topic where topics are created on first use', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ topics: [TEMPLATE, topic('A')] }))
  t.is(routes.route('missing'), undefined)
  const [queues] = routes.newRoute('missing')!.queues
  t.deepEqual([queues!.readQueues, queues!.writeQueues, queues!.perm], [4, 4, 6])
  t.false([...routes.topics()].includes('missing'))
})

test('a missing retry topic will have one queue', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ topics: [TEMPLATE, topic('A')] }))
  t.is(routes.newRoute('%RETRY%G')!.queues[0]!.readQueues, 1)
})

test('a missing dead-letter topic has no route', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ topics: [TEMPLATE, topic('A')] }))
  t.is(routes.newRoute('%DLQ%G'), undefined)
})

test('a changed table replaces what the broker had', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(registration({ counter: 1, topics: [topic('B', 9), topic('C')] }))
  t.is(routes.route('A'), undefined)
  t.is(routes.route('B')!.queues[0]!.readQueues, 9)
  t.deepEqual([...routes.topics()].sort(), ['B', 'C'])
})

test('a table of the same version changes nothing', async (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  t.is(await routes.setWritable('broker-a', false), 2)
  routes.register(registration())
  t.is(routes.route('A')!.queues[0]!.perm, 4)
})

test('a single announced topic is added to the table', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(registration({ counter: 1, topics: [topic('N')] }))
  t.deepEqual([...routes.topics()].sort(), ['A', 'B', 'N'])
})

test('a broker that was silent for its expiry is forgotten with its topics', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ expiryMs: 100 }))
  routes.register(registration({ brokerName: 'broker-b', address: '10.0.0.2:10911', nowMs: 50 }))
  t.is(routes.expireOne(99), undefined)
  t.is(routes.expireOne(100), '10.0.0.1:10911')
  t.deepEqual(
    routes.route('A')!.brokers.map((b) => b.brokerName),
    ['broker-b'],
  )
})

test('a registration is a sign of life', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ expiryMs: 100 }))
  routes.register(registration({ expiryMs: 100, nowMs: 60 }))
  t.is(routes.expireOne(120), undefined)
})

test('only the connection that registered a broker last takes it along', (t) => {
  const routes = new RouteTable()
  const old = {}
  const fresh = {}
  routes.register(registration({ connection: old }))
  routes.register(registration({ connection: fresh }))
  t.is(routes.unregisterOneOf(old), undefined)
  t.is(routes.unregisterOneOf(fresh), '10.0.0.1:10911')
  t.is(routes.route('A'), undefined)
})

test('a broker that came back under another address has one entry', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(registration({ address: '10.0.0.7:10911' }))
  t.deepEqual([...routes.route('A')!.brokers[0]!.addresses.values()], ['10.0.0.7:10911'])
})

test('a topic is deleted everywhere, or in one cluster only', (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  routes.register(
    registration({ clusterName: 'D', brokerName: 'broker-d', address: '10.0.0.4:10911' }),
  )
  routes.deleteTopic('A', 'C')
  t.deepEqual(
    routes.route('A')!.queues.map((q) => q.brokerName),
    ['broker-d'],
  )
  t.deepEqual([...routes.topicsOfCluster('C')], ['B'])
  routes.deleteTopic('B', undefined)
  t.is(routes.route('B'), undefined)
})

test('a process that came back as another broker leaves nothing of the old one', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ topics: [topic('A'), topic('B')] }))
  routes.register(registration({ brokerName: 'broker-z', topics: [topic('C'), topic('D')] }))
  t.deepEqual([...routes.topics()], ['C', 'D'])
  t.deepEqual(
    routes.brokers().map(({ brokerName }) => brokerName),
    ['broker-z'],
  )
  routes.register(registration({ brokerName: 'broker-z', brokerId: 1 }))
  t.deepEqual([...routes.topics()], [])
})

test('topics that were added for a broker without a master go with its last process', (t) => {
  const routes = new RouteTable()
  routes.register(registration({ brokerId: 1 }))
  const queues = { readQueues: 1, writeQueues: 1, perm: 6, topicSysFlag: 0 }
  routes.addTopic('Added', [{ brokerName: 'broker-a', ...queues }])
  t.deepEqual([...routes.topics()], ['Added'])
  routes.unregister('10.0.0.1:10911')
  t.deepEqual([...routes.topics()], [])
})

test('a broker whose topics found no room is not known, and is when there is room', (t) => {
  const routes = new RouteTable(3)
  const other = { brokerName: 'broker-b', address: '10.0.0.2:10911' }
  routes.register(registration())
  t.throws(() => routes.register(registration(other)), { instanceOf: BrokerError })
  t.deepEqual(
    routes.brokers().map(({ brokerName }) => brokerName),
    ['broker-a'],
  )
  t.deepEqual(
    routes.route('A')!.queues.map(({ brokerName }) => brokerName),
    ['broker-a'],
  )
  routes.unregister('10.0.0.1:10911')
  t.true(routes.register(registration(other)))
  t.is(routes.route('B')!.queues[0]!.brokerName, 'broker-b')
})

test('a broker whose double found no room keeps its topics', (t) => {
  const routes = new RouteTable(3)
  routes.register(registration())
  const double = {
    address: '10.0.0.9:10911',
    topics: [topic('C'), topic('D'), topic('E'), topic('F')],
  }
  t.throws(() => routes.register(registration(double)), { code: 'QUOTA_EXCEEDED' })
  routes.register(registration())
  t.deepEqual([...routes.topics()], ['A', 'B'])
  t.deepEqual([...routes.route('A')!.brokers[0]!.addresses.values()], ['10.0.0.1:10911'])
})

test('what all brokers together may have is bounded, and a broker that goes makes room', (t) => {
  const routes = new RouteTable(5)
  const second = { brokerName: 'broker-b', address: '10.0.0.2:10911' }
  const third = { brokerName: 'broker-c', address: '10.0.0.3:10911' }
  routes.register(registration())
  routes.register(registration({ ...second, topics: [topic('B'), topic('C')] }))
  t.throws(() => routes.register(registration(third)), {
    instanceOf: BrokerError,
    message: /knows 4 topics of brokers, and 5 is the most/,
  })
  routes.deleteTopic('B', undefined)
  routes.register(registration({ ...third, topics: [topic('A'), topic('C'), topic('D')] }))
  t.deepEqual([...routes.topics()].sort(), ['A', 'C', 'D'])
  t.is(routes.route('C')!.queues.length, 2)
})

test('names of absurd length are refused', (t) => {
  const routes = new RouteTable()
  const long = 'x'.repeat(513)
  for (const changed of [
    { brokerName: long },
    { clusterName: long },
    { address: long },
    { haAddress: long },
    { topics: [topic(long)] },
  ]) {
    t.throws(() => routes.register(registration(changed)), {
      instanceOf: BrokerError,
      code: 'ARGUMENT_INVALID',
    })
  }
})

const permOf = (routes: RouteTable, name: string): number => routes.route(name)!.queues[0]!.perm

test('topics that were closed for writing stay so when others come into being, which are open', async (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  await routes.setWritable('broker-a', false)
  routes.register(registration({ counter: 1, topics: [topic('A'), topic('B'), topic('N')] }))
  t.deepEqual([permOf(routes, 'A'), permOf(routes, 'B'), permOf(routes, 'N')], [4, 4, 6])
  await routes.setWritable('broker-a', true)
  t.deepEqual([permOf(routes, 'A'), permOf(routes, 'B'), permOf(routes, 'N')], [6, 6, 6])
  routes.register(registration({ counter: 2, topics: [topic('A'), topic('B'), topic('M')] }))
  t.deepEqual([permOf(routes, 'A'), permOf(routes, 'B'), permOf(routes, 'M')], [6, 6, 6])
})

test('a closed topic is as its broker says once that gives it another permission, or makes it anew', async (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  await routes.setWritable('broker-a', false)
  await routes.setWritable('broker-a', false)
  routes.register(registration({ counter: 1, topics: [topic('A', 4, 7), topic('X')] }))
  routes.register(registration({ counter: 2, topics: [topic('A', 4, 7), topic('B')] }))
  t.deepEqual([permOf(routes, 'A'), permOf(routes, 'B')], [7, 6])
})

test('what was closed of a broker is closed when it registers anew after its connection broke or it was silent', async (t) => {
  const routes = new RouteTable()
  const connection = {}
  routes.register(registration({ connection }))
  await routes.setWritable('broker-a', false)
  routes.unregisterOneOf(connection)
  routes.register(registration())
  t.is(permOf(routes, 'A'), 4)
  routes.expireOne(120_000)
  t.is(routes.route('A'), undefined)
  routes.register(registration({ counter: 1, topics: [topic('A'), topic('N')] }))
  t.deepEqual([permOf(routes, 'A'), permOf(routes, 'N')], [4, 6])
})

test('a broker that is opened while it is away is open when it registers anew', async (t) => {
  const routes = new RouteTable()
  const connection = {}
  routes.register(registration({ connection }))
  await routes.setWritable('broker-a', false)
  routes.unregisterOneOf(connection)
  t.is(await routes.setWritable('broker-a', true), 0)
  routes.register(registration())
  t.is(permOf(routes, 'A'), 6)
})

test('a broker that signs off and starts anew is open for writing', async (t) => {
  const routes = new RouteTable()
  routes.register(registration())
  await routes.setWritable('broker-a', false)
  routes.unregister('10.0.0.1:10911')
  routes.register(registration({ counter: 1 }))
  t.is(permOf(routes, 'A'), 6)
})

test('one connection registers a bounded number of brokers, and others still register theirs', (t) => {
  const routes = new RouteTable()
  const connection = {}
  const made = (i: number, by: object): Registration =>
    registration({ brokerName: `made-${i}`, address: `10.1.0.${i}:1`, connection: by, topics: [] })
  for (let i = 0; i < 64; i++) routes.register(made(i, connection))
  t.throws(() => routes.register(made(64, connection)), { code: 'QUOTA_EXCEEDED' })
  t.notThrows(() => routes.register(made(0, connection)))
  t.notThrows(() => routes.register(made(65, {})))
})

test('many topics of a broker are closed, and opened, in as many turns as they need', async (t) => {
  const clock = new FakeClock()
  const routes = new RouteTable(undefined, clock)
  const topics = Array.from({ length: 4_096 }, (_, i) => `T${i}`)
  routes.register(registration({ topics: topics.map((name) => topic(name)) }))
  await routes.settled()
  const turns = endSlicesAtOnce(t, clock)
  for (const isWritable of [false, true]) {
    const before = turns().size
    t.is(await routes.setWritable('broker-a', isWritable), topics.length)
    t.true(turns().size - before >= 4)
    const perms = topics.map((topic) => routes.route(topic)!.queues[0]!.perm)
    t.true(perms.every((perm) => perm === (isWritable ? 6 : 4)))
  }
})
