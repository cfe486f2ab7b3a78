// One record by its place in a queue: for answers about times and positions, off the hot path.
import { queueOffset } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { Broker } from '../gateway.ts'

/** undefined when there is none at the offset (any more). */
export async function recordAt(
  broker: Broker,
  topic: string,
  queueId: number,
  offset: number,
): Promise<RecordView | undefined> {
  const result = await broker.pull({
    topic,
    queueId,
    offset: queueOffset(offset),
    maxMessages: 1,
    maxBytes: 1,
    filter: EVERY_TAG,
    waitMs: 0,
  })
  return result.status === 'found' ? new RecordView(result.records) : undefined
}
