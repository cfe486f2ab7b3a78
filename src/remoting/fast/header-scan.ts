// Reads a JSON header without building anything: one pass over the bytes notes where each field is,
// and the caller decodes the few that it needs. A header in an unusual form (nested fields, escaped
// names, fractions) is left to the general decoder, so a scan never means something else than
// JSON.parse. binary-scan.ts fills the same of a binary header.
import { isUtf8 } from 'node:buffer'
import { viewOf } from '../../model/bytes.ts'
import { hexDigit } from '../json/json-unescape.ts'
import { HeaderPattern, PLAIN, type ScannedHeader } from './header-pattern.ts'

const QUOTE = 34
const BACKSLASH = 92
const OPEN = 123
const CLOSE = 125
const COLON = 58
const COMMA = 44
const MINUS = 45
const LETTER_U = 117
const ZERO = 48
const NINE = 57
const SPACE = 32

/** More fields than any request has; one with more goes the general way. */
export const FIELDS_MAX = 64
const PATTERNS_MAX = 8
/** Of headers that are like none before; to keep each would cost more than the scans. */
const KEPT_EVERY = 8
/** Digits that a bare number may have to be its own text. */
const BARE_DIGITS_MAX = 15

/** The bytes that may follow a backslash, besides u. */
const ESCAPABLE = Uint8Array.from({ length: 256 }, (_, c) =>
  '"\\/bfnrt'.includes(String.fromCharCode(c)) ? 1 : 0,
)

const MEMBER = {
  code: Buffer.from('code'),
  flag: Buffer.from('flag'),
  opaque: Buffer.from('opaque'),
  version: Buffer.from('version'),
  fields: Buffer.from('extFields'),
}

function isName(bytes: Buffer, at: number, end: number, name: Buffer): boolean {
  if (end - at !== name.length) return false
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name[i]) return false
  return true
}

const isWhite = (c: number | undefined): boolean => c === SPACE || c === 10 || c === 13 || c === 9

export class HeaderScan implements ScannedHeader {
  /** The scanned bytes. */
  bytes: Buffer = Buffer.alloc(0)
  code = 0
  flag = 0
  opaque = 0
  version = 0
  /**
   * Fields found; field `i` has its name in [nameAt[i], nameEnd[i]), its value in [valueAt[i],
   * valueEnd[i]).
   */
  count = 0
  readonly nameAt = new Int32Array(FIELDS_MAX)
  readonly nameEnd = new Int32Array(FIELDS_MAX)
  readonly valueAt = new Int32Array(FIELDS_MAX)
  readonly valueEnd = new Int32Array(FIELDS_MAX)
  /** The value has backslash escapes. */
  readonly isEscaped = new Uint8Array(FIELDS_MAX)
  #end = 0
  #sawEscape = false
  #sawWide = false
  #hasCode = false
  #opaqueAt = -1
  #number = 0
  /** Of headers scanned of late, that of the last one first. */
  readonly #patterns: HeaderPattern[] = []
  #scanned = 0

  /** False: the header is not in the plain form, or not JSON at all; nothing else is set then. */
  scan(bytes: Buffer, start: number, end: number): boolean {
    this.bytes = bytes
    this.#end = end
    if (this.#isKnown(start)) return true
    this.#sawWide = false
    this.#hasCode = false
    this.#opaqueAt = -1
    this.code = this.flag = this.opaque = this.version = this.count = 0
    const at = this.#members(this.#skipWhite(start), false)
    if (at === -1 || this.#skipWhite(at) !== end || !this.#hasCode) return false
    if (this.#sawWide && !isUtf8(bytes.subarray(start, end))) return false
    if (this.#scanned++ % KEPT_EVERY === 0) this.#keepPattern(start)
    return true
  }

  #isKnown(start: number): boolean {
    const { bytes } = this
    const length = this.#end - start
    const patterns = this.#patterns
    for (let i = 0; i < patterns.length; i++) {
      const pattern = patterns[i]!
      if (pattern.length !== length || !pattern.fits(bytes, viewOf(bytes), start)) continue
      if (i > 0) patterns.unshift(...patterns.splice(i, 1))
      return this.#takeFrom(pattern, start)
    }
    return false
  }

  /** False: its correlation id is too large. */
  #takeFrom(pattern: HeaderPattern, start: number): boolean {
    const { count, opaqueAt, nameAt, nameEnd, valueAt, valueEnd, isEscaped } = pattern
    this.opaque = 0
    if (opaqueAt !== -1) {
      this.#integer(start + opaqueAt)
      if ((this.#number | 0) !== this.#number) return false
      this.opaque = this.#number
    }
    this.code = pattern.code
    this.flag = pattern.flag
    this.version = pattern.version
    this.count = count
    for (let i = 0; i < count; i++) {
      this.nameAt[i] = start + nameAt[i]!
      this.nameEnd[i] = start + nameEnd[i]!
      this.valueAt[i] = start + valueAt[i]!
      this.valueEnd[i] = start + valueEnd[i]!
      this.isEscaped[i] = isEscaped[i]!
    }
    return true
  }

  #keepPattern(start: number): void {
    const pattern = HeaderPattern.of(this, start, this.#end, this.#opaqueAt)
    if (pattern === undefined) return
    if (this.#patterns.length === PATTERNS_MAX) this.#patterns.pop()
    this.#patterns.unshift(pattern)
  }

  /** Index of the field with this ASCII name, or -1. The last one counts, as in JSON.parse. */
  find(name: string): number {
    const bytes = this.bytes
    for (let i = this.count - 1; i >= 0; i--) {
      const at = this.nameAt[i]!
      if (this.nameEnd[i]! - at !== name.length) continue
      let k = 0
      while (k < name.length && bytes[at + k] === name.charCodeAt(k)) k++
      if (k === name.length) return i
    }
    return -1
  }

  /** An object's members from its brace on; returns the index behind it, or -1. */
  #members(from: number, isFields: boolean): number {
    const bytes = this.bytes
    if (bytes[from] !== OPEN) return -1
    let at = this.#skipWhite(from + 1)
    if (bytes[at] === CLOSE) return at + 1
    for (;;) {
      if (bytes[at] !== QUOTE) return -1
      const nameAt = at + 1
      const nameEnd = this.#string(nameAt)
      if (nameEnd === -1 || this.#sawEscape) return -1
      at = this.#skipWhite(nameEnd + 1)
      if (bytes[at] !== COLON) return -1
      at = this.#skipWhite(at + 1)
      at = isFields ? this.#field(nameAt, nameEnd, at) : this.#member(nameAt, nameEnd, at)
      if (at === -1) return -1
      at = this.#skipWhite(at)
      if (bytes[at] === CLOSE && at < this.#end) return at + 1
      if (bytes[at] !== COMMA || at >= this.#end) return -1
      at = this.#skipWhite(at + 1)
    }
  }

  /** A member of the header itself. */
  #member(nameAt: number, nameEnd: number, at: number): number {
    const bytes = this.bytes
    if (isName(bytes, nameAt, nameEnd, MEMBER.fields)) {
      this.count = 0
      return bytes[at] === OPEN ? this.#members(at, true) : -1
    }
    const isCode = isName(bytes, nameAt, nameEnd, MEMBER.code)
    const isFlag = isName(bytes, nameAt, nameEnd, MEMBER.flag)
    const isOpaque = isName(bytes, nameAt, nameEnd, MEMBER.opaque)
    const isVersion = isName(bytes, nameAt, nameEnd, MEMBER.version)
    if (!isCode && !isFlag && !isOpaque && !isVersion) return this.#skipScalar(at)
    const next = this.#integer(at)
    const number = this.#number
    if (next === -1 || (number | 0) !== number) return -1
    if (isCode) {
      this.code = number
      this.#hasCode = true
    } else if (isFlag) this.flag = number
    else if (isOpaque) {
      this.opaque = number
      this.#opaqueAt = at
    } else this.version = number
    return next
  }

  #field(nameAt: number, nameEnd: number, at: number): number {
    const i = this.count
    if (i === FIELDS_MAX) return -1
    let next: number
    if (this.bytes[at] === QUOTE) {
      const end = this.#string(at + 1)
      if (end === -1) return -1
      this.valueAt[i] = at + 1
      this.valueEnd[i] = end
      this.isEscaped[i] = this.#sawEscape ? 1 : 0
      next = end + 1
    } else {
      next = this.#bare(at)
      if (next === -1) return -1
      this.valueAt[i] = at
      this.valueEnd[i] = next
      this.isEscaped[i] = 0
    }
    this.nameAt[i] = nameAt
    this.nameEnd[i] = nameEnd
    this.count = i + 1
    return next
  }

  /** Index of the quote that ends the string starting at `from`, or -1. */
  #string(from: number): number {
    const bytes = this.bytes
    const end = this.#end
    this.#sawEscape = false
    for (let at = from; at < end; at++) {
      const c = bytes[at]!
      if (PLAIN[c] === 1) continue
      if (c === QUOTE) return at
      if (c >= 128) this.#sawWide = true
      else if (c === BACKSLASH) {
        at = this.#escape(at)
        if (at === -1) return -1
      } else return -1
    }
    return -1
  }

  /** Index of the last byte of a legal escape, or -1. */
  #escape(at: number): number {
    const bytes = this.bytes
    this.#sawEscape = true
    const kind = bytes[at + 1]!
    if (kind !== LETTER_U) return ESCAPABLE[kind] === 1 ? at + 1 : -1
    for (let i = at + 2; i < at + 6; i++) {
      if (i >= this.#end || hexDigit(bytes[i]!) === -1) return -1
    }
    return at + 5
  }

  #skipScalar(at: number): number {
    if (this.bytes[at] !== QUOTE) return this.#bare(at, true)
    const end = this.#string(at + 1)
    // The text of this field is not needed, but whether its escapes are legal is for the general
    // decoder.
    return end === -1 || this.#sawEscape ? -1 : end + 1
  }

  /**
   * An integer, true or false (null in a field that is not read) that is its own text; the index
   * behind it, or -1.
   */
  #bare(at: number, mayBeNull = false): number {
    const c = this.bytes[at]
    if (c === 116) return this.#word('true', at)
    if (c === 102) return this.#word('false', at)
    if (c === 110 && mayBeNull) return this.#word('null', at)
    return this.#integer(at)
  }

  #word(word: string, at: number): number {
    for (let i = 0; i < word.length; i++) {
      if (this.bytes[at + i] !== word.charCodeAt(i)) return -1
    }
    return at + word.length
  }

  #integer(at: number): number {
    const bytes = this.bytes
    const isNegative = bytes[at] === MINUS
    const from = isNegative ? at + 1 : at
    let value = 0
    let next = from
    for (; next < this.#end; next++) {
      const c = bytes[next]!
      if (c < ZERO || c > NINE) break
      value = value * 10 + (c - ZERO)
    }
    const digits = next - from
    if (digits === 0 || digits > BARE_DIGITS_MAX) return -1
    if (bytes[from] === ZERO && (digits > 1 || isNegative)) return -1
    const c = bytes[next]
    // A fraction or an exponent: the general decoder knows its text.
    if (c !== COMMA && c !== CLOSE && !isWhite(c)) return -1
    this.#number = isNegative ? -value : value
    return next
  }

  #skipWhite(from: number): number {
    let at = from
    while (at < this.#end && isWhite(this.bytes[at])) at++
    return at
  }
}

/** The decimal integer in `bytes[at, end)`, or NaN when it is none or longer than 53 bits allow. */
export function integerIn(bytes: Buffer, at: number, end: number): number {
  const isNegative = bytes[at] === MINUS
  let value = 0
  const from = isNegative ? at + 1 : at
  if (end - from < 1 || end - from > BARE_DIGITS_MAX) return Number.NaN
  for (let i = from; i < end; i++) {
    const c = bytes[i]!
    if (c < ZERO || c > NINE) return Number.NaN
    value = value * 10 + (c - ZERO)
  }
  return isNegative ? -value : value
}
