// Before a subscription changes, what its light queue holds already is sent as the client had
// subscribed: the ends of the queues as they are now, and the wait until the stream has passed them
// or cannot go on.
import type { QueueOffset } from '../../../model/positions.ts'
import type { Broker } from '../../../port/broker.ts'
import { lightQueueOf, type Subscription } from '../session/subscriptions.ts'

/** A stream that is further behind is not waited for: the client's pings wait as well. */
export const CATCH_UP_BYTES_MAX = 8 * 1024 * 1024

export class CatchUp {
  readonly #broker: Pick<Broker, 'cursors' | 'identity'>
  #ends: ReadonlyMap<string, QueueOffset> | undefined
  #done: () => void = () => {}
  #bytesLeft = 0

  constructor(broker: Pick<Broker, 'cursors' | 'identity'>) {
    this.#broker = broker
  }

  /** Does a caller wait? */
  get isUnderWay(): boolean {
    return this.#ends !== undefined
  }

  /** One caller at a time. `begin` sets the stream going. */
  async wait(subscriptions: readonly Subscription[], begin: () => void): Promise<void> {
    const ends = new Map<string, QueueOffset>()
    for (const { text, queue } of subscriptions) {
      const end = await this.#endOf(queue)
      if (end !== undefined) ends.set(text, end)
    }
    if (ends.size === 0) return
    await new Promise<void>((resolve) => {
      this.#ends = ends
      this.#bytesLeft = CATCH_UP_BYTES_MAX
      this.#done = resolve
      begin()
    })
  }

  /** The stream has brought so many bytes more. */
  brought(bytes: number): void {
    if (this.#ends === undefined) return
    this.#bytesLeft -= bytes
    if (this.#bytesLeft < 0) this.end()
  }

  /**
   * `next`: the offset each subscription, by its text, reads next. `isStuck`: nothing can be sent
   * now.
   */
  look(next: Iterable<readonly [text: string, offset: QueueOffset]>, isStuck: boolean): void {
    if (this.#ends === undefined) return
    if (!isStuck) {
      for (const [text, offset] of next) {
        const end = this.#ends.get(text)
        if (end !== undefined && offset < end) return
      }
    }
    this.end()
  }

  /** The stream has ended, or a queue cannot be read: the caller goes on without it. */
  end(): void {
    this.#ends = undefined
    this.#done()
  }

  async #endOf(queue: string): Promise<QueueOffset | undefined> {
    try {
      return (await this.#broker.cursors.range(lightQueueOf(this.#broker, queue))).maxOffset
    } catch {
      // The queue is gone, so nothing of it can be sent.
      return undefined
    }
  }
}
