// Searches by condition take turns: one step of one of them at a time, and one slice of all of them
// in each turn of the event loop, however many consumers search.
import { type Clock, Slice } from '../../clock.ts'

export class SearchLine {
  readonly #slice: Slice
  #last: Promise<unknown> = Promise.resolve()

  constructor(clock: Clock) {
    this.#slice = new Slice(clock)
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
