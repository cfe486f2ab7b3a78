// A clock for parts that talk to each other through sockets: it runs, five times slower than the
// real one, so that what retries goes on, and a test can move it on.
import { FakeClock } from './fake-clock.ts'

const STEP_MS = 5
const SPEED = 0.2
/** Moved time passes in so many steps, between which what it brings about is done. */
const STEPS = 20

export class RunningClock extends FakeClock {
  #isMoved = false

  constructor() {
    super(Date.now())
  }

  override now(): number {
    return Math.floor(super.now())
  }

  /** Returns how to stop it. */
  run(): () => void {
    let before = performance.now()
    const timer = setInterval(() => {
      const now = performance.now()
      if (!this.#isMoved) this.advance((now - before) * SPEED)
      before = now
    }, STEP_MS)
    return () => clearInterval(timer)
  }

  async pass(ms: number): Promise<void> {
    this.#isMoved = true
    for (let step = 0; step < STEPS; step++) {
      await new Promise((resolve) => setTimeout(resolve, STEP_MS))
      this.advance(ms / STEPS)
    }
    await new Promise((resolve) => setTimeout(resolve, 4 * STEP_MS))
    this.#isMoved = false
  }
}
