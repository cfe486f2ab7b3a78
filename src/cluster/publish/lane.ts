// One queue of the cluster: one request is on its way while what comes after it gathers for the
// next, since a broker takes a batch of sixteen for little more than one message. What stands in a
// lane keeps its order, through retries too.
import { BackOff } from '../../client/calls/back-off.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'
import type { PublishReceipt } from '../../model/message.ts'
import { UNCERTAIN_CODES } from '../../port/broker.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { type Parcel, type ParcelItem, refuse, resent } from './parcel.ts'

/** A batch of more is taken for no less per message. */
const BATCH_MESSAGES_MAX = 128
/** RocketMQ's default bound is 4 MiB for the whole request. */
const BATCH_BYTES_MAX = 1024 * 1024
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1000
/** What has no key goes to other brokers when one has not answered by then. */
const SLOW_MS = 200

/** Whichever the message. */
const ALL_REFUSED: ReadonlySet<ErrorCode> = new Set([
  'PERMISSION_DENIED',
  'TOPIC_NOT_FOUND',
  'QUEUE_NOT_FOUND',
  'CLOSED',
])

export interface LaneParts {
  readonly clock: Clock
  /** One request. Rejects with a BrokerError. */
  send(queue: QueueRef, items: readonly ParcelItem[]): Promise<readonly PublishReceipt[]>
  /** The queue's broker did not take them, now or for good. */
  failed(lane: Lane, error: BrokerError): void
  /** What did not go out and may go by another lane. */
  handBack(parcels: readonly Parcel[]): void
  /** Nothing is on its way any more. */
  idle(lane: Lane): void
}

export class Lane {
  readonly queue: QueueRef
  readonly #parts: LaneParts
  /** For this queue, or by its key, in order. */
  #bound: Parcel[] = []
  #isBusy = false
  #isHeldUp = false
  #isStopped = false
  /** Monotonic: when what is on its way went out. */
  #askedMs = 0

  constructor(queue: QueueRef, parts: LaneParts) {
    this.queue = queue
    this.#parts = parts
  }

  get isBusy(): boolean {
    return this.#isBusy
  }

  /** What goes out its broker does not take at once: it failed, or takes its time. */
  isHeldUp(nowMs: number): boolean {
    return this.#isHeldUp || (this.#isBusy && nowMs - this.#askedMs >= SLOW_MS)
  }

  get isEmpty(): boolean {
    return !this.#isBusy && this.#bound.length === 0
  }

  /** To go out by `start`. */
  bind(parcel: Parcel): void {
    this.#bound.push(parcel)
  }

  /** Sends what is bound to the queue, else what fits of `loose`; nothing while it is busy. */
  start(loose: Parcel[]): void {
    if (this.#isBusy || this.#isStopped) return
    if (this.#bound.length > 0) void this.#carry(takeBatch(this.#bound), true)
    else if (loose.length > 0) void this.#carry(takeBatch(loose), false)
  }

  /** Hands back what is not on its way, and what of that fails. */
  stop(): void {
    this.#isStopped = true
    if (!this.#isBusy) this.#handBackBound()
  }

  async #carry(parcels: readonly Parcel[], isBound: boolean): Promise<void> {
    this.#isBusy = true
    await this.#deliver(parcels, isBound)
    this.#isBusy = false
    this.#isHeldUp = false
    if (this.#isStopped) this.#handBackBound()
    this.#parts.idle(this)
  }

  #handBackBound(): void {
    this.#parts.handBack(this.#bound)
    this.#bound = []
  }

  /** @returns whether all were settled; else what was left was handed back */
  async #deliver(parcels: readonly Parcel[], isBound: boolean): Promise<boolean> {
    const backOff = new BackOff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS)
    for (let left = parcels; left.length > 0; ) {
      const error = await this.#attempt(left)
      if (error === undefined) return true
      if (!error.retryable) return this.#apart(left, isBound, error)
      this.#isHeldUp = true
      left = this.#inTime(left, error)
      if (UNCERTAIN_CODES.has(error.code)) left = left.map(resent)
      this.#bound = this.#inTime(this.#bound, error)
      this.#parts.failed(this, error)
      if (!isBound || this.#isStopped) {
        this.#parts.handBack(left)
        return left.length === 0
      }
      if (left.length > 0) await sleep(this.#parts.clock, backOff.nextMs())
    }
    return true
  }

  async #attempt(parcels: readonly Parcel[]): Promise<BrokerError | undefined> {
    this.#askedMs = this.#parts.clock.monotonic()
    try {
      const items = parcels.flatMap((parcel) => parcel.items)
      settleAll(parcels, await this.#parts.send(this.queue, items))
      return undefined
    } catch (thrown) {
      return BrokerError.from(thrown)
    }
  }

  #inTime(parcels: readonly Parcel[], error: BrokerError): Parcel[] {
    const nowMs = this.#parts.clock.monotonic()
    for (const parcel of parcels) if (parcel.deadlineMs <= nowMs) refuse(parcel, error)
    return parcels.filter(({ deadlineMs }) => deadlineMs > nowMs)
  }

  /**
   * One of them may be what the broker refuses, unless that is all. What comes behind one that is
   * handed back is handed back too: it may have the same key.
   */
  async #apart(parcels: readonly Parcel[], isBound: boolean, error: BrokerError): Promise<boolean> {
    if (parcels.length === 1 || ALL_REFUSED.has(error.code)) {
      for (const parcel of parcels) refuse(parcel, error)
      this.#parts.failed(this, error)
      return true
    }
    const middle = Math.ceil(parcels.length / 2)
    const behind = parcels.slice(middle)
    if (await this.#deliver(parcels.slice(0, middle), isBound)) {
      return this.#deliver(behind, isBound)
    }
    this.#parts.handBack(behind)
    return false
  }
}

function settleAll(parcels: readonly Parcel[], receipts: readonly PublishReceipt[]): void {
  let at = 0
  for (const { items, settle } of parcels) {
    settle(receipts.slice(at, at + items.length))
    at += items.length
  }
}

/** Takes the first parcels away, as many as fit into one request. */
function takeBatch(parcels: Parcel[]): Parcel[] {
  let [count, messages, bytes] = [0, 0, 0]
  for (const parcel of parcels) {
    messages += parcel.items.length
    bytes += parcel.bytes
    const isFull = messages > BATCH_MESSAGES_MAX || bytes > BATCH_BYTES_MAX
    if (count > 0 && (parcel.isAlone || isFull)) break
    count++
    if (parcel.isAlone) break
  }
  return parcels.splice(0, count)
}
