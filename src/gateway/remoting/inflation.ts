// Inflating of compressed bodies, with a bound on what one turn of the event loop does of it: a few
// bytes may be thousands when they are inflated, and a chunk may bring hundreds of such bodies.
import { inflateSync } from 'node:zlib'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'

/** Of the bodies that are looked at in one turn together: about 4 ms each MiB. */
const INFLATED_BYTES_MAX = 8 * 1024 * 1024
/** From then on, what is behind a request waits for another turn. */
const ENOUGH_BYTES = 2 * 1024 * 1024
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

  get #left(): number {
    return this.#bytesMax - this.#bytes
  }

  /**
   * undefined: it is larger than a body may be, or than the default of that, or the turn has had
   * its share.
   * @throws BrokerError MESSAGE_INVALID for a body that is no zlib stream
   */
  inflate(body: Uint8Array, bodyBytesMax = BODY_BYTES_DEFAULT): Buffer | undefined {
    const maxOutputLength = Math.min(bodyBytesMax, BODY_BYTES_DEFAULT, this.#left)
    if (this.#left < INFLATING_BYTES_MIN) return undefined
    let bytes = maxOutputLength
    try {
      const inflated = inflateSync(body, { maxOutputLength })
      bytes = inflated.length
      return inflated
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      if (code === 'ERR_BUFFER_TOO_LARGE') return undefined
      throw new BrokerError(
        'MESSAGE_INVALID',
        `the message says that its body is compressed with zlib, and it cannot be inflated: ${message}`,
        { cause },
      )
    } finally {
      this.#bytes += Math.max(INFLATING_BYTES_MIN, bytes)
    }
  }
}
