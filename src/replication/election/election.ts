// Which copy of a log is its master. Each copy runs one of these. A copy that is in sync may be
// elected when the one before holds its lease no more; which ones are in sync is kept by the
// coordinator before it is relied on, so what was acknowledged is in the log of every master to
// come. Knows no sockets and no files: the log is a port, and so are the coordinator and the clock.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { Pace } from '../pace.ts'
import type { Coordinator, Lease, Seen } from './coordinator.ts'
import {
  byLog,
  type Candidate,
  type CopyAddresses,
  type CopyName,
  electionOf,
  firstEpochOf,
  type GroupState,
} from './group-state.ts'
import { InSyncSet } from './in-sync-set.ts'
import { LeaseTime } from './lease-time.ts'

/** The local copy of the log. */
export interface LocalLog {
  /** Of its newest frame, up to where it is synced, and how its disk is. */
  readonly place: Pick<Candidate, 'epoch' | 'end' | 'isDamaged' | 'disk'>
  /** Follows the master that won this election: compares, is cut, takes frames, confirms them. */
  follow(master: Candidate, election: number): void
  /** Takes nothing any more and confirms nothing; settles when what was under way is synced. */
  stopFollowing(): Promise<void>
  /** Takes appends in this epoch and the ones behind it, and acknowledges none until it is told. */
  promote(epoch: number): Promise<void>
  /** Everything before the position is acknowledged. */
  acknowledge(to: number): void
  /** Is no master any more: acknowledges nothing, and follows none yet. */
  demote(): Promise<void>
}

export interface ElectionOptions {
  /** Of this copy, and of this directory: one that was emptied has another. */
  readonly name: CopyName
  readonly addresses?: CopyAddresses | undefined
  readonly leaseMs: number
  /** A copy that has not all of the log for so long is taken for lost. */
  readonly behindMs: number
  /** So many copies are waited for at least, once there are so many; default 1. */
  readonly inSyncMin?: number
  /** May make the first state of the group: of one copy only, and by hand. */
  readonly mayFound: boolean
}

export interface ElectionParts {
  readonly coordinator: Coordinator
  readonly copy: LocalLog
  readonly clock: Clock
  readonly log: Logger
}

/** A step is made so many times within the time of a lease. */
const STEPS_PER_LEASE = 5
/** The same while no copy is the master. */
const STEPS_PER_LEASE_VACANT = 20

/** How the coordinator's calls and those of the copy fail. */
const OUTCOMES: Readonly<Partial<Record<ErrorCode, 'unanswered' | 'refused'>>> = {
  UNREACHABLE: 'unanswered',
  TIMED_OUT: 'unanswered',
  PERMISSION_DENIED: 'refused',
  PROTOCOL_ERROR: 'refused',
  NOT_SUPPORTED: 'refused',
}

type Outcome = 'done' | 'unanswered' | 'refused' | 'failed'

interface Mastership {
  readonly election: number
  readonly lease: Lease
  readonly inSync: InSyncSet
  /** Of the state, as this master saw or wrote it last. */
  revision: number
}

export class Election {
  readonly #parts: ElectionParts
  readonly #options: ElectionOptions
  readonly #time = new LeaseTime()
  readonly #timer: Timer
  #fence: Timer | undefined
  #soon: Timer | undefined
  #lease: Lease | undefined
  #mastership: Mastership | undefined
  /** The election that was run for with the lease, if the answer is not known. */
  #running: GroupState | undefined
  #following: { readonly master: CopyName; readonly election: number } | undefined
  /** Since when no copy is known to hold the mastership. */
  #vacantMs: number | undefined
  #seen: Seen | undefined
  /** Of the last call; undefined: none has ended yet. */
  #outcome: Outcome | undefined
  /** An operator has it run although it may lack what was acknowledged. */
  #isForced = false
  #wantsStep = false
  /** That no group is known was told. */
  #isUnknownTold = false
  /** Of the copies that were heard of in this election, or have to be. */
  #paces = new Map<CopyName, Pace>()
  #step: Promise<void> | undefined
  #isClosed = false

  constructor(parts: ElectionParts, options: ElectionOptions) {
    this.#parts = parts
    this.#options = options
    this.#timer = parts.clock.every(options.leaseMs / STEPS_PER_LEASE, () => void this.step())
  }

  /** The election that made this copy the master, which it still is; undefined: it is not. */
  get election(): number | undefined {
    return this.#isOurs ? this.#mastership?.election : undefined
  }

  /** May it be read, and written to? */
  get isReady(): boolean {
    return this.#isOurs && this.#mastership?.inSync.isReady === true
  }

  /** What the coordinator had, when it answered last. */
  get seen(): Seen | undefined {
    return this.#seen
  }

  /** The copy that holds the mastership, as far as it has said where it is reached. */
  get master(): Candidate | undefined {
    const { holder, candidates = [] } = this.#seen ?? {}
    return candidates.find(({ name }) => name === holder?.name)
  }

  /** Did the coordinator do what the last call asked for? */
  get isReached(): boolean {
    return this.#outcome === 'done'
  }

  /** Of a master: copies that an acknowledgement waits for, and not in vain; its own among them. */
  get inSync(): readonly CopyName[] {
    const candidates = this.#seen?.candidates ?? []
    return (this.#mastership?.inSync.kept ?? []).filter((copy) => this.#isEven(copy, candidates))
  }

  /**
   * It runs at the next chance, whether it is in sync or not, until a copy holds the mastership:
   * what was acknowledged may be lost by that.
   */
  force(): void {
    this.#isForced = true
    void this.step()
  }

  get #isOurs(): boolean {
    return this.#time.isOursAt(this.#parts.clock.monotonic())
  }

  /**
   * Of a master: a copy that follows it in this election has everything before the position on its
   * disk; so has this one, under its own name.
   */
  confirm(copy: CopyName, election: number, to: number): void {
    const mastership = this.#mastership
    if (mastership === undefined || mastership.election !== election) return
    const { inSync } = mastership
    inSync.confirm(copy, to)
    const { name } = this.#options
    if (copy !== name) {
      const pace = this.#paces.get(copy) ?? new Pace()
      this.#paces.set(copy, pace)
      pace.heard(to, inSync.confirmedBy(name), this.#nowMs)
      for (const known of this.#paces.keys()) if (!inSync.knows(known)) this.#paces.delete(known)
    }
    this.#acknowledge(inSync)
    // Acknowledgements wait for it already.
    if (copy === inSync.courted && inSync.isCourtedEven) void this.step()
  }

  get #nowMs(): number {
    return this.#parts.clock.monotonic()
  }

  /** Nothing is acknowledged by a lease that may have passed to another. */
  #acknowledge(inSync: InSyncSet): void {
    if (this.#isOurs && inSync.isReady) this.#parts.copy.acknowledge(inSync.acknowledgedTo)
  }

  /** Looks at the coordinator, and does what that asks for. One at a time. */
  step(): Promise<void> {
    this.#step ??= this.#act()
      .then(
        () => {
          this.#outcome = 'done'
        },
        (error: unknown) => this.#failed(error),
      )
      .finally(() => {
        this.#step = undefined
        if (this.#isClosed) return
        if (this.#wantsStep) void this.step()
        else if (this.isReached && this.#seen?.holder === undefined) this.#stepSoon()
        this.#wantsStep = false
      })
    return this.#step
  }

  /** While there is no master each look may be the one that ends that. */
  #stepSoon(): void {
    const { clock } = this.#parts
    const { leaseMs } = this.#options
    this.#soon?.cancel()
    this.#soon = clock.after(leaseMs / STEPS_PER_LEASE_VACANT, () => void this.step())
  }

  #failed(err: unknown): void {
    const { code, message } = BrokerError.from(err)
    const outcome = OUTCOMES[code] ?? 'failed'
    // Once, and not five times per lease.
    const isTold = this.#outcome === outcome
    this.#outcome = outcome
    const { log } = this.#parts
    const [evt, text] = {
      unanswered: ['election.unreachable', 'the coordinator does not answer'],
      refused: ['election.refused', `the coordinator refuses this copy: ${message}`],
      failed: ['election.step_failed', `this copy could not do its part: ${message}`],
    }[outcome] as [string, string]
    log[isTold ? 'debug' : 'warn']({ evt, code, err }, `${text}; trying again`)
  }

  /**
   * Gives the mastership up, so that another copy need not wait for the lease to run out. Never
   * rejects.
   */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer.cancel()
    this.#fence?.cancel()
    this.#soon?.cancel()
    await this.#step
    await this.#leave().catch((error: unknown) => this.#failed(error))
  }

  async #act(): Promise<void> {
    if (this.#isClosed) return
    const lease = await this.#keepLease()
    const seen = await this.#parts.coordinator.read()
    if (this.#isClosed) return
    this.#seen = seen
    await this.#judge(lease, seen)
    const { name, addresses } = this.#options
    if (this.#lease === lease) {
      await this.#parts.coordinator.announce(lease, { name, addresses, ...this.#parts.copy.place })
    }
  }

  async #judge(lease: Lease, seen: Seen): Promise<void> {
    const { holder, state } = seen
    this.#tellUnknown(state === undefined && !this.#options.mayFound)
    const mastership = this.#mastership
    if (holder !== undefined) {
      this.#vacantMs = undefined
      this.#isForced = false
    }
    if (holder?.lease === lease.id && state?.master === this.#options.name) {
      if (mastership?.election === state.election) return this.#lead(mastership, seen, state)
      if (this.#running?.election === state.election) return this.#begin(lease, seen, state)
    }
    if (mastership !== undefined || holder?.lease === lease.id) return this.#leave()
    this.#running = undefined
    if (holder === undefined) return this.#run(lease, seen)
    const election = state?.election
    if (election === undefined || holder.name !== state?.master) return
    const { master, election: known } = this.#following ?? {}
    if (master === holder.name && known === election) return
    // It has not said yet where it is reached.
    const candidate = this.master
    if (candidate === undefined) return
    this.#parts.copy.follow(candidate, election)
    this.#following = { master: holder.name, election }
  }

  // Leases

  async #keepLease(): Promise<Lease> {
    const { coordinator, clock } = this.#parts
    const calledMs = clock.monotonic()
    if (this.#lease !== undefined && this.#mastership !== undefined && !this.#isOurs) {
      await this.#leave()
    }
    const lease = this.#lease
    if (lease !== undefined) {
      if (await coordinator.keepAlive(lease)) {
        this.#renewed(calledMs, lease)
        return lease
      }
      this.#lease = undefined
      await this.#leave()
    }
    const grantedMs = clock.monotonic()
    this.#lease = await coordinator.grant(this.#options.leaseMs)
    this.#renewed(grantedMs, this.#lease)
    return this.#lease
  }

  #renewed(calledMs: number, { ttlMs }: Lease): void {
    const { clock } = this.#parts
    this.#time.renewed(calledMs, ttlMs)
    this.#fence?.cancel()
    const leftMs = this.#time.untilMs - clock.monotonic()
    this.#fence = clock.after(leftMs, () => void this.#demote())
  }

  /** Is no master any more, and lets another be it at once if the coordinator can be reached. */
  async #leave(): Promise<void> {
    const lease = this.#lease
    this.#lease = undefined
    this.#time.lost()
    await this.#demote()
    if (lease !== undefined) await this.#parts.coordinator.revoke(lease)
  }

  async #demote(): Promise<void> {
    this.#running = undefined
    if (this.#mastership === undefined) return
    const { election } = this.#mastership
    this.#mastership = undefined
    const fields = { evt: 'election.lost', election }
    this.#parts.log.warn(fields, 'this copy is the master no more')
    await this.#parts.copy.demote()
  }

  // Being elected

  async #run(lease: Lease, seen: Seen): Promise<void> {
    const { coordinator, copy, clock } = this.#parts
    const { name, mayFound } = this.#options
    const { state } = seen
    const nowMs = clock.monotonic()
    this.#vacantMs ??= nowMs
    const isForced = this.#isForced
    const isAble = state === undefined ? mayFound : state.inSync.includes(name)
    if ((!isAble && !isForced) || copy.place.disk !== undefined) return
    if (!isForced && nowMs - this.#vacantMs < this.#patienceMs(seen)) return
    this.#following = undefined
    await copy.stopFollowing()
    const { epoch } = copy.place
    const election = 1 + Math.max(state?.election ?? 0, electionOf(epoch))
    const alive = seen.candidates.map((candidate) => candidate.name)
    // Those that have what a forced one lacks are not as it is.
    const inSync = isAble ? (state?.inSync ?? []) : []
    const others = inSync.filter((other) => other !== name && alive.includes(other))
    this.#running = { election, master: name, inSync: [name, ...others] }
    // Whether that was done is seen by the next step.
    this.#wantsStep = await coordinator.take(lease, seen.revision, this.#running)
  }

  /** It does not pass by itself. */
  #tellUnknown(isUnknown: boolean): void {
    if (isUnknown && !this.#isUnknownTold) {
      const text =
        'the coordinator has no state of this group, and no copy is elected without one: it was emptied, or the prefix is another'
      this.#parts.log.error({ evt: 'election.unknown', copy: this.#options.name }, text)
    }
    this.#isUnknownTold = isUnknown
  }

  /** The copy with the best log of those that may be elected is the first to try. */
  #patienceMs({ state, candidates }: Seen): number {
    const { name, leaseMs } = this.#options
    const self: Candidate = { name, ...this.#parts.copy.place }
    const others = candidates.filter(({ name: other, disk }) => other !== name && !disk)
    const able = [...others, self].filter((other) => state?.inSync.includes(other.name) ?? true)
    return (able.sort(byLog).indexOf(self) * 2 * leaseMs) / STEPS_PER_LEASE
  }

  async #begin(lease: Lease, { revision }: Seen, state: GroupState): Promise<void> {
    const { copy, log } = this.#parts
    this.#running = undefined
    const { election, inSync: kept } = state
    const inSync = new InSyncSet(this.#options.name, kept, copy.place.end)
    this.#paces = new Map(kept.map((copy) => [copy, new Pace(this.#nowMs)]))
    const mastership = { election, lease, inSync, revision }
    this.#mastership = mastership
    try {
      await copy.promote(firstEpochOf(election))
    } catch (error) {
      await this.#leave()
      throw error
    }
    if (this.#mastership !== mastership) return
    log.info({ evt: 'election.won', election, inSync: kept }, 'this copy is the master')
    this.confirm(this.#options.name, election, copy.place.end)
  }

  // Being the master

  async #lead(
    mastership: Mastership,
    { revision, candidates }: Seen,
    state: GroupState,
  ): Promise<void> {
    const { inSync } = mastership
    if (this.#mayGiveWay(inSync, candidates)) return this.#giveWay(mastership)
    // A call that seemed to fail may be carried out as long as the state is the one that it was
    // for: then it is made again.
    if (inSync.changing === undefined || mastership.revision !== revision) {
      mastership.revision = revision
      inSync.keeps(state.inSync)
      this.#acknowledge(inSync)
    }
    const next = inSync.changing ?? this.#nextInSync(inSync, candidates)
    if (next === undefined) return
    const { election, lease } = mastership
    const { coordinator, log } = this.#parts
    const changed = { election, master: this.#options.name, inSync: next }
    const written = await coordinator.replace(lease, revision, changed)
    if (written === undefined || this.#mastership !== mastership) return
    mastership.revision = written
    inSync.keeps(next)
    log.info({ evt: 'election.in_sync', election, inSync: next }, 'the copies in sync changed')
    this.#acknowledge(inSync)
  }

  /** Its own disk takes nothing any more, and that of another copy in sync does. */
  #mayGiveWay({ kept }: InSyncSet, candidates: readonly Candidate[]): boolean {
    if (this.#parts.copy.place.disk !== 'failed') return false
    const { name } = this.#options
    return candidates.some(
      (other) => other.name !== name && kept.includes(other.name) && other.disk === undefined,
    )
  }

  async #giveWay({ election }: Mastership): Promise<void> {
    const text = 'the disk of this master fails: it gives way to a copy that can write'
    this.#parts.log.error({ evt: 'election.disk_failed', election }, text)
    await this.#leave()
  }

  #nextInSync(
    inSync: InSyncSet,
    candidates: readonly Candidate[],
  ): readonly CopyName[] | undefined {
    const { inSyncMin = 1 } = this.#options
    const { kept } = inSync
    const isEven = (copy: CopyName): boolean => this.#isEven(copy, candidates)
    // What waits for those that have to stay is not acknowledged by fewer.
    const removable = Math.max(0, kept.length - inSyncMin)
    const lost = kept.filter((copy) => !isEven(copy)).slice(0, removable)
    if (inSync.courted === undefined || !isEven(inSync.courted)) {
      const others = candidates.filter((other) => !kept.includes(other.name))
      inSync.court(others.find((other) => isEven(other.name))?.name)
    }
    return lost.length > 0 ? inSync.removing(lost) : inSync.adding()
  }

  /** One whose lease ran out holds up the others for no longer than that. */
  #isEven(copy: CopyName, candidates: readonly Candidate[]): boolean {
    const { name, behindMs, leaseMs } = this.#options
    if (copy === name) return true
    const candidate = candidates.find((candidate) => candidate.name === copy)
    // It says itself that it takes nothing just now.
    if (candidate?.disk !== undefined) return false
    const isAlive = candidate !== undefined
    const sinceMs = this.#nowMs - (isAlive ? behindMs : Math.min(leaseMs, behindMs))
    return (this.#paces.get(copy)?.evenMs ?? Number.NEGATIVE_INFINITY) >= sinceMs
  }
}
