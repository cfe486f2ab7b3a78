// Hands parked records to what they wait for when they are due. Each has a kind, and each kind a
// handler: what comes of a record and the mark that it is done go into one append, so a crash
// leaves both or neither. One timer for the next due; the wall clock decides, and it may jump:
// nothing fires before its time is there by the clock, and a jump ahead is noticed within a minute.
import { type Clock, nextTurn, Slice, type Timer } from '../../clock.ts'
import { BrokerError, ifNotStored, isOfContent } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { ROUNDS_MAX, roundsOf } from '../../model/due-rounds.ts'
import type { LogPosition } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import { RecordView } from '../../model/record.ts'
import type { DueEntry, MessageStore, PutOff, StoreMessage } from '../../store/store.ts'
import { APPEND_BYTES_TARGET, DISPATCHES_AT_ONCE_MAX } from '../options.ts'
import { AppendsUnderWay } from './appends-under-way.ts'
import { postponed } from './delay.ts'
import { type DispatchBudget, dispatchesOf } from './dispatch-budget.ts'

/** Read and appended together, which takes a few milliseconds: others wait no longer than that. */
const FIRED_AT_ONCE_MAX = 256
/** Entries in named light queues, of one append: that many leave room for those of others. */
const DISPATCHES_MAX = DISPATCHES_AT_ONCE_MAX / 4
/**
 * Reads under way, and records in memory beside those of the next append: each may be as large as a
 * message gets.
 */
const READ_AT_ONCE_MAX = 16
/** Those are read first that are small, as nearly all are, and together. */
const SMALL_BYTES = 4096
/** Timers count time that passed, dues are points of the wall clock: look again this often. */
const LOOK_AGAIN_MS = 60_000
/** After a failure, and twice as long after each one that follows. */
const RETRY_MS_MIN = 16
const RETRY_MS_MAX = 1024
/** After so many rounds of what is due it is looked for from the beginning. */
const ROUNDS_AHEAD_MAX = 64
/** What cannot be handled now is looked at again after this time. */
const POSTPONED_MS = 3_600_000

/** The kind of a record that says none: a delayed message. */
export const DELAYED = ''

/** The record is done; what is appended with that, parked again or not, may be nothing. */
interface Done {
  readonly message: StoreMessage | undefined
  /** Called once it is durable. */
  readonly settled?: () => void
}

/** The record waits on where it is, by whole periods of its rounds. */
interface Waiting {
  readonly putOffMs: number
  readonly settled?: () => void
}

/** 'ending': another append that is under way ends the record. */
export type DueOutcome = Done | Waiting | 'ending'

/** Called when the append is made: what a handler looks up is as it is then. */
export type DueHandler = (record: RecordView, entry: DueEntry) => DueOutcome

export const NOTHING: DueOutcome = { message: undefined }

/** With its record, while that is there. */
interface Due {
  readonly entry: DueEntry
  readonly record: RecordView | undefined
  /** Of the record, in bytes. */
  readonly size: number
  /** Of light queues that it goes to. */
  readonly names: number
}

function dueOf(entry: DueEntry, bytes: Buffer | undefined): Due {
  const record = bytes && new RecordView(bytes)
  const names = record ? dispatchesOf(bytes, record.propertiesStart, record.propertiesEnd) : 0
  return { entry, record, size: bytes?.length ?? 0, names }
}

/** And what comes of it. */
interface Handled {
  readonly due: Due
  readonly outcome: Done | Waiting
}

interface EntryEnd {
  readonly isFired: boolean
  /** Never rejects. */
  readonly settled: Promise<unknown>
}

export class DueTimer {
  readonly #store: MessageStore
  readonly #handlers = new Map<string, DueHandler>()
  /** Entries, by their present place, whose end is being appended: each has one. */
  readonly #ending = new Map<LogPosition, EntryEnd>()
  readonly #clock: Clock
  readonly #log: Logger
  readonly #budget: DispatchBudget
  #timer: Timer | undefined
  #armedForMs = Number.POSITIVE_INFINITY
  #firing: Promise<void> | undefined
  #retryMs = RETRY_MS_MIN
  #isClosed = false

  constructor(store: MessageStore, clock: Clock, log: Logger, budget: DispatchBudget) {
    this.#store = store
    this.#clock = clock
    this.#log = log
    this.#budget = budget
  }

  /** Of records whose `dueKind` this is. Before the first `arm`. */
  handle(kind: string, handler: DueHandler): void {
    this.#handlers.set(kind, handler)
  }

  /** A record was parked, the store is writable again, or the broker starts. */
  arm(): void {
    const dueMs = this.#store.nextDueMs()
    if (dueMs === undefined || this.#isClosed || this.#firing !== undefined) return
    if (this.#timer !== undefined && this.#armedForMs <= dueMs) return
    this.#wait(dueMs, dueMs - this.#clock.now())
  }

  /**
   * Ends the wait of what is not due yet, or has not been fired in time; durable when it settles.
   * 'fired': it came too late. 'gone': nothing waits there.
   */
  async withdraw(entry: DueEntry): Promise<'withdrawn' | 'fired' | 'gone'> {
    for (let ending = this.#endingOf(entry); ending !== undefined; ) {
      await ending.settled
      if (ending.isFired && !this.#store.waits(entry)) return 'fired'
      ending = this.#endingOf(entry)
    }
    if (!this.#store.waits(entry)) return 'gone'
    await this.#end([entry], false, [])
    return 'withdrawn'
  }

  /** Settles when the append is through that ends the entry; undefined: none is under way. */
  whenEnded(entry: DueEntry): Promise<unknown> | undefined {
    return this.#endingOf(entry)?.settled
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    await this.#firing
  }

  #endingOf({ position }: DueEntry): EntryEnd | undefined {
    return this.#ending.size === 0 ? undefined : this.#ending.get(this.#store.placeOf(position))
  }

  #wait(dueMs: number, delayMs: number): void {
    this.#timer?.cancel()
    this.#armedForMs = dueMs
    this.#timer = this.#clock.after(Math.min(Math.max(0, delayMs), LOOK_AGAIN_MS), () => {
      this.#timer = undefined
      if (this.#store.due(this.#clock.now(), 1).length === 0) return this.arm()
      this.#firing ??= this.#fireDue().finally(() => {
        this.#firing = undefined
        if (this.#timer === undefined) this.arm()
      })
    })
  }

  async #fireDue(): Promise<void> {
    const appends = new AppendsUnderWay()
    try {
      await this.#fireAll(appends)
      this.#retryMs = RETRY_MS_MIN
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      await appends.end()
      if (error.code === 'CLOSED') return
      if (this.#retryMs === RETRY_MS_MAX) {
        this.#log.warn(
          { evt: 'delays.late', code: error.code },
          `what is due waits longer: ${error.message}`,
        )
      }
      if (!this.#isClosed) this.#wait(this.#clock.now() + this.#retryMs, this.#retryMs)
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2)
    }
  }

  /** Until nothing is due. While appends are synced, what is due behind them is appended. */
  async #fireAll(appends: AppendsUnderWay): Promise<void> {
    const slice = new Slice(this.#clock)
    let after: DueEntry | undefined
    for (let rounds = 0; !this.#isClosed; ) {
      const due = this.#store.due(this.#clock.now(), FIRED_AT_ONCE_MAX, after)
      if (due.length > 0) {
        await this.#fire(due, appends)
        after = due.at(-1)
        rounds++
        if (slice.isOver) await slice.rest()
      } else if (after === undefined) return
      else await appends.change(this.#clock)
      // What others were about to end may be due still, and what the clock or a move put before it.
      if (rounds === ROUNDS_AHEAD_MAX) await appends.end()
      if (!appends.isEmpty) continue
      appends.check()
      after = undefined
      rounds = 0
    }
    await appends.end()
    appends.check()
  }

  async #fire(due: readonly DueEntry[], appends: AppendsUnderWay): Promise<void> {
    let parked: Due[] = []
    let bytes = 0
    let dispatches = 0
    const deliver = async (): Promise<void> => {
      await appends.room(bytes)
      if (dispatches === 0) return this.#deliver(parked, bytes, appends)
      await this.#budget.within(dispatches, async () => {
        await this.#deliver(parked, bytes, appends)
        await appends.end()
      })
    }
    for await (const some of this.#parked(due)) {
      for (const one of some) {
        const { size, names } = one
        const isFull = bytes + size > APPEND_BYTES_TARGET || dispatches + names > DISPATCHES_MAX
        if (isFull && parked.length > 0) {
          await deliver()
          parked = []
          bytes = 0
          dispatches = 0
        }
        parked.push(one)
        bytes += size
        dispatches += names
      }
    }
    if (parked.length > 0) await deliver()
  }

  /**
   * What comes of each is seen now: while records are read from the disk a topic may be deleted,
   * and made again.
   */
  async #deliver(parked: readonly Due[], bytes: number, appends: AppendsUnderWay): Promise<void> {
    await Promise.all(parked.map(({ entry }) => this.whenEnded(entry)))
    const handled: Handled[] = []
    for (const due of parked) {
      // While its record was read, something else may have ended it.
      const outcome = this.#isOver(due) ? 'ending' : this.#handled(due)
      if (outcome !== 'ending') handled.push({ due, outcome })
    }
    // What others end is due until their append is done: they need a turn for it.
    if (handled.length === 0) await nextTurn()
    else appends.add(bytes, this.#endHandled(handled))
  }

  #isOver({ entry }: Due): boolean {
    return this.#endingOf(entry) !== undefined || !this.#store.waits(entry)
  }

  /** In one append; one that is refused for itself waits on, and holds no other up. */
  async #endHandled(handled: readonly Handled[]): Promise<void> {
    try {
      // Nothing is acknowledged by it: what no slave confirmed went all the same.
      await this.#append(handled).catch(ifNotStored)
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (!isOfContent(error)) throw error
      await Promise.all(handled.map((one) => this.#endAlone(one)))
      return
    }
    for (const one of handled) this.#tell(one)
  }

  async #endAlone(handled: Handled): Promise<void> {
    const { due } = handled
    if (this.#isOver(due)) return
    try {
      await this.#append([handled]).catch(ifNotStored)
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (!isOfContent(error)) throw error
      this.#tellFailure(due, error)
      await this.#append([{ due, outcome: { putOffMs: this.#laterMs(due) } }]).catch(ifNotStored)
      return
    }
    this.#tell(handled)
  }

  #append(handled: readonly Handled[]): Promise<void> {
    const messages: StoreMessage[] = []
    const fired: DueEntry[] = []
    const putOff: PutOff[] = []
    for (const { due, outcome } of handled) {
      const { entry } = due
      if ('putOffMs' in outcome) putOff.push({ entry, dueMs: outcome.putOffMs })
      else {
        fired.push(entry)
        if (outcome.message !== undefined) messages.push(outcome.message)
      }
    }
    return this.#end(fired, true, messages, putOff)
  }

  #tell({ due, outcome }: Handled): void {
    try {
      outcome.settled?.()
    } catch (error) {
      this.#tellFailure(due, BrokerError.from(error))
    }
  }

  #tellFailure({ entry }: Due, error: BrokerError): void {
    const { position } = entry
    this.#log.error(
      { evt: 'delays.failed', position, code: error.code, err: error },
      `what is due at log position ${position} cannot be handled, and is tried again later: ${error.message}`,
    )
  }

  /** By whole periods, where it waits in rounds: others find its entry by them. */
  #laterMs({ entry, record }: Due): number {
    const nowMs = this.#clock.now()
    const { periodMs } = (record && roundsOf(record)) ?? {}
    if (periodMs === undefined) return nowMs + POSTPONED_MS
    const rounds = Math.ceil((nowMs + 1 - entry.dueMs) / periodMs)
    return entry.dueMs + Math.min(ROUNDS_MAX, Math.max(1, rounds)) * periodMs
  }

  async #end(
    entries: readonly DueEntry[],
    isFired: boolean,
    messages: readonly StoreMessage[],
    putOff: readonly PutOff[] = [],
  ): Promise<void> {
    const appended = this.#store.append({ messages, fired: entries, putOff })
    const ending = { isFired, settled: appended.catch(() => {}) }
    const places = entries.map(({ position }) => this.#store.placeOf(position))
    for (const place of places) this.#ending.set(place, ending)
    try {
      await appended
    } finally {
      for (const place of places) this.#ending.delete(place)
    }
  }

  async *#parked(due: readonly DueEntry[]): AsyncGenerator<readonly Due[]> {
    const small = await this.#read(due, SMALL_BYTES)
    const large = this.#large(due.filter((_, i) => small[i] === undefined))
    let parked: Due[] = []
    for (const [i, entry] of due.entries()) {
      if (small[i] !== undefined) {
        parked.push(dueOf(entry, small[i]))
        continue
      }
      parked.push(dueOf(entry, (await large.next()).value))
      yield parked
      parked = []
    }
    yield parked
  }

  async *#large(entries: readonly DueEntry[]): AsyncGenerator<Buffer | undefined, undefined> {
    for (let at = 0; at < entries.length; at += READ_AT_ONCE_MAX) {
      yield* await this.#read(entries.slice(at, at + READ_AT_ONCE_MAX))
    }
  }

  async #read(
    entries: readonly DueEntry[],
    bytesMax?: number,
  ): Promise<readonly (Buffer | undefined)[]> {
    const records: (Buffer | undefined)[] = []
    const later: Promise<void>[] = []
    for (const [i, { position }] of entries.entries()) {
      const read = this.#store.readAt(position, bytesMax)
      if (!(read instanceof Promise)) records[i] = read
      else {
        const taken = read.then((record) => {
          records[i] = record
        })
        // One that fails at once ends all of it.
        taken.catch(() => {})
        later.push(taken)
        // The pool has the syncs of others too.
        if (later.length === READ_AT_ONCE_MAX) await Promise.all(later.splice(0))
      }
    }
    if (later.length > 0) await Promise.all(later)
    return records
  }

  #handled(due: Due): DueOutcome {
    const { entry, record } = due
    const { position } = entry
    if (record === undefined) {
      this.#log.error(
        { evt: 'delays.damaged', position },
        `the delayed message at log position ${position} is damaged and cannot be delivered`,
      )
      return NOTHING
    }
    const kind = record.property(PROPERTY.dueKind) ?? DELAYED
    const handler = this.#handlers.get(kind)
    if (handler !== undefined) return this.#handledBy(handler, due, record)
    this.#log.error(
      { evt: 'delays.unknown', kind, position },
      `nothing handles the kind '${kind}' of what is due: it waits for another hour`,
    )
    return { message: postponed(record, this.#clock.now() + POSTPONED_MS) }
  }

  #handledBy(handler: DueHandler, due: Due, record: RecordView): DueOutcome {
    try {
      return handler(record, due.entry)
    } catch (error) {
      this.#tellFailure(due, BrokerError.from(error))
      return { putOffMs: this.#laterMs(due) }
    }
  }
}
