// A queue between a pusher and a caller that awaits. Its bound is the pusher's duty: readers push
// only what the prefetch allows, a status listener drops its oldest.

interface Waiter<T> {
  readonly resolve: (item: T | undefined) => void
  readonly reject: (reason: unknown) => void
}

export class Mailbox<T> {
  #items: T[] = []
  #waiters: Waiter<T>[] = []
  #end: { error: unknown } | undefined

  get size(): number {
    return this.#items.length
  }

  get ended(): boolean {
    return this.#end !== undefined
  }

  push(item: T): void {
    if (this.#end !== undefined) return
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#items.push(item)
    else waiter.resolve(item)
  }

  /** The oldest item, without waiting. */
  take(): T | undefined {
    return this.#items.shift()
  }

  /**
   * The oldest item; undefined after the end. Rejects with the end's error or the signal's reason.
   */
  next(signal?: AbortSignal): Promise<T | undefined> {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve(item)
    if (this.#end !== undefined) {
      const { error } = this.#end
      return error === undefined ? Promise.resolve(undefined) : Promise.reject(error)
    }
    if (signal?.aborted) return Promise.reject(signal.reason)
    return new Promise((resolve, reject) => {
      const stop = (): void => signal?.removeEventListener('abort', onAbort)
      const waiter: Waiter<T> = {
        resolve: (value) => {
          stop()
          resolve(value)
        },
        reject: (reason) => {
          stop()
          reject(reason)
        },
      }
      const onAbort = (): void => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter)
        waiter.reject(signal?.reason)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiters.push(waiter)
    })
  }

  /** Items pushed before are still handed out, then the end shows. The first end counts. */
  end(error?: unknown): void {
    if (this.#end !== undefined) return
    this.#end = { error }
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) {
      if (error === undefined) waiter.resolve(undefined)
      else waiter.reject(error)
    }
  }

  /** Takes out every item that no caller took. */
  clear(): T[] {
    const items = this.#items
    this.#items = []
    return items
  }
}
