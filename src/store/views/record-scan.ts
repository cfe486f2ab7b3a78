// The fields of a record that the views need, taken from its bytes in one pass and without
// allocation. The same scan serves the live path and the replay, so that both build the same views.
import { getI32, getU16, viewOf } from '../../model/bytes.ts'
import { NAME_END, PROPERTY, VALUE_END } from '../../model/properties.ts'
import { RECORD_MAGIC_V2 } from '../../model/record.ts'
import { NO_TAG_HASH, tagHash } from '../../model/tag-filter.ts'

const BODY_AT = 88
const CHECK_SEED = 0x2f0b4c47
const CHECK_PRIME = 0x9e3779b1
const VALUE_END_WORD = VALUE_END * 0x01010101
const TAGS = Buffer.from('TAGS\u0001')
const KEYS = Buffer.from('KEYS\u0001')
const UNIQUE_KEY = Buffer.from('UNIQ_KEY\u0001')
const MQTT_TOPIC = Buffer.from(`${PROPERTY.mqttTopic}\u0001`)
const DUE_MS = Buffer.from(`${PROPERTY.dueMs}\u0001`)
const DUE_ROUNDS = Buffer.from(`${PROPERTY.dueRounds}\u0001`)
const MULTI_DISPATCH = Buffer.from(`${PROPERTY.multiDispatch}\u0001`)

/** Reused between records: fields are of the record scanned last. Ranges are [start, end). */
export class RecordScan {
  topicStart = 0
  topicEnd = 0
  /** Java's hash of TAGS, NO_TAG_HASH without one. */
  tagHash = NO_TAG_HASH
  tagStart = 0
  tagEnd = 0
  keysStart = 0
  keysEnd = 0
  uniqueKeyStart = 0
  uniqueKeyEnd = 0
  mqttTopicStart = 0
  mqttTopicEnd = 0
  /** Of a parked record: when it is due, and how it waits in rounds. */
  dueStart = 0
  dueEnd = 0
  roundsStart = 0
  roundsEnd = 0
  /** Of the names of light queues that the record goes to as well. */
  dispatchStart = 0
  dispatchEnd = 0
  /** Checks all but the body, which has its own CRC in the record. */
  check = 0

  /** The record at `bytes[start, start + size)` must be whole. */
  scan(bytes: Buffer, start: number, size: number): void {
    const topicAt = start + BODY_AT + getI32(bytes, start + 84)
    const isWide = isWideTopic(bytes, start)
    this.topicStart = topicAt + (isWide ? 2 : 1)
    this.topicEnd = this.topicStart + (isWide ? getU16(bytes, topicAt) : bytes[topicAt]!)
    this.tagHash = NO_TAG_HASH
    this.tagStart = this.tagEnd = 0
    this.keysStart = this.keysEnd = 0
    this.uniqueKeyStart = this.uniqueKeyEnd = 0
    this.mqttTopicStart = this.mqttTopicEnd = 0
    this.dueStart = this.dueEnd = 0
    this.roundsStart = this.roundsEnd = 0
    this.dispatchStart = this.dispatchEnd = 0
    const head = mix(viewOf(bytes), start, start + BODY_AT, CHECK_SEED)
    this.check = this.#scanTail(bytes, topicAt, this.topicEnd + 2, start + size, head)
  }

  /**
   * Topic and properties word by word: each goes into the check, as in `mix`, and shows whether a
   * property ends within it. Properties are the longest part of a small message, so they are looked
   * at once.
   */
  #scanTail(bytes: Buffer, start: number, propertiesAt: number, end: number, head: number): number {
    const view = viewOf(bytes)
    let h = head
    let at = start
    let propertyAt = propertiesAt
    for (; at + 4 <= end; at += 4) {
      const word = view.getInt32(at, true)
      h = mixed(h ^ word)
      // Not 0 exactly when one of the four bytes is VALUE_END.
      const difference = word ^ VALUE_END_WORD
      if (((difference - 0x01010101) & ~difference & 0x80808080) === 0) continue
      for (let stop = Math.max(at, propertiesAt); stop < at + 4; stop++) {
        if (bytes[stop] !== VALUE_END) continue
        this.#property(bytes, propertyAt, stop)
        propertyAt = stop + 1
      }
    }
    for (; at < end; at++) {
      h = mixed(h ^ bytes[at]!)
      if (bytes[at] !== VALUE_END || at < propertiesAt) continue
      this.#property(bytes, propertyAt, at)
      propertyAt = at + 1
    }
    if (propertyAt < end) this.#property(bytes, propertyAt, end)
    return h
  }

  /** The first one of a name counts. */
  #property(bytes: Buffer, at: number, stop: number): void {
    const first = bytes[at]
    if (first === 84 && this.tagEnd === 0 && startsWith(bytes, at, stop, TAGS)) {
      this.tagStart = at + TAGS.length
      this.tagEnd = stop
      this.tagHash = hashOfTag(bytes, this.tagStart, stop)
    } else if (first === 75 && this.keysEnd === 0 && startsWith(bytes, at, stop, KEYS)) {
      this.keysStart = at + KEYS.length
      this.keysEnd = stop
    } else if (first === 85 && this.uniqueKeyEnd === 0 && startsWith(bytes, at, stop, UNIQUE_KEY)) {
      this.uniqueKeyStart = at + UNIQUE_KEY.length
      this.uniqueKeyEnd = stop
    } else if (first === 77 && this.mqttTopicEnd === 0 && startsWith(bytes, at, stop, MQTT_TOPIC)) {
      this.mqttTopicStart = at + MQTT_TOPIC.length
      this.mqttTopicEnd = stop
    } else if (first === 84 && this.dueEnd === 0 && startsWith(bytes, at, stop, DUE_MS)) {
      this.dueStart = at + DUE_MS.length
      this.dueEnd = stop
    } else if (first === 95 && this.roundsEnd === 0 && startsWith(bytes, at, stop, DUE_ROUNDS)) {
      this.roundsStart = at + DUE_ROUNDS.length
      this.roundsEnd = stop
    } else if (
      first === 73 &&
      this.dispatchEnd === 0 &&
      startsWith(bytes, at, stop, MULTI_DISPATCH)
    ) {
      this.dispatchStart = at + MULTI_DISPATCH.length
      this.dispatchEnd = stop
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
 * A sum over header, topic and properties, kept in the consume queue. Every step is one-to-one, so
 * a change within one 4-byte word is always seen and any other with all but 2^-32; three times as
 * fast as a CRC.
 */
export function recordCheck(bytes: Buffer, start: number, size: number): number {
  const bodyEnd = start + BODY_AT + getI32(bytes, start + 84)
  const view = viewOf(bytes)
  return mix(view, bodyEnd, start + size, mix(view, start, start + BODY_AT, CHECK_SEED))
}

function mix(view: DataView, start: number, end: number, seed: number): number {
  let h = seed
  let at = start
  for (; at + 4 <= end; at += 4) h = mixed(h ^ view.getInt32(at, true))
  for (; at < end; at++) h = mixed(h ^ view.getUint8(at))
  return h
}

function mixed(word: number): number {
  const h = Math.imul(word, CHECK_PRIME)
  return h ^ (h >>> 15)
}
