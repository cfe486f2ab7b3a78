// Requests that wait for their response: correlation by opaque, one timeout each, a bound on how
// many.
import { onAbort } from '../abort.ts'
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Command } from './command.ts'

/** As many as a Java client allows itself. */
const PENDING_REQUESTS_MAX = 65_535

interface Pending {
  readonly resolve: (response: Command) => void
  readonly reject: (error: unknown) => void
  readonly timer: Timer
  readonly callOff: (() => void) | undefined
}

export interface WaitOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Names the request and the peer in a timeout's message. */
  readonly what: string
}

export class PendingRequests {
  readonly #clock: Clock
  readonly #waiting = new Map<number, Pending>()
  #opaque = 0
  #answers = 0
  #isSilent = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#waiting.size
  }

  /** A request ran out of its time, and the peer has answered none since it went out. */
  get isSilent(): boolean {
    return this.#isSilent
  }

  has(opaque: number): boolean {
    return this.#waiting.has(opaque)
  }

  /** A free correlation id; i32 on the wire, so it wraps. */
  nextOpaque(): number {
    do this.#opaque = (this.#opaque + 1) | 0
    while (this.#waiting.has(this.#opaque))
    return this.#opaque
  }

  /** Rejects with TIMED_OUT, BUSY, the signal's reason, or what `failAll` was given. */
  wait(opaque: number, options: WaitOptions): Promise<Command> {
    const { signal } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#waiting.size >= PENDING_REQUESTS_MAX) {
      const text = `${PENDING_REQUESTS_MAX} requests wait already; slow down: ${options.what}`
      return Promise.reject(new BrokerError('BUSY', text))
    }
    const answers = this.#answers
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(options.timeoutMs, () => {
        this.#isSilent = this.#answers === answers
        const text = `no answer within ${options.timeoutMs} ms: ${options.what}`
        this.#take(opaque)?.reject(new BrokerError('TIMED_OUT', text))
      })
      const callOff = signal && onAbort(signal, () => this.#take(opaque)?.reject(signal.reason))
      this.#waiting.set(opaque, { resolve, reject, timer, callOff })
    })
  }

  /** False when no request waits for it (any more). */
  settle(response: Command): boolean {
    this.#answers++
    this.#isSilent = false
    const pending = this.#take(response.opaque)
    pending?.resolve(response)
    return pending !== undefined
  }

  failAll(error: BrokerError): void {
    for (const opaque of [...this.#waiting.keys()]) this.#take(opaque)?.reject(error)
  }

  #take(opaque: number): Pending | undefined {
    const pending = this.#waiting.get(opaque)
    if (pending === undefined) return undefined
    this.#waiting.delete(opaque)
    pending.timer.cancel()
    pending.callOff?.()
    return pending
  }
}
