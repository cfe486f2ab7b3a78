// How far the store times of records can be trusted. A record has the wall clock's time, and the
// clock may have been wrong: ahead for a moment, or not set at all after a boot. So records are
// ordered by position alone, and their times rise only within a run: a new one begins where the
// clock went back, or was set for the first time. A run that ends ahead of the present, or that no
// clock stood for, takes its time from the run after it.

export interface TimeRun {
  /** Position of its first record. */
  readonly from: number
  readonly firstMs: number
  /** Of its newest record. */
  lastMs: number
}

/**
 * No clock that was set says less (2020-01-01): a machine without a battery boots in 1970 or 2000.
 */
const CLOCK_SET_MS = 1_577_836_800_000
/** Views of before runs were known: times up to where the next run begins. */
const UNKNOWN: TimeRun = { from: 0, firstMs: CLOCK_SET_MS, lastMs: Number.MAX_SAFE_INTEGER }
/**
 * With more runs the two oldest become one: a search by time in it may end too late or too early.
 */
const RUNS_MAX = 256

export class StoreTimes {
  /** Oldest first. */
  #runs: TimeRun[] = []
  /** The last one; before anything was stored, one that any record ends. */
  #last: TimeRun = UNKNOWN

  get runs(): readonly TimeRun[] {
    return this.#runs
  }

  /** A record, in log order. */
  note(position: number, storedMs: number): void {
    const last = this.#last
    if (storedMs === last.lastMs) return
    if (storedMs < last.lastMs || (storedMs >= CLOCK_SET_MS && last.lastMs < CLOCK_SET_MS)) {
      this.#begin(position, storedMs)
    } else last.lastMs = storedMs
  }

  restore(runs: readonly TimeRun[] = [UNKNOWN]): void {
    this.#runs = runs.map((run) => ({ ...run }))
    this.#last = this.#runs.at(-1) ?? this.#last
  }

  /** Forgets the runs that end before the position. */
  trimBefore(position: number): void {
    while (this.#runs.length > 1 && this.#runs[1]!.from <= position) this.#runs.shift()
  }

  /** The times as they are believed at a moment. */
  believedAt(nowMs: number): BelievedTimes {
    return new BelievedTimes(this.#runs, nowMs)
  }

  #begin(from: number, storedMs: number): void {
    this.#last = { from, firstMs: storedMs, lastMs: storedMs }
    this.#runs.push(this.#last)
    if (this.#runs.length <= RUNS_MAX) return
    const [first, second] = this.#runs as [TimeRun, TimeRun]
    const lastMs = Math.max(first.lastMs, second.lastMs)
    this.#runs.splice(0, 2, { ...first, lastMs })
  }
}

class BelievedTimes {
  readonly #runs: readonly TimeRun[]
  readonly #isClockSet: boolean
  readonly #nowMs: number
  /** By run: when what was stored in it was stored at the latest; undefined = not known yet. */
  readonly #latest: (number | undefined)[] = []

  constructor(runs: readonly TimeRun[], nowMs: number) {
    this.#runs = runs
    this.#isClockSet = nowMs >= CLOCK_SET_MS
    this.#nowMs = nowMs
    let latest = this.#isClockSet ? nowMs : undefined
    for (let i = runs.length - 1; i >= 0; i--) {
      this.#latest[i] = latest
      latest = this.#believed(i, runs[i]!.firstMs)
    }
  }

  /**
   * When the record at the position was stored, which says `storedMs`; undefined = not known yet.
   */
  at(position: number, storedMs: number): number | undefined {
    const index = this.#indexOf(position)
    return index < 0 ? storedMs : this.#believed(index, storedMs)
  }

  /** May a record before the position have been stored at or after the time, beyond its own run? */
  mayHoldBefore(position: number, timeMs: number): boolean {
    for (let i = this.#indexOf(position) - 1; i >= 0; i--) if (this.mayHold(i, timeMs)) return true
    return false
  }

  /** May the run of this index hold a record that was stored at or after the time? */
  mayHold(index: number, timeMs: number): boolean {
    const newest = this.#believed(index, this.#runs[index]!.lastMs)
    return newest === undefined || newest >= timeMs
  }

  /**
   * Did no clock stand for the run of this index? Its records then have one time, that of the run
   * after it.
   */
  isUnset(index: number): boolean {
    return this.#runs[index]!.lastMs < CLOCK_SET_MS
  }

  /**
   * When the newest record in [from, to) was stored at the latest, where the record at `to` says
   * `nextMs`; undefined = not known yet.
   */
  newestIn(from: number, to: number, nextMs: number): number | undefined {
    let newest = Number.NEGATIVE_INFINITY
    const last = this.#indexOf(to)
    for (let i = Math.max(0, this.#indexOf(from)); i <= last; i++) {
      const time = this.#believed(i, i === last ? nextMs : this.#runs[i]!.lastMs)
      if (time === undefined) return undefined
      newest = Math.max(newest, time)
    }
    return last < 0 ? nextMs : newest
  }

  #believed(index: number, storedMs: number): number | undefined {
    const latest = this.#latest[index]
    if (storedMs < CLOCK_SET_MS) return latest
    const isAhead = this.#isClockSet && this.#runs[index]!.lastMs > this.#nowMs
    return isAhead && latest !== undefined ? Math.min(storedMs, latest) : storedMs
  }

  /** Of the run that holds the position; -1 before the first. */
  #indexOf(position: number): number {
    let index = this.#runs.length - 1
    while (index >= 0 && this.#runs[index]!.from > position) index--
    return index
  }
}
