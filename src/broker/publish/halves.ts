// A half message of a transaction: how it waits, and the message that it is. It is a parked record
// of its own kind, due when its producer is to be asked for the first time, and waits on in rounds
// of checks. Pure.
import { BrokerError } from '../../errors.ts'
import { copyBytes, partOf } from '../../model/bytes.ts'
import { type DueRounds, parseRounds, roundAt, roundsOf } from '../../model/due-rounds.ts'
import type { Host } from '../../model/host.ts'
import { SCAN, scanProperties, WAITING_PROPERTIES } from '../../model/message-scan.ts'
import { TRANSACTIONS_GIVEN_UP_TOPIC } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import {
  decodeProperties,
  editProperties,
  encodeProperties,
  findProperty,
  hasSeparator,
  NAME_END,
  PROPERTY,
  VALUE_END,
  valueEnd,
  valueStart,
  withoutProperties,
} from '../../model/properties.ts'
import {
  draftOf,
  type RecordCopy,
  type RecordView,
  recordBytes,
  SYS_FLAG,
  writeRecord,
} from '../../model/record.ts'
import type { DueEntry, StoreDraft } from '../../store/store.ts'
import type { BrokerOptions } from '../options.ts'
import { deliveryTime, withKnownLevel } from './delay.ts'
import { HALF, HalfWaits } from './half-waits.ts'

/** Where its producer knows it to be. */
export const placeOf = (record: RecordView): LogPosition =>
  roundsOf(record)?.firstPlace ?? record.position

/** Whatever its producer says of a prepared message: "true" in any case. */
export function isPrepared(properties: Uint8Array): boolean {
  const { length } = properties
  const at = valueStart(properties, PROPERTY.transactionPrepared, 0, length)
  if (at === -1 || valueEnd(properties, at, length) !== at + TRUE.length) return false
  for (let i = 0; i < TRUE.length; i++) {
    if ((properties[at + i]! | LOWER_CASE) !== TRUE.charCodeAt(i)) return false
  }
  return true
}

const TRUE = 'true'
/** Of an ASCII letter. */
const LOWER_CASE = 0x20

const ID_NAME = Buffer.from(`${PROPERTY.transactionId}\u0001`)
/** The topic of the given up keeps where the message was to go, as with Apache's broker. */
const WAITED: ReadonlySet<string> = new Set([PROPERTY.dueMs, PROPERTY.dueKind, PROPERTY.dueRounds])

/** A message's first check is due after this time from its birth. */
function immunityMs(properties: Uint8Array, options: BrokerOptions): number {
  const seconds = Number(findProperty(properties, PROPERTY.checkImmunitySeconds) ?? -1)
  if (!(seconds >= 0)) return options.transactionTimeoutMs
  return Math.min(seconds * 1000, options.transactionMsMax)
}

/**
 * `found`: what `scanProperties` finds in its properties.
 * @throws MESSAGE_INVALID for one that could never be ended or delivered
 */
export function halfDraft(
  draft: StoreDraft,
  brokerProperties: Uint8Array | undefined,
  found: number,
  nowMs: number,
  options: BrokerOptions,
): StoreDraft {
  const { properties, bornTimestamp } = draft
  if ((found & SCAN.group) === 0) {
    throw new BrokerError(
      'MESSAGE_INVALID',
      `a half message names the group of its producer: the property ${PROPERTY.producerGroup} is missing`,
    )
  }
  // What is wrong with a delay is to be known before the transaction, not at its end.
  if ((found & SCAN.delayed) !== 0) {
    deliveryTime(decodeProperties(properties), nowMs, options.delayMsMax)
  }
  const hasImmunity = (found & SCAN.immunity) !== 0
  const waitMs = hasImmunity ? immunityMs(properties, options) : options.transactionTimeoutMs
  const ageMs = nowMs - bornTimestamp
  // Counted from when it was stored where the producer's clock is wrong: its transaction has just
  // begun.
  const isRight = ageMs > 0 && ageMs < waitMs
  // A literal: each spread of a draft costs as much as to write the record.
  return {
    topic: draft.topic,
    queueId: draft.queueId,
    flag: draft.flag,
    sysFlag: draft.sysFlag,
    bornTimestamp,
    bornHost: draft.bornHost,
    reconsumeTimes: draft.reconsumeTimes,
    preparedPosition: draft.preparedPosition,
    body: draft.body,
    properties,
    uniqueKey: undefined,
    brokerProperties,
    dueMs: isRight ? bornTimestamp + waitMs : nowMs + waitMs,
    dueKind: HALF,
    rounds: { periodMs: options.transactionCheckIntervalMs, round: 0 },
  }
}

/** A half message: how it waits, and what there is of its message. */
export interface Half {
  readonly group: string | undefined
  readonly topic: string
  readonly queueId: number
  /** Of the record, before anything was put off. */
  readonly dueMs: number
  readonly rounds: DueRounds
  /** The properties of the message alone are `bytes[ownStart, ownEnd)`. */
  readonly bytes: Buffer
  readonly ownStart: number
  readonly ownEnd: number
  /** What `scanProperties` finds in them. */
  readonly found: number
}

/** undefined: the record is no half message. */
export function halfOf(record: RecordView): Half | undefined {
  return youngHalf(record) ?? anyHalf(record)
}

/** As the store parks a new one: how it waits stands behind all that its message has. */
function youngHalf(record: RecordView): Half | undefined {
  const { bytes, propertiesStart: ownStart } = record
  const wait = waits.read(bytes, ownStart, record.propertiesEnd)
  if (wait === undefined) return undefined
  const { topic, rounds } = wait
  const { ownEnd, dueMs, queueId } = waits
  const found = scanProperties(bytes, ownStart, ownEnd)
  if ((found & SCAN.waiting) !== 0) return undefined
  const group = findProperty(bytes, PROPERTY.producerGroup, ownStart, ownEnd)
  return { group, topic, queueId, dueMs, rounds, bytes, ownStart, ownEnd, found }
}

const waits = new HalfWaits()

function anyHalf(record: RecordView): Half | undefined {
  const properties = record.firstProperties()
  if (properties.get(PROPERTY.dueKind) !== HALF) return undefined
  const own = withoutProperties(record.propertyBytes, WAITING_PROPERTIES)
  return {
    group: properties.get(PROPERTY.producerGroup),
    topic: properties.get(PROPERTY.realTopic)!,
    queueId: Number(properties.get(PROPERTY.realQueueId)),
    dueMs: Number(properties.get(PROPERTY.dueMs)),
    rounds: parseRounds(properties.get(PROPERTY.dueRounds))!,
    bytes: own,
    ownStart: 0,
    ownEnd: own.length,
    found: scanProperties(own),
  }
}

/** For the topic and queue that its producer named, without any sign of how it waited. */
export function committedDraft(
  record: RecordView,
  { topic, dueMs: firstMs, rounds, bytes, ownStart, ownEnd, found }: Half,
  queueId: number,
  entry: DueEntry,
  place: LogPosition,
  nowMs: number,
): StoreDraft {
  const own = partOf(bytes, ownStart, ownEnd)
  const delayed = (found & SCAN.delayed) === 0 ? undefined : decodeProperties(own)
  const round = roundAt(firstMs, rounds, entry.dueMs)
  const { sysFlag, body } = record
  return {
    topic,
    queueId,
    flag: record.flag,
    sysFlag: sysFlag | SYS_FLAG.transactionCommit,
    bornTimestamp: record.bornTimestamp,
    bornHost: record.bornHost,
    reconsumeTimes: record.reconsumeTimes,
    preparedPosition: place,
    body,
    properties: delayed ? withKnownLevel(own, delayed) : own,
    uniqueKey: undefined,
    brokerProperties: encodeProperties(checked(own, round)),
    // However long the delay may be by now: it was taken with the half message.
    dueMs: delayed && deliveryTime(delayed, nowMs, Number.POSITIVE_INFINITY),
    dueKind: undefined,
    rounds: undefined,
  }
}

/**
 * The same, for a record in memory that nothing else has any use for: what becomes of its
 * properties is written over them. undefined: it was checked, is delayed, or has no room for that.
 */
export function committedCopy(
  record: RecordView,
  { topic, dueMs: firstMs, rounds, bytes, ownStart, ownEnd, found }: Half,
  queueId: number,
  entry: DueEntry,
  place: LogPosition,
): RecordCopy | undefined {
  if (bytes !== record.bytes || (found & SCAN.delayed) !== 0) return undefined
  if (roundAt(firstMs, rounds, entry.dueMs) > 0) return undefined
  let end = ownEnd
  const idAt = valueStart(bytes, PROPERTY.uniqueKey, ownStart, ownEnd)
  if (idAt !== -1) {
    const idEnd = valueEnd(bytes, idAt, ownEnd)
    for (let i = idAt; i < idEnd; i++) if (bytes[i] === NAME_END) return undefined
    if (ownEnd + ID_NAME.length + idEnd + 1 - idAt > record.propertiesEnd) return undefined
    end = copyBytes(bytes, ownEnd, ID_NAME, 0, ID_NAME.length)
    end = copyBytes(bytes, end, bytes, idAt, idEnd)
    bytes[end++] = VALUE_END
  }
  return {
    topic,
    queueId,
    sysFlag: record.sysFlag | SYS_FLAG.transactionCommit,
    preparedPosition: place,
    copied: bytes,
    start: record.start,
    propertiesStart: ownStart,
    propertiesEnd: end,
  }
}

/** After the last check. */
export const givenUpDraft = (record: RecordView, round: number): StoreDraft => ({
  ...draftOf(record),
  topic: TRANSACTIONS_GIVEN_UP_TOPIC,
  queueId: 0,
  properties: editProperties(record.propertyBytes, checked(record.propertyBytes, round), WAITED),
})

/** The same half message, to wait from now on at another place. */
export const copiedHalf = (record: RecordView, dueMs: number, rounds: DueRounds): StoreDraft => ({
  ...draftOf(record),
  dueMs,
  dueKind: HALF,
  rounds,
})

/** As a producer is shown it: as if it stood in the queue that it is for. */
export function shownRecord(record: RecordView, round: number, storeHost: Host): Buffer {
  const draft = {
    ...draftOf(record),
    topic: record.property(PROPERTY.realTopic)!,
    queueId: Number(record.property(PROPERTY.realQueueId)),
    properties: editProperties(record.propertyBytes, checked(record.propertyBytes, round), WAITED),
  }
  const bytes = Buffer.allocUnsafe(recordBytes(draft))
  const { storeTimestamp } = record
  const position = placeOf(record)
  writeRecord(bytes, 0, draft, { queueOffset: 0, position, storeTimestamp, storeHost })
  return bytes
}

function checked(properties: Uint8Array, round: number): [string, string][] {
  const entries: [string, string][] = []
  const id = findProperty(properties, PROPERTY.uniqueKey)
  if (id !== undefined && !hasSeparator(id)) entries.push([PROPERTY.transactionId, id])
  if (round > 0) entries.push([PROPERTY.transactionCheckTimes, String(round)])
  return entries
}
