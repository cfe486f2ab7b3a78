// Before a subscription changes, what its light queue holds already is sent as the client had
// subscribed: the wait until the stream has passed the ends of its queues or cannot go on.
import type { QueueOffset } from '../../../model/positions.ts'
import type { Progress } from './stream.ts'

/** A stream that is further behind is not waited for: the client's pings wait as well. */
export const CATCH_UP_BYTES_MAX = 8 * 1024 * 1024

export class CatchUp {
  /** Those that are not passed. */
  #ends: Map<Progress, QueueOffset> | undefined
  #done: () => void = () => {}
  #bytesLeft = 0

  /** Does a caller wait? */
  get isUnderWay(): boolean {
    return this.#ends !== undefined
  }

  /** One caller at a time. `begin` sets the stream going. */
  async wait(ends: Map<Progress, QueueOffset>, begin: () => void): Promise<void> {
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

  /** `isStuck`: nothing can be sent now. */
  look(isStuck: boolean): void {
    if (this.#ends === undefined) return
    if (!isStuck) {
      for (const [place, end] of this.#ends) {
        if (place.next < end) return
        this.#ends.delete(place)
      }
    }
    this.end()
  }

  /** The stream has ended, or a queue cannot be read: the caller goes on without it. */
  end(): void {
    this.#ends = undefined
    this.#done()
  }
}
