// Stored messages by their places: of one queue, or of all queues of a topic together.

import { Delivery } from '../../../client/consume/delivery.ts'
import { Slice } from '../../../clock.ts'
import type { QueueName, QueueRange } from '../../../model/message.ts'
import { queueOffset } from '../../../model/positions.ts'
import { recordsOf } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import type { Broker } from '../../../port/broker.ts'
import type { GatewayContext } from '../../../port/gateway.ts'

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

/**
 * The newest first, or from a time on the oldest first, each as `show` makes it: what it shows is
 * kept, and the message, which may be large, of one queue at a time.
 */
export async function readTopic<T>(
  { broker, clock }: Pick<GatewayContext, 'broker' | 'clock'>,
  topic: string,
  { max, fromMs }: { readonly max: number; readonly fromMs?: number | undefined },
  show: (message: Delivery) => T,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const ranges = (await broker.topics.ranges(topic)).filter(
    ({ minOffset, maxOffset }) => maxOffset > minOffset,
  )
  const bytesMax = Math.max(BYTES_OF_QUEUE_MIN, Math.floor(BYTES_MAX / (ranges.length || 1)))
  const sign = fromMs === undefined ? -1 : 1
  const slice = new Slice(clock)
  const found: Found<T>[] = []
  for (const range of ranges) {
    if (slice.isOver) await slice.rest()
    const offset = await startOf(broker, range, max, fromMs)
    const { messages } = await readQueue(broker, range, { offset, max, bytesMax }, signal)
    for (const message of messages) {
      const { storeTimestamp, logPosition } = message
      found.push({ storeTimestamp, logPosition, message, shown: undefined })
    }
    found.sort(
      (a, b) => sign * (a.storeTimestamp - b.storeTimestamp || a.logPosition - b.logPosition),
    )
    found.length = Math.min(found.length, max)
    for (const one of found) {
      if (one.message === undefined) continue
      if (slice.isOver) await slice.rest()
      one.shown = show(one.message)
      one.message = undefined
    }
  }
  return found.map(({ shown }) => shown!)
}

interface Found<T> extends Pick<Delivery, 'storeTimestamp' | 'logPosition'> {
  /** Until it is shown. */
  message: Delivery | undefined
  shown: T | undefined
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
