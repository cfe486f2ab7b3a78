// Single rules of the election, in virtual time: one copy under test, others that only are there.
import test from 'ava'
import { BrokerError } from '../../src/errors.ts'
import type { Lease } from '../../src/replication/election/coordinator.ts'
import { Election, type ElectionOptions } from '../../src/replication/election/election.ts'
import {
  byLog,
  type Candidate,
  COPIES_MAX,
  decodeCandidate,
  encodeCandidate,
} from '../../src/replication/election/group-state.ts'
import { LogLines } from '../support/log-lines.ts'
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

  /** Of `a`. */
  ownDisk: Candidate['disk']
  /** Of the others. */
  readonly disks = new Map<string, Candidate['disk']>()
  readonly log = new LogLines()
  isDemoted = false

  constructor(options: Partial<ElectionOptions>) {
    const clock = new MachineClock(this.time, 1)
    const ownDisk = () => this.ownDisk
    const place = {
      ...{ epoch: 0, end: 100 },
      get disk() {
        return ownDisk()
      },
    }
    const copy = {
      place,
      follow: ({ name }: Candidate) => {
        if (this.failsToFollow) throw new Error('no space')
        this.followed.push(name)
      },
      stopFollowing: async () => {},
      promote: async () => {},
      acknowledge: (to: number) => {
        this.acknowledgedTo = to
      },
      demote: async () => {
        this.isDemoted = true
      },
    }
    const coordinator = this.etcd.coordinatorOf('a')
    this.election = new Election(
      { coordinator, copy, clock, log: this.log },
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
      const keep = (granted: Lease) => this.#leases.set(name, granted)
      void coordinator.grant(LEASE_MS).then(keep, () => {})
      return
    }
    void coordinator.keepAlive(lease).catch(() => {})
    const disk = this.disks.get(name)
    void coordinator.announce(lease, { name, epoch: 0, end: 100, disk }).catch(() => {})
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

test('a new master gives each copy in sync the time to follow it, whichever comes first', async (t) => {
  const world = new World({ mayFound: false })
  const former = world.etcd.coordinatorOf('z')
  const granted = former.grant(LEASE_MS)
  await world.time.run(STEP_MS, () => {})
  const taken = former.take(await granted, 0, {
    ...{ election: 1, master: 'z' },
    inSync: ['a', 'b', 'c'],
  })
  world.alive.add('b').add('c')
  world.silent.add('c')
  await eventuallyIn(world, () => world.election.election === 2)
  t.true(await taken)
  await world.run(LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync.toSorted(), ['a', 'b', 'c'])
  await world.run(3 * LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync.toSorted(), ['a', 'b'])
})

async function eventuallyIn(world: World, condition: () => boolean): Promise<void> {
  for (let steps = 0; steps < 200 && !condition(); steps++) await world.run(STEP_MS)
}

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

test('a copy whose disk is full is waited for no more as soon as it says so', async (t) => {
  const world = new World({})
  world.alive.add('b').add('c')
  await world.run(4 * LEASE_MS)
  t.is(world.etcd.state?.inSync.length, 3)
  world.silent.add('b')
  world.disks.set('b', 'full')
  await world.run(LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync.toSorted(), ['a', 'c'])
  world.disks.delete('b')
  world.silent.delete('b')
  await world.run(LEASE_MS)
  t.is(world.etcd.state?.inSync.length, 3)
})

test('a copy whose disk is full stays where messages are to be on so many', async (t) => {
  const world = new World({ inSyncMin: 2 })
  world.alive.add('b')
  await world.run(4 * LEASE_MS)
  world.silent.add('b')
  world.disks.set('b', 'full')
  await world.run(2 * LEASE_MS)
  t.deepEqual(world.etcd.state?.inSync.toSorted(), ['a', 'b'])
  t.deepEqual(world.election.inSync, ['a'])
})

test('a master whose disk failed gives way at once to a copy that can write', async (t) => {
  const world = new World({})
  world.alive.add('b')
  await world.run(4 * LEASE_MS)
  t.is(world.etcd.holder, 'a')
  world.ownDisk = 'failed'
  await world.run(LEASE_MS / 2)
  t.is(world.etcd.holder, undefined)
  t.true(world.isDemoted)
  t.true(world.log.events().includes('election.disk_failed'))
  // Nor does it run again as it is.
  await world.run(4 * LEASE_MS)
  t.is(world.etcd.holder, undefined)
})

test('a master whose disk failed stays where no other copy could take over', async (t) => {
  const world = new World({})
  world.alive.add('b')
  await world.run(4 * LEASE_MS)
  world.disks.set('b', 'failed')
  world.ownDisk = 'failed'
  await world.run(2 * LEASE_MS)
  t.is(world.etcd.holder, 'a')
})

test('no more copies get in sync than a state can name', async (t) => {
  const world = new World({})
  for (let i = 0; i < COPIES_MAX + 1; i++) world.alive.add(`copy-${i}`)
  await world.run(8 * LEASE_MS)
  t.is(world.etcd.state?.inSync.length, COPIES_MAX)
})

test('a coordinator that refuses is not said to be away', async (t) => {
  const world = new World({})
  world.etcd.isPrompt = true
  await world.run(2 * LEASE_MS)
  world.etcd.refusal = new BrokerError('PERMISSION_DENIED', 'etcd refused: wrong password')
  await world.run(2 * LEASE_MS)
  const told = world.log.lines.filter(({ evt }) => evt === 'election.refused')
  t.is(told.length, 1)
  t.is(told[0]?.['code'], 'PERMISSION_DENIED')
  t.false(world.log.events().includes('election.unreachable'))
  t.false(world.election.isReached)
})

test('a copy whose disk lost some of its log is the last to try', (t) => {
  const seen = (candidate: Candidate) =>
    decodeCandidate(candidate.name, encodeCandidate(candidate))!
  const copies = [
    seen({ name: 'damaged', epoch: 3, end: 300, isDamaged: true, disk: 'full' }),
    seen({ name: 'short', epoch: 1, end: 100, isDamaged: false }),
    seen({ name: 'newer', epoch: 2, end: 50 }),
    seen({ name: 'long', epoch: 1, end: 200 }),
  ]
  t.is(copies[0]?.disk, 'full')
  const names = copies.sort(byLog).map(({ name }) => name)
  t.deepEqual(names, ['newer', 'long', 'short', 'damaged'])
})
