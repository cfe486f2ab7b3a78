// Whether the parts of a message that pass through undecoded declare no more elements than they
// may: the rules of ValueReader, held by a walk that makes no values. A reader that trusts a count
// makes room for it, and a message of a few bytes would stop it.
import { getU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'
import { DECODE_DEPTH_MAX, VALUES_PER_MESSAGE_MAX, ZERO_WIDTH_ELEMENTS_MAX } from '../limits.ts'
import { descriptorBytes } from './performatives.ts'
import { fixedWidth } from './value-reader.ts'
import { contentBytes } from './value-size.ts'

/**
 * For the sections of one message: values, and elements without bytes, are counted over all of
 * them.
 */
export class ElementCounts {
  #valuesLeft = VALUES_PER_MESSAGE_MAX
  #zeroWidthLeft = ZERO_WIDTH_ELEMENTS_MAX

  /**
   * The sections from `at` to `end`, which `Sections.scan` found whole.
   * @throws AmqpError decode-error
   */
  check(bytes: Buffer, at: number, end: number): void {
    while (at < end) at = this.#value(bytes, at + descriptorBytes(bytes, at, end), end, 0)
  }

  /** Answers the position behind the value at `at`. */
  #value(bytes: Buffer, at: number, end: number, depth: number): number {
    if (at >= end) throw decodeError('a value is missing')
    const code = bytes[at]!
    if (code !== 0) return this.#content(code, bytes, at + 1, end, depth)
    checkDepth(depth)
    return this.#value(bytes, this.#value(bytes, at + 1, end, depth + 1), end, depth + 1)
  }

  /** The same for a value whose code is known: an array's elements share one. */
  #content(code: number, bytes: Buffer, at: number, end: number, depth: number): number {
    const next = at + contentBytes(code, bytes, at, end)
    if (next > end) throw decodeError('a value ends beyond its section')
    if (code < 0xc0) return next
    checkDepth(depth)
    // Size and count take a byte each, or four.
    const width = (code & 0x10) === 0 ? 1 : 4
    const first = at + 2 * width
    if (first > next) throw decodeError('a size leaves no room for its count')
    const count = width === 1 ? bytes[at + 1]! : getU32(bytes, at + 4)
    if (code >= 0xe0) this.#array(bytes, count, first, next, depth + 1)
    else this.#compound(code, bytes, count, first, next, depth + 1)
    return next
  }

  #compound(
    code: number,
    bytes: Buffer,
    count: number,
    first: number,
    end: number,
    depth: number,
  ): void {
    checkCount(count, end - first)
    if ((code & 1) === 1 && count % 2 !== 0) {
      throw decodeError('a map has an odd number of elements')
    }
    this.#takeValues(count)
    let at = first
    for (let i = 0; i < count; i++) at = this.#value(bytes, at, end, depth)
    checkEnd(at, end)
  }

  #array(bytes: Buffer, count: number, first: number, end: number, depth: number): void {
    const isDescribed = bytes[first] === 0
    let at = isDescribed ? this.#value(bytes, first + 1, end, depth) : first
    if (at >= end) throw decodeError('an array has no constructor')
    const code = bytes[at++]!
    const kind = code >>> 4
    if (kind < 0x4) throw decodeError(`0x${code.toString(16)} is no type code of an array`)
    if (kind === 0x4) this.#takeZeroWidth(count)
    else checkCount(count, end - at)
    if (kind >= 0xa) {
      this.#takeValues(count)
      for (let i = 0; i < count; i++) at = this.#content(code, bytes, at, end, depth)
    } else if (kind > 0x4) at += count * fixedWidth(code)
    checkEnd(at, end)
  }

  #takeValues(count: number): void {
    this.#valuesLeft -= count
    if (this.#valuesLeft < 0) throw decodeError(`more than ${VALUES_PER_MESSAGE_MAX} values`)
  }

  #takeZeroWidth(count: number): void {
    this.#zeroWidthLeft -= count
    if (this.#zeroWidthLeft < 0) {
      throw decodeError(`more than ${ZERO_WIDTH_ELEMENTS_MAX} array elements without bytes`)
    }
  }
}

function checkDepth(depth: number): void {
  if (depth >= DECODE_DEPTH_MAX) {
    throw decodeError(`values nest deeper than ${DECODE_DEPTH_MAX} levels`)
  }
}

function checkCount(count: number, bytes: number): void {
  if (count > bytes) throw decodeError(`${count} elements in ${bytes} bytes`)
}

function checkEnd(at: number, end: number): void {
  if (at !== end) throw decodeError('a size does not match its elements')
}
