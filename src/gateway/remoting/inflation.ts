// Inflating of compressed bodies, with a bound on what one turn of the event loop does of it: a few
// bytes may be thousands when they are inflated, and a chunk may bring hundreds of such bodies.
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { inflateBy, type Method } from '../../remoting/inflate/inflate.ts'

/** Of the bodies that are looked at in one turn together: about 5 ms each MiB of zlib. */
const INFLATED_BYTES_MAX = 8 * 1024 * 1024
/** From then on, what is behind a request waits for another turn. */
const ENOUGH_BYTES = 2 * 1024 * 1024
/** Of a byte, beside one of zlib. */
const COSTS: Readonly<Record<Method, number>> = { zlib: 1, LZ4: 2, Zstandard: 6 }
/** The least that one body counts for: zlib's own state is made anew for each. */
const INFLATING_BYTES_MIN = 8 * 1024

export class Inflation {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax = INFLATED_BYTES_MAX) {
    this.#bytesMax = bytesMax
  }

  /** A new turn. */
  reset(): void {
    this.#bytes = 0
  }

  /** Is it time for others? The request under way may bring more, a batch for example. */
  get isEnough(): boolean {
    return this.#bytes >= ENOUGH_BYTES
  }

  /** What one more body may have; the first of a turn has no cost. */
  #left(cost: number): number {
    return this.#bytes === 0 ? this.#bytesMax : Math.floor((this.#bytesMax - this.#bytes) / cost)
  }

  /**
   * undefined: it is larger than a body may be, or than the default of that, or the turn has had
   * its share.
   * @throws BrokerError MESSAGE_INVALID for a body that is not compressed so
   */
  inflate(method: Method, body: Uint8Array, bodyBytesMax = BODY_BYTES_DEFAULT): Buffer | undefined {
    const cost = COSTS[method]
    const left = this.#left(cost)
    if (left < INFLATING_BYTES_MIN) return undefined
    const bytesMax = Math.min(bodyBytesMax, BODY_BYTES_DEFAULT, left)
    let bytes = bytesMax
    try {
      const inflated = inflateBy(method, body, bytesMax)
      bytes = inflated?.length ?? bytesMax
      return inflated
    } catch (cause) {
      const { message } = cause as Error
      throw new BrokerError(
        'MESSAGE_INVALID',
        `the message says that its body is compressed with ${method}, and it cannot be inflated: ${message}`,
        { cause },
      )
    } finally {
      this.#bytes += Math.max(INFLATING_BYTES_MIN, bytes) * cost
    }
  }
}
