// How far copies are behind their master, as a time: a copy that takes frames while more are
// written never has all of them, and may be even all the same. It was even at the moment at which
// the master ended where the copy has come to since.
import type { CopyName } from './group-state.ts'

interface Goal {
  readonly end: number
  readonly atMs: number
}

export class Pace {
  readonly #evenMs = new Map<CopyName, number>()
  readonly #goals = new Map<CopyName, Goal>()

  /** Of a new master: those that are kept in sync have from now on to follow it. */
  begin(kept: readonly CopyName[], nowMs: number): void {
    this.#evenMs.clear()
    this.#goals.clear()
    for (const copy of kept) this.#evenMs.set(copy, nowMs)
  }

  /** A copy has everything before `to`, while the master ends at `end`. */
  heard(copy: CopyName, to: number, end: number, nowMs: number): void {
    const goal = this.#goals.get(copy)
    if (to >= end) this.#evenMs.set(copy, nowMs)
    else if (goal !== undefined && to >= goal.end) this.#evenMs.set(copy, goal.atMs)
    if (goal === undefined || to >= goal.end) this.#goals.set(copy, { end, atMs: nowMs })
  }

  /** When it had all that there was then; -Infinity: never. */
  evenMs(copy: CopyName): number {
    return this.#evenMs.get(copy) ?? Number.NEGATIVE_INFINITY
  }
}
