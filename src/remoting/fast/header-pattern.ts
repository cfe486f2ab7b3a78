// A header that was scanned, kept for those that are like it: requests of one client differ in some
// characters of their values and hardly in anything else. A header of the same length that differs
// only in plain characters of its values has these at the same places, and is compared in a quarter
// of the time that a scan takes.

const ZERO = 48
const QUOTE = 34
const BACKSLASH = 92
const LETTER_U = 117
const SPACE = 32

/** A longer one has properties of its own, and is scanned. */
const HEADER_BYTES_MAX = 2048

/** Bytes of a JSON string that need no attention: printable ASCII but quote and backslash. */
export const PLAIN = Uint8Array.from({ length: 256 }, (_, c) =>
  c >= SPACE && c < 128 && c !== QUOTE && c !== BACKSLASH ? 1 : 0,
)

/** What another header may have in place of a byte. */
const EXACTLY_THIS = 0
const PLAIN_CHARACTER = 1
const DIGIT = 2
/** Of a number of several digits. */
const FIRST_DIGIT = 3

/** What a scan notes of a header. */
export interface ScannedHeader {
  readonly bytes: Buffer
  readonly code: number
  readonly flag: number
  readonly version: number
  /** Of the fields. */
  readonly count: number
  readonly nameAt: Int32Array
  readonly nameEnd: Int32Array
  readonly valueAt: Int32Array
  readonly valueEnd: Int32Array
  readonly isEscaped: Uint8Array
}

export class HeaderPattern {
  readonly code: number
  readonly flag: number
  readonly version: number
  /** Of the fields. */
  readonly count: number
  /** Where the correlation id begins, from the start of the header on; -1: it has none. */
  readonly opaqueAt: number
  /** Where fields begin and end, from the start of the header on. */
  readonly nameAt: Int32Array
  readonly nameEnd: Int32Array
  readonly valueAt: Int32Array
  readonly valueEnd: Int32Array
  readonly isEscaped: Uint8Array
  readonly #bytes: Buffer
  readonly #view: DataView
  /** Of each byte. */
  readonly #kinds: Uint8Array

  /**
   * Of the header in `bytes[start, end)` that was scanned, whose correlation id begins at
   * `opaqueAt`, or -1; undefined where it is too long.
   */
  static of(scan: ScannedHeader, start: number, end: number, opaqueAt: number) {
    if (end - start > HEADER_BYTES_MAX) return undefined
    return new HeaderPattern(scan, start, end, opaqueAt)
  }

  private constructor(scan: ScannedHeader, start: number, end: number, opaqueAt: number) {
    const { code, flag, version, count } = scan
    this.code = code
    this.flag = flag
    this.version = version
    this.count = count
    this.#bytes = Buffer.from(scan.bytes.subarray(start, end))
    this.#view = viewOf(this.#bytes)
    this.#kinds = new Uint8Array(end - start)
    const fromStart = (places: Int32Array): Int32Array =>
      places.slice(0, count).map((at) => at - start)
    this.nameAt = fromStart(scan.nameAt)
    this.nameEnd = fromStart(scan.nameEnd)
    this.valueAt = fromStart(scan.valueAt)
    this.valueEnd = fromStart(scan.valueEnd)
    this.isEscaped = scan.isEscaped.slice(0, count)
    this.opaqueAt = opaqueAt === -1 ? -1 : opaqueAt - start
    if (opaqueAt !== -1) this.#noteNumber(this.opaqueAt)
    for (let i = 0; i < count; i++) this.#noteField(this.valueAt[i]!, this.valueEnd[i]!)
  }

  get length(): number {
    return this.#bytes.length
  }

  /** Is the header at `bytes[start...]`, as long as this one, like it? `view` is of these bytes. */
  fits(bytes: Buffer, view: DataView, start: number): boolean {
    const known = this.#view
    const wordsEnd = this.#bytes.length - 8
    let at = 0
    for (; at <= wordsEnd; at += 8) {
      // Eight bytes at once: a header has no eight zeros, and what is no number equals nothing.
      if (known.getFloat64(at, true) === view.getFloat64(start + at, true)) continue
      if (!this.#fitsBytes(bytes, start, at, at + 8)) return false
    }
    return this.#fitsBytes(bytes, start, at, this.#bytes.length)
  }

  #fitsBytes(bytes: Buffer, start: number, from: number, to: number): boolean {
    const known = this.#bytes
    const kinds = this.#kinds
    for (let i = from; i < to; i++) {
      const c = bytes[start + i]!
      if (c !== known[i] && !isOfKind(c, kinds[i]!)) return false
    }
    return true
  }

  #noteField(at: number, end: number): void {
    if (this.#bytes[at - 1] !== QUOTE) {
      this.#noteNumber(at)
      return
    }
    for (let i = at; i < end; i++) {
      const c = this.#bytes[i]!
      if (c === BACKSLASH) i += this.#bytes[i + 1] === LETTER_U ? 5 : 1
      else if (PLAIN[c] === 1) this.#kinds[i] = PLAIN_CHARACTER
    }
  }

  /** A sign, or a word in place of a number, has no digits here. */
  #noteNumber(at: number): void {
    let end = at
    while (isDigit(this.#bytes[end]!)) end++
    this.#kinds.fill(DIGIT, at, end)
    if (end - at > 1) this.#kinds[at] = FIRST_DIGIT
  }
}

const isDigit = (c: number): boolean => c >= ZERO && c < ZERO + 10

function isOfKind(c: number, kind: number): boolean {
  if (kind === PLAIN_CHARACTER) return PLAIN[c] === 1
  if (kind === EXACTLY_THIS) return false
  return isDigit(c) && (kind === DIGIT || c !== ZERO)
}

const viewOf = (bytes: Buffer): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
