// Calls of the disk that go to the thread pool because one on the event loop's own thread was slow:
// so many of the next, and twice as many each time that it happens again. Which calls may be on the
// loop's thread at all, and what is slow, is for the callers to say.

export class Pooled {
  readonly #min: number
  readonly #max: number
  #left = 0
  #next: number

  /** Calls: after the first slow one, and however often it happens. */
  constructor(min: number, max: number) {
    this.#min = min
    this.#max = max
    this.#next = min
  }

  /** Is the next call one of them? Asked once for each. */
  takes(): boolean {
    if (this.#left === 0) return false
    this.#left--
    return true
  }

  /** One on the loop's thread was slow. */
  begin(): void {
    this.#left = this.#next
    this.#next = Math.min(this.#max, this.#next * 2)
  }

  /** Several in a row were quick: the next slow one costs half. */
  halve(): void {
    this.#next = Math.max(this.#min, this.#next / 2)
  }
}
