// Work that takes several steps on something named by a client: for one name one after the other, in the order
// in which it was asked for, so that no step of another comes between.
export class Exclusive {
  /** The end of the last work on each name. */
  readonly #last = new Map<string, Promise<unknown>>()

  async run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(name) ?? Promise.resolve()
    const mine = before.then(work)
    const over = mine.catch(() => {})
    this.#last.set(name, over)
    try {
      return await mine
    } finally {
      if (this.#last.get(name) === over) this.#last.delete(name)
    }
  }

  /** What was asked for so far is over. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values())
  }
}
