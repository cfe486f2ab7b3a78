// Work that takes several steps on something named by a client: for one name one after the other,
// in the order in which it was asked for, so that no step of another comes between. What is not
// wanted any more leaves the line.

export class Exclusive {
  /** Behind the work that is under way on each name: what starts those that wait. */
  readonly #lines = new Map<string, Set<() => void>>()

  /** Rejects with the signal's reason when that is aborted before the work's turn comes. */
  async run<T>(name: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const line = this.#lines.get(name)
    if (line === undefined) this.#lines.set(name, new Set())
    await (line && turnIn(line, signal))
    try {
      return await work()
    } finally {
      this.#next(name)
    }
  }

  /** Settles when all work asked for so far is done. */
  async idle(): Promise<void> {
    await Promise.all([...this.#lines.keys()].map((name) => this.run(name, async () => {})))
  }

  #next(name: string): void {
    const line = this.#lines.get(name)!
    const first = line.values().next()
    if (first.done) {
      this.#lines.delete(name)
      return
    }
    line.delete(first.value)
    first.value()
  }
}

const turnIn = (line: Set<() => void>, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const start = (): void => {
      signal?.removeEventListener('abort', leave)
      resolve()
    }
    const leave = (): void => {
      line.delete(start)
      reject(signal?.reason)
    }
    line.add(start)
    signal?.addEventListener('abort', leave, { once: true })
  })
