// The received bytes of frames that are not whole yet, of all peers together. Each may be as large
// as a frame can be, so beyond a sum the oldest is given up: an honest one is whole soon. To refuse
// the newest would let peers that never send the rest keep out all others.

const BYTES_MAX = 256 * 1024 * 1024

/**
 * A first command that is large comes no faster than its client's link: each received byte adds to
 * the time that the command has, as if the link took 256 kbit/s.
 */
export const PARTIAL_BYTES_PER_MS = 32

interface PartialFrame {
  readonly bytes: number
  readonly drop: () => void
}

export class PartialFrames {
  readonly #bytesMax: number
  /** By peer, the oldest first. */
  readonly #frames = new Map<object, PartialFrame>()
  #bytes = 0

  constructor(bytesMax = BYTES_MAX) {
    this.#bytesMax = bytesMax
  }

  /** The peer's frame takes so many bytes now; 0 = it is whole, or let go. `drop` ends the peer. */
  hold(peer: object, bytes: number, drop: () => void): void {
    this.#bytes += bytes - (this.#frames.get(peer)?.bytes ?? 0)
    if (bytes === 0) this.#frames.delete(peer)
    else this.#frames.set(peer, { bytes, drop })
    for (const [oldest, frame] of this.#frames) {
      if (this.#bytes <= this.#bytesMax) return
      this.#frames.delete(oldest)
      this.#bytes -= frame.bytes
      frame.drop()
    }
  }
}
