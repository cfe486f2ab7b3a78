// How much one peer may have read for it and not taken yet. Pulls beyond wait in line until the peer has
// read its answers, so that asking costs the asker, not our memory.
import { BrokerError } from '../../errors.ts'

/** A socket with no more than this unsent does not tell when it is sent. */
const NEARLY_SENT_BYTES = 16 * 1024

export class ReadBudget {
  readonly #bytesMax: number
  /** Answers given and not yet taken. */
  readonly #unsentBytes: () => number
  readonly #line: {
    readonly bytes: number
    readonly go: () => void
    readonly fail: (error: BrokerError) => void
  }[] = []
  #reading = 0
  #isClosed = false

  constructor(bytesMax: number, unsentBytes: () => number) {
    this.#bytesMax = bytesMax
    this.#unsentBytes = unsentBytes
  }

  /** Settles when `bytes` may be read; undefined = at once. Rejects with ABORTED when the peer goes. */
  take(bytes: number): Promise<void> | undefined {
    if (this.#isClosed) return Promise.reject(gone())
    if (this.#line.length === 0 && this.#fits(bytes)) {
      this.#reading += bytes
      return undefined
    }
    return new Promise((go, fail) => this.#line.push({ bytes, go, fail }))
  }

  /** What was taken is read: from now on it counts as unsent. */
  give(bytes: number): void {
    this.#reading -= bytes
    this.next()
  }

  /** Something was sent: lets in who fits. */
  next(): void {
    while (this.#line.length > 0 && this.#fits(this.#line[0]!.bytes)) {
      const { bytes, go } = this.#line.shift()!
      this.#reading += bytes
      go()
    }
  }

  close(): void {
    this.#isClosed = true
    for (const { fail } of this.#line.splice(0)) fail(gone())
  }

  /** One read is always possible, however large, once the peer is about to have taken everything. */
  #fits(bytes: number): boolean {
    const unsent = this.#unsentBytes()
    if (this.#reading === 0 && unsent <= NEARLY_SENT_BYTES) return true
    return this.#reading + unsent + bytes <= this.#bytesMax
  }
}

const gone = (): BrokerError => new BrokerError('ABORTED', 'the connection is gone')
