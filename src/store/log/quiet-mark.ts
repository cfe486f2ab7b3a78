// When a log went quiet: that is the moment to write down what it knows and no record says, what is
// synced and how far replicas have confirmed it.
import type { Clock, Timer } from '../../clock.ts'

/** A log is quiet so long after a frame. */
const QUIET_MS = 1000
/** How often a master notes how far replicas have confirmed its log. */
const CONFIRMED_NOTE_MS = 10_000

export interface QuietMarkOptions {
  readonly clock: Clock
  readonly confirmedTo: () => number
  readonly mark: () => void
}

export class QuietMark {
  readonly #options: QuietMarkOptions
  #timer: Timer | undefined
  #notedMs: number
  #noted: number

  constructor(options: QuietMarkOptions) {
    this.#options = options
    this.#notedMs = options.clock.monotonic()
    this.#noted = options.confirmedTo()
  }

  /** A frame was acknowledged. */
  later(): void {
    const { clock, mark } = this.#options
    this.#timer ??= clock.after(QUIET_MS, () => {
      this.#timer = undefined
      mark()
    })
  }

  /** Is what replicas have confirmed to be noted once more? Then it counts as noted. */
  takeConfirmed(): boolean {
    const { clock, confirmedTo } = this.#options
    const nowMs = clock.monotonic()
    const confirmed = confirmedTo()
    if (nowMs - this.#notedMs < CONFIRMED_NOTE_MS || confirmed === this.#noted) return false
    this.#notedMs = nowMs
    this.#noted = confirmed
    return true
  }

  close(): void {
    this.#timer?.cancel()
  }
}
