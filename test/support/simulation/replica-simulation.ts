// A master and a replica on simulated disks of their own, driven by one seed: the master acts, its
// frames are shipped batch by batch, and either side is killed at any call of its disk. While the
// replica holds acknowledgements back, what the master answered for is on both.

import { BrokerError } from '../../../src/errors.ts'
import type { LogPosition } from '../../../src/model/positions.ts'
import { type LogHistory, lastCommon } from '../../../src/store/log/epochs/history.ts'
import type {
  AcknowledgementHold,
  FrameBatch,
  FrameFeed,
  TailCut,
} from '../../../src/store/log/following.ts'
import type { LogStore } from '../../../src/store/log-store.ts'
import type { FollowedStore } from '../../../src/store/open.ts'
import { ViewsDamaged } from '../../../src/store/views/pairs/sealed.ts'
import { Random } from '../random.ts'
import { viewsImage } from '../store/views-image.ts'
import { SimulatedCrash } from './simulated-disk.ts'
import { StoreSimulation, type StoreSimulationOptions } from './store-simulation.ts'

const MINUTE_MS = 60_000
const IMAGE = { topics: ['A', 'B', '%RETRY%g', 'C'], keys: ['k0', 'k1', 'k2', 'x'] }
/** Of disk calls before a crash. */
const CALLS_MAX = 40
const ROUNDS_MAX = 60

export class ReplicaSimulation {
  readonly #options: StoreSimulationOptions
  readonly #random: Random
  master: StoreSimulation
  replica: StoreSimulation
  #feed: FrameFeed | undefined
  #batch: FrameBatch | undefined
  #failure: unknown
  #isAsked = false
  #hold: AcknowledgementHold | undefined
  /** Replicas that began anew, and those of them that retention had overtaken. */
  fresh = 0
  overtaken = 0
  crashes = 0
  /** Of logs that had parted from the master's. */
  cuts = 0
  /** Bytes that retention took from logs that were compared. */
  trimmed = 0

  constructor(options: StoreSimulationOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
    this.master = new StoreSimulation(options)
    this.replica = new StoreSimulation({ ...options, seed: options.seed + 500 })
  }

  async open(): Promise<void> {
    await this.master.open()
    await this.master.judge()
    await this.#openReplica()
  }

  /** The master acts and ships; now and then one of the two dies and starts again. */
  async live(rounds: number): Promise<void> {
    if (this.#random.chance(0.2)) await this.#beginAnew()
    // A replica that is away is waited for by nothing.
    const isAway = this.#random.chance(0.3)
    if (!isAway) this.#hold = this.master.store.replication.hold()
    for (let i = 0; i < rounds; i++) {
      const dying = this.#random.chance(0.2)
        ? this.#random.pick([this.master, this.replica])
        : undefined
      dying?.disk.crashAt(dying.disk.calls + 1 + this.#random.int(CALLS_MAX))
      await this.#surviving(async () => {
        await this.master.act(8)
        if (!isAway && this.#random.chance(0.7)) await this.#ship()
        if (isAway) await this.master.steps(10)
      })
    }
    this.#hold?.release()
    this.#hold = undefined
    await this.catchUp()
    for (const { disk } of [this.master, this.replica]) disk.crashAt(Number.POSITIVE_INFINITY)
  }

  /** Until the replica has all that the master has, retention included. */
  async catchUp(): Promise<void> {
    const minutes = this.#random.int(14)
    for (let i = 0; i < ROUNDS_MAX; i++) {
      await this.#surviving(async () => {
        await this.#shipAll()
        await this.master.rest()
        if (i < minutes || this.#isLettingGo) this.master.clock.advance(MINUTE_MS)
        await this.master.rest()
        await this.replica.rest()
        this.replica.clock.advance(MINUTE_MS)
        await this.replica.rest()
      })
      if (i >= minutes && this.#isEven) return
    }
    const states = [this.master, this.replica].map(({ store }) => JSON.stringify(store.status()))
    throw new Error(`the replica never catches up:\n${states.join('\n')}`)
  }

  /** A master that died while it let go of a segment does so again when time passes. */
  get #isLettingGo(): boolean {
    const { logStart } = this.master.store.status()
    const { trimmedTo } = (this.master.store as LogStore).views
    return trimmedTo > logStart || this.replica.store.status().logStart > logStart
  }

  /** A segment of the replica may end elsewhere and go later: its views start with the log. */
  get #isEven(): boolean {
    const [mine, its] = [this.master.store.status(), this.replica.store.status()]
    const [one, other] = [this.master, this.replica].map(
      ({ store }) => (store as LogStore).views.trimmedTo,
    )
    const isTrimmed = mine.logStart === one && one === other
    return mine.logEnd === its.logEnd && isTrimmed && !its.isRebuilding
  }

  /** @throws when the logs or the views differ */
  async compare(): Promise<void> {
    const left = await imageOf(this.master)
    const right = await imageOf(this.replica)
    const { logStart, logEnd } = this.master.store.status()
    this.trimmed += logStart
    const mine = await bytesOf(this.master, logStart, logEnd)
    const its = await bytesOf(this.replica, logStart, logEnd)
    if (!mine.equals(its)) {
      const at = mine.findIndex((byte, i) => byte !== its[i])
      throw new Error(`the logs, of ${mine.length} and ${its.length} bytes, differ at ${at}`)
    }
    if (left === right) return
    const ours = new Set(left.split('\n'))
    const theirs = new Set(right.split('\n'))
    const missing = [...ours].filter((line) => !theirs.has(line))
    const added = [...theirs].filter((line) => !ours.has(line))
    throw new Error(`the views differ:\n- ${missing.join('\n- ')}\n+ ${added.join('\n+ ')}`)
  }

  /** The master is gone for good, whatever it was about to do; its replica takes over. */
  async failOver(): Promise<void> {
    this.#forget()
    this.replica.inherit(this.master)
    await this.replica.wait(this.replica.store.replication.promote())
    await this.replica.judge()
    this.master = this.replica
    this.replica = this.#newReplica()
    await this.#openReplica()
  }

  /** The same, in the middle of things. */
  async failOverAtOnce(rounds: number): Promise<void> {
    this.#hold = this.master.store.replication.hold()
    for (let i = 0; i < rounds; i++) {
      await this.master.act(3)
      await this.#ship()
    }
    await this.failOver()
  }

  /**
   * The same, and the old master is not gone: cut off, it goes on for a time, and comes back as a
   * replica of its successor.
   */
  async failOverApart(rounds: number): Promise<void> {
    const old = this.master
    const hold = old.store.replication.hold()
    this.#hold = hold
    for (let i = 0; i < rounds; i++) {
      await old.act(3)
      if (i < rounds / 2) await this.#ship()
    }
    this.#forget()
    this.replica.inherit(old)
    await this.replica.wait(this.replica.store.replication.promote())
    await this.replica.judge()
    this.master = this.replica
    await old.act(this.#random.int(40))
    // Given up by its clients, what waits becomes readable.
    const { end } = old.store.replication.history
    if (this.#random.chance(0.5)) hold.refuse(end, new BrokerError('BUSY', 'nothing confirms'))
    await old.steps(this.#random.int(30))
    await this.master.act(this.#random.int(40))
    old.restart(this.#random.pick(['power', 'kill']))
    this.replica = old
    await this.#rejoin()
  }

  async close(): Promise<void> {
    this.#forget()
    await this.master.close()
    await this.replica.close()
  }

  // Shipping

  async #ship(): Promise<void> {
    await this.#ask()
    await this.master.steps(this.#random.int(8))
    await this.#take()
  }

  async #shipAll(): Promise<void> {
    for (let quiet = 0; quiet < 3; ) {
      await this.#ask()
      await this.master.steps(20)
      quiet = (await this.#take()) ? 0 : quiet + 1
    }
  }

  async #ask(): Promise<void> {
    if (this.#isAsked) return
    try {
      this.#feed ??= this.master.store.replication.feed(this.#replicaEnd)
    } catch (error) {
      await this.#overtaken(error)
      return
    }
    this.#isAsked = true
    this.#feed.next().then(
      (batch) => {
        this.#batch = batch
      },
      (error: unknown) => {
        this.#failure = error
      },
    )
  }

  /** @returns whether something was there */
  async #take(): Promise<boolean> {
    if (this.#failure !== undefined) await this.#overtaken(this.#failure)
    const batch = this.#batch
    if (batch === undefined) return false
    this.#batch = undefined
    this.#isAsked = false
    const end = await this.replica.wait(this.replica.store.replication.take(batch))
    this.#hold?.confirm(end)
    return true
  }

  get #replicaEnd(): LogPosition {
    return this.replica.store.status().logEnd
  }

  async #overtaken(error: unknown): Promise<void> {
    if (!(error instanceof BrokerError && error.code === 'OFFSET_OUT_OF_RANGE')) throw error
    this.overtaken++
    await this.#beginAnew()
  }

  /** Another replica, with an empty disk. */
  async #beginAnew(): Promise<void> {
    this.fresh++
    this.#leaveFeed()
    this.replica = this.#newReplica()
    await this.#openReplica()
  }

  #newReplica(): StoreSimulation {
    return new StoreSimulation({ ...this.#options, seed: this.#random.int(2 ** 30) })
  }

  // Dying

  async #surviving(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const isDown = this.master.disk.isDown || this.replica.disk.isDown
      if (!isDown && !(error instanceof SimulatedCrash)) throw error
    }
    for (const { disk } of [this.master, this.replica]) if (disk.isDown) this.crashes++
    if (this.replica.disk.isDown) await this.#restartReplica()
    if (this.master.disk.isDown) await this.#restartMaster()
  }

  async #restartMaster(): Promise<void> {
    const isHeld = this.#hold !== undefined
    this.#forget()
    this.master.restart(this.#random.pick(['power', 'kill']))
    await this.master.open()
    await this.master.judge()
    // What it found may be more than it had answered for.
    await this.catchUp()
    if (isHeld) this.#hold = this.master.store.replication.hold()
  }

  async #restartReplica(): Promise<void> {
    this.#leaveFeed()
    this.replica.restart(this.#random.pick(['power', 'power', 'kill']))
    if (this.#random.chance(0.3)) {
      this.replica.disk.crashAt(1 + this.#random.int(20))
      const isDown = await this.replica.survive(() => this.#openReplica())
      if (isDown) this.replica.restart('power')
      else return
    }
    await this.#openReplica()
  }

  async #openReplica(how: Pick<FollowedStore, 'cut' | 'compare'> = {}): Promise<void> {
    const { replication } = this.master.store
    const { logStart } = this.master.store.status()
    await this.replica.open({ logId: replication.logId, start: logStart, ...how })
  }

  /** Its log is cut where it parts from the master's; any of it may be where it dies. */
  async #rejoin(): Promise<void> {
    const { replica } = this
    for (let isJoined = false; !isJoined; ) {
      if (this.#random.chance(0.7)) replica.disk.crashAt(1 + this.#random.int(CALLS_MAX))
      let common: LogPosition | undefined
      const compare = async (mine: LogHistory): Promise<TailCut | undefined> => {
        common = lastCommon(mine, this.master.store.replication.history)
        if (common === undefined || common === mine.end) return undefined
        this.cuts++
        return { to: common }
      }
      // At once, or after it was open for a time.
      const isLate = this.#random.chance(0.3)
      const hasCrashed = await replica.survive(async () => {
        await this.#openReplica(isLate ? {} : { compare })
        if (!isLate) return
        await replica.steps(this.#random.int(20))
        const cut = await compare(replica.store.replication.history)
        if (cut === undefined) return
        await replica.close()
        await this.#openReplica({ cut })
      })
      if (hasCrashed) {
        this.crashes++
        replica.restart(this.#random.pick(['power', 'kill']))
        continue
      }
      replica.disk.crashAt(Number.POSITIVE_INFINITY)
      if (common === undefined) throw new Error('the old master has nothing in common with the new')
      if (common !== this.#replicaEnd) throw new Error(`cut at ${common}: ${this.#replicaEnd}`)
      isJoined = true
    }
  }

  #leaveFeed(): void {
    this.#feed?.close()
    this.#feed = undefined
    this.#batch = undefined
    this.#failure = undefined
    this.#isAsked = false
  }

  #forget(): void {
    this.#leaveFeed()
    this.#hold = undefined
  }
}

/** Views in which something has rotted are built again first. */
async function imageOf(simulation: StoreSimulation): Promise<string> {
  for (;;) {
    const store = simulation.store as LogStore
    try {
      return viewsImage(store, IMAGE)
    } catch (error) {
      if (!(error instanceof ViewsDamaged)) throw error
      store.views.damaged(error)
      await simulation.rest()
    }
  }
}

async function bytesOf(
  simulation: StoreSimulation,
  from: LogPosition,
  end: LogPosition,
): Promise<Buffer> {
  const feed = simulation.store.replication.feed(from)
  const pieces: Buffer[] = []
  for (let to: number = from; to < end; ) {
    const batch = await simulation.wait(feed.next())
    if (batch === undefined) break
    pieces.push(batch.bytes)
    to = batch.to
  }
  feed.close()
  return Buffer.concat(pieces).subarray(0, end - from)
}
