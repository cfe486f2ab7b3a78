// Events of a client beside the answers to its calls. Background failures end here (and, when they
// are final, in the iterator or handler they belong to), never in an unhandled rejection.
import type { BrokerError } from '../../errors.ts'
import { Mailbox } from './mailbox.ts'

export type Status =
  | { readonly type: 'connected'; readonly address: string }
  | { readonly type: 'disconnected'; readonly address: string; readonly error: BrokerError }
  /**
   * A broker that was used cannot be reached, since `sinceMs` (epoch ms): sends go on at others,
   * what it holds waits there. Said once; a new listener hears it of those that are away already.
   */
  | {
      readonly type: 'unreachable'
      readonly broker: string
      readonly address: string
      readonly sinceMs: number
      readonly error: BrokerError
    }
  /** It is back; `sinceMs` is when it went. */
  | {
      readonly type: 'reachable'
      readonly broker: string
      readonly address: string
      readonly sinceMs: number
    }
  /** A consumer cannot read from a broker; tried again after `delayMs`. */
  | {
      readonly type: 'reconnecting'
      readonly broker: string
      readonly error: BrokerError
      readonly delayMs: number
    }
  /** A consumer waits for a topic that does not exist yet, or for a broker that has it. */
  | { readonly type: 'waiting'; readonly topic: string; readonly error: BrokerError }
  /** Which queues of a topic this member of the group reads now. */
  | {
      readonly type: 'assigned'
      readonly group: string
      readonly topic: string
      readonly queues: readonly string[]
    }
  /** Something in the background failed and will be tried again. */
  | { readonly type: 'error'; readonly error: BrokerError }
  | { readonly type: 'closed' }

/** A listener that does not keep up loses the oldest first. */
const KEPT_PER_LISTENER_MAX = 256

export class StatusFeed {
  readonly #listeners = new Set<StatusListener>()
  #closed = false

  emit(status: Status): void {
    for (const listener of this.#listeners) listener.push(status)
  }

  /** Every listener gets a last 'closed' and ends. */
  close(): void {
    if (this.#closed) return
    this.emit({ type: 'closed' })
    this.#closed = true
    for (const listener of this.#listeners) listener.end()
    this.#listeners.clear()
  }

  /** From now on, after what lasts already, until the client is closed or the loop left. */
  listen(lasting: readonly Status[] = []): AsyncIterableIterator<Status> {
    const listener = new StatusListener(() => this.#listeners.delete(listener))
    if (this.#closed) listener.end()
    else this.#listeners.add(listener)
    for (const status of lasting) listener.push(status)
    return listener
  }
}

class StatusListener implements AsyncIterableIterator<Status> {
  readonly #kept = new Mailbox<Status>()
  readonly #left: () => void

  constructor(left: () => void) {
    this.#left = left
  }

  push(status: Status): void {
    if (this.#kept.size === KEPT_PER_LISTENER_MAX) this.#kept.take()
    this.#kept.push(status)
  }

  end(): void {
    this.#kept.end()
  }

  async next(): Promise<IteratorResult<Status>> {
    const value = await this.#kept.next()
    return value === undefined ? { done: true, value } : { done: false, value }
  }

  async return(): Promise<IteratorResult<Status>> {
    this.#left()
    this.#kept.clear()
    this.#kept.end()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
