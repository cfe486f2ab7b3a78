// How many deliveries of one connection the peer has and has not settled, over all its sessions and
// links. One disposition may settle all of them, and the end of the connection gives all of them
// back, in one turn of the event loop; so with too many nothing more is sent.
import { UNSETTLED_PER_CONNECTION_MAX, UNSETTLED_PER_CONNECTION_RESUMED } from '../limits.ts'

export class UnsettledBudget {
  readonly #onRoom: () => void
  #count = 0
  #hasRoom = true

  /**
   * `onRoom`: links that were held back may send again. Called within `give`, so not the place to
   * send.
   */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom
  }

  /**
   * May another one be sent? Once used up, not before there is room for all links and not only for
   * the quickest.
   */
  get hasRoom(): boolean {
    return this.#hasRoom
  }

  take(): void {
    if (++this.#count >= UNSETTLED_PER_CONNECTION_MAX) this.#hasRoom = false
  }

  give(count: number): void {
    this.#count -= count
    if (this.#hasRoom || this.#count > UNSETTLED_PER_CONNECTION_RESUMED) return
    this.#hasRoom = true
    this.#onRoom()
  }
}
