// Three brokers whose master etcd elects, as real processes under load of three protocols.
// TRIVET_FAILOVERS makes more of them than a run of all tests has time for, and TRIVET_LEASE_MS
// another lease.
import type { ExecutionContext } from 'ava'
import type { SpawnedServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import {
  assertAllThere,
  electedUnderLoad,
  type LoadedGroup,
  untilAll,
} from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'
import { percentile } from '../support/percentile.ts'

const test = needing('automatic failover', etcdMissing())

const FAILOVERS = Number(process.env['TRIVET_FAILOVERS'] ?? 5)
const LEASE_MS = Number(process.env['TRIVET_LEASE_MS'] ?? 2_000)
/** Of etcd, whose shortest lease is one and a half of its election timeout. */
const TIMES = { heartbeatMs: 50, electionMs: Math.min(1_000, LEASE_MS / 2) }

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

const underLoad = (t: ExecutionContext): Promise<LoadedGroup> =>
  electedUnderLoad(t, {
    etcd: { times: TIMES },
    config: { replication: { etcd: { leaseMs: LEASE_MS } } },
  })

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
