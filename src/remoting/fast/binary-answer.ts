// A response frame with a binary header, built once and copied per answer. Its fields that differ
// are numbers and come last; each is a name and a length, then as many digits as it has.
import { putU16, putU32 } from '../../model/bytes.ts'
import { FLAG_RESPONSE, LANGUAGE_DEFAULT, VERSION } from '../codes.ts'
import { CODEC_BINARY, FRAME_PREFIX_BYTES } from '../frame.ts'
import { encodeBinaryHeader, HEADER_BYTES_MIN, OPAQUE_AT } from '../header/binary-header.ts'
import type { Fields } from '../header/header.ts'
import { LONG_DIGITS, putDecimal } from './decimal.ts'

export class BinaryAnswer {
  /** The most bytes that one has, without a body. */
  readonly bytesMax: number
  readonly #head: Buffer
  readonly #fieldsAt: number
  readonly #names: readonly Buffer[]

  /** `fields` are the same in every answer; `numbers` are the names of the others. */
  constructor(
    code: number,
    remark: string | undefined,
    fields: Fields,
    numbers: readonly string[],
  ) {
    const header = encodeBinaryHeader({
      ...{ code, language: LANGUAGE_DEFAULT, version: VERSION.v5_3_3, opaque: 0 },
      ...{ flag: FLAG_RESPONSE, remark, fields },
    })
    this.#head = Buffer.concat([Buffer.alloc(FRAME_PREFIX_BYTES), header])
    this.#fieldsAt = FRAME_PREFIX_BYTES + HEADER_BYTES_MIN + Buffer.byteLength(remark ?? '')
    this.#names = numbers.map((name) => {
      const bytes = Buffer.alloc(2 + name.length + 4)
      putU16(bytes, 0, name.length)
      bytes.write(name, 2, 'latin1')
      return bytes
    })
    this.bytesMax = this.#names.reduce((sum, name) => sum + name.length + LONG_DIGITS, 0)
    this.bytesMax += this.#head.length
  }

  /** Begins an answer at `target[at]`. @returns where its first number goes */
  begin(target: Uint8Array, at: number, opaque: number): number {
    target.set(this.#head, at)
    putU32(target, at + FRAME_PREFIX_BYTES + OPAQUE_AT, opaque)
    return at + this.#head.length
  }

  /** The number with this index among the names. @returns where the next one goes */
  number(target: Uint8Array, at: number, index: number, value: number): number {
    const name = this.#names[index]!
    target.set(name, at)
    const from = at + name.length
    const end = putDecimal(target, from, value)
    putU32(target, from - 4, end - from)
    return end
  }

  /** The lengths of the answer in `target[at, end)`, which `bodyBytes` follow on the wire. */
  finish(target: Uint8Array, at: number, end: number, bodyBytes = 0): void {
    putU32(target, at, end - at - 4 + bodyBytes)
    putU32(target, at + 4, (CODEC_BINARY << 24) | (end - at - FRAME_PREFIX_BYTES))
    putU32(target, at + this.#fieldsAt - 4, end - at - this.#fieldsAt)
  }
}
