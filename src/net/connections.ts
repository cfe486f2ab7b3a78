// The connections of one gateway: taken until it closes, then let go in order. Each may finish its
// work under way and take its last bytes, and a silent one is not waited for. So a stop is as quick
// as its live clients.
import type { Clock, Timer } from '../clock.ts'
import type { GatewaySocket } from '../port/gateway.ts'

/** A connection, as its gateway lets it go. */
export interface Leaving {
  /** Something it asked for is still being done here. */
  readonly isBusy: boolean
  /** Bytes on their way to the peer. */
  readonly unsentBytes: number
  /** The gateway closes: answers what came, takes no more, and says goodbye in its protocol. */
  shutDown(): void
  destroy(): void
}

/** A peer that neither closes its side nor takes a byte for so long is cut off. */
const SILENT_MS = 250
const LOOK_MS = 20

interface Seen {
  unsentBytes: number
  atMs: number
}

export class Connections<C extends Leaving> {
  readonly #clock: Clock
  readonly #open = new Set<C>()
  readonly #timers: Timer[] = []
  #accepted = 0
  #isClosing = false
  #allGone: (() => void) | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#open.size
  }

  [Symbol.iterator](): Iterator<C> {
    return this.#open.values()
  }

  /** Until the gateway closes. */
  every(everyMs: number, work: (nowMs: number) => void): void {
    this.#timers.push(this.#clock.every(everyMs, () => work(this.#clock.monotonic())))
  }

  /** `open` makes the connection, with a number of its own; that calls `gone` at its end. */
  accept(socket: GatewaySocket, open: (serial: number, gone: () => void) => C): void {
    if (this.#isClosing) {
      socket.destroy()
      return
    }
    const connection = open(++this.#accepted, () => {
      this.#open.delete(connection)
      if (this.#open.size === 0) this.#allGone?.()
    })
    this.#open.add(connection)
  }

  /**
   * Settles when every connection is gone: by itself, cut off for its silence, or at the deadline.
   */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true
    for (const timer of this.#timers) timer.cancel()
    if (this.#open.size === 0) return
    const gone = new Promise<void>((resolve) => {
      this.#allGone = resolve
    })
    for (const connection of this.#open) connection.shutDown()
    const startedMs = this.#clock.monotonic()
    const seen = new Map<Leaving, Seen>()
    for (const connection of this.#open) isSilent(connection, seen, startedMs)
    const looking = this.#clock.every(LOOK_MS, () => {
      const nowMs = this.#clock.monotonic()
      for (const connection of this.#open) {
        const isLate = nowMs - startedMs >= deadlineMs
        if (isLate || isSilent(connection, seen, nowMs)) connection.destroy()
      }
    })
    await gone
    looking.cancel()
  }
}

function isSilent(connection: Leaving, seen: Map<Leaving, Seen>, nowMs: number): boolean {
  const { unsentBytes, isBusy } = connection
  const last = seen.get(connection)
  if (last === undefined || isBusy || unsentBytes !== last.unsentBytes) {
    seen.set(connection, { unsentBytes, atMs: nowMs })
    return false
  }
  return nowMs - last.atMs >= SILENT_MS
}
