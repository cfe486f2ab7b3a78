// Large frames of peers that have not signed anything yet. A producer's first request may be its
// first message, signed and large, and a broker's its whole topic table; a few of those may come at
// a time, and each has to come soon, so that unauthenticated peers cannot make us keep much.
import type { Clock, Timer } from '../../clock.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { messageFrameBytes } from '../frame.ts'

const AT_ONCE_MAX = 4
const TIME_MS_MAX = 10_000

export class LargeFrames {
  readonly #clock: Clock
  readonly #coming = new Map<object, Timer>()

  /** The largest message with the longest header. */
  readonly #frameBytesMax: number

  constructor(clock: Clock, bodyBytesMax = BODY_BYTES_DEFAULT) {
    this.#clock = clock
    this.#frameBytesMax = messageFrameBytes(bodyBytesMax)
  }

  /** May the peer send a frame of so many bytes? `late` is called when it does not come in time. */
  admit(peer: object, bytes: number, late: () => void): boolean {
    if (bytes > this.#frameBytesMax) return false
    if (!this.#coming.has(peer) && this.#coming.size >= AT_ONCE_MAX) return false
    this.#coming.get(peer)?.cancel()
    this.#coming.set(peer, this.#clock.after(TIME_MS_MAX, late))
    return true
  }

  /** The frame came, or the peer went. */
  leave(peer: object): void {
    if (this.#coming.size === 0) return
    this.#coming.get(peer)?.cancel()
    this.#coming.delete(peer)
  }
}
