// How many wrong proofs (passwords, signatures) came lately by one key (an address, a name), and
// how long its next check or answer has to wait. The first ones are free, for people mistype and
// fleets are misconfigured; each comes back after a while.
import type { Clock } from '../clock.ts'

/** Wrong proofs that cost nothing. */
const FREE = 20
/** One of them is forgiven after this. */
const FORGIVEN_MS = 3_000
/** Each failure beyond adds this to the pause before the next check. */
const STEP_MS = 250
const PAUSE_MS_MAX = 5_000
/** Keys that are remembered; beyond, the one that failed longest ago is forgotten. */
const KEYS_MAX = 10_000

interface Failures {
  readonly count: number
  readonly atMs: number
}

export class FailureBudget {
  readonly #clock: Clock
  /** Last failed last. */
  readonly #failures = new Map<string, Failures>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  failed(key: string): void {
    const count = Math.min(this.count(key) + 1, FREE + PAUSE_MS_MAX / STEP_MS)
    this.#failures.delete(key)
    this.#failures.set(key, { count, atMs: this.#clock.monotonic() })
    if (this.#failures.size <= KEYS_MAX) return
    const oldest = this.#failures.keys().next()
    if (!oldest.done) this.#failures.delete(oldest.value)
  }

  /** The failures that are not forgiven yet. */
  count(key: string): number {
    const known = this.#failures.get(key)
    if (known === undefined) return 0
    return Math.max(0, known.count - (this.#clock.monotonic() - known.atMs) / FORGIVEN_MS)
  }

  /** When the next check may run, monotonic ms. */
  readyMs(key: string): number {
    const over = this.count(key) - FREE
    if (over <= 0) return 0
    return this.#failures.get(key)!.atMs + Math.min(PAUSE_MS_MAX, over * STEP_MS)
  }
}
