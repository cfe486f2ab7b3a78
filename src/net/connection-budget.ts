// The connections that all listeners of a process may have together, which the limit of open files
// bounds. Each listener has a small reserve of its own, so that one that is flooded leaves room for
// operators on the others; the rest goes to those that need it.

/** Of each listener. */
const RESERVE_MAX = 256
/** And no more than this share of all. */
const RESERVE_SHARE = 1 / 20

export class ConnectionBudget {
  readonly #total: number
  readonly #reserve: number
  readonly #shared: number
  readonly #open = new Map<string, number>()
  /** Beyond the reserves. */
  #sharedOpen = 0

  /** @param listeners how many there are */
  constructor(total: number, listeners: number) {
    this.#total = total
    this.#reserve = Math.max(1, Math.min(RESERVE_MAX, Math.floor(total * RESERVE_SHARE)))
    this.#shared = Math.max(0, total - listeners * this.#reserve)
  }

  get total(): number {
    return this.#total
  }

  /** Whether the listener may have one more; if so it counts from now on. */
  take(listener: string): boolean {
    const open = this.#open.get(listener) ?? 0
    if (open >= this.#reserve) {
      if (this.#sharedOpen >= this.#shared) return false
      this.#sharedOpen++
    }
    this.#open.set(listener, open + 1)
    return true
  }

  give(listener: string): void {
    const open = this.#open.get(listener) ?? 0
    if (open > this.#reserve) this.#sharedOpen--
    this.#open.set(listener, open - 1)
  }
}
