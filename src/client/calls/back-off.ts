// How long to wait before trying again: doubling from a first delay up to a longest one, with a
// random part so that many clients of a broker that came back do not all arrive in the same moment.

export class BackOff {
  readonly #firstMs: number
  readonly #longestMs: number
  readonly #random: () => number
  #attempts = 0

  constructor(firstMs: number, longestMs: number, random: () => number = Math.random) {
    this.#firstMs = firstMs
    this.#longestMs = longestMs
    this.#random = random
  }

  /** Between half of the current step and all of it. */
  nextMs(): number {
    const step = Math.min(this.#longestMs, this.#firstMs * 2 ** Math.min(this.#attempts, 30))
    this.#attempts++
    return step * (0.5 + this.#random() / 2)
  }

  reset(): void {
    this.#attempts = 0
  }
}
