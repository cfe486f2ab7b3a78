// The consumers that hold messages of one group, by the id each gives with its receives. What a
// lost consumer held does not all count as failed: only what it was working on, as far as the
// broker can tell.
import type { Holder } from './unsettled.ts'

const SWEPT_FROM = 64

export class Holders {
  readonly #byId = new Map<string, Holder>()
  #sweepAt = SWEPT_FROM

  /** Those that hold nothing are forgotten when the table has doubled. */
  of(id: string): Holder {
    let holder = this.#byId.get(id)
    if (holder === undefined) {
      if (this.#byId.size >= this.#sweepAt) this.#sweep()
      holder = { id, held: 0, suspect: undefined }
      this.#byId.set(id, holder)
    }
    return holder
  }

  #sweep(): void {
    for (const [id, { held }] of this.#byId) if (held === 0) this.#byId.delete(id)
    this.#sweepAt = Math.max(SWEPT_FROM, 2 * this.#byId.size)
  }
}
