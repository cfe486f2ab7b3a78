// Decides which thread reads what is small, or likely in the page cache. To hand a small piece to
// the thread pool takes the event loop several times as long as to read it from the page cache. So
// such reads go on on the loop's own thread while they are quick; after two close together that
// waited for the disk the next go to the pool, and more of them each time that happens again. A
// single slow one proves nothing: where others want the processor, a thread may lose it at any
// call.
import type { Clock } from '../../clock.ts'
import { Pooled } from './pooled.ts'

/** A read from the page cache takes a few microseconds, from the fastest of disks far more. */
const SLOW_MS = 0.05
/** From the page cache into fresh memory, which takes longest: so many at least. */
const BYTES_PER_MS = 500_000
const POOLED_MIN = 32
const POOLED_MAX = 4096
/** A slow read counts when another one was within so many before it. */
const CLOSE = 8
/** So many quick reads in a row halve what the next slow one costs. */
const STREAK = 16

export class QuickReads {
  readonly #clock: Clock
  readonly #pooled = new Pooled(POOLED_MIN, POOLED_MAX)
  #streak = 0
  /** Reads to come that are close to a slow one. */
  #close = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Is this read to be done by `run`? Asked once for each. */
  takes(): boolean {
    return !this.#pooled.takes()
  }

  run<T>(bytes: number, read: () => T): T {
    const startMs = this.#clock.monotonic()
    const result = read()
    if (this.#clock.monotonic() - startMs > SLOW_MS + bytes / BYTES_PER_MS) {
      this.#streak = 0
      if (this.#close > 0) this.#pooled.begin()
      this.#close = CLOSE
      return result
    }
    if (this.#close > 0) this.#close--
    if (++this.#streak === STREAK) {
      this.#streak = 0
      this.#pooled.halve()
    }
    return result
  }
}
