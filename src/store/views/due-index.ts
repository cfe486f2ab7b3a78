// Parked messages by due time: which are due, and when the next one may be. The nearest are in
// memory, all of them while they are few; later minutes are a count and a sum here and pairs of
// (due time, position) in the views, loaded whole before their time comes. Nothing looks into the
// views to learn whether anything is due.
import type { Clock } from '../../clock.ts'
import { getU32, putU32 } from '../../model/bytes.ts'
import { logPosition } from '../../model/positions.ts'
import type { DueEntry } from '../store.ts'
import { dueKey, minuteKey, parseDueKey, parseMinuteKey, prefixRange } from './keys.ts'
import {
  readSeal,
  SEAL_BYTES,
  type SealedBatch,
  type SealedKeyValue,
  ViewsDamaged,
} from './pairs/sealed.ts'
import { SortedPairs } from './sorted-pairs.ts'
import { Tally } from './tally.ts'

const MINUTE_MS = 60_000
/** A minute is loaded this long before it begins. */
const AHEAD_MS = 120_000
/** Pairs in memory; beyond it the later half leaves, but for what is due soon. */
const NEAR_PAIRS_MAX = 262_144
/** When none may leave, the next look is at so many times as many. */
const SHED_AGAIN = 1.125
/** After a jump of the clock a minute may be due and not loaded: ask again then. */
const LOADING_MS = 50
const BEFORE_ALL: DueEntry = { dueMs: -1, position: logPosition(0) }
/** Keys hold 48 bits of due time. */
const DUE_MS_MAX = 2 ** 48 - 1

/** The entries of one minute that the views hold. */
interface Minute {
  count: number
  sum: number
  /** Of its value in the views; -1 while it has none. */
  seal: number
  isDirty: boolean
}

/** By position. One that is put off is removed and added by one batch, under two times. */
type Pairs = Map<number, number>

/** A pair comes once and goes once, so the changes of a minute have no order. */
type Changes = [dueMs: number, position: number][]

interface Loading {
  readonly minute: number
  readonly added: Changes
  readonly removed: Changes
}

export class DueIndex {
  readonly tally = new Tally()
  readonly #stored: SealedKeyValue
  readonly #near = new SortedPairs()
  readonly #minutes = new Map<number, Minute>()
  readonly #dirtyMinutes: [number, Minute][] = []
  readonly #clock: Clock
  readonly #nearPairsMax: number
  /** Minutes before this one are in memory. */
  #horizon = Number.POSITIVE_INFINITY
  /** Earliest minute from the horizon on that has pairs. */
  #firstFar: number | undefined
  #size = 0
  #added: Pairs = new Map()
  #removed: Pairs = new Map()
  /** Taken by the batch that is under way. */
  #savingAdded: Pairs = new Map()
  #savingRemoved: Pairs = new Map()
  #loading: Loading | undefined
  /** With more pairs than this in memory it is worth a look which of them may leave. */
  #shedAt: number

  constructor(stored: SealedKeyValue, clock: Clock, nearPairsMax = NEAR_PAIRS_MAX) {
    this.#stored = stored
    this.#clock = clock
    this.#nearPairsMax = nearPairsMax
    this.#shedAt = nearPairsMax
  }

  get size(): number {
    return this.#size
  }

  /** No pair is due before. */
  get firstDueMs(): number {
    return this.#near.min ?? (this.#firstFar ?? Number.POSITIVE_INFINITY) * MINUTE_MS
  }

  /** When to ask what is due. */
  get nextDueMs(): number | undefined {
    if (this.#near.min !== undefined || this.#firstFar === undefined) return this.#near.min
    return Math.max(this.#firstFar * MINUTE_MS, this.#clock.now() + LOADING_MS)
  }

  /** Is there something to load for which the time has come? */
  get wantsLoad(): boolean {
    const { count = 0 } = this.#minutes.get(this.#firstFar ?? -1) ?? {}
    return (
      this.#firstFar !== undefined &&
      (this.#firstFar <= minuteOf(this.#clock.now() + AHEAD_MS) ||
        this.#near.size + count <= this.#nearPairsMax / 2)
    )
  }

  /** Oldest first, due at or before `untilMs`, behind `after`. */
  due(untilMs: number, max: number, after = BEFORE_ALL): DueEntry[] {
    const found: DueEntry[] = []
    this.#near.everyFrom(after.dueMs, after.position + 1, (dueMs, position) => {
      if (dueMs > untilMs || found.length >= max) return false
      found.push({ dueMs, position: logPosition(position) })
      return true
    })
    return found
  }

  /** Nothing happens when the pair is there already. */
  add(dueMs: number, position: number): void {
    const minute = minuteOf(dueMs)
    if (minute < this.#horizon) {
      if (!this.#near.add(dueMs, position)) return
      if (this.#near.size > this.#shedAt && this.#loading === undefined) this.#shed()
    } else {
      this.#firstFar = Math.min(this.#firstFar ?? minute, minute)
      if (this.#loading?.minute === minute) this.#loading.added.push([dueMs, position])
    }
    this.#added.set(position, dueMs)
    this.#count(minute, 1, dueMs, position)
  }

  /** Answers whether the pair was there. @throws ViewsDamaged */
  remove(dueMs: number, position: number): boolean {
    const minute = minuteOf(dueMs)
    if (minute < this.#horizon) {
      if (!this.#near.delete(dueMs, position)) return false
      if (this.#near.size <= this.#nearPairsMax) this.#shedAt = this.#nearPairsMax
    } else {
      if (!this.has(dueMs, position)) return false
      if (this.#loading?.minute === minute) this.#loading.removed.push([dueMs, position])
    }
    if (!this.#added.delete(position)) this.#removed.set(position, dueMs)
    this.#count(minute, -1, dueMs, position)
    return true
  }

  /** As `has`, of pairs in memory. */
  isNear(dueMs: number, position: number): boolean {
    return minuteOf(dueMs) < this.#horizon && this.#near.has(dueMs, position)
  }

  /** Of a pair that was added since the last batch, and is there. */
  youngDueMs(position: number): number | undefined {
    return this.#added.get(position)
  }

  /** Of a pair that the batch under way has, and that may be there still. */
  savingDueMs(position: number): number | undefined {
    return this.#savingAdded.get(position)
  }

  /** @throws ViewsDamaged */
  has(dueMs: number, position: number): boolean {
    if (minuteOf(dueMs) < this.#horizon) return this.#near.has(dueMs, position)
    if (this.#added.get(position) === dueMs) return true
    if (this.#removed.has(position)) return false
    if (this.#savingAdded.get(position) === dueMs) return true
    if (this.#savingRemoved.has(position) || !this.#minutes.has(minuteOf(dueMs))) return false
    return this.#stored.get(dueKey(dueMs, position)) !== undefined
  }

  /** Loads the minutes that begin soon, or that there is room for. @throws ViewsDamaged */
  async loadAhead(): Promise<void> {
    while (this.wantsLoad) await this.#loadMinute(this.#firstFar!)
  }

  save(batch: SealedBatch): void {
    for (const [position, dueMs] of this.#added) {
      batch.put(dueKey(dueMs, position), Buffer.allocUnsafe(SEAL_BYTES))
    }
    for (const [position, dueMs] of this.#removed) batch.delete(dueKey(dueMs, position))
    this.#savingAdded = this.#added
    this.#savingRemoved = this.#removed
    this.#added = new Map()
    this.#removed = new Map()
    for (const [number, minute] of this.#dirtyMinutes) this.#saveMinute(batch, number, minute)
    this.#dirtyMinutes.length = 0
  }

  /** The batch is in the views. */
  saved(): void {
    this.#savingAdded = new Map()
    this.#savingRemoved = new Map()
  }

  async load(): Promise<void> {
    for await (const [key, value] of this.#stored.scan(...prefixRange('E'))) {
      const number = parseMinuteKey(key)
      const count = getU32(value, SEAL_BYTES)
      const sum = getU32(value, SEAL_BYTES + 4)
      const seal = readSeal(value)
      this.#minutes.set(number, { count, sum, seal, isDirty: false })
      this.tally.replace(-1, seal)
      this.#size += count
    }
    // Everything is far until it is loaded.
    this.#horizon = 0
    this.#findFirstFar()
  }

  #count(number: number, by: 1 | -1, dueMs: number, position: number): void {
    this.#size += by
    let minute = this.#minutes.get(number)
    if (minute === undefined) {
      minute = { count: 0, sum: 0, seal: -1, isDirty: false }
      this.#minutes.set(number, minute)
    }
    minute.count += by
    minute.sum = (minute.sum + by * pairSum(dueMs, position)) >>> 0
    if (minute.isDirty) return
    minute.isDirty = true
    this.#dirtyMinutes.push([number, minute])
  }

  #saveMinute(batch: SealedBatch, number: number, minute: Minute): void {
    const before = minute.seal
    minute.isDirty = false
    if (minute.count > 0) {
      const value = Buffer.allocUnsafe(SEAL_BYTES + 8)
      putU32(value, SEAL_BYTES, minute.count)
      putU32(value, SEAL_BYTES + 4, minute.sum)
      minute.seal = batch.put(minuteKey(number), value)
    } else {
      if (before !== -1) batch.delete(minuteKey(number))
      minute.seal = -1
      this.#minutes.delete(number)
      if (this.#firstFar === number) this.#findFirstFar()
    }
    this.tally.replace(before, minute.seal)
  }

  /**
   * Loads a minute from the views and merges the changes that they lack, also those during the
   * load.
   */
  async #loadMinute(minute: number): Promise<void> {
    const added: Changes = []
    const removed: Changes = []
    for (const pairs of [this.#savingAdded, this.#added]) pick(pairs, minute, added)
    for (const pairs of [this.#savingRemoved, this.#removed]) pick(pairs, minute, removed)
    this.#loading = { minute, added, removed }
    // It is the earliest one stored, so whatever comes in before it is complete in memory.
    this.#horizon = minute
    // A minute may have a million: all work but for the newest is spread over the pages of the
    // scan.
    const loaded = new SortedPairs()
    let sum = 0
    const from = dueKey(minute * MINUTE_MS, 0)
    const to = dueKey((minute + 1) * MINUTE_MS, 0)
    for await (const [key] of this.#stored.scan(from, to)) {
      const { dueMs, position } = parseDueKey(key)
      if (loaded.add(dueMs, position)) sum = (sum + pairSum(dueMs, position)) >>> 0
    }
    this.#loading = undefined
    for (const [dueMs, position] of added) {
      if (loaded.add(dueMs, position)) sum = (sum + pairSum(dueMs, position)) >>> 0
    }
    for (const [dueMs, position] of removed) {
      if (loaded.delete(dueMs, position)) sum = (sum - pairSum(dueMs, position)) >>> 0
    }
    this.#checkMinute(minute, loaded.size, sum)
    this.#near.append(loaded)
    this.#horizon = minute + 1
    this.#findFirstFar()
  }

  /** The later half leaves memory; it is in the views, or in the next batch. */
  #shed(): void {
    let kept = 0
    const soon = minuteOf(this.#clock.now() + AHEAD_MS)
    const minutes = [...this.#minutes.keys()].sort((a, b) => a - b)
    const first = minutes.find((minute) => {
      kept += this.#minutes.get(minute)!.count
      return minute > soon && minute < this.#horizon && kept > this.#nearPairsMax / 2
    })
    // All are due soon. To find that out again for each one more would cost milliseconds a message.
    this.#shedAt = first === undefined ? this.#near.size * SHED_AGAIN : this.#nearPairsMax
    if (first === undefined) return
    this.#horizon = first
    this.#near.cutFrom(first * MINUTE_MS)
    this.#findFirstFar()
  }

  #checkMinute(minute: number, count: number, sum: number): void {
    const expected = this.#minutes.get(minute)
    if (count === (expected?.count ?? 0) && sum === (expected?.sum ?? 0)) return
    throw new ViewsDamaged(
      `minute ${minute} of the due index has ${count} parked messages, not ${expected?.count}`,
    )
  }

  #findFirstFar(): void {
    let first: number | undefined
    for (const [number, { count }] of this.#minutes) {
      if (count > 0 && number >= this.#horizon && number < (first ?? number + 1)) first = number
    }
    this.#firstFar = first
    if (first === undefined && this.#loading === undefined) {
      this.#horizon = Number.POSITIVE_INFINITY
    }
  }
}

const minuteOf = (dueMs: number): number => Math.floor(dueMs / MINUTE_MS)

/** A due time that the index can hold. */
export const dueTime = (ms: number): number =>
  Math.min(DUE_MS_MAX, Math.max(0, Math.floor(ms) || 0))

function pairSum(dueMs: number, position: number): number {
  const h = Math.imul(dueMs ^ (position >>> 0), 0x9e3779b1) ^ Math.floor(position / 4_294_967_296)
  return Math.imul(h ^ (h >>> 15), 0x85ebca6b) >>> 0
}

function pick(from: Pairs, minute: number, into: Changes): void {
  for (const [position, dueMs] of from) {
    if (minuteOf(dueMs) === minute) into.push([dueMs, position])
  }
}
