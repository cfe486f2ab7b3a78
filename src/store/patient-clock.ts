// The present, for what cannot be undone. A wall clock that jumps ahead may be wrong for a moment,
// and all that is kept would be too old at once: it is believed when it has said so for an hour. A
// clock that goes back is believed at once, for then things only stay longer.
import type { Clock } from '../clock.ts'

const BELIEVED_AFTER_MS = 3_600_000
/** Further ahead than this at one look is a jump. */
const JUMP_MS = 60_000

export class PatientClock {
  readonly #clock: Clock
  /** By how much the wall clock is believed to be ahead of the monotonic one. */
  #aheadMs: number
  /** Monotonic time since which the wall clock says more. */
  #doubtedSinceMs: number | undefined

  /** `lastMs`: what the clock said last, before this process; undefined = not known. */
  constructor(clock: Clock, lastMs: number | undefined) {
    this.#clock = clock
    const nowMs = clock.now()
    const isJump = lastMs !== undefined && nowMs - lastMs > BELIEVED_AFTER_MS
    this.#aheadMs = (isJump ? lastMs : nowMs) - clock.monotonic()
  }

  now(): number {
    const monotonicMs = this.#clock.monotonic()
    const aheadMs = this.#clock.now() - monotonicMs
    if (aheadMs - this.#aheadMs <= JUMP_MS) {
      this.#aheadMs = aheadMs
      this.#doubtedSinceMs = undefined
      return monotonicMs + aheadMs
    }
    this.#doubtedSinceMs ??= monotonicMs
    if (monotonicMs - this.#doubtedSinceMs >= BELIEVED_AFTER_MS) {
      this.#aheadMs = aheadMs
      this.#doubtedSinceMs = undefined
    }
    return monotonicMs + this.#aheadMs
  }
}
