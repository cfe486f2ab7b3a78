// A response frame with a JSON header, built once and copied per answer; the holes are blanks, into
// which numbers are written from the left.
import { putU32 } from '../../model/bytes.ts'
import { CODEC_JSON, FRAME_PREFIX_BYTES } from '../frame.ts'
import { putDecimal } from './decimal.ts'

const QUOTE = 34

export class Template {
  #bytes: Buffer = Buffer.alloc(FRAME_PREFIX_BYTES)

  get length(): number {
    return this.#bytes.length
  }

  text(text: string): void {
    this.#append(Buffer.from(text, 'latin1'))
  }

  /** A hole of `count` blanks; returns where it starts. */
  blanks(count: number): number {
    return this.#append(Buffer.alloc(count, ' '))
  }

  /** Copies the frame to `target[at]`; `bodyBytes` follow it on the wire. */
  copyTo(target: Buffer, at: number, bodyBytes = 0): void {
    target.set(this.#bytes, at)
    if (bodyBytes > 0) putU32(target, at, this.#bytes.length - 4 + bodyBytes)
  }

  /** The number's digits, from `at` on, with the quote that ends a JSON string behind them. */
  quoted(target: Buffer, at: number, value: number): void {
    target[putDecimal(target, at, value)] = QUOTE
  }

  #append(bytes: Buffer): number {
    const at = this.#bytes.length
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    putU32(this.#bytes, 0, this.#bytes.length - 4)
    putU32(this.#bytes, 4, (CODEC_JSON << 24) | (this.#bytes.length - FRAME_PREFIX_BYTES))
    return at
  }
}
