// How long one turn of the event loop goes on handling what bulk connections sent, over all
// listeners of the process. A turn handles a chunk of every connection that has one; with many of
// them, short requests to the name server would wait for all. So what comes when the turn has had
// its time is kept, and handled in the turns that follow, each after the sockets were looked at
// again.
import { afterPromises, type Clock } from '../clock.ts'

const TURN_MS = 20
/** Of the chunks that are kept; beyond, they are handled at once all the same. */
const KEPT_BYTES_MAX = 16 * 1024 * 1024

export interface TurnBudgetOptions {
  readonly turnMs?: number
  readonly keptBytesMax?: number
  /**
   * The time that others use in the turn does not count: what comes is not kept because of them.
   */
  readonly countsOwnOnly?: boolean
}

interface Kept {
  readonly bytes: number
  readonly handle: () => void
}

export class TurnBudget {
  readonly #clock: Clock
  readonly #turnMs: number
  readonly #keptBytesMax: number
  readonly #countsOwnOnly: boolean
  /** The time that handling took in this turn, where only that counts. */
  #ownMs = 0
  /** When the first chunk of this turn came; undefined: none did. */
  #startedMs: number | undefined
  #line: Kept[] = []
  #bytes = 0
  #isScheduled = false

  constructor(clock: Clock, options: TurnBudgetOptions = {}) {
    this.#clock = clock
    this.#turnMs = options.turnMs ?? TURN_MS
    this.#keptBytesMax = options.keptBytesMax ?? KEPT_BYTES_MAX
    this.#countsOwnOnly = options.countsOwnOnly ?? false
  }

  /**
   * Is a chunk of so many bytes to be kept for a later turn? Asked for each, before it is handled.
   */
  isSpent(bytes: number): boolean {
    const now = this.#clock.monotonic()
    if (this.#startedMs === undefined) {
      this.#startedMs = now
      this.#ownMs = 0
      setImmediate(this.#endTurn)
    } else {
      const spentMs = this.#countsOwnOnly ? this.#ownMs : now - this.#startedMs
      const hasRoom = this.#bytes + bytes <= this.#keptBytesMax
      if (spentMs >= this.#turnMs && hasRoom) return true
    }
    if (this.#countsOwnOnly) {
      afterPromises(() => {
        this.#ownMs += this.#clock.monotonic() - now
      })
    }
    return false
  }

  /** Calls `handle` in a later turn, in the order in which this was called. */
  handleLater(bytes: number, handle: () => void): void {
    this.#line.push({ bytes, handle })
    this.#bytes += bytes
    if (this.#startedMs === undefined) this.#schedule()
  }

  readonly #endTurn = (): void => {
    this.#startedMs = undefined
    this.#schedule()
  }

  /**
   * Called at the end of a turn, this runs at the end of the next: the sockets are looked at in
   * between.
   */
  #schedule(): void {
    if (this.#isScheduled || this.#line.length === 0) return
    this.#isScheduled = true
    setImmediate(this.#serve)
  }

  readonly #serve = (): void => {
    this.#isScheduled = false
    const line = this.#line
    this.#line = []
    this.#serveFrom(line, 0, this.#clock.monotonic())
  }

  /**
   * The promise steps that one chunk of the line began are done before the time is checked for the
   * next chunk.
   */
  #serveFrom(line: readonly Kept[], at: number, startedMs: number): void {
    const kept = line[at]
    if (kept === undefined || (at > 0 && this.#clock.monotonic() - startedMs >= this.#turnMs)) {
      if (kept !== undefined) this.#line = [...line.slice(at), ...this.#line]
      this.#schedule()
      return
    }
    this.#bytes -= kept.bytes
    kept.handle()
    afterPromises(() => this.#serveFrom(line, at + 1, startedMs))
  }
}
