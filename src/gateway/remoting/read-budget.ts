// The bytes that may be read for one peer before it has taken them. Pulls beyond wait in line until
// the peer has read its answers, so that asking costs the peer, not our memory.
import { BrokerError } from '../../errors.ts'

/**
 * The bytes that a look at one record counts for. The record may be as large as a message can be,
 * but no more of them are in memory at once than fit by this.
 */
export const RECORD_BYTES = 256 * 1024

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
  #isScheduled = false
  #isClosed = false

  constructor(bytesMax: number, unsentBytes: () => number) {
    this.#bytesMax = bytesMax
    this.#unsentBytes = unsentBytes
  }

  /**
   * Settles when `bytes` may be read; undefined = at once. Rejects with ABORTED when the peer goes.
   */
  take(bytes: number): Promise<void> | undefined {
    if (this.#isClosed) return Promise.reject(gone())
    if (this.#line.length === 0 && this.#fits(bytes)) {
      this.#reading += bytes
      return undefined
    }
    return new Promise((go, fail) => this.#line.push({ bytes, go, fail }))
  }

  /** Runs a read that may take so many bytes, in its turn. */
  async within<T>(bytes: number, read: () => Promise<T>): Promise<T> {
    const waiting = this.take(bytes)
    if (waiting !== undefined) await waiting
    try {
      return await read()
    } finally {
      this.give(bytes)
    }
  }

  /**
   * The bytes of a `take` are read: from now on they count as unsent. Reads in line go on in a
   * later turn of the event loop, so that reads from memory leave room for other connections.
   */
  give(bytes: number): void {
    this.#reading -= bytes
    if (this.#line.length === 0 || this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.next()
    })
  }

  /** Bytes were sent: lets in the reads that fit. */
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

  /**
   * One read is always possible, however large, once the peer is about to have taken everything.
   */
  #fits(bytes: number): boolean {
    const unsent = this.#unsentBytes()
    if (this.#reading === 0 && unsent <= NEARLY_SENT_BYTES) return true
    return this.#reading + unsent + bytes <= this.#bytesMax
  }
}

const gone = (): BrokerError => new BrokerError('ABORTED', 'the connection is gone')
