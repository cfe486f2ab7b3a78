// One outcome that several callers wait for, each until its signal is aborted. A caller that leaves
// is forgotten; `abandoned` is called when the last one leaves before the outcome is there.

interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
  readonly signal: AbortSignal | undefined
  readonly onAbort: (() => void) | undefined
}

export class SharedOutcome<T> {
  readonly #abandoned: () => void
  readonly #waiting = new Set<Waiting<T>>()

  /** @param abandoned called each time when the last one that waits has gone */
  constructor(abandoned: () => void) {
    this.#abandoned = abandoned
  }

  /** Rejects with the signal's reason when that is aborted first. */
  wait(signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const onAbort = signal && (() => this.#gone(waiting))
      const waiting: Waiting<T> = { resolve, reject, signal, onAbort }
      if (onAbort !== undefined) signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiting)
    })
  }

  resolve(value: T): void {
    for (const waiting of this.#leave()) waiting.resolve(value)
  }

  reject(error: unknown): void {
    for (const waiting of this.#leave()) waiting.reject(error)
  }

  #gone(waiting: Waiting<T>): void {
    this.#waiting.delete(waiting)
    waiting.reject(waiting.signal?.reason)
    if (this.#waiting.size === 0) this.#abandoned()
  }

  #leave(): readonly Waiting<T>[] {
    const all = [...this.#waiting]
    this.#waiting.clear()
    for (const { signal, onAbort } of all) {
      if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
    }
    return all
  }
}
