// A message as the log keeps it and as RocketMQ's clients read it (MessageDecoder, version 1 and
// 2):
//
//   0 i32 size   4 i32 magic   8 i32 bodyCrc   12 i32 queueId   16 i32 flag   20 i64 queueOffset
//  28 i64 position   36 i32 sysFlag   40 i64 bornTimestamp   48 bornHost (ip 4, port 4)
//  56 i64 storeTimestamp   64 storeHost (ip 4, port 4)   72 i32 reconsumeTimes
//  76 i64 preparedPosition   84 i32 bodyLength, body
//   . i8 (version 1) or i16 (version 2) topicLength, topic   . i16 propertiesLength, properties
import { BrokerError } from '../errors.ts'
import { copyBytes, getI32, getU16, getU32, getU64, putU16, setU64, viewOf } from './bytes.ts'
import { crc32 } from './crc32.ts'
import type { Host } from './host.ts'
import { type LogPosition, logPosition, type QueueOffset, queueOffset } from './positions.ts'
import { decodeProperties, findProperty, firstProperties } from './properties.ts'

const RECORD_MAGIC_V1 = 0xdaa320a7
export const RECORD_MAGIC_V2 = 0xdaa320ab
/** Bytes of a version 1 record beside body, topic and properties. */
export const RECORD_FIXED_BYTES = 91
/** Topics beyond this need version 2, which old clients cannot read. */
const TOPIC_BYTES_V1_MAX = 127
const BODY_AT = 88
/** Where in a record its queue offset and its store time stand. */
export const QUEUE_OFFSET_AT = 20
export const STORE_TIMESTAMP_AT = 56
/** The store time of the record that starts there. */
export const storeTimestampOf = (bytes: Uint8Array, start: number): number =>
  getU64(bytes, start + STORE_TIMESTAMP_AT)
const RECONSUME_TIMES_AT = 72
const CRC_MASK = 0x7fffffff

/** sysFlag bits. */
export const SYS_FLAG_AT = 36
export const SYS_FLAG = {
  compressed: 0x1,
  multiTags: 0x2,
  transactionMask: 0xc,
  transactionPrepared: 0x4,
  transactionCommit: 0x8,
  transactionRollback: 0xc,
  bornHostV6: 0x10,
  storeHostV6: 0x20,
  /** Ours, beyond the bits of RocketMQ: a property says when the message expires. */
  expires: 0x1_0000,
  /** Ours: what a broker adds to each message is not in the record (own-properties.ts). */
  ownProperties: 0x2_0000,
} as const

/** An encoded property that is written where the record is. */
export interface WrittenProperty {
  readonly length: number
  write(target: Uint8Array, at: number): void
}

/** A record before it has its place in the log. */
export interface RecordDraft {
  readonly topic: string
  readonly queueId: number
  readonly flag: number
  readonly sysFlag: number
  /** Producer's clock, epoch ms. */
  readonly bornTimestamp: number
  readonly bornHost: Host
  readonly reconsumeTimes: number
  readonly preparedPosition: number
  readonly body: Uint8Array
  /** Encoded as in properties.ts. */
  readonly properties: Uint8Array
  /** Of a message without one: behind `properties`, which end with a separator then. */
  readonly uniqueKey?: WrittenProperty | undefined
  /** Further ones behind them; begins with a separator where `properties` does not end with one. */
  readonly brokerProperties?: Uint8Array | undefined
  /** Of a parked record, behind all others: how it waits. */
  readonly waiting?: WrittenProperty | undefined
  readonly encoded?: undefined
}

/** A record that is encoded but for its place: of very many, ahead of the turn that writes them. */
export interface EncodedRecord {
  readonly topic: string
  readonly queueId: number
  /** Those of several records. */
  readonly encoded: Buffer
  readonly start: number
  readonly size: number
  readonly dueMs?: undefined
}

/**
 * A message that is in memory as the record of another topic: its body, and the body's checksum,
 * are written as they are there. The bytes are read within the call that appends it.
 */
export interface RecordCopy {
  readonly topic: string
  readonly queueId: number
  readonly sysFlag: number
  readonly preparedPosition: number
  /** The other record begins at `start`; the properties of this one are in there. */
  readonly copied: Buffer
  readonly start: number
  readonly propertiesStart: number
  readonly propertiesEnd: number
  readonly encoded?: undefined
  readonly dueMs?: undefined
}

export type NewRecord = RecordDraft | RecordCopy | EncodedRecord

export interface RecordPlace {
  readonly queueOffset: number
  readonly position: number
  readonly storeTimestamp: number
  readonly storeHost: Host
}

/** Bytes of the record; `topicBytes` is the topic's UTF-8 length. */
export function recordBytes(draft: NewRecord, topicBytes = draft.topic.length): number {
  if (draft.encoded !== undefined) return draft.size
  const wide = topicBytes > TOPIC_BYTES_V1_MAX ? 1 : 0
  const body = 'copied' in draft ? bodyBytesAt(draft.copied, draft.start) : draft.body.length
  return RECORD_FIXED_BYTES + wide + body + topicBytes + propertiesBytes(draft)
}

export const propertiesBytes = (draft: RecordDraft | RecordCopy): number =>
  'copied' in draft
    ? draft.propertiesEnd - draft.propertiesStart
    : draft.properties.length +
      (draft.uniqueKey?.length ?? 0) +
      (draft.brokerProperties?.length ?? 0) +
      (draft.waiting?.length ?? 0)

/** Of the body of the record that starts there. */
const bodyBytesAt = (bytes: Buffer, start: number): number => getI32(bytes, start + BODY_AT - 4)

/** Where the body of the record that starts there ends, and the length of its topic begins. */
export const bodyEndOf = (bytes: Buffer, start: number): number =>
  start + BODY_AT + bodyBytesAt(bytes, start)

/** Where the properties of the record start, if its body ends there. */
export const propertiesStartOf = (bytes: Buffer, start: number, bodyEnd: number): number =>
  getU32(bytes, start + 4) === RECORD_MAGIC_V2
    ? bodyEnd + 4 + getU16(bytes, bodyEnd)
    : bodyEnd + 3 + bytes[bodyEnd]!

/**
 * Encodes at `target[at...]` and returns the record's size. Topic names are ASCII but for light
 * queues, which own no records.
 */
export function writeRecord(
  target: Buffer,
  at: number,
  draft: NewRecord,
  place: RecordPlace,
): number {
  const view = viewOf(target)
  let end: number
  if (draft.encoded !== undefined) {
    end = at + draft.encoded.copy(target, at, draft.start, draft.start + draft.size)
  } else if ('copied' in draft) end = copyContent(target, at, draft, view)
  else end = writeContent(target, at, draft, view)
  setU64(view, at + QUEUE_OFFSET_AT, place.queueOffset)
  setU64(view, at + 28, place.position)
  setU64(view, at + STORE_TIMESTAMP_AT, place.storeTimestamp)
  view.setUint32(at + 64, place.storeHost.ip)
  view.setInt32(at + 68, place.storeHost.port)
  return end - at
}

/** The records but for their places, which `writeRecord` adds. */
export function encodeRecords(drafts: readonly RecordDraft[]): EncodedRecord[] {
  let bytes = 0
  for (const draft of drafts) bytes += recordBytes(draft)
  const encoded = Buffer.allocUnsafeSlow(bytes)
  const view = viewOf(encoded)
  let start = 0
  return drafts.map((draft) => {
    const { topic, queueId } = draft
    const record = { topic, queueId, encoded, start, size: recordBytes(draft) }
    writeContent(encoded, start, draft, view)
    start += record.size
    return record
  })
}

/** @returns where it ends */
function writeContent(target: Buffer, at: number, draft: RecordDraft, view: DataView): number {
  const { topic, body, properties, uniqueKey, brokerProperties, waiting } = draft
  view.setUint32(at + 4, topic.length > TOPIC_BYTES_V1_MAX ? RECORD_MAGIC_V2 : RECORD_MAGIC_V1)
  view.setInt32(at + 8, crc32(body) & CRC_MASK)
  view.setInt32(at + 12, draft.queueId)
  view.setInt32(at + 16, draft.flag)
  view.setInt32(at + SYS_FLAG_AT, draft.sysFlag & ~(SYS_FLAG.bornHostV6 | SYS_FLAG.storeHostV6))
  setU64(view, at + 40, draft.bornTimestamp)
  view.setUint32(at + 48, draft.bornHost.ip)
  view.setInt32(at + 52, draft.bornHost.port)
  view.setInt32(at + RECONSUME_TIMES_AT, draft.reconsumeTimes)
  setU64(view, at + 76, draft.preparedPosition)
  view.setInt32(at + 84, body.length)
  target.set(body, at + BODY_AT)
  const propertiesAt = putTopic(target, at + BODY_AT + body.length, topic) + 2
  target.set(properties, propertiesAt)
  let next = propertiesAt + properties.length
  if (uniqueKey !== undefined) {
    uniqueKey.write(target, next)
    next += uniqueKey.length
  }
  if (brokerProperties !== undefined) {
    target.set(brokerProperties, next)
    next += brokerProperties.length
  }
  if (waiting !== undefined) {
    waiting.write(target, next)
    next += waiting.length
  }
  putU16(target, propertiesAt - 2, next - propertiesAt)
  view.setInt32(at, next - at)
  return next
}

/** @returns where it ends */
function copyContent(target: Buffer, at: number, draft: RecordCopy, view: DataView): number {
  const { copied, start, topic, propertiesStart, propertiesEnd } = draft
  const bodyEnd = start + BODY_AT + bodyBytesAt(copied, start)
  copyBytes(target, at, copied, start, bodyEnd)
  view.setUint32(at + 4, topic.length > TOPIC_BYTES_V1_MAX ? RECORD_MAGIC_V2 : RECORD_MAGIC_V1)
  view.setInt32(at + 12, draft.queueId)
  view.setInt32(at + SYS_FLAG_AT, draft.sysFlag)
  setU64(view, at + 76, draft.preparedPosition)
  const next = putTopic(target, at + bodyEnd - start, topic)
  putU16(target, next, propertiesEnd - propertiesStart)
  const end = copyBytes(target, next + 2, copied, propertiesStart, propertiesEnd)
  view.setInt32(at, end - at)
  return end
}

/** With its length before it. @returns where it ends */
function putTopic(target: Buffer, at: number, topic: string): number {
  let next = at
  if (topic.length > TOPIC_BYTES_V1_MAX) {
    putU16(target, next, topic.length)
    next += 2
  } else {
    target[next] = topic.length
    next += 1
  }
  // A call into Node costs more than these few bytes.
  for (let i = 0; i < topic.length; i++) target[next + i] = topic.charCodeAt(i)
  return next + topic.length
}

/**
 * Lazily decoded view of one record at `bytes[start...]`; holds on to the buffer, so copy what must
 * live long.
 */
export class RecordView {
  readonly bytes: Buffer
  readonly start: number
  /** Where its properties start; -1: not looked for yet. */
  #propertiesAt: number

  constructor(bytes: Buffer, start = 0, propertiesStart = -1) {
    this.bytes = bytes
    this.start = start
    this.#propertiesAt = propertiesStart
  }

  get size(): number {
    return getI32(this.bytes, this.start)
  }
  get magic(): number {
    return getU32(this.bytes, this.start + 4)
  }
  get queueId(): number {
    return getI32(this.bytes, this.start + 12)
  }
  get flag(): number {
    return getI32(this.bytes, this.start + 16)
  }
  get queueOffset(): QueueOffset {
    return queueOffset(getU64(this.bytes, this.start + 20))
  }
  get position(): LogPosition {
    return logPosition(getU64(this.bytes, this.start + 28))
  }
  get sysFlag(): number {
    return getI32(this.bytes, this.start + SYS_FLAG_AT)
  }
  get bornTimestamp(): number {
    return getU64(this.bytes, this.start + 40)
  }
  get bornHost(): Host {
    return { ip: getU32(this.bytes, this.start + 48), port: getI32(this.bytes, this.start + 52) }
  }
  get storeTimestamp(): number {
    return storeTimestampOf(this.bytes, this.start)
  }
  get storeHost(): Host {
    return { ip: getU32(this.bytes, this.start + 64), port: getI32(this.bytes, this.start + 68) }
  }
  get reconsumeTimes(): number {
    return getI32(this.bytes, this.start + RECONSUME_TIMES_AT)
  }
  get preparedPosition(): LogPosition {
    return logPosition(getU64(this.bytes, this.start + 76))
  }
  get bodyLength(): number {
    return getI32(this.bytes, this.start + 84)
  }
  /** Where the body starts within `bytes`. */
  get bodyStart(): number {
    return this.start + BODY_AT
  }
  /** A view, not a copy. */
  get body(): Buffer {
    const from = this.start + BODY_AT
    return this.bytes.subarray(from, from + this.bodyLength)
  }
  get topic(): string {
    return this.bytes.latin1Slice(this.topicStart, this.topicEnd)
  }
  /** [start, end) of the topic's name within `bytes`. */
  get topicStart(): number {
    const at = this.start + BODY_AT + this.bodyLength
    return at + (this.magic === RECORD_MAGIC_V2 ? 2 : 1)
  }
  get topicEnd(): number {
    const at = this.start + BODY_AT + this.bodyLength
    return this.magic === RECORD_MAGIC_V2
      ? at + 2 + getU16(this.bytes, at)
      : at + 1 + this.bytes[at]!
  }
  /** [start, end) of the encoded properties within `bytes`. */
  get propertiesStart(): number {
    if (this.#propertiesAt === -1) this.#propertiesAt = this.topicEnd + 2
    return this.#propertiesAt
  }
  get propertiesEnd(): number {
    return this.start + this.size
  }
  /** A view, not a copy. */
  get propertyBytes(): Buffer {
    return this.bytes.subarray(this.propertiesStart, this.propertiesEnd)
  }
  property(name: string): string | undefined {
    return findProperty(this.bytes, name, this.propertiesStart, this.propertiesEnd)
  }
  /** What `property` answers, of all names. */
  firstProperties(): Map<string, string> {
    return firstProperties(this.bytes, this.propertiesStart, this.propertiesEnd)
  }
  properties(): Map<string, string> {
    return decodeProperties(this.bytes, this.propertiesStart, this.propertiesEnd)
  }
}

/** Changes the record that begins the bytes. */
export function setReconsumeTimes(bytes: Buffer, times: number): Buffer {
  viewOf(bytes).setInt32(RECONSUME_TIMES_AT, times)
  return bytes
}

/** The record's message as a new draft: views of it, not copies. */
export const draftOf = (record: RecordView): RecordDraft => ({
  topic: record.topic,
  queueId: record.queueId,
  flag: record.flag,
  sysFlag: record.sysFlag,
  bornTimestamp: record.bornTimestamp,
  bornHost: record.bornHost,
  reconsumeTimes: record.reconsumeTimes,
  preparedPosition: record.preparedPosition,
  body: record.body,
  properties: record.propertyBytes,
})

/**
 * Checks that a whole, self-consistent record starts at `bytes[start]` and ends by `end`.
 * @returns its size, or 0 when it does not. The body's CRC is checked only on request.
 */
export function checkRecord(bytes: Buffer, start: number, end: number, withBody: boolean): number {
  if (end - start < RECORD_FIXED_BYTES) return 0
  const size = getI32(bytes, start)
  const magic = getU32(bytes, start + 4)
  const wide = magic === RECORD_MAGIC_V2
  if (size < RECORD_FIXED_BYTES || size > end - start) return 0
  if (!wide && magic !== RECORD_MAGIC_V1) return 0
  const bodyLength = getI32(bytes, start + 84)
  const topicAt = start + BODY_AT + bodyLength
  if (bodyLength < 0 || topicAt + 3 > start + size) return 0
  const topicEnd = wide ? topicAt + 2 + getU16(bytes, topicAt) : topicAt + 1 + bytes[topicAt]!
  if (topicEnd + 2 > start + size) return 0
  if (topicEnd + 2 + getU16(bytes, topicEnd) !== start + size) return 0
  if (
    withBody &&
    (crc32(bytes, start + BODY_AT, topicAt) & CRC_MASK) !== getI32(bytes, start + 8)
  ) {
    return 0
  }
  return size
}

/**
 * Walks back-to-back records, the form in which every read answers.
 * @throws BrokerError STORE_CORRUPT
 */
export function* recordsOf(bytes: Buffer): Generator<RecordView> {
  for (let at = 0; at < bytes.length; ) {
    const size = checkRecord(bytes, at, bytes.length, false)
    if (size === 0) {
      throw new BrokerError('STORE_CORRUPT', `no whole record at byte ${at} of ${bytes.length}`)
    }
    yield new RecordView(bytes, at)
    at += size
  }
}
