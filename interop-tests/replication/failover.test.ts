// Three brokers whose master etcd elects, as real processes under load of three protocols.
// TRIVET_FAILOVERS makes more of them than a run of all tests has time for, and TRIVET_LEASE_MS
// another lease.
import type { ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import type { SpawnedServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { type ElectedBrokers, startElected } from '../support/elected-brokers.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { type Load, missingOf, startLoads } from '../support/failover-load.ts'
import { needing } from '../support/needing.ts'

const test = needing('automatic failover', etcdMissing())

const FAILOVERS = Number(process.env['TRIVET_FAILOVERS'] ?? 5)
const LEASE_MS = Number(process.env['TRIVET_LEASE_MS'] ?? 2_000)
/** Of etcd, whose shortest lease is one and a half of its election timeout. */
const TIMES = { heartbeatMs: 50, electionMs: Math.min(1_000, LEASE_MS / 2) }
const TOPIC = 'T'

async function clientOf(t: ExecutionContext, { nameServer }: ElectedBrokers) {
  const mq = await connect({ nameServers: nameServer.address('nameServer'), timeoutMs: 2_000 })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

const untilAll = (loads: readonly Load[], sinceMs: number): Promise<unknown> =>
  eventually(async () => loads.every((load) => load.after(sinceMs) !== undefined))

/** Dies, or stands still until another copy is the master. @returns how it goes on */
async function lose(master: SpawnedServer, round: number): Promise<() => Promise<void>> {
  if (round % 2 === 0) {
    await master.kill()
    return () => master.start()
  }
  process.kill(master.pid, 'SIGSTOP')
  return async () => {
    process.kill(master.pid, 'SIGCONT')
  }
}

/** With a topic that all copies have, and clients that send to it. */
async function underLoad(t: ExecutionContext) {
  const config = { replication: { etcd: { leaseMs: LEASE_MS } } }
  const group = await startElected(t, { times: TIMES, config })
  const mq = await clientOf(t, group)
  await group.settled()
  await eventually(async () => {
    try {
      return (await mq.admin.topics.create({ name: TOPIC, queues: 4 })) ?? true
    } catch {
      return undefined
    }
  })
  const loads = startLoads(t, group, TOPIC)
  await untilAll(loads, performance.now())
  return { group, mq, loads }
}

/** Ends the load. */
async function assertAllThere(
  t: ExecutionContext,
  { group, mq, loads }: Awaited<ReturnType<typeof underLoad>>,
): Promise<void> {
  await group.settled()
  await untilAll(loads, performance.now())
  for (const load of loads) await load.end()
  const bodies = loads.flatMap((load) => load.acknowledged.map(({ body }) => body))
  t.log(`${bodies.length} acknowledged`)
  const missing = await missingOf(mq, TOPIC, bodies)
  if (missing.size > 0) for (const { stderr } of group.brokers) t.log(stderr)
  t.deepEqual([...missing], [])
}

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1]!

test('what three protocols were acknowledged is there after each failover', async (t) => {
  t.timeout(120_000 + FAILOVERS * 60_000)
  const loaded = await underLoad(t)
  const { group, loads } = loaded
  const tookMs: number[] = []
  const protocolsMs: number[] = []
  for (let round = 0; round < FAILOVERS; round++) {
    await untilAll(loads, performance.now())
    await group.settled()
    const master = await group.master()
    const lostMs = performance.now()
    const goOn = await lose(master, round)
    await eventually(async () => (await group.master()) !== master)
    await untilAll(loads, lostMs + LEASE_MS / 2)
    const firsts = loads.map((load) => load.after(lostMs + LEASE_MS / 2)! - lostMs)
    tookMs.push(Math.min(...firsts))
    protocolsMs.push(Math.max(...firsts))
    const shown = loads.map(({ name }, at) => `${name} ${Math.round(firsts[at]!)} ms`)
    t.log(round % 2 === 0 ? 'killed:' : 'stopped:', shown.join(', '))
    await goOn()
  }
  for (const [what, values] of [
    ['first', tookMs],
    ['last', protocolsMs],
  ] as const) {
    const [p50, p99] = [percentile(values, 0.5), percentile(values, 0.99)].map(Math.round)
    t.log(`acknowledged again, the ${what} protocol: p50 ${p50} ms, p99 ${p99} ms of ${FAILOVERS}`)
  }
  await assertAllThere(t, loaded)
})

test('without a majority of etcd there is no master, and with it there is one again', async (t) => {
  t.timeout(300_000)
  const loaded = await underLoad(t)
  const { group, loads } = loaded
  const master = await group.master()
  // The third still answers the test.
  group.etcd.stop(1)
  group.etcd.stop(2)
  await eventually(async () => /election\.lost/.test(master.stderr))
  const lostMs = performance.now()
  group.etcd.goOn(1)
  group.etcd.goOn(2)
  await untilAll(loads, lostMs)
  await assertAllThere(t, loaded)
})
