// Tables of brokers on their way in: one is read at a time, in the order in which they came, so
// that they do not fill the memory together, nor overtake one another. Knows nothing of what is in
// them.
import { BrokerError } from '../errors.ts'

/** Of all that wait; a broker that is told so tries again. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024

export class Registrations {
  readonly #bytesMax: number
  #bytes = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(bytesMax = WAITING_BYTES_MAX) {
    this.#bytesMax = bytesMax
  }

  /** @throws BrokerError BUSY */
  async run<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax) {
      throw new BrokerError(
        'BUSY',
        `registrations of ${this.#bytes} bytes wait already; ${this.#bytesMax} is the most`,
      )
    }
    this.#bytes += bytes
    const mine = this.#last.then(work)
    this.#last = mine.catch(() => {})
    try {
      return await mine
    } finally {
      this.#bytes -= bytes
    }
  }
}
