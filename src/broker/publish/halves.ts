// A half message of a transaction: how it waits, and the message that it is. It is a parked record
// of its own kind, due when its producer is to be asked for the first time, and waits on in rounds
// of checks. Pure.
import { BrokerError } from '../../errors.ts'
import { type DueRounds, roundsOf } from '../../model/due-rounds.ts'
import type { Host } from '../../model/host.ts'
import { TRANSACTIONS_GIVEN_UP_TOPIC } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import {
  editProperties,
  encodeProperties,
  findProperty,
  PROPERTY,
  withoutProperties,
} from '../../model/properties.ts'
import { draftOf, type RecordView, recordBytes, SYS_FLAG, writeRecord } from '../../model/record.ts'
import type { StoreDraft } from '../../store/store.ts'
import type { BrokerOptions } from '../options.ts'
import { deliveryTime, withKnownLevel } from './delay.ts'
import { SCAN, scanProperties } from './message-scan.ts'

export const HALF = 'half'

/** Where its producer knows it to be. */
export const placeOf = (record: RecordView): LogPosition =>
  roundsOf(record)?.firstPlace ?? record.position

/** Whatever its producer says of a prepared message. */
export const isPrepared = (properties: Uint8Array): boolean =>
  findProperty(properties, PROPERTY.transactionPrepared)?.toLowerCase() === 'true'

/** How it waited does not belong to the message. */
const WAITING: ReadonlySet<string> = new Set([
  PROPERTY.transactionId,
  PROPERTY.transactionCheckTimes,
  PROPERTY.transactionReplyTo,
  PROPERTY.transactionCorrelation,
  PROPERTY.dueMs,
  PROPERTY.dueKind,
  PROPERTY.dueRounds,
  PROPERTY.realTopic,
  PROPERTY.realQueueId,
])
/** The first of them that a new half message is parked with. */
const WAITING_FROM = Buffer.from(`\u0002${PROPERTY.dueMs}\u0001`)
/** The topic of the given up keeps where the message was to go, as with Apache's broker. */
const WAITED: ReadonlySet<string> = new Set([PROPERTY.dueMs, PROPERTY.dueKind, PROPERTY.dueRounds])

/** A message's first check is due after this time from its birth. */
export function immunityMs(properties: Uint8Array, options: BrokerOptions): number {
  const seconds = Number(findProperty(properties, PROPERTY.checkImmunitySeconds) ?? -1)
  if (!(seconds >= 0)) return options.transactionTimeoutMs
  return Math.min(seconds * 1000, options.transactionMsMax)
}

/** @throws MESSAGE_INVALID for one that could never be ended or delivered */
export function halfDraft(
  draft: StoreDraft,
  isDelayed: boolean,
  nowMs: number,
  options: BrokerOptions,
): StoreDraft {
  const { properties, bornTimestamp } = draft
  if (findProperty(properties, PROPERTY.producerGroup) === undefined) {
    throw new BrokerError(
      'MESSAGE_INVALID',
      `a half message names the group of its producer: the property ${PROPERTY.producerGroup} is missing`,
    )
  }
  // What is wrong with a delay is to be known before the transaction, not at its end.
  if (isDelayed) deliveryTime(properties, nowMs, options.delayMsMax)
  const waitMs = immunityMs(properties, options)
  const ageMs = nowMs - bornTimestamp
  // Counted from when it was stored where the producer's clock is wrong: its transaction has just
  // begun.
  const isRight = ageMs > 0 && ageMs < waitMs
  return {
    ...draft,
    dueMs: isRight ? bornTimestamp + waitMs : nowMs + waitMs,
    dueKind: HALF,
    rounds: { periodMs: options.transactionCheckIntervalMs, round: 0 },
  }
}

/** For the topic and queue that its producer named, without any sign of how it waited. */
export function committedDraft(
  record: RecordView,
  place: LogPosition,
  round: number,
  nowMs: number,
): StoreDraft {
  const own = ownProperties(record.propertyBytes)
  const properties = Buffer.concat([own, encodeProperties(checked(record, round))])
  const isDelayed = (scanProperties(own) & SCAN.delayed) !== 0
  // However long the delay may be by now: it was taken with the half message.
  const dueMs = isDelayed ? deliveryTime(properties, nowMs, Infinity) : undefined
  return {
    ...draftOf(record),
    topic: record.property(PROPERTY.realTopic)!,
    queueId: Number(record.property(PROPERTY.realQueueId)),
    sysFlag: record.sysFlag | SYS_FLAG.transactionCommit,
    preparedPosition: place,
    properties: dueMs === undefined ? properties : withKnownLevel(properties),
    dueMs,
  }
}

/** How it waits stands behind its own properties, and nearly none has these among them. */
function ownProperties(bytes: Buffer): Uint8Array {
  const own = bytes.subarray(0, bytes.lastIndexOf(WAITING_FROM) + 1)
  const isSure = own.length > 0 && !own.includes('__') && !own.includes('TRANSACTION_')
  return isSure ? own : withoutProperties(bytes, WAITING)
}

/** After the last check. */
export const givenUpDraft = (record: RecordView, round: number): StoreDraft => ({
  ...draftOf(record),
  topic: TRANSACTIONS_GIVEN_UP_TOPIC,
  queueId: 0,
  properties: editProperties(record.propertyBytes, checked(record, round), WAITED),
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
    properties: editProperties(record.propertyBytes, checked(record, round), WAITED),
  }
  const bytes = Buffer.allocUnsafe(recordBytes(draft))
  const { storeTimestamp } = record
  const position = placeOf(record)
  writeRecord(bytes, 0, draft, { queueOffset: 0, position, storeTimestamp, storeHost })
  return bytes
}

function checked(record: RecordView, round: number): [string, string][] {
  const entries: [string, string][] = []
  const id = record.property(PROPERTY.uniqueKey)
  if (id !== undefined) entries.push([PROPERTY.transactionId, id])
  if (round > 0) entries.push([PROPERTY.transactionCheckTimes, String(round)])
  return entries
}
