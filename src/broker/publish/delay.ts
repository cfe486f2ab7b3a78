// When a message is due, and what becomes of a parked one when it is. While it waits it stands in
// the log under RocketMQ's schedule topic, its destination in REAL_TOPIC and REAL_QID (the store
// sees to that). Pure.
import { BrokerError } from '../../errors.ts'
import { DELAY_LEVEL_MAX, delayLevelMs } from '../../model/delay-levels.ts'
import { editProperties, PROPERTY } from '../../model/properties.ts'
import { draftOf, type RecordCopy, type RecordView } from '../../model/record.ts'
import type { StoreDraft } from '../../store/store.ts'

/**
 * The properties that ask for a delay. A delivered message keeps them, and where it waited for its
 * time, as with Apache's broker: consumers read the level. Only a message that a client sends is
 * delayed by them; copies go by what they are made with.
 */
export const DELAY_PROPERTIES: ReadonlySet<string> = new Set([
  PROPERTY.delay,
  PROPERTY.timerDelaySeconds,
  PROPERTY.timerDelayMs,
  PROPERTY.timerDeliverMs,
  PROPERTY.startDeliverMs,
])

/**
 * When the properties ask for the message to be delivered; undefined = now. A level wins over the
 * timers, a time in the past is now.
 * @throws MESSAGE_INVALID for a time that is no number or too far away
 */
export function deliveryTime(
  all: ReadonlyMap<string, string>,
  nowMs: number,
  delayMsMax: number,
): number | undefined {
  const level = Math.trunc(Number(all.get(PROPERTY.delay) ?? 0))
  if (level >= 1) return nowMs + delayLevelMs(level)
  const number = (name: string): number | undefined => {
    const text = all.get(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (Number.isFinite(value)) return value
    throw new BrokerError(
      'MESSAGE_INVALID',
      `the property ${name} is ${JSON.stringify(text.slice(0, 40))}; it must be a number`,
    )
  }
  const seconds = number(PROPERTY.timerDelaySeconds)
  const delayMs = seconds === undefined ? number(PROPERTY.timerDelayMs) : seconds * 1000
  const dueMs =
    delayMs === undefined
      ? (number(PROPERTY.timerDeliverMs) ?? number(PROPERTY.startDeliverMs))
      : nowMs + delayMs
  if (dueMs === undefined || dueMs <= nowMs) return undefined
  if (dueMs - nowMs > delayMsMax) {
    throw new BrokerError(
      'MESSAGE_INVALID',
      `a delay of ${dueMs - nowMs} ms is too long; broker.delayMsMax is ${delayMsMax}`,
    )
  }
  return Math.ceil(dueMs)
}

/** As Apache's broker stores it: a level beyond the last one is the last one. */
export function withKnownLevel(
  properties: Uint8Array,
  all: ReadonlyMap<string, string>,
): Uint8Array {
  const level = Number(all.get(PROPERTY.delay))
  if (!(level > DELAY_LEVEL_MAX)) return properties
  return editProperties(properties, [[PROPERTY.delay, String(DELAY_LEVEL_MAX)]])
}

/** The parked record as its destination gets it; undefined when it names none. */
export function unparked(record: RecordView): RecordCopy | undefined {
  const topic = record.property(PROPERTY.realTopic)
  const queueId = Number(record.property(PROPERTY.realQueueId) ?? 0)
  if (topic === undefined || !Number.isInteger(queueId)) return undefined
  const { bytes, start, sysFlag, preparedPosition, propertiesStart, propertiesEnd } = record
  const properties = { propertiesStart, propertiesEnd }
  return { topic, queueId, sysFlag, preparedPosition, copied: bytes, start, ...properties }
}

/** The parked record parked again, for another time. */
export const postponed = (record: RecordView, dueMs: number): StoreDraft => ({
  ...draftOf(record),
  dueMs,
})
