// Single rules of the election, in virtual time: one copy under test, others that only are there.
import test from 'ava'
import { silentLogger } from '../../src/log.ts'
import type { Lease } from '../../src/replication/election/coordinator.ts'
import { Election, type ElectionOptions } from '../../src/replication/election/election.ts'
import {
  byLog,
  type Candidate,
  decodeCandidate,
  encodeCandidate,
} from '../../src/replication/election/group-state.ts'
import { Random } from '../support/random.ts'
import { SimulatedEtcd } from '../support/simulation/simulated-etcd.ts'
import { MachineClock, VirtualTime } from '../support/simulation/virtual-time.ts'

const LEASE_MS = 1_000
const STEP_MS = 50

/** A copy `a` with a log that ends at 100. */
class World {
  readonly time = new VirtualTime()
  readonly etcd = new SimulatedEtcd(this.time, new Random(1))
  readonly election: Election
  acknowledgedTo = 0
  /** The disk takes nothing. */
  failsToFollow = false
  readonly followed: string[] = []
  /** Others renew their leases and confirm what there is, each step. */
  readonly alive = new Set<string>()
  readonly silent = new Set<string>()
  readonly #leases = new Map<string, Lease>()

  constructor(options: Partial<ElectionOptions>) {
    const clock = new MachineClock(this.time, 1)
    const copy = {
      place: { epoch: 0, end: 100 },
      follow: ({ name }: Candidate) => {
        if (this.failsToFollow) throw new Error('no space')
        this.followed.push(name)
      },
      stopFollowing: async () => {},
      promote: async () => {},
      acknowledge: (to: number) => {
        this.acknowledgedTo = to
      },
      demote: async () => {},
    }
    const coordinator = this.etcd.coordinatorOf('a')
    this.election = new Election(
      { coordinator, copy, clock, log: silentLogger },
      { name: 'a', leaseMs: LEASE_MS, behindMs: 3 * LEASE_MS, mayFound: true, ...options },
    )
  }

  async run(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= STEP_MS) {
      for (const name of this.alive) this.#keep(name)
      await this.time.run(STEP_MS, () => {})
    }
  }

  #keep(name: string): void {
    const coordinator = this.etcd.coordinatorOf(name)
    const lease = this.#leases.get(name)
    if (lease === undefined) {
      void coordinator.grant(LEASE_MS).then((granted) => this.#leases.set(name, granted))
      return
    }
    void coordinator.keepAlive(lease).catch(() => {})
    void coordinator.announce(lease, { name, epoch: 0, end: 100 }).catch(() => {})
    const { election } = this.election
    if (election !== undefined && !this.silent.has(name)) this.election.confirm(name, election, 100)
  }
}

test('a master that could not be followed is followed at the next look', async (t) => {
  const world = new World({ mayFound: false })
  const other = world.etcd.coordinatorOf('b')
  const granted = other.grant(100 * LEASE_MS)
  await world.time.run(STEP_MS, () => {})
  const lease = await granted
  const taken = other.take(lease, 0, { election: 1, master: 'b', inSync: ['b'] })
  void other.announce(lease, { name: 'b', epoch: 0, end: 100 })
  await world.time.run(STEP_MS, () => {})
  t.true(await taken)
  world.failsToFollow = true
  await world.run(2 * LEASE_MS)
  world.failsToFollow = false
  await world.run(2 * LEASE_MS)
  t.deepEqual(world.followed, ['b'])
})

test('a copy that is gone is waited for no longer than its lease and one that is slow longer', async (t) => {
  const world = new World({})
  world.alive.add('b').add('c')
  await world.run(4 * LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync.toSorted(), ['a', 'b', 'c'])
  world.alive.delete('b')
  world.silent.add('c')
  await world.run(2 * LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync.toSorted(), ['a', 'c'])
  await world.run(3 * LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync, ['a'])
})

test('of the fewest copies that a message is to be on none is taken out', async (t) => {
  const world = new World({ inSyncMin: 2 })
  world.alive.add('b').add('c')
  await world.run(4 * LEASE_MS)
  t.deepEqual(world.election.inSync.toSorted(), ['a', 'b', 'c'])
  world.alive.clear()
  await world.run(6 * LEASE_MS)
  t.is(world.etcd.state?.inSync.length, 2)
  t.deepEqual(world.election.inSync, ['a'])
})

test('a copy that is not in sync is elected by force alone, and only where there is no master', async (t) => {
  const world = new World({})
  const other = world.etcd.coordinatorOf('b')
  const granted = other.grant(3 * LEASE_MS)
  await world.time.run(STEP_MS, () => {})
  const lease = await granted
  const taken = other.take(lease, 0, { election: 1, master: 'b', inSync: ['b'] })
  await world.time.run(STEP_MS, () => {})
  t.true(await taken)
  world.election.force()
  await world.run(2 * LEASE_MS)
  t.is(world.etcd.holder, 'b')
  // The call was about that master, and is over with it.
  await world.run(4 * LEASE_MS)
  t.is(world.etcd.holder, undefined)
  world.election.force()
  await world.run(LEASE_MS)
  t.is(world.etcd.holder, 'a')
  t.true(world.election.isReady)
})

test('a copy whose disk lost some of its log is the last to try', (t) => {
  const seen = (candidate: Candidate) =>
    decodeCandidate(candidate.name, encodeCandidate(candidate))!
  const copies = [
    seen({ name: 'damaged', epoch: 3, end: 300, isDamaged: true }),
    seen({ name: 'short', epoch: 1, end: 100, isDamaged: false }),
    seen({ name: 'newer', epoch: 2, end: 50 }),
    seen({ name: 'long', epoch: 1, end: 200 }),
  ]
  const names = copies.sort(byLog).map(({ name }) => name)
  t.deepEqual(names, ['newer', 'long', 'short', 'damaged'])
})
