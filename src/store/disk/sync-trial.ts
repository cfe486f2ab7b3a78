// Finds out which thread syncs lone commits sooner, by having both do it in turn: on a machine with
// idle processors the loop's own, as no thread has to be woken; where many processes want them the
// pool, as the system gives a thread that works little its turn earlier. What counts is the time
// from one commit to the next, because all that the choice costs is in it.

/** Commits of a trial, half of them each way, so many of a kind in a row. */
const COMMITS = 64
const IN_A_ROW = 8
/** Commits between two trials, twice as many each time that the outcome is the same. */
const BETWEEN_MIN = 1024
const BETWEEN_MAX = 16_384

export class SyncTrial {
  /** Of the trial under way: ms on the loop's thread, ms in the pool. */
  #here: number[] = []
  #pooled: number[] = []
  /** Commits of the trial that have begun. */
  #begun = 0
  /** Commits that go as the last trial came out. */
  #left = 0
  #isHere = true
  #between = BETWEEN_MIN

  /**
   * Is the next commit to be synced on the loop's thread? @param tookMs from the beginning of the
   * commit before it, which this was asked about too
   */
  next(tookMs: number): boolean {
    if (this.#left > 0) {
      this.#left--
      return this.#isHere
    }
    if (this.#begun > 0) (isHere(this.#begun - 1) ? this.#here : this.#pooled).push(tookMs)
    if (this.#begun < COMMITS) return isHere(this.#begun++)
    this.#decide()
    return this.#isHere
  }

  /** The next commit does not follow the last one: a trial under way begins anew. */
  restart(): void {
    this.#here = []
    this.#pooled = []
    this.#begun = 0
  }

  #decide(): void {
    const wasHere = this.#isHere
    this.#isHere = median(this.#here) <= median(this.#pooled)
    const isSame = this.#isHere === wasHere
    this.#between = isSame ? Math.min(BETWEEN_MAX, this.#between * 2) : BETWEEN_MIN
    this.#left = this.#between
    this.restart()
  }
}

const isHere = (commit: number): boolean => Math.floor(commit / IN_A_ROW) % 2 === 0

const median = (times: number[]): number => {
  const sorted = times.sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}
