// One group on one queue: which messages it has in hand, which wait for another attempt, and where
// the untouched rest begins. An offset below `next` that is not listed here is settled. Knows no
// waiting consumers and reads nothing.
import type { Receipt } from '../../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { type CursorState, committedOf, type UnsettledOffset } from '../../facts/cursor-fact.ts'
import type { Available, Cursor, PlaceKeeper } from '../cursors.ts'
import { ReadyList } from './ready-list.ts'
import { sealReceipt } from './receipt.ts'
import {
  ENTRY_STATE,
  type Entry,
  type FirstHeld,
  type Holder,
  hasDeadline,
  isDue,
  newEntry,
  OWNER_UNKNOWN,
} from './unsettled.ts'

/**
 * Consumers that one message is kept from; of more the first is forgotten, it has probably gone.
 */
const NOT_FOR_MAX = 32
/** Filters of one group whose look through what is ready is remembered. */
const LOOKING_FILTERS_MAX = 64
/** Messages that are ready for some consumers only: each receive looks through them. */
const SET_ASIDE_MAX = 1024

export class GroupQueue implements PlaceKeeper {
  readonly cursor: Cursor
  /** The group's retry topic, whose messages belong to several topics. */
  readonly isRetry: boolean
  /** Where it began. */
  readonly start: QueueOffset
  /** First offset that was never handed out. */
  next: QueueOffset
  /** Offset that the next message will get. */
  maxOffset: QueueOffset
  /** With consumers, and the bytes of that. */
  inFlight = 0
  inFlightBytes = 0
  /** Names of later POPs begin here, so that none is that of an earlier delivery. */
  popFloorMs = 0
  /** No deadline is sooner. */
  soonestMs = Number.POSITIVE_INFINITY
  /** Ascending: an entry is added when `next` passes it and stays until it is settled. */
  readonly #unsettled = new Map<number, Entry>()
  readonly #ready = new Map<string, ReadyList>()
  /** Ready too, but not for every consumer. */
  readonly #aside = new Map<number, Entry>()
  /** By filter: every ready message below was looked at and is not for it. */
  readonly #lookedTo = new Map<string, number>()
  /** They would be ready, but the filter that the consumers have now leaves them out. */
  readonly #unwanted = new Set<Entry>()
  #readyCount = 0
  /** On their way to another topic, and those of them whose append is under way. */
  #leavingCount = 0
  #leftCount = 0

  constructor(cursor: Cursor, isRetry: boolean, start: CursorState, maxOffset: QueueOffset) {
    this.cursor = cursor
    this.isRetry = isRetry
    this.maxOffset = maxOffset
    // A topic that was deleted and made again starts over below the old offsets.
    this.next = queueOffset(Math.min(start.next, maxOffset))
    this.start = queueOffset(Math.min(committedOf(start), this.next))
    cursor.place = this
    for (const { offset, attempts } of start.unsettled) {
      if (offset >= this.next) break
      const entry = this.add(offset, isRetry ? OWNER_UNKNOWN : cursor.topic, 0, 0)
      entry.attempts = attempts
      this.makeReady(entry)
    }
  }

  get unsettledCount(): number {
    return this.#unsettled.size
  }

  /** In order, nothing may pass a message that is with a consumer or waits for its time. */
  get isBlocked(): boolean {
    return this.#unsettled.size - this.#unwanted.size > this.#readyCount
  }

  /** Is a message with a consumer, or on its way to another topic? */
  get isBusy(): boolean {
    return this.inFlight > 0 || this.#leavingCount > 0
  }

  /** Are copies on their way, whose appends carry the group's place? */
  get isMoving(): boolean {
    return this.#leavingCount > 0
  }

  /** Estimate of what could be handed out. */
  get availableCount(): number {
    return this.#readyCount + this.maxOffset - this.next
  }

  /** Is one ready that not every consumer may have? */
  get hasAside(): boolean {
    return this.#aside.size > 0
  }

  hasReady(owner: string): boolean {
    return this.firstReady(owner) !== undefined
  }

  /**
   * The lowest offset that is to be handed out again to this topic's consumers; with `holderId` the
   * lowest that this consumer may have.
   */
  firstReady(owner: string, holderId?: string): Entry | undefined {
    const offset = this.#ready.get(owner)?.first()
    const entry = offset === undefined ? undefined : this.#unsettled.get(offset)
    return this.#aside.size === 0 ? entry : this.#firstAside(owner, holderId, entry)
  }

  /** The first that this consumer may have and its filter, by its text, has not looked at yet. */
  firstUnseen(owner: string, holderId: string, filter: string): Entry | undefined {
    const from = this.#lookedTo.get(filter) ?? 0
    const offset = this.#ready.get(owner)?.firstFrom(from)
    const entry = offset === undefined ? undefined : this.#unsettled.get(offset)
    return this.#aside.size === 0 ? entry : this.#firstAside(owner, holderId, entry)
  }

  /** The consumer's filter does not select the ready message, nor any before it. */
  setSeen(filter: string, holderId: string, { offset, notFor }: Entry): void {
    if (notFor !== undefined) {
      if (notFor.length >= NOT_FOR_MAX) notFor.shift()
      notFor.push(holderId)
      return
    }
    if (this.#lookedTo.size >= LOOKING_FILTERS_MAX && !this.#lookedTo.has(filter)) {
      // It looks again from the start.
      this.#lookedTo.delete(this.#lookedTo.keys().next().value!)
    }
    this.#lookedTo.set(filter, offset + 1)
  }

  /** `entry`, or one set aside that stands before it. */
  #firstAside(
    owner: string,
    holderId: string | undefined,
    entry: Entry | undefined,
  ): Entry | undefined {
    let first = entry
    for (const aside of this.#aside.values()) {
      if (aside.owner !== owner || (first !== undefined && first.offset < aside.offset)) continue
      if (holderId === undefined || !isKeptFrom(aside, holderId)) first = aside
    }
    return first
  }

  /** False when too many are set aside already. */
  keepFrom(entry: Entry, holderId: string): boolean {
    if (this.#aside.size >= SET_ASIDE_MAX) return false
    entry.notFor ??= []
    if (entry.notFor.length >= NOT_FOR_MAX) entry.notFor.shift()
    entry.notFor.push(holderId)
    return true
  }

  /** A message that was read for the first time. Deliver it or make it ready. */
  add(offset: QueueOffset, owner: string, size: number, reconsumeTimes: number): Entry {
    const entry = newEntry(offset, owner, size, reconsumeTimes)
    this.#unsettled.set(offset, entry)
    return entry
  }

  /** Takes it off the ready ones when it is one of them. */
  deliver(
    entry: Entry,
    holder: Holder,
    serial: number,
    deadlineMs: number,
    isOrdered: boolean,
    poppedAt: number,
  ): Receipt {
    if (entry.state === ENTRY_STATE.ready) this.#takeReady(entry)
    entry.serial = serial
    entry.holder = holder
    entry.isOrdered = isOrdered
    entry.poppedAt = poppedAt
    entry.isSuspended = false
    this.#startDelivery(entry)
    this.#setDeadline(entry, deadlineMs)
    const { group, topic, queueId } = this.cursor
    return sealReceipt({ group, topic, queueId, queueOffset: entry.offset, serial, poppedAt })
  }

  /** The message of a receipt that is still good. */
  held(offset: QueueOffset, serial: number): Entry | undefined {
    const entry = this.#unsettled.get(offset)
    return entry?.serial === serial && entry.state === ENTRY_STATE.inFlight ? entry : undefined
  }

  /** False when the delivery is no longer the caller's. */
  ack(offset: QueueOffset, serial: number): boolean {
    return this.#ackHeld(this.held(offset, serial))
  }

  /** The message of a POP whose name is still good. */
  popped(offset: QueueOffset, poppedAt: number): Entry | undefined {
    const entry = this.#unsettled.get(offset)
    const isNamed = entry?.poppedAt === poppedAt && poppedAt > 0
    return isNamed && entry.state === ENTRY_STATE.inFlight ? entry : undefined
  }

  ackPopped(offset: QueueOffset, poppedAt: number): boolean {
    return this.#ackHeld(this.popped(offset, poppedAt))
  }

  #ackHeld(entry: Entry | undefined): boolean {
    if (entry === undefined) return false
    this.#unsettled.delete(entry.offset)
    this.#endDelivery(entry)
    entry.state = ENTRY_STATE.settled
    entry.holder!.suspect = undefined
    return true
  }

  /** A POP's time starts again, under a new name. */
  rename(entry: Entry, poppedAt: number, deadlineMs: number, isSuspended: boolean): void {
    entry.poppedAt = poppedAt
    entry.isSuspended = isSuspended
    this.#setDeadline(entry, deadlineMs)
  }

  /** What this consumer was handed in order is ready for it again. */
  reclaim(holderId: string): void {
    for (const entry of this.#unsettled.values()) {
      const isHeld = entry.state === ENTRY_STATE.inFlight && entry.isOrdered
      if (isHeld && entry.holder?.id === holderId) this.makeReady(entry)
    }
  }

  /**
   * A settlement came too late. Its consumer goes on all the same: what it was handed next may be
   * what it fails at.
   */
  answeredLate(offset: QueueOffset): void {
    const holder = this.#unsettled.get(offset)?.holder
    if (holder !== undefined) holder.suspect = undefined
  }

  /** Settles the entry in any state: its record is gone, or no topic's consumers may have it. */
  forget(entry: Entry): void {
    if (entry.state === ENTRY_STATE.ready) this.#takeReady(entry)
    if (entry.state === ENTRY_STATE.settled) return
    this.#unwanted.delete(entry)
    this.#endDelivery(entry)
    entry.state = ENTRY_STATE.settled
    this.#unsettled.delete(entry.offset)
  }

  extend(entry: Entry, deadlineMs: number): void {
    this.#setDeadline(entry, deadlineMs)
  }

  /** To be handed out (again), at once. */
  makeReady(entry: Entry): void {
    if (entry.state === ENTRY_STATE.ready || entry.state === ENTRY_STATE.settled) return
    this.#endDelivery(entry)
    if (entry.poppedAt >= this.popFloorMs) this.popFloorMs = entry.poppedAt + 1
    entry.state = ENTRY_STATE.ready
    this.#readyCount++
    for (const [filter, to] of this.#lookedTo) {
      if (to > entry.offset) this.#lookedTo.set(filter, entry.offset)
    }
    if (entry.notFor === undefined) this.#listOf(entry.owner).add(entry.offset)
    else this.#aside.set(entry.offset, entry)
  }

  /** The consumers' filter leaves out what an earlier one selected: it waits for another filter. */
  passOver(entry: Entry): void {
    if (entry.state === ENTRY_STATE.ready) this.#takeReady(entry)
    entry.state = ENTRY_STATE.parked
    entry.deadlineMs = Number.POSITIVE_INFINITY
    this.#unwanted.add(entry)
  }

  /** This topic's consumers have another filter now. */
  offerAgain(owner: string): void {
    for (const entry of this.#unwanted) {
      if (entry.owner !== owner) continue
      this.#unwanted.delete(entry)
      this.makeReady(entry)
    }
  }

  /** A ready message turned out to belong to another topic's consumers. */
  assign(entry: Entry, owner: string): void {
    this.#takeReady(entry)
    entry.state = ENTRY_STATE.parked
    entry.owner = owner
    this.makeReady(entry)
  }

  park(entry: Entry, untilMs: number): void {
    if (entry.state === ENTRY_STATE.settled) return
    this.#endDelivery(entry)
    entry.state = ENTRY_STATE.parked
    this.#setDeadline(entry, untilMs)
  }

  /** Its copy is to be written; neither time nor receipts reach it any more. */
  leave(entry: Entry): void {
    if (entry.state === ENTRY_STATE.ready) this.#takeReady(entry)
    this.#endDelivery(entry)
    entry.state = ENTRY_STATE.leaving
    this.#leavingCount++
  }

  /** The append with its copy goes out now. */
  markLeft(entry: Entry): void {
    entry.state = ENTRY_STATE.left
    this.#leftCount++
  }

  /** The copy was not written: the consumer still has it. */
  takeBack(entry: Entry, serial: number): void {
    if (entry.state === ENTRY_STATE.settled) return
    this.#endDelivery(entry)
    entry.serial = serial
    this.#startDelivery(entry)
    this.#setDeadline(entry, entry.deadlineMs)
  }

  /** Messages whose time is over; the caller moves them on. */
  due(nowMs: number): Entry[] {
    if (this.soonestMs > nowMs) return []
    const due: Entry[] = []
    this.soonestMs = Number.POSITIVE_INFINITY
    for (const entry of this.#unsettled.values()) {
      if (isDue(entry, nowMs)) due.push(entry)
      else if (hasDeadline(entry)) this.soonestMs = Math.min(this.soonestMs, entry.deadlineMs)
    }
    return due
  }

  /**
   * The message that each consumer was handed first, of those it holds of this queue and those in
   * `found`.
   */
  findFirsts(found: Map<Holder, FirstHeld>): void {
    for (const entry of this.#unsettled.values()) {
      const { holder, serial } = entry
      if (holder === undefined || entry.state !== ENTRY_STATE.inFlight) continue
      const first = found.get(holder)
      if (first === undefined || serial < first.serial) found.set(holder, { entry, serial })
    }
  }

  committed(): QueueOffset {
    for (const entry of this.#unsettled.values()) return entry.offset
    return this.next
  }

  available(): Available {
    const waiting: QueueOffset[] = []
    for (const entry of this.#unsettled.values()) {
      if (entry.state === ENTRY_STATE.ready || this.#unwanted.has(entry)) waiting.push(entry.offset)
    }
    return { waiting, next: this.next }
  }

  state(): CursorState | undefined {
    return this.#leftCount > 0 ? undefined : this.stateAfter()
  }

  /** As it is once the append under way has succeeded. */
  stateAfter(): CursorState {
    const unsettled: UnsettledOffset[] = []
    for (const { offset, attempts, state } of this.#unsettled.values()) {
      if (state !== ENTRY_STATE.left) unsettled.push({ offset, attempts })
    }
    return { next: this.next, unsettled }
  }

  /**
   * A topic is gone, and with it what its consumers were to get from this retry queue. False when
   * that was nothing.
   */
  forgetOwner(owner: string): boolean {
    const before = this.#unsettled.size
    for (const entry of this.#unsettled.values()) {
      if (entry.owner === owner) this.forget(entry)
    }
    return this.#unsettled.size < before
  }

  /** Forward only: a member that reads by position must not undo what was acknowledged here. */
  commit(offset: QueueOffset): void {
    if (offset >= this.next) this.#forgetAll()
    for (const entry of this.#unsettled.values()) {
      if (entry.offset >= offset) break
      this.forget(entry)
    }
    if (offset > this.next) this.next = offset
  }

  restart(offset: QueueOffset): void {
    this.#forgetAll()
    this.next = offset
  }

  /** The cursor goes on without this object; receipts are void. */
  retire(): void {
    this.cursor.stored = this.stateAfter()
    this.cursor.place = undefined
    this.#forgetAll()
  }

  /** Together, for there may be a quarter of a million. */
  #forgetAll(): void {
    for (const entry of this.#unsettled.values()) {
      this.#endDelivery(entry)
      entry.state = ENTRY_STATE.settled
    }
    this.#unsettled.clear()
    this.#ready.clear()
    this.#lookedTo.clear()
    this.#aside.clear()
    this.#unwanted.clear()
    this.#readyCount = 0
  }

  #startDelivery(entry: Entry): void {
    entry.state = ENTRY_STATE.inFlight
    entry.holder!.held++
    this.inFlight++
    this.inFlightBytes += entry.size
  }

  #endDelivery(entry: Entry): void {
    entry.serial = 0
    if (entry.state === ENTRY_STATE.left) this.#leftCount--
    if (entry.state === ENTRY_STATE.left || entry.state === ENTRY_STATE.leaving)
      this.#leavingCount--
    if (entry.state !== ENTRY_STATE.inFlight) return
    entry.holder!.held--
    this.inFlight--
    this.inFlightBytes -= entry.size
    entry.state = ENTRY_STATE.parked
  }

  /** In whole ms: a fraction would cost each entry an object of its own. */
  #setDeadline(entry: Entry, deadlineMs: number): void {
    entry.deadlineMs = Math.ceil(deadlineMs)
    if (entry.deadlineMs < this.soonestMs) this.soonestMs = entry.deadlineMs
  }

  #takeReady(entry: Entry): void {
    this.#readyCount--
    if (this.#aside.delete(entry.offset)) return
    const list = this.#ready.get(entry.owner)
    list?.remove(entry.offset)
    if (list?.first() === undefined) this.#ready.delete(entry.owner)
  }

  #listOf(owner: string): ReadyList {
    let list = this.#ready.get(owner)
    if (list === undefined) {
      list = new ReadyList()
      this.#ready.set(owner, list)
    }
    return list
  }
}

const isKeptFrom = ({ notFor }: Entry, holderId: string): boolean =>
  notFor?.includes(holderId) === true
