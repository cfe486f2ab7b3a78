// How far one copy is behind its master, as a time: a copy that takes frames while more are
// written never has all of them, and may be even all the same. It was even at the moment at which
// the master ended where the copy has come to since.

export class Pace {
  /** When it had all that there was then; -Infinity: never. */
  evenMs: number
  #goal: { readonly end: number; readonly atMs: number } | undefined

  constructor(evenMs = Number.NEGATIVE_INFINITY) {
    this.evenMs = evenMs
  }

  /** The copy has everything before `to`, while the master ends at `end`. */
  heard(to: number, end: number, nowMs: number): void {
    const goal = this.#goal
    if (to >= end) this.evenMs = nowMs
    else if (goal !== undefined && to >= goal.end) this.evenMs = goal.atMs
    if (goal === undefined || to >= goal.end) this.#goal = { end, atMs: nowMs }
  }
}
