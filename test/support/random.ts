// Random numbers from a seed, so that a failing run can be run again.

/** Another one in every run, printed; `TRIVET_SEED=n` runs that one again. */
export function freshSeed(t: { log(...values: unknown[]): void }): number {
  const seed = Number(process.env['TRIVET_SEED'] ?? Date.now() % 1_000_000)
  t.log(`TRIVET_SEED=${seed}`)
  return seed
}

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0
    for (let i = 0; i < 4; i++) this.#next()
  }

  /** 0 .. below-1. */
  int(below: number): number {
    return Math.floor((this.#next() / 4_294_967_296) * below)
  }

  chance(probability: number): boolean {
    return this.#next() < probability * 4_294_967_296
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.int(256)))
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(values.length)]!
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 15), z | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return (z ^ (z >>> 14)) >>> 0
  }
}
