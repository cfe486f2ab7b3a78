// Stored messages by their places: of one queue, or of all queues of a topic together.
import { Delivery } from '../../../client/consume/delivery.ts'
import type { QueueName, QueueRange } from '../../../model/message.ts'
import { queueOffset } from '../../../model/positions.ts'
import { recordsOf } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import type { Broker } from '../../../port/broker.ts'

/** Of all queues together. */
const BYTES_MAX = 4 * 1024 * 1024
const BYTES_OF_QUEUE_MIN = 16 * 1024

export interface Read {
  readonly messages: readonly Delivery[]
  readonly nextOffset: number
}

export async function readQueue(
  broker: Broker,
  queue: QueueName,
  at: { readonly offset: number; readonly max: number; readonly bytesMax?: number },
  signal: AbortSignal | undefined,
): Promise<Read> {
  const { topic, brokerName, queueId } = queue
  const { records, nextOffset } = await broker.pull({
    ...{ topic, brokerName, queueId, signal },
    offset: queueOffset(at.offset),
    maxMessages: at.max,
    maxBytes: at.bytesMax ?? BYTES_MAX,
    filter: EVERY_TAG,
    waitMs: 0,
  })
  const messages = Array.from(recordsOf(records), (record) => new Delivery(record, brokerName))
  return { messages, nextOffset }
}

/** The newest first, or from a time on the oldest first. */
export async function readTopic(
  broker: Broker,
  topic: string,
  { max, fromMs }: { readonly max: number; readonly fromMs?: number | undefined },
  signal: AbortSignal,
): Promise<readonly Delivery[]> {
  const ranges = (await broker.topics.ranges(topic)).filter(
    ({ minOffset, maxOffset }) => maxOffset > minOffset,
  )
  const bytesMax = Math.max(BYTES_OF_QUEUE_MIN, Math.floor(BYTES_MAX / (ranges.length || 1)))
  const found: Delivery[] = []
  for (const range of ranges) {
    const offset = await startOf(broker, range, max, fromMs)
    const { messages } = await readQueue(broker, range, { offset, max, bytesMax }, signal)
    found.push(...messages)
  }
  const sign = fromMs === undefined ? -1 : 1
  found.sort(
    (a, b) => sign * (a.storeTimestamp - b.storeTimestamp || a.logPosition - b.logPosition),
  )
  return found.slice(0, max)
}

async function startOf(
  broker: Broker,
  range: QueueRange,
  max: number,
  fromMs: number | undefined,
): Promise<number> {
  if (fromMs === undefined) return Math.max(range.minOffset, range.maxOffset - max)
  return broker.cursors.byTime(range, fromMs, 'lower')
}
