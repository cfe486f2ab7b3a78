// What the views need of a record, taken from its bytes in one pass and without allocation. The same
// scan serves the live path and the replay, so that both build the same views.
import { getI32, getU16 } from '../model/bytes.ts'
import { NAME_END, VALUE_END } from '../model/properties.ts'
import { RECORD_MAGIC_V2 } from '../model/record.ts'
import { NO_TAG_HASH, tagHash } from '../model/tag-filter.ts'

const BODY_AT = 88
const CHECK_SEED = 0x2f0b4c47
const CHECK_PRIME = 0x9e3779b1
const TAGS = Buffer.from('TAGS\u0001')
const KEYS = Buffer.from('KEYS\u0001')
const UNIQUE_KEY = Buffer.from('UNIQ_KEY\u0001')

/** Reused between records: fields are of the record scanned last. Ranges are [start, end). */
export class RecordScan {
  topicStart = 0
  topicEnd = 0
  /** Java's hash of TAGS, NO_TAG_HASH without one. */
  tagHash = NO_TAG_HASH
  keysStart = 0
  keysEnd = 0
  uniqueKeyStart = 0
  uniqueKeyEnd = 0
  /** Checks all but the body, which has its own CRC in the record. */
  check = 0

  /** The record at `bytes[start, start + size)` must be whole. */
  scan(bytes: Buffer, start: number, size: number): void {
    const end = start + size
    const topicAt = start + BODY_AT + getI32(bytes, start + 84)
    const isWide = isWideTopic(bytes, start)
    this.topicStart = topicAt + (isWide ? 2 : 1)
    this.topicEnd = this.topicStart + (isWide ? getU16(bytes, topicAt) : bytes[topicAt]!)
    this.#scanProperties(bytes, this.topicEnd + 2, end)
    this.check = recordCheck(bytes, start, size)
  }

  #scanProperties(bytes: Buffer, start: number, end: number): void {
    this.tagHash = NO_TAG_HASH
    this.keysStart = this.keysEnd = 0
    this.uniqueKeyStart = this.uniqueKeyEnd = 0
    let hasTag = false
    let at = start
    while (at < end) {
      let stop = at + 1
      while (stop < end && bytes[stop] !== VALUE_END) stop++
      const first = bytes[at]
      if (first === 84 && !hasTag && startsWith(bytes, at, stop, TAGS)) {
        hasTag = true
        this.tagHash = hashOfTag(bytes, at + TAGS.length, stop)
      } else if (first === 75 && this.keysEnd === 0 && startsWith(bytes, at, stop, KEYS)) {
        this.keysStart = at + KEYS.length
        this.keysEnd = stop
      } else if (
        first === 85 &&
        this.uniqueKeyEnd === 0 &&
        startsWith(bytes, at, stop, UNIQUE_KEY)
      ) {
        this.uniqueKeyStart = at + UNIQUE_KEY.length
        this.uniqueKeyEnd = stop
      }
      at = stop + 1
    }
  }
}

const isWideTopic = (bytes: Buffer, start: number): boolean =>
  getI32(bytes, start + 4) === (RECORD_MAGIC_V2 | 0)

function startsWith(bytes: Buffer, at: number, stop: number, name: Buffer): boolean {
  const length = name.length
  if (stop - at <= length || bytes[at + length - 1] !== NAME_END) return false
  for (let i = 1; i < length - 1; i++) if (bytes[at + i] !== name[i]) return false
  return true
}

/** The same number as `tagHash` of the text; bytes serve while they are ASCII. */
function hashOfTag(bytes: Buffer, start: number, end: number): number {
  let h = 0
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!
    if (byte >= 0x80) return tagHash(bytes.utf8Slice(start, end))
    h = (Math.imul(31, h) + byte) | 0
  }
  return h
}

/**
 * A sum over header, topic and properties, kept in the consume queue. Every step is one-to-one, so a
 * change within one 4-byte word is always seen and any other with all but 2^-32; three times as fast as a CRC.
 */
export function recordCheck(bytes: Buffer, start: number, size: number): number {
  const bodyEnd = start + BODY_AT + getI32(bytes, start + 84)
  const h = mix(bytes, start, start + BODY_AT, CHECK_SEED)
  return mix(bytes, bodyEnd, start + size, h)
}

function mix(bytes: Buffer, start: number, end: number, seed: number): number {
  let h = seed
  let at = start
  for (; at + 4 <= end; at += 4) {
    h ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    h = Math.imul(h, CHECK_PRIME)
    h ^= h >>> 15
  }
  for (; at < end; at++) {
    h = Math.imul(h ^ bytes[at]!, CHECK_PRIME)
    h ^= h >>> 15
  }
  return h
}
