// Long work in slices, so that nobody waits for all of it: over a log of gigabytes, over every queue.
import type { Clock } from '../clock.ts'

const SLICE_MS = 8

export class Slice {
  readonly #clock: Clock
  #startedMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedMs = clock.monotonic()
  }

  get isOver(): boolean {
    return this.#clock.monotonic() - this.#startedMs > SLICE_MS
  }

  /** Lets others run and begins the next slice. */
  async rest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#startedMs = this.#clock.monotonic()
  }
}
