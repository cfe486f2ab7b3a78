// One pass over a new message's encoded properties finds whether any of them concerns the broker.
// Nearly every message passes with no more than this pass.
import { BROKER_PROPERTIES, NAME_END, PROPERTY, valueEnd } from './properties.ts'

/** Bits of what `scanProperties` found. */
export const SCAN = {
  uniqueKey: 1,
  /** DELAY, TIMER_* or Aliyun's start time: the message is not for now. */
  delayed: 2,
  /** A half message of a transaction. */
  prepared: 4,
  /** The last property is not closed by a separator (Java 4.9.1 to 5.1). */
  unclosed: 8,
  /** One of those that a broker writes. */
  brokers: 16,
  priority: 32,
  /** A time to live, or the point in time when that is over. */
  expires: 64,
  /** How a half message waits, which does not belong to its message. */
  waiting: 128,
  /** Of a half message: its producers, and when it is checked first. */
  group: 256,
  immunity: 512,
  /** Light queues that the message goes to as well. */
  dispatched: 1024,
} as const

/** A half message says these of how it waits. */
export const WAITING_PROPERTIES: ReadonlySet<string> = new Set([
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

/** Any of those that ask for more than to be stored. */
export const SPECIAL = SCAN.delayed | SCAN.prepared | SCAN.priority | SCAN.expires | SCAN.dispatched

interface Wanted {
  readonly bytes: Buffer
  readonly bit: number
}

const WANTED: readonly Wanted[] = [
  { name: PROPERTY.uniqueKey, bit: SCAN.uniqueKey },
  { name: PROPERTY.delay, bit: SCAN.delayed },
  { name: PROPERTY.timerDelaySeconds, bit: SCAN.delayed },
  { name: PROPERTY.timerDelayMs, bit: SCAN.delayed },
  { name: PROPERTY.timerDeliverMs, bit: SCAN.delayed },
  { name: PROPERTY.startDeliverMs, bit: SCAN.delayed },
  { name: PROPERTY.transactionPrepared, bit: SCAN.prepared },
  { name: PROPERTY.priority, bit: SCAN.priority },
  { name: PROPERTY.multiDispatch, bit: SCAN.dispatched },
  { name: PROPERTY.expiresMs, bit: SCAN.expires },
  { name: PROPERTY.timeToLiveMs, bit: SCAN.expires },
  ...[...BROKER_PROPERTIES].map((name) => ({ name, bit: SCAN.brokers | waitingBit(name) })),
  { name: PROPERTY.producerGroup, bit: SCAN.group },
  { name: PROPERTY.checkImmunitySeconds, bit: SCAN.immunity },
  { name: PROPERTY.transactionId, bit: SCAN.waiting },
  { name: PROPERTY.transactionCheckTimes, bit: SCAN.waiting },
].map(({ name, bit }) => ({ bytes: Buffer.from(name), bit }))

/** Wanted names by the sum of their first two bytes: one look-up rules out nearly every name. */
const byStart: (readonly Wanted[] | undefined)[] = []
for (const wanted of WANTED) {
  const start = startOf(wanted.bytes, 0)
  byStart[start] = [...(byStart[start] ?? []), wanted]
}
for (let start = 0; start < 512; start++) byStart[start] ??= undefined

export function scanProperties(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let found = 0
  let at = start
  while (at < end) {
    const wanted = at + 1 < end ? byStart[startOf(bytes, at)] : undefined
    if (wanted !== undefined) found |= bitAt(wanted, bytes, at, end)
    at = valueEnd(bytes, at, end) + 1
  }
  return at > end ? found | SCAN.unclosed : found
}

function waitingBit(name: string): number {
  return WAITING_PROPERTIES.has(name) ? SCAN.waiting : 0
}

function startOf(bytes: Uint8Array, at: number): number {
  return bytes[at]! + bytes[at + 1]!
}

function bitAt(wanted: readonly Wanted[], bytes: Uint8Array, at: number, end: number): number {
  for (const { bytes: name, bit } of wanted) {
    if (at + name.length >= end) continue
    let i = 0
    while (i < name.length && bytes[at + i] === name[i]) i++
    if (i === name.length && bytes[at + i] === NAME_END) return bit
  }
  return 0
}
