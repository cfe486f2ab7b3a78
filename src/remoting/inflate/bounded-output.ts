// The bytes of a body that is being inflated: they grow up to a limit, and later ones may repeat
// earlier ones.

/** The body would have more bytes than it may have, or takes more work than it is worth. */
export class TooLargeError extends Error {}

/** The bytes are not what they say they are. */
export class CorruptError extends Error {}

/** Of the frames and blocks of one body: each costs time whatever it has. */
export class Budget {
  readonly #max: number
  #left: number

  constructor(max: number) {
    this.#max = max
    this.#left = max
  }

  /** @throws TooLargeError */
  spend(): void {
    if (--this.#left < 0) throw new TooLargeError(`more than ${this.#max} blocks`)
  }
}

const FIRST_BYTES = 64 * 1024

export class BoundedOutput {
  length = 0
  readonly #bytesMax: number
  #bytes: Buffer

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    this.#bytes = Buffer.allocUnsafe(Math.min(bytesMax, FIRST_BYTES))
  }

  get written(): Buffer {
    return this.#bytes.subarray(0, this.length)
  }

  /** @throws TooLargeError */
  copy(from: Uint8Array, start: number, end: number): void {
    const at = this.#grow(end - start)
    if (end - start > SHORT_BYTES) this.#bytes.set(from.subarray(start, end), at)
    else for (let i = start; i < end; i++) this.#bytes[at + i - start] = from[i]!
  }

  /** @throws TooLargeError */
  fill(byte: number, count: number): void {
    const at = this.#grow(count)
    this.#bytes.fill(byte, at, at + count)
  }

  /**
   * The `count` bytes that begin `distance` before the end, those that it writes itself among them.
   * @throws TooLargeError
   */
  repeat(distance: number, count: number): void {
    const at = this.#grow(count)
    const bytes = this.#bytes
    if (count <= SHORT_BYTES) {
      for (let i = at; i < at + count; i++) bytes[i] = bytes[i - distance]!
      return
    }
    // What is there twice is copied twice as far the next time.
    for (let done = 0; done < count; ) {
      const step = Math.min(distance + done, count - done)
      bytes.copyWithin(at + done, at - distance, at - distance + step)
      done += step
    }
  }

  /** @returns where the new bytes go */
  #grow(count: number): number {
    const at = this.length
    const length = at + count
    if (length > this.#bytesMax) throw new TooLargeError(`more than ${this.#bytesMax} bytes`)
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#bytesMax, Math.max(length, at * 2)))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    this.length = length
    return at
  }
}

/** Up to here a loop is quicker than a call. */
const SHORT_BYTES = 32
