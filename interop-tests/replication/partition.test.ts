// Three machines, each with a copy of a broker and a member of etcd, on a network that is cut, cut
// in one direction, slow and lossy, under load of three protocols from outside.
// TRIVET_PARTITIONS makes more of it than a run of all tests has time for.
import type { SpawnedServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { COPIES, type ElectedBrokers } from '../support/elected-brokers.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { Network, networkMissing } from '../support/faults/network.ts'
import type { Load } from '../support/load/failover-load.ts'
import { assertAllThere, electedUnderLoad, untilAll } from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'

const test = needing('partitions of a network', etcdMissing() ?? (await networkMissing()))

const ROUNDS = Number(process.env['TRIVET_PARTITIONS'] ?? 2)
const LEASE_MS = 2_000
/** Short, so that a copy that is alive and does not follow is soon not waited for. */
const BEHIND_MS = 4_000

interface Scene {
  readonly name: string
  /** The master is not heard by the others, or hears nothing: another copy takes its place. */
  readonly isReplaced: boolean
  readonly begin: (network: Network, master: string, others: readonly string[]) => Promise<void>
}

const CUT = { isCut: true }

const SCENES: readonly Scene[] = [
  {
    name: 'the master is cut off',
    isReplaced: true,
    begin: (network, master, others) => network.between([master], others, CUT),
  },
  {
    name: 'the master is not heard, on a slow and lossy network',
    isReplaced: true,
    begin: async (network, master, others) => {
      const all = [master, ...others]
      await network.between(all, all, { delayMs: 3, jitterMs: 5, loss: 0.01 })
      for (const other of others) await network.link(master, other, CUT)
    },
  },
  {
    name: 'the master hears nothing',
    isReplaced: true,
    begin: async (network, master, others) => {
      for (const other of others) await network.link(other, master, CUT)
    },
  },
  {
    name: 'the master and one copy are cut off from each other',
    isReplaced: false,
    begin: (network, master, others) => network.between([master], others.slice(1), CUT),
  },
  {
    name: 'a copy is cut off',
    isReplaced: false,
    begin: (network, master, others) => network.between([master, others[0]!], others.slice(1), CUT),
  },
  {
    name: 'packets are late, overtake each other and are lost',
    isReplaced: false,
    begin: (network, master, others) => {
      const all = [master, ...others]
      return network.between(all, all, { delayMs: 20, jitterMs: 60, loss: 0.05 })
    },
  },
]

interface Loaded {
  readonly network: Network
  readonly group: ElectedBrokers
  readonly loads: readonly Load[]
}

/** @returns ms until each protocol was acknowledged again */
async function play({ network, group, loads }: Loaded, scene: Scene): Promise<readonly number[]> {
  await untilAll(loads, performance.now())
  await group.settled()
  const master = await group.master()
  const others = group.brokers.filter((broker) => broker !== master).map(({ host }) => host)
  const cutMs = performance.now()
  await scene.begin(network, master.host, others)
  const isOver = async (holder: SpawnedServer) => !scene.isReplaced || holder !== master
  await eventually(async () => isOver(await group.master()))
  // What was under way may have been answered by the master of before.
  const sinceMs = cutMs + LEASE_MS / 2
  await untilAll(loads, sinceMs)
  const took = loads.map((load) => load.after(sinceMs)! - cutMs)
  await network.heal()
  return took
}

test('what was acknowledged is there after each partition, from one master in each epoch', async (t) => {
  t.timeout(180_000 + ROUNDS * 60_000)
  const network = await Network.start(t, COPIES)
  const config = { replication: { slaveBehindMsMax: BEHIND_MS, etcd: { leaseMs: LEASE_MS } } }
  const loaded = { network, ...(await electedUnderLoad(t, { network, config })) }
  for (let round = 0; round < ROUNDS; round++) {
    const scene = SCENES[round % SCENES.length]!
    const took = await play(loaded, scene)
    const shown = loaded.loads.map(({ name }, at) => `${name} ${Math.round(took[at]!)} ms`)
    t.log(`${scene.name}: acknowledged again: ${shown.join(', ')}`)
  }
  await assertAllThere(t, loaded)
})
