// Entries in named light queues that are on their way into the log: they cost the turn in which
// their messages are there far more than the bytes suggest. A new message beyond the bound is
// refused; what the broker has taken before, delayed messages and commits, waits in line.
import { dispatchedTo } from '../../model/names.ts'
import { findProperty, PROPERTY } from '../../model/properties.ts'
import { DISPATCHES_AT_ONCE_MAX } from '../options.ts'

/** Entries that a message with these properties gets. */
export function dispatchesOf(properties: Uint8Array, start?: number, end?: number): number {
  const text = findProperty(properties, PROPERTY.multiDispatch, start, end)
  return text === undefined ? 0 : dispatchedTo(text).length
}

interface Waiting {
  readonly count: number
  readonly go: () => void
}

export class DispatchBudget {
  #underWay = 0
  readonly #line: Waiting[] = []

  /** Nothing new overtakes what waits. */
  hasRoom(count: number): boolean {
    return this.#line.length === 0 && this.#fits(count)
  }

  /** Does the work when there is room for so many entries, at most `DISPATCHES_AT_ONCE_MAX`. */
  async within<T>(count: number, work: () => Promise<T>): Promise<T> {
    if (count === 0) return work()
    if (this.hasRoom(count)) this.#underWay += count
    else await new Promise<void>((go) => this.#line.push({ count, go }))
    return this.#leaving(count, work())
  }

  /** What was found to have room is on its way. */
  take<T>(count: number, work: Promise<T>): Promise<T> {
    this.#underWay += count
    return this.#leaving(count, work)
  }

  async #leaving<T>(count: number, work: Promise<T>): Promise<T> {
    try {
      return await work
    } finally {
      this.#underWay -= count
      for (let next = this.#line[0]; next && this.#fits(next.count); next = this.#line[0]) {
        this.#line.shift()
        this.#underWay += next.count
        next.go()
      }
    }
  }

  #fits(count: number): boolean {
    return this.#underWay + count <= DISPATCHES_AT_ONCE_MAX
  }
}
