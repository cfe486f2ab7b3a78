// Tells whether a record repeats the one before it in topic and properties. Streams of messages
// mostly do, but for the unique id that every message has; so that one value may differ.
import { NAME_END, PROPERTY, VALUE_END } from '../../../model/properties.ts'
import type { RecordView } from '../../../model/record.ts'

const UNIQUE_NAME = Buffer.from(`${PROPERTY.uniqueKey}\u0001`)
/** Below this a loop is faster than a call into native code. */
const LOOP_BYTES_MAX = 96

export class RecordMemory {
  /** Topic, properties and their lengths: everything behind the body. */
  #known: Buffer | undefined
  /** Where the unique id's value stands in it; equal when there is none that may differ. */
  #idAt = 0
  #idEnd = 0

  /** Does the record have the topic and the properties of the remembered one? */
  isRepeated(record: RecordView, from: number): boolean {
    const known = this.#known
    const { bytes, propertiesEnd } = record
    if (known === undefined || propertiesEnd - from !== known.length) return false
    return (
      isEqual(known, 0, bytes, from, this.#idAt) &&
      isEqual(known, this.#idEnd, bytes, from + this.#idEnd, known.length - this.#idEnd) &&
      isPlain(bytes, from + this.#idAt, from + this.#idEnd)
    )
  }

  /** `from` is where the record's body ends. */
  remember(record: RecordView, from: number): void {
    const { bytes, propertiesStart, propertiesEnd } = record
    this.#known = Buffer.from(bytes.subarray(from, propertiesEnd))
    this.#idAt = this.#idEnd = 0
    const at = findName(this.#known, propertiesStart - from)
    if (at === -1) return
    const end = this.#known.indexOf(VALUE_END, at)
    const idEnd = end === -1 ? this.#known.length : end
    if (!isPlain(this.#known, at, idEnd)) return
    this.#idAt = at
    this.#idEnd = idEnd
  }

  /** The record's unique id within its bytes, after either of the above answered for it. */
  idAt(from: number): number {
    return from + this.#idAt
  }

  get idBytes(): number {
    return this.#idEnd - this.#idAt
  }
}

/** Where the unique id's value begins, or -1. */
function findName(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(UNIQUE_NAME, from); at !== -1; ) {
    if (at === from || bytes[at - 1] === VALUE_END) return at + UNIQUE_NAME.length
    at = bytes.indexOf(UNIQUE_NAME, at + 1)
  }
  return -1
}

function isEqual(a: Buffer, aAt: number, b: Buffer, bAt: number, length: number): boolean {
  if (length > LOOP_BYTES_MAX) return b.compare(a, aAt, aAt + length, bAt, bAt + length) === 0
  for (let i = 0; i < length; i++) if (a[aAt + i] !== b[bAt + i]) return false
  return true
}

/** ASCII, and one value: with a separator in it, it would be more than one property. */
function isPlain(bytes: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!
    if (byte > 0x7e || byte === NAME_END || byte === VALUE_END) return false
  }
  return true
}
