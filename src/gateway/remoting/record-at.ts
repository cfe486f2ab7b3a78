// One record by its place in a queue: for answers about times and positions, off the hot path.
import type { QueueName } from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { Call } from './call.ts'
import { RECORD_BYTES } from './read-budget.ts'

/** undefined when there is none at the offset (any more). */
export async function recordAt(
  { context, looks }: Pick<Call, 'context' | 'looks'>,
  queue: QueueName,
  offset: number,
): Promise<RecordView | undefined> {
  await inTurn(context)
  const result = await looks.within(RECORD_BYTES, () =>
    context.broker.pull({
      topic: queue.topic,
      brokerName: queue.brokerName,
      queueId: queue.queueId,
      offset: queueOffset(offset),
      maxMessages: 1,
      maxBytes: 1,
      filter: EVERY_TAG,
      waitMs: 0,
    }),
  )
  return result.status === 'found' ? new RecordView(result.records) : undefined
}

/** Where a time is in a queue: found by looking at the times of records. */
export async function offsetByTime(
  { context, looks }: Pick<Call, 'context' | 'looks'>,
  queue: QueueName,
  timestampMs: number,
  boundary: 'lower' | 'upper',
): Promise<QueueOffset> {
  await inTurn(context)
  return looks.within(RECORD_BYTES, () =>
    context.broker.cursors.byTime(queue, timestampMs, boundary),
  )
}

/** A request may look at each of a thousand queues, and many connections may ask at once. */
async function inTurn({ recordLooks }: Call['context']): Promise<void> {
  if (recordLooks.isOver) await recordLooks.rest()
}
