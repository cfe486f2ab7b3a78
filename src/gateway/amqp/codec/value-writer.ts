// Encodes AMQP values into a growing buffer: control frames and message sections of our own making.
// The caller names the type, as the specification does field by field; shortest encodings are
// chosen.
import { putU16, putU32, putU64 } from '../../../model/bytes.ts'

const FIRST_BYTES = 256
const TWO_53 = 9_007_199_254_740_992

export class ValueWriter {
  #bytes: Buffer = Buffer.allocUnsafe(FIRST_BYTES)
  #at = 0

  get length(): number {
    return this.#at
  }

  /** The bytes written so far; the writer must not be used after it. */
  take(): Buffer {
    return this.#bytes.subarray(0, this.#at)
  }

  #room(count: number): number {
    const at = this.#at
    if (at + count > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, at + count))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    this.#at = at + count
    return at
  }

  byte(value: number): this {
    // Room first: it may replace the buffer.
    const at = this.#room(1)
    this.#bytes[at] = value
    return this
  }

  raw(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  null(): this {
    return this.byte(0x40)
  }

  boolean(value: boolean): this {
    return this.byte(value ? 0x41 : 0x42)
  }

  ubyte(value: number): this {
    return this.byte(0x50).byte(value)
  }

  ushort(value: number): this {
    const at = this.#room(3)
    this.#bytes[at] = 0x60
    putU16(this.#bytes, at + 1, value)
    return this
  }

  uint(value: number): this {
    if (value === 0) return this.byte(0x43)
    if (value < 256) return this.byte(0x52).byte(value)
    const at = this.#room(5)
    this.#bytes[at] = 0x70
    putU32(this.#bytes, at + 1, value)
    return this
  }

  ulong(value: number): this {
    if (value === 0) return this.byte(0x44)
    if (value < 256) return this.byte(0x53).byte(value)
    return this.#eight(0x80, value)
  }

  int(value: number): this {
    const at = this.#room(5)
    this.#bytes[at] = 0x71
    putU32(this.#bytes, at + 1, value)
    return this
  }

  /** A non-negative long below 2^53. */
  long(value: number): this {
    return this.#eight(0x81, value)
  }

  /** Milliseconds since the epoch, not before it. */
  timestamp(ms: number): this {
    return this.#eight(0x83, ms)
  }

  #eight(code: number, value: number): this {
    const at = this.#room(9)
    this.#bytes[at] = code
    putU64(this.#bytes, at + 1, Math.min(Math.max(0, value), TWO_53 - 1))
    return this
  }

  string(text: string): this {
    return this.#variable(0xa1, Buffer.from(text, 'utf8'))
  }

  symbol(text: string): this {
    return this.#variable(0xa3, Buffer.from(text, 'latin1'))
  }

  binary(bytes: Uint8Array): this {
    return this.#variable(0xa0, bytes)
  }

  #variable(code: number, bytes: Uint8Array): this {
    if (bytes.length < 256) return this.byte(code).byte(bytes.length).raw(bytes)
    const at = this.#room(5)
    this.#bytes[at] = code | 0x10
    putU32(this.#bytes, at + 1, bytes.length)
    return this.raw(bytes)
  }

  symbolArray(symbols: readonly string[]): this {
    const at = this.#room(10)
    const b = this.#bytes
    b[at] = 0xf0
    putU32(b, at + 5, symbols.length)
    b[at + 9] = 0xb3
    for (const symbol of symbols) {
      const text = Buffer.from(symbol, 'latin1')
      const lengthAt = this.#room(4)
      putU32(this.#bytes, lengthAt, text.length)
      this.raw(text)
    }
    putU32(this.#bytes, at + 1, this.#at - at - 5)
    return this
  }

  descriptor(code: number): this {
    return this.byte(0).byte(0x53).byte(code)
  }

  /** A list of `count` elements, which `fill` writes. */
  list(count: number, fill: () => void): this {
    return count === 0 ? this.byte(0x45) : this.#compound(0xd0, count, fill)
  }

  /** A map of `entries` pairs, which `fill` writes key by key. */
  map(entries: number, fill: () => void): this {
    return this.#compound(0xd1, entries * 2, fill)
  }

  #compound(code: number, count: number, fill: () => void): this {
    const at = this.#room(9)
    this.#bytes[at] = code
    putU32(this.#bytes, at + 5, count)
    fill()
    putU32(this.#bytes, at + 1, this.#at - at - 5)
    return this
  }

  /** A frame around everything `fill` writes (AMQP 2.3.1). */
  frame(type: number, channel: number, fill: () => void): this {
    const at = this.#room(8)
    const b = this.#bytes
    b[at + 4] = 2
    b[at + 5] = type
    putU16(b, at + 6, channel)
    fill()
    putU32(this.#bytes, at, this.#at - at)
    return this
  }
}
