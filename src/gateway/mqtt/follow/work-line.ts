// The work of all followed queues, held to so much a turn: messages that are handed out, sessions
// that are told of it, and reads for sessions that are behind.
import type { StreamReader } from '../deliver/stream.ts'

/** Messages and sessions they go to, in one turn of the event loop. */
const TURN_WORK_MAX = 2_048
/** What one queue has of that before the next one. */
const QUEUE_WORK_MAX = 256
/** Reads for sessions that are behind; each may bring a batch. */
const LOADS_AT_ONCE_MAX = 32

/** A queue with messages at hand. */
interface HandingOut {
  /** Until so much work is done; answers how much it was. */
  handOut(workMax: number): number
  readonly isHandedOut: boolean
}

export class WorkLine {
  #queues: HandingOut[] = []
  readonly #woken = new Set<StreamReader>()
  #work = 0
  #isTurnCounted = false
  #isHandingOut = false
  readonly #loads: (() => Promise<void>)[] = []
  #loading = 0

  /** The queue has messages at hand. */
  handOut(queue: HandingOut): void {
    this.#queues.push(queue)
    if (!this.#isHandingOut) this.#run()
  }

  /** The session is told once what is being handed out is with all that it goes to. */
  wake(reader: StreamReader): void {
    this.#woken.add(reader)
  }

  load(load: () => Promise<void>): void {
    this.#loads.push(load)
    this.#startLoads()
  }

  #run(): void {
    this.#isHandingOut = true
    while (this.#queues.length > 0 && this.#work < TURN_WORK_MAX) {
      const queue = this.#queues.shift()!
      this.#work += queue.handOut(QUEUE_WORK_MAX)
      if (!queue.isHandedOut) this.#queues.push(queue)
    }
    this.#isHandingOut = false
    if (!this.#isTurnCounted) {
      this.#isTurnCounted = true
      setImmediate(() => this.#endTurn())
    }
    for (const reader of this.#woken) {
      this.#woken.delete(reader)
      reader.streamMoved()
    }
  }

  #endTurn(): void {
    this.#isTurnCounted = false
    this.#work = 0
    if (this.#queues.length > 0) this.#run()
  }

  #startLoads(): void {
    while (this.#loading < LOADS_AT_ONCE_MAX && this.#loads.length > 0) {
      this.#loading++
      void this.#loads.shift()!().then(() => {
        this.#loading--
        this.#startLoads()
      })
    }
  }
}
