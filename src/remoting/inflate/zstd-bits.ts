// Bits of Zstandard's streams: tables are described from the front, everything else is written
// backwards, so its reader begins at the last bit.
import { CorruptError } from './bounded-output.ts'

/** What one read may ask for: a word less a byte's share. */
export const BITS_MAX = 25

export class ForwardBits {
  readonly #bytes: Buffer
  readonly #end: number
  #bit: number

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes
    this.#bit = start * 8
    this.#end = end * 8
  }

  /** At most 16. @throws CorruptError */
  read(count: number): number {
    const value = this.peek(count)
    this.#bit += count
    if (this.#bit > this.#end) throw new CorruptError('a table without an end')
    return value
  }

  back(): void {
    this.#bit--
  }

  peek(count: number): number {
    return (wordAt(this.#bytes, this.#bit >>> 3) >>> (this.#bit & 7)) & ((1 << count) - 1)
  }

  /** The first byte behind what was read. */
  get byteAt(): number {
    return (this.#bit + 7) >>> 3
  }
}

export class BackwardBits {
  /** Not read yet; below 0: more was read than there is. */
  left: number
  readonly #bytes: Buffer
  readonly #start: number

  /** @throws CorruptError without the bit that ends a stream */
  constructor(bytes: Buffer, start: number, end: number) {
    const last = end > start ? bytes[end - 1]! : 0
    if (last === 0) throw new CorruptError('a stream without an end')
    this.#bytes = bytes
    this.#start = start
    this.left = (end - start) * 8 - (Math.clz32(last) - 24) - 1
  }

  /** At most `BITS_MAX`; behind the end there are zeros. */
  read(count: number): number {
    const value = this.peek(count)
    this.left -= count
    return value
  }

  peek(count: number): number {
    const at = this.left - count
    const mask = (1 << count) - 1
    if (at >= 0) return (wordAt(this.#bytes, this.#start + (at >>> 3)) >>> (at & 7)) & mask
    if (this.left <= 0) return 0
    return (wordAt(this.#bytes, this.#start) << -at) & mask
  }
}

const wordAt = (bytes: Buffer, at: number): number =>
  bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
