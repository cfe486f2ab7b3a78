// Work put off to the end of the event-loop turn, so that each connection writes to its socket
// once.

export interface Flushable {
  flush(): void
}

export class TurnEnd {
  #waiting: Flushable[] = []
  #isScheduled = false
  readonly #run = (): void => {
    this.#isScheduled = false
    const waiting = this.#waiting
    this.#waiting = []
    for (const one of waiting) one.flush()
  }

  /** The caller sees to it that it is not in twice. */
  add(one: Flushable): void {
    this.#waiting.push(one)
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#run)
  }
}
