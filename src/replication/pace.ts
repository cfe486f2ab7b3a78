// How far copies are behind their master, as a time: a copy that takes frames while more are
// written never has all of them, and may be even all the same. It was even at the moment at which
// the master ended where the copy has come to since.

interface Goal {
  readonly end: number
  readonly atMs: number
}

/** @typeParam Copy its name, or what stands for it */
export class Pace<Copy> {
  readonly #evenMs = new Map<Copy, number>()
  readonly #goals = new Map<Copy, Goal>()

  /** Of a new master: those that are kept in sync have from now on to follow it. */
  begin(kept: readonly Copy[], nowMs: number): void {
    this.#evenMs.clear()
    this.#goals.clear()
    for (const copy of kept) this.#evenMs.set(copy, nowMs)
  }

  /** A copy has everything before `to`, while the master ends at `end`. */
  heard(copy: Copy, to: number, end: number, nowMs: number): void {
    const goal = this.#goals.get(copy)
    if (to >= end) this.#evenMs.set(copy, nowMs)
    else if (goal !== undefined && to >= goal.end) this.#evenMs.set(copy, goal.atMs)
    if (goal === undefined || to >= goal.end) this.#goals.set(copy, { end, atMs: nowMs })
  }

  forget(copy: Copy): void {
    this.#evenMs.delete(copy)
    this.#goals.delete(copy)
  }

  /** When it had all that there was then; -Infinity: never. */
  evenMs(copy: Copy): number {
    return this.#evenMs.get(copy) ?? Number.NEGATIVE_INFINITY
  }
}
