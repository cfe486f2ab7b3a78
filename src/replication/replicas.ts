// The slaves of a master, and what its acknowledgements wait for: with SYNC_MASTER a frame is
// acknowledged once so many copies have it on their disks. What they do not confirm in time is
// answered with an error, and stands in the log all the same.
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { logPosition } from '../model/positions.ts'
import type { Counter, Numbers } from '../numbers/numbers.ts'
import type { AcknowledgementHold } from '../store/log/following.ts'
import type { Replication } from '../store/replication.ts'
import {
  BEHIND_BYTES,
  BEHIND_SECONDS,
  IN_SYNC,
  REPLICAS,
  SLAVE_BEHIND_BYTES,
  SLAVE_IN_SYNC,
  UNCONFIRMED,
} from './numbers.ts'
import type { ReplicationOptions } from './options.ts'
import { Pace } from './pace.ts'

/** One slave, while it is connected. */
export interface Replica {
  readonly brokerId: number
  readonly address: string
  /** Synced there. */
  readonly confirmedTo: number
  /** In monotonic ms. */
  readonly pace: Pace
}

export interface ReplicasContext {
  readonly replication: Replication
  readonly clock: Clock
  readonly log: Logger
  readonly numbers: Numbers
}

export interface ReplicasOptions
  extends Pick<
    ReplicationOptions,
    'inSyncReplicas' | 'inSyncReplicasMin' | 'slaveTimeoutMs' | 'slaveBehindMsMax'
  > {
  /** SYNC_MASTER. */
  readonly isSync: boolean
  /** Where masters are elected: the copies that acknowledgements wait for. */
  readonly counted?: () => number
}

/** Waits are looked at so many times within their time, and this often at most. */
const LOOKS = 20
const LOOK_MS_MIN = 5
const LOOK_MS_MAX = 250
const FETCHES_PER_BEHIND = 3

/** Everything before the position was synced here by then. */
interface Waiting {
  readonly to: number
  readonly sinceMs: number
}

interface Connected extends Replica {
  readonly joinedMs: number
  confirmedTo: number
  readonly drop: () => void
}

export class Replicas {
  readonly #context: ReplicasContext
  readonly #options: ReplicasOptions
  readonly #connected = new Set<Connected>()
  readonly #hold: AcknowledgementHold | undefined
  readonly #timer: Timer
  readonly #unconfirmed: Counter
  #waiting: Waiting[] = []
  /** The newest one's end. */
  #seenTo = 0
  #deposed: BrokerError | undefined
  #isShort = false
  /** Waited for before clients are served. */
  #tail: { readonly to: number; readonly settle: () => void } | undefined

  constructor(context: ReplicasContext, options: ReplicasOptions) {
    this.#context = context
    this.#options = options
    const { replication, clock, numbers } = context
    if (options.isSync && options.inSyncReplicas > 1) this.#hold = replication.hold()
    this.#unconfirmed = numbers.counter(UNCONFIRMED)
    const lookMs = Math.min(LOOK_MS_MAX, Math.max(LOOK_MS_MIN, options.slaveTimeoutMs / LOOKS))
    this.#timer = clock.every(lookMs, () => this.#look())
    numbers.gauge(REPLICAS, () => this.#connected.size)
    numbers.gauge(IN_SYNC, () => this.inSync)
    numbers.gauge(BEHIND_BYTES, () => this.#most((replica) => this.#behindBytes(replica)))
    numbers.gauge(BEHIND_SECONDS, () => this.#most((replica) => this.#behindSeconds(replica)))
    numbers.gauges([SLAVE_BEHIND_BYTES, SLAVE_IN_SYNC], (set) => {
      for (const replica of this.#connected) {
        const labels = { broker_id: String(replica.brokerId) }
        set(SLAVE_BEHIND_BYTES, this.#behindBytes(replica), labels)
        set(SLAVE_IN_SYNC, this.isInSync(replica) ? 1 : 0, labels)
      }
    })
    this.#look()
  }

  get all(): readonly Replica[] {
    return [...this.#connected]
  }

  /** Does an acknowledgement wait for slaves? */
  get isAwaited(): boolean {
    return this.#hold !== undefined || this.#options.counted !== undefined
  }

  isInSync({ pace }: Replica): boolean {
    return pace.evenMs >= this.#context.clock.monotonic() - this.#options.slaveBehindMsMax
  }

  /** Copies that are in sync, this one among them. */
  get inSync(): number {
    const { counted } = this.#options
    if (counted !== undefined) return counted()
    let count = 1
    for (const replica of this.#connected) if (this.isInSync(replica)) count++
    return count
  }

  /** A slave that has all is heard so often at least that it counts as in sync. */
  get fetchMsMax(): number {
    return Math.ceil(this.#options.slaveBehindMsMax / FETCHES_PER_BEHIND)
  }

  /** A slave of this id that was there is let go: it has come back. */
  join(brokerId: number, address: string, drop: () => void): Connected {
    for (const other of this.#connected) {
      if (other.brokerId !== brokerId) continue
      const { log } = this.#context
      const fields = { evt: 'replication.slave_replaced', brokerId, before: other.address, address }
      const text = 'is let go: each slave needs a broker.id of its own'
      log.warn(fields, `slave ${brokerId} came by another connection, and the one before ${text}`)
      this.leave(other)
      other.drop()
    }
    const joinedMs = this.#context.clock.monotonic()
    const replica = { brokerId, address, drop, joinedMs, confirmedTo: 0, pace: new Pace() }
    this.#connected.add(replica)
    return replica
  }

  leave(replica: Connected): void {
    if (this.#connected.delete(replica)) this.#check()
  }

  confirm(replica: Connected, syncedTo: number): void {
    const { replication, clock } = this.#context
    const { syncedEnd } = replication
    // More than is here, of a log that passed the checks, is a mistake of the slave.
    const to = Math.min(syncedTo, syncedEnd)
    if (to < replica.confirmedTo) return
    replica.confirmedTo = to
    replica.pace.heard(to, syncedEnd, clock.monotonic())
    if (!this.#connected.has(replica)) return
    this.#settle()
    this.#check()
  }

  /** A copy of the log is in a higher epoch: another broker was made its master. */
  depose(epoch: number): void {
    if (this.#deposed !== undefined) return
    const { replication, log } = this.#context
    const own = replication.epoch
    const text =
      `this broker was replaced: a copy of its log is in epoch ${epoch}, which a promotion began, and it is in ` +
      `epoch ${own} itself; nothing is acknowledged here any more: stop it, and start it as a slave of the new master`
    log.error({ evt: 'replication.deposed', epoch, own }, text)
    this.#deposed = new BrokerError('READ_ONLY', text)
    replication.refuse(this.#deposed, 'all')
    this.#hold?.refuse(replication.syncedEnd, this.#deposed)
  }

  /** What waits is answered when the store closes: it is not confirmed. */
  close(): void {
    this.#timer.cancel()
    this.#tail?.settle()
  }

  /**
   * Settles when enough slaves have all that the log had when it was opened, or as late as what is
   * sent is answered without them. What this machine alone has may go with it: it was never
   * acknowledged, and is no more to be read than what is under way.
   */
  async tailSettled(): Promise<void> {
    const { replication, clock, log } = this.#context
    const { confirmedTo: from, syncedEnd: to } = replication
    if (this.#hold === undefined || from >= to) return
    const { slaveTimeoutMs: waitMs } = this.#options
    const text = `what the log has from ${from} on may not be on any slave: clients are served once it is, or in ${waitMs} ms`
    log.info({ evt: 'replication.tail', from, to, waitMs }, text)
    let late: Timer | undefined
    await new Promise<void>((settle) => {
      this.#tail = { to, settle }
      late = clock.after(waitMs, settle)
      this.#settle()
    })
    late?.cancel()
    this.#tail = undefined
  }

  /** Confirms what enough slaves have. */
  #settle(): void {
    const wanted = this.#options.inSyncReplicas - 1
    if (this.#hold === undefined || this.#deposed || this.#connected.size < wanted) return
    const confirmed = [...this.#connected].map(({ confirmedTo }) => confirmedTo)
    const to = confirmed.sort((a, b) => b - a)[wanted - 1]!
    this.#hold.confirm(logPosition(to))
    if (this.#tail !== undefined && to >= this.#tail.to) this.#tail.settle()
    let done = 0
    while (done < this.#waiting.length && this.#waiting[done]!.to <= to) done++
    if (done > 0) this.#waiting = this.#waiting.slice(done)
  }

  #look(): void {
    this.#check()
    if (this.#hold === undefined) return
    const { replication, clock } = this.#context
    const nowMs = clock.monotonic()
    const { syncedEnd } = replication
    if (this.#deposed !== undefined) {
      // What was under way when it was.
      this.#hold.refuse(syncedEnd, this.#deposed)
      return
    }
    if (syncedEnd > this.#seenTo) {
      this.#seenTo = syncedEnd
      this.#waiting.push({ to: syncedEnd, sinceMs: nowMs })
      this.#settle()
    }
    const lateMs = nowMs - this.#options.slaveTimeoutMs
    let late = 0
    while (late < this.#waiting.length && this.#waiting[late]!.sinceMs <= lateMs) late++
    if (late === 0) return
    const { to } = this.#waiting[late - 1]!
    this.#waiting = this.#waiting.slice(late)
    this.#unconfirmed.value++
    this.#hold.refuse(logPosition(to), this.#lateError())
  }

  #lateError(): BrokerError {
    const { inSyncReplicas, slaveTimeoutMs } = this.#options
    const stands = 'it is stored here, and may be lost with this machine'
    const { size } = this.#connected
    if (size < inSyncReplicas - 1) {
      const text = `${size} of ${inSyncReplicas - 1} slaves are connected: ${stands}`
      return new BrokerError('NO_REPLICA', text)
    }
    const text = `the slaves did not confirm it within ${slaveTimeoutMs} ms: ${stands}`
    return new BrokerError('NOT_REPLICATED', text)
  }

  /** With too few in sync nothing new is taken. */
  #check(): void {
    const { isSync, inSyncReplicasMin } = this.#options
    if (!isSync || this.#deposed !== undefined) return
    const isShort = this.inSync < inSyncReplicasMin
    if (isShort === this.#isShort) return
    this.#isShort = isShort
    const { replication, log } = this.#context
    const fields = { inSync: this.inSync, wanted: inSyncReplicasMin }
    if (!isShort) {
      replication.refuse(undefined, 'messages')
      log.info({ evt: 'replication.enough', ...fields }, 'enough slaves are in sync again')
      return
    }
    const text = `[in-sync replicas not enough] ${this.inSync} of ${inSyncReplicasMin} copies are in sync, and nothing was stored`
    log.warn(
      { evt: 'replication.too_few', ...fields },
      'too few slaves are in sync: messages are refused',
    )
    replication.refuse(new BrokerError('REPLICAS_TOO_FEW', text), 'messages')
  }

  #most(behind: (replica: Connected) => number): number {
    return Math.max(0, ...[...this.#connected].map(behind))
  }

  #behindBytes({ confirmedTo }: Replica): number {
    return this.#context.replication.syncedEnd - confirmedTo
  }

  #behindSeconds(replica: Connected): number {
    if (this.#behindBytes(replica) === 0) return 0
    const evenMs = Math.max(replica.pace.evenMs, replica.joinedMs)
    return (this.#context.clock.monotonic() - evenMs) / 1000
  }
}
