// Gateways that have fallen silent, as another one sees it in one queue of the state topic. That
// they write no more is told by the queue's own times; that the queue itself was not away, by what
// this gateway has written there since.

/** A gateway that was silent so long, by the queue's own times, owns nothing any more. */
export const LEASE_MS = 20_000
/** Of this gateway, since the silent one was heard last. */
const OWN_BEATS = 3

interface Heard {
  atMs: number
  /** Of this gateway's beats by then. */
  beats: number
}

export class Silence {
  readonly #own: string
  readonly #heard = new Map<string, Heard>()
  #beats = 0

  constructor(own: string) {
    this.#own = own
  }

  /** A record of a gateway was read; `isBeat`: it is none but a sign of life. */
  heard(gateway: string, atMs: number, isBeat: boolean): void {
    if (isBeat && gateway === this.#own) this.#beats++
    this.#heard.set(gateway, { atMs, beats: this.#beats })
  }

  /** Those that have fallen silent since the last question; each is named once. */
  fallen(nowMs: number): readonly string[] {
    const fallen: string[] = []
    for (const [gateway, { atMs, beats }] of this.#heard) {
      if (nowMs - atMs <= LEASE_MS || this.#beats - beats < OWN_BEATS) continue
      fallen.push(gateway)
      this.#heard.delete(gateway)
    }
    return fallen
  }
}
