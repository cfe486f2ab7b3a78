// Runs tasks side by side, a bounded number at a time, and those of one lane strictly one after
// another in the order they came.

export class Lanes {
  readonly #concurrency: number
  readonly #ready: Task[] = []
  /**
   * Tasks that wait for an earlier one of their lane; a lane is here while one of its tasks runs or
   * is ready.
   */
  readonly #lanes = new Map<string, Task[]>()
  #running = 0
  #waiting = 0
  #idle: (() => void)[] = []

  constructor(concurrency: number) {
    this.#concurrency = concurrency
  }

  get pending(): number {
    return this.#running + this.#waiting
  }

  /** `run` must not reject; without a lane it waits for no other task's end. */
  add(lane: string | undefined, run: () => Promise<void>): void {
    const task = { lane, run }
    this.#waiting++
    const behind = lane === undefined ? undefined : this.#lanes.get(lane)
    if (behind !== undefined) {
      behind.push(task)
      return
    }
    if (lane !== undefined) this.#lanes.set(lane, [])
    this.#ready.push(task)
    this.#start()
  }

  /** Forgets what did not start; returns how many that were. */
  clear(): number {
    const dropped = this.#waiting
    this.#ready.length = 0
    this.#lanes.clear()
    this.#waiting = 0
    return dropped
  }

  /** Settles when nothing runs or waits. */
  async idle(): Promise<void> {
    if (this.pending > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  #start(): void {
    while (this.#running < this.#concurrency) {
      const task = this.#ready.shift()
      if (task === undefined) return
      this.#running++
      this.#waiting--
      void task.run().finally(() => this.#finish(task))
    }
  }

  #finish(task: Task): void {
    this.#running--
    if (task.lane !== undefined) {
      const behind = this.#lanes.get(task.lane)
      const next = behind?.shift()
      if (next !== undefined) this.#ready.push(next)
      else this.#lanes.delete(task.lane)
    }
    this.#start()
    if (this.pending > 0) return
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}

interface Task {
  readonly lane: string | undefined
  readonly run: () => Promise<void>
}
