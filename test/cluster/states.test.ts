// States over a cluster of our own brokers: of gateways that go, and of brokers that are away.
import test, { type ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { type ClusterBroker, openClusterBroker } from '../../src/cluster/broker.ts'
import { LEASE_MS } from '../../src/cluster/states/silence.ts'
import { STATE_TOPIC } from '../../src/model/names.ts'
import { codeOf, codesOf, newMessage, pullRequest, topicOf } from '../support/broker.ts'
import { RunningClock } from '../support/running-clock.ts'
import { freePort, startServer, type TestServer } from '../support/server.ts'
import { tempDir } from '../support/temp-dir.ts'

interface Cluster {
  readonly clock: RunningClock
  /** Also the name server. */
  readonly first: TestServer
  readonly second: TestServer
  /** Again, where it was. */
  startSecond(): Promise<TestServer>
  open(): Promise<ClusterBroker>
}

async function started(t: ExecutionContext): Promise<Cluster> {
  const clock = new RunningClock()
  t.teardown(clock.run())
  const first = await startServer(t, { clock })
  const nameServers = [first.address('nameServer')]
  const broker = { name: 'broker-b', nameServers }
  const config = { broker, dataDir: await tempDir(t), remoting: { port: await freePort() } }
  const startSecond = () => startServer(t, { clock, role: 'broker', config })
  const second = await startSecond()
  const open = async (): Promise<ClusterBroker> => {
    const broker = await openClusterBroker({ clock, name: 'gateway', options: { nameServers } })
    t.teardown(() => broker.close())
    return broker
  }
  return { clock, first, second, startSecond, open }
}

const ignore = (): void => {}

/** What times out does, and answers are not too late. */
async function slowly<T>(clock: RunningClock, settling: Promise<T>): Promise<T> {
  let isOver = false
  const settled = settling.finally(() => {
    isOver = true
  })
  while (!isOver) await clock.pass(200)
  return settled
}

/** One id in each broker's queues. */
async function idsOf(broker: ClusterBroker): Promise<readonly string[]> {
  const ids = Array.from({ length: 40 }, (_, n) => `id/${n}`)
  await Promise.all(ids.map((id) => broker.states.save(id, Buffer.from(id))))
  return ids
}

test('what a gateway owned that has gone is free, and told so', async (t) => {
  const { clock, open } = await started(t)
  const [gone, stays] = [await open(), await open()]
  const claim = await gone.states.claim('id/1', ignore)
  await gone.states.save('id/1', Buffer.from('1'), { claim })
  await stays.states.claim('id/2', ignore)
  await stays.states.save('id/2', Buffer.from('2'))
  const told: string[] = []
  stays.states.watchFree('id/', (id) => told.push(id))
  await gone.close()
  t.is(await stays.states.claimFree('id/1', ignore), undefined)
  for (let waits = 0; told.length === 0 && waits < 30; waits++) await clock.pass(LEASE_MS / 4)
  t.deepEqual(told, ['id/1'])
  t.truthy(await stays.states.claimFree('id/1', ignore))
})

test('states on a broker that is away cannot be changed, all others can', async (t) => {
  const { clock, second, open } = await started(t)
  const broker = await open()
  const ids = await idsOf(broker)
  await second.server.close()
  const calls = ids.map((id) => codeOf(broker.states.claim(id, ignore)))
  const codes = new Set(await slowly(clock, Promise.all(calls)))
  t.deepEqual([...codes].sort(), ['UNREACHABLE', 'no error'])
})

test('a message whose state cannot be written is not stored', async (t) => {
  const { clock, second, open } = await started(t)
  const broker = await open()
  await broker.topics.put(topicOf('orders', 1))
  const ids = await idsOf(broker)
  await second.server.close()
  const claims = ids.map((id) => codeOf(broker.states.claim(id, ignore)))
  const away = ids[(await slowly(clock, Promise.all(claims))).indexOf('UNREACHABLE')]!
  const message = newMessage('orders', { brokerName: 'broker-a', queueId: 0 })
  const change = { id: away, state: 'message' as const, message: 0 }
  t.is(await slowly(clock, codeOf(broker.publish([message], [change]))), 'UNREACHABLE')
  const { maxOffset } = await broker.cursors.range({
    ...{ topic: 'orders', brokerName: 'broker-a', queueId: 0 },
  })
  t.is(Number(maxOffset), 0)
})

test('a broker that is back is used at once', async (t) => {
  const { clock, second, startSecond, open } = await started(t)
  const broker = await open()
  const ids = await idsOf(broker)
  const claimAll = async () => {
    const claiming = Promise.all(ids.map((id) => codeOf(broker.states.claimFree(id, ignore))))
    return new Set(await slowly(clock, claiming))
  }
  await second.server.close()
  t.true((await claimAll()).has('UNREACHABLE'))
  await startSecond()
  const backMs = clock.now()
  while ((await claimAll()).has('UNREACHABLE')) await clock.pass(200)
  // Routes are kept for 30 s.
  t.true(clock.now() - backMs < 20_000, `${clock.now() - backMs} ms`)
})

test('a gateway that starts while a broker is away lists the states of the others', async (t) => {
  const { clock, second, open } = await started(t)
  const ids = await idsOf(await open())
  await second.server.close()
  const broker = await open()
  const listing = (async () => {
    const found: string[] = []
    for await (const page of broker.states.list('id/')) found.push(...page.map(({ id }) => id))
    return found
  })()
  const found = await slowly(clock, listing)
  t.true(found.length > 0 && found.length < ids.length, `${found.length}`)
})

test('topics of a broker that is away are no deleted topics', async (t) => {
  const { clock, second, open } = await started(t)
  const { topics } = await open()
  const names = async () => (await topics.list()).map(({ name }) => name)
  {
    await using there = await connect({ broker: second.address('remoting') })
    await there.admin.topics.create({ name: 'there', queues: 1 })
  }
  await topics.put(topicOf('gone', 1))
  const before = await names()
  t.true(['there', 'gone'].every((name) => before.includes(name)))
  await topics.delete('gone')
  await second.server.close()
  await clock.pass(1_000)
  const after = await names()
  t.deepEqual([after.includes('there'), after.includes('gone')], [true, false])
  t.is((await topics.get('there'))?.readQueues, 1)
  t.is(await topics.get('gone'), undefined)
})

test('clients neither write nor read where states are kept', async (t) => {
  const { open } = await started(t)
  const broker = await open()
  const results = await broker.publish([newMessage(STATE_TOPIC), newMessage('orders')])
  t.deepEqual(codesOf(results), ['PERMISSION_DENIED', null])
  t.is(await codeOf(broker.pull(pullRequest(STATE_TOPIC))), 'PERMISSION_DENIED')
})
