// Searches by condition take turns: one step of one of them at a time, and one slice of all of them
// in each turn of the event loop, however many consumers search.
import { type Clock, SharedSlice } from '../../clock.ts'

/** The clock is looked at for so many records together, and for each one that may take long. */
const LOOKED_AT_ONCE = 16
const LONG_BYTES = 4096

export class SearchLine {
  readonly #slice: SharedSlice
  #last: Promise<unknown> = Promise.resolve()

  constructor(clock: Clock) {
    this.#slice = new SharedSlice(clock)
  }

  /** Is the record behind `count` others, of so many bytes, to be seen in a later turn? */
  isOver(count: number, bytes: number): boolean {
    if (count === 0 || (count % LOOKED_AT_ONCE !== 0 && bytes <= LONG_BYTES)) return false
    return this.#slice.isOver
  }

  /** Runs the step when those asked for before are done. */
  run<T>(step: () => Promise<T>): Promise<T> {
    const running = this.#last.then(async () => {
      if (this.#slice.isOver) await this.#slice.rest()
      return step()
    })
    this.#last = running.catch(() => {})
    return running
  }
}
