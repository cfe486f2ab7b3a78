// Where a message stands in the log that it was delivered from. Broker, topic, queue and offset
// name it for as long as that log has it: what has to be delivered again is read again from there.
import type { QueueName } from '../../../model/message.ts'
import type { QueueOffset } from '../../../model/positions.ts'
import { RecordView } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import type { Broker } from '../../../port/broker.ts'

export interface Home extends QueueName {
  readonly offset: QueueOffset
  /**
   * `stampOf` the record's store time: a topic that is made again has other messages at the same
   * offsets.
   */
  readonly stamp: number
}

/** Its low 32 bits. */
export const stampOf = (storeTimestamp: number): number => storeTimestamp >>> 0

/** undefined when the record is there no more: it was too old, or went with its topic. */
export async function recordAt(broker: Broker, home: Home): Promise<Buffer | undefined> {
  const { topic, brokerName, queueId, offset, stamp } = home
  // A pull from a topic that is no more may make it again.
  if ((await broker.topics.get(topic)) === undefined) return undefined
  const { records, count } = await broker.pull({
    ...{ topic, brokerName, queueId, offset, filter: EVERY_TAG },
    ...{ maxMessages: 1, maxBytes: 1, waitMs: 0 },
  })
  if (count === 0) return undefined
  const record = new RecordView(records)
  return record.queueOffset === offset && stampOf(record.storeTimestamp) === stamp
    ? records
    : undefined
}
