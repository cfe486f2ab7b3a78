// Time of a simulation: things happen one after the other at the times that they were planned for,
// and clocks run at their own rates. A machine that is stopped does what it missed when it goes on.
import type { Clock, Timer } from '../../../src/clock.ts'

interface Planned {
  readonly atMs: number
  readonly serial: number
  readonly fn: () => void
}

/** So far promises get on between two things that happen. */
const TICKS = 40

export class VirtualTime {
  #nowMs = 0
  #serial = 0
  #planned: Planned[] = []

  get nowMs(): number {
    return this.#nowMs
  }

  at(delayMs: number, fn: () => void): Planned {
    const planned = { atMs: this.#nowMs + Math.max(0, delayMs), serial: this.#serial++, fn }
    let at = this.#planned.length
    while (at > 0 && this.#planned[at - 1]!.atMs > planned.atMs) at--
    this.#planned.splice(at, 0, planned)
    return planned
  }

  forget(planned: Planned): void {
    const at = this.#planned.indexOf(planned)
    if (at !== -1) this.#planned.splice(at, 1)
  }

  /** Does what is planned for the time until then, and lets promises get on after each. */
  async run(forMs: number, after: () => void): Promise<void> {
    const untilMs = this.#nowMs + forMs
    while ((this.#planned[0]?.atMs ?? Number.POSITIVE_INFINITY) <= untilMs) {
      const { atMs, fn } = this.#planned.shift()!
      this.#nowMs = atMs
      fn()
      for (let i = 0; i < TICKS; i++) await undefined
      after()
    }
    this.#nowMs = untilMs
  }
}

/** The clock of one machine. */
export class MachineClock implements Clock {
  readonly #time: VirtualTime
  readonly #rate: number
  /** Until when the machine is stopped. */
  stoppedUntilMs = 0
  /** Timers of a process that died fire no more. */
  isDead = false

  constructor(time: VirtualTime, rate: number) {
    this.#time = time
    this.#rate = rate
  }

  now(): number {
    return this.monotonic()
  }

  monotonic(): number {
    return this.#time.nowMs * this.#rate
  }

  idle(): number {
    return 0
  }

  events(): number {
    return 0
  }

  after(delayMs: number, fn: () => void): Timer {
    return this.#arm(delayMs, fn, false)
  }

  every(periodMs: number, fn: () => void): Timer {
    return this.#arm(periodMs, fn, true)
  }

  #arm(delayMs: number, fn: () => void, isRepeated: boolean): Timer {
    let isCancelled = false
    const plan = (leftMs: number) => this.#time.at(leftMs, fire)
    const fire = (): void => {
      if (isCancelled || this.isDead) return
      if (this.stoppedUntilMs > this.#time.nowMs) {
        planned = plan(this.stoppedUntilMs - this.#time.nowMs)
        return
      }
      if (isRepeated) planned = plan(delayMs / this.#rate)
      fn()
    }
    let planned = plan(delayMs / this.#rate)
    return {
      cancel: () => {
        isCancelled = true
        this.#time.forget(planned)
      },
    }
  }
}
