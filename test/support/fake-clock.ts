// A clock that stands still until a test advances it; timers fire in order of their time.
import type { Clock, Timer } from '../../src/clock.ts'

interface Pending {
  dueMs: number
  readonly serial: number
  readonly periodMs: number | undefined
  readonly fn: () => void
}

export class FakeClock implements Clock {
  #monotonicMs = 0
  #wallMs: number
  #serial = 0
  readonly #pending = new Set<Pending>()

  constructor(wallMs = 1_700_000_000_000) {
    this.#wallMs = wallMs
  }

  now(): number {
    return this.#wallMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  /** Its loop does nothing but wait. */
  idle(): number {
    return this.#monotonicMs
  }

  events(): number {
    return 0
  }

  after(delayMs: number, fn: () => void): Timer {
    return this.#arm(delayMs, undefined, fn)
  }

  every(periodMs: number, fn: () => void): Timer {
    if (!(periodMs > 0)) throw new RangeError(`a period of ${periodMs} ms never ends`)
    return this.#arm(periodMs, periodMs, fn)
  }

  /** Timers that have not fired or been cancelled. */
  get pending(): number {
    return this.#pending.size
  }

  /** Moves time on and fires every timer on the way, each at its own time. Synchronous. */
  advance(byMs: number): void {
    const untilMs = this.#monotonicMs + byMs
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.#move(Math.max(next.dueMs, this.#monotonicMs))
      if (next.periodMs === undefined) this.#pending.delete(next)
      else next.dueMs += next.periodMs
      next.fn()
    }
    this.#move(untilMs)
  }

  /**
   * As `advance`, with a turn of the event loop for promises and sockets before and after each
   * timer.
   */
  async advanceAsync(byMs: number): Promise<void> {
    const untilMs = this.#monotonicMs + byMs
    await turn()
    for (let next = this.#next(untilMs); next !== undefined; next = this.#next(untilMs)) {
      this.advance(Math.max(0, next.dueMs - this.#monotonicMs))
      await turn()
    }
    this.#move(Math.max(untilMs, this.#monotonicMs))
    await turn()
  }

  /** The wall clock jumps; monotonic time and timers do not notice. */
  jump(byMs: number): void {
    this.#wallMs += byMs
  }

  #arm(delayMs: number, periodMs: number | undefined, fn: () => void): Timer {
    const dueMs = this.#monotonicMs + Math.max(0, delayMs)
    const pending: Pending = { dueMs, serial: this.#serial++, periodMs, fn }
    this.#pending.add(pending)
    return {
      cancel: () => {
        this.#pending.delete(pending)
      },
    }
  }

  #next(untilMs: number): Pending | undefined {
    let first: Pending | undefined
    for (const pending of this.#pending) {
      if (pending.dueMs > untilMs) continue
      if (
        first === undefined ||
        pending.dueMs < first.dueMs ||
        (pending.dueMs === first.dueMs && pending.serial < first.serial)
      ) {
        first = pending
      }
    }
    return first
  }

  #move(toMs: number): void {
    this.#wallMs += toMs - this.#monotonicMs
    this.#monotonicMs = toMs
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
