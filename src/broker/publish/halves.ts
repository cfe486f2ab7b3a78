// A half message of a transaction: how it waits, and the message that it is. It is a parked record
// of its own kind, due when its producer is to be asked for the first time, and waits on in rounds
// of checks. Pure.
import { BrokerError } from '../../errors.ts'
import { partOf } from '../../model/bytes.ts'
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
  PROPERTY,
  VALUE_END,
  withoutProperties,
} from '../../model/properties.ts'
import { draftOf, type RecordView, recordBytes, SYS_FLAG, writeRecord } from '../../model/record.ts'
import type { DueEntry, StoreDraft } from '../../store/store.ts'
import type { BrokerOptions } from '../options.ts'
import { deliveryTime, withKnownLevel } from './delay.ts'

export const HALF = 'half'

/** Where its producer knows it to be. */
export const placeOf = (record: RecordView): LogPosition =>
  roundsOf(record)?.firstPlace ?? record.position

/** Whatever its producer says of a prepared message. */
export const isPrepared = (properties: Uint8Array): boolean =>
  findProperty(properties, PROPERTY.transactionPrepared)?.toLowerCase() === 'true'

/** The first of them that a new half message is parked with. */
const WAITING_FROM = Buffer.from(`\u0002${PROPERTY.dueMs}\u0001`)
const REAL_TOPIC = Buffer.from(`\u0002${PROPERTY.realTopic}\u0001`)
const REAL_QUEUE = Buffer.from(`\u0002${PROPERTY.realQueueId}\u0001`)
const ROUNDS = Buffer.from(
  `\u0002${PROPERTY.dueKind}\u0001${HALF}\u0002${PROPERTY.dueRounds}\u0001`,
)
const BLANK = Buffer.from(' ')
const ID_NAME = `${PROPERTY.transactionId}\u0001`
const NO_BYTES = Buffer.alloc(0)
/** The topic of the given up keeps where the message was to go, as with Apache's broker. */
const WAITED: ReadonlySet<string> = new Set([PROPERTY.dueMs, PROPERTY.dueKind, PROPERTY.dueRounds])

/** A message's first check is due after this time from its birth. */
export function immunityMs(properties: Uint8Array, options: BrokerOptions): number {
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
  /** Of the message alone. */
  readonly own: Uint8Array
  /** What `scanProperties` finds in them. */
  readonly found: number
}

/** Values between constants. */
class WaitingReader {
  #bytes: Buffer = NO_BYTES
  /** -1: something else stood where a constant was expected. */
  #at = 0

  start(bytes: Buffer, at: number): void {
    this.#bytes = bytes
    this.#at = at
  }

  /** Behind the constant, to the next separator or blank. */
  text(constant: Buffer): string {
    const from = this.#skip(constant)
    return from === -1 ? '' : this.#bytes.latin1Slice(from, this.#at)
  }

  number(constant: Buffer): number {
    const from = this.#skip(constant)
    let value = 0
    for (let i = from; i >= 0 && i < this.#at; i++) value = value * 10 + this.#bytes[i]! - 48
    return value
  }

  /** All that was expected was there, and the last separator ends here. */
  isAt(end: number): boolean {
    return this.#at === end - 1 && this.#bytes[this.#at] === VALUE_END
  }

  #skip(constant: Buffer): number {
    const bytes = this.#bytes
    const from = this.#at
    if (from === -1) return -1
    for (let i = 0; i < constant.length; i++) {
      if (bytes[from + i] === constant[i]) continue
      this.#at = -1
      return -1
    }
    let at = from + constant.length
    while (at < bytes.length && bytes[at] !== VALUE_END && bytes[at] !== BLANK[0]) at++
    this.#at = at
    return from + constant.length
  }
}

/** undefined: the record is no half message. */
export function halfOf(record: RecordView): Half | undefined {
  return youngHalf(record) ?? anyHalf(record)
}

/** As the store parks a new one: how it waits stands behind all that its message has. */
function youngHalf(record: RecordView): Half | undefined {
  const { bytes, propertiesStart, propertiesEnd } = record
  const at = bytes.lastIndexOf(WAITING_FROM, propertiesEnd - WAITING_FROM.length)
  if (at < propertiesStart) return undefined
  const own = partOf(bytes, propertiesStart, at + 1)
  const found = scanProperties(own)
  if ((found & SCAN.waiting) !== 0) return undefined
  waiting.start(bytes, at)
  const dueMs = waiting.number(WAITING_FROM)
  const topic = waiting.text(REAL_TOPIC)
  const queueId = waiting.number(REAL_QUEUE)
  const periodMs = waiting.number(ROUNDS)
  const round = waiting.number(BLANK)
  if (!waiting.isAt(propertiesEnd)) return undefined
  const group = findProperty(own, PROPERTY.producerGroup)
  return { group, topic, queueId, dueMs, rounds: { periodMs, round }, own, found }
}

const waiting = new WaitingReader()

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
    own,
    found: scanProperties(own),
  }
}

/** For the topic and queue that its producer named, without any sign of how it waited. */
export function committedDraft(
  record: RecordView,
  { topic, dueMs: firstMs, rounds, own, found }: Half,
  queueId: number,
  entry: DueEntry,
  place: LogPosition,
  nowMs: number,
): StoreDraft {
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
    brokerProperties: checkedBytes(own, round),
    // However long the delay may be by now: it was taken with the half message.
    dueMs: delayed && deliveryTime(delayed, nowMs, Number.POSITIVE_INFINITY),
    dueKind: undefined,
    rounds: undefined,
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

/** Encoded. */
function checkedBytes(properties: Uint8Array, round: number): Uint8Array {
  if (round > 0) return encodeProperties(checked(properties, round))
  const id = findProperty(properties, PROPERTY.uniqueKey)
  return id === undefined ? NO_BYTES : Buffer.from(`${ID_NAME}${id}\u0002`)
}

function checked(properties: Uint8Array, round: number): [string, string][] {
  const entries: [string, string][] = []
  const id = findProperty(properties, PROPERTY.uniqueKey)
  if (id !== undefined) entries.push([PROPERTY.transactionId, id])
  if (round > 0) entries.push([PROPERTY.transactionCheckTimes, String(round)])
  return entries
}
