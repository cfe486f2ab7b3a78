import test, { type ExecutionContext } from 'ava'
import type { Status } from '../../src/client/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { spawnServer, startServer } from '../support/server.ts'
import { pair, until, untilWith } from './pairing.ts'

const outages = (statuses: readonly Status[]) =>
  statuses.flatMap((status) =>
    status.type === 'unreachable' || status.type === 'reachable'
      ? [[status.type, status.broker, status.address, status.sinceMs] as const]
      : [],
  )

test('the status says which broker is away and since when, and that it is back', async (t) => {
  const clock = new FakeClock()
  const { fake, mq, statuses } = await pair(t, { clock })
  await mq.send({ topic: 'T', body: 'x' })
  const sinceMs = clock.now()
  await fake.stop()
  await until(() => outages(statuses).length === 1)
  await clock.advanceAsync(60_000)
  await fake.listen()
  await untilWith(clock, () => outages(statuses).length === 2, 1000)
  t.deepEqual(outages(statuses), [
    ['unreachable', 'broker-a', fake.address, sinceMs],
    ['reachable', 'broker-a', fake.address, sinceMs],
  ])
})

test('a listener that comes later hears of a broker that is away already', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  await mq.send({ topic: 'T', body: 'x' })
  await fake.stop()
  await until(() => outages(statuses).length === 1)
  const late = mq.status()
  const first = await late.next()
  t.deepEqual(outages([first.value]), outages(statuses))
})

test('a broker that could never be reached is away from the first attempt on', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  // Nothing listens on it.
  fake.setBroker('127.0.0.1:1')
  const giveUp = new AbortController()
  const { signal } = giveUp
  const sent = t.throwsAsync(mq.send({ topic: 'T', body: 'x' }, { timeoutMs: 60_000, signal }))
  await until(() => outages(statuses).length === 1)
  giveUp.abort(new Error('seen'))
  await sent
  t.is(outages(statuses)[0]![2], '127.0.0.1:1')
})

test('a broker that only cut its connections is not away', async (t) => {
  const { fake, mq, statuses } = await pair(t)
  await mq.send({ topic: 'T', body: 'x' })
  const connected = () => statuses.filter(({ type }) => type === 'connected').length
  const before = connected()
  fake.cutAll()
  await until(() => statuses.some(({ type }) => type === 'disconnected'))
  await mq.send({ topic: 'T', body: 'y' })
  await until(() => connected() > before)
  t.deepEqual(outages(statuses), [])
})

test('with one of two masters killed sends go on at the other, and the status tells of the one', async (t) => {
  const { mq, statuses, kill, start } = await twoMasters(t)
  const send = async () => (await mq.send({ topic: 'orders', body: 'x' })).brokerName
  const before = new Set<string>()
  for (let n = 0; n < 4; n++) before.add(await send())
  t.deepEqual([...before].sort(), ['a', 'b'])
  await kill()
  const after = await Promise.all(Array.from({ length: 10 }, send))
  t.deepEqual([...new Set(after)], ['b'])
  await until(() => outages(statuses).length === 1)
  await start()
  await until(() => outages(statuses).length === 2)
  t.deepEqual(
    outages(statuses).map(([type, broker]) => [type, broker]),
    [
      ['unreachable', 'a'],
      ['reachable', 'a'],
    ],
  )
})

async function twoMasters(t: ExecutionContext) {
  const names = await startServer(t, { role: 'namesrv' })
  const nameServers = [names.address('nameServer')]
  const brokerOf = (name: string) => ({ broker: { nameServers, name } })
  const a = await spawnServer(t, { role: 'broker', config: brokerOf('a') })
  await startServer(t, { role: 'broker', config: brokerOf('b') })
  const { connect } = await import('../../src/client/index.ts')
  const mq = await connect({ nameServers, timeoutMs: 60_000 })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  const statuses: Status[] = []
  void (async () => {
    for await (const status of mq.status()) statuses.push(status)
  })()
  for (;;) if ((await mq.admin.brokers()).length === 2) break
  await mq.admin.topics.create({ name: 'orders', queues: 2 }, { timeoutMs: 60_000 })
  return { mq, statuses, kill: () => a.kill(), start: () => a.start() }
}
