// The event loop and the thread pool of a simulation: what is due at the end of the turn keeps its
// order, what the pool does finishes in any order, and the seed decides what comes next.
import type { Random } from '../random.ts'

export class SimulatedTurns {
  readonly #random: Random
  #turn: (() => void)[] = []
  #pool: (() => void)[] = []

  constructor(random: Random) {
    this.#random = random
  }

  readonly endOfTurn = (fn: () => void): void => {
    this.#turn.push(fn)
  }

  readonly inPool = (fn: () => void): void => {
    this.#pool.push(fn)
  }

  /** Runs one thing that is due. @returns false when there is none */
  step(): boolean {
    const isTurn = this.#turn.length > 0 && (this.#pool.length === 0 || this.#random.chance(0.5))
    if (isTurn) {
      this.#turn.shift()!()
      return true
    }
    if (this.#pool.length === 0) return false
    const index = this.#random.int(this.#pool.length)
    this.#pool.splice(index, 1)[0]!()
    return true
  }

  /** Runs until nothing is due. */
  settle(): void {
    for (let i = 0; this.step(); i++) {
      if (i > 100_000) throw new Error('the simulation never comes to rest')
    }
  }

  /** The process is gone, and with it all that was due. */
  drop(): void {
    this.#turn = []
    this.#pool = []
  }
}
