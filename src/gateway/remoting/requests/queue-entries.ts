// The entries of a queue, for operators: where their records are and how the hash of a tag selects.
import { BrokerError } from '../../../errors.ts'
import { type MessageFilter, selects } from '../../../model/message-filter.ts'
import { queueOffset } from '../../../model/positions.ts'
import { PROPERTY } from '../../../model/properties.ts'
import type { RecordView } from '../../../model/record.ts'
import { tagHash } from '../../../model/tag-filter.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  encodeQueueEntries,
  QUERY_QUEUE_ENTRIES,
  type QueueEntry,
} from '../../../remoting/requests/queue-entries.ts'
import { topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  authorizeConsuming,
  type Call,
  ownQueue,
  type RequestTable,
} from '../call.ts'
import { recordAt } from '../record-at.ts'
import { subscriptionIn } from './presence.ts'

export const queueEntryRequests: RequestTable = new Map([[REQUEST.queryConsumeQueue, queueEntries]])

/** Of one answer: each is a look at its record. */
const ENTRIES_MAX = 1024

async function queueEntries(call: Call): Promise<Answer> {
  const { topic, queueId, index, count, consumerGroup } = readFields(
    QUERY_QUEUE_ENTRIES,
    call.fields,
  )
  if (consumerGroup === undefined) authorize(call, 'read', topicResource(topic))
  else authorizeConsuming(call, consumerGroup, topic)
  if (count > ENTRIES_MAX) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `${count} entries of a queue; one answer has ${ENTRIES_MAX} at most`,
    )
  }
  const queue = ownQueue(call, topic, queueId)
  const { minOffset, maxOffset } = await call.context.broker.cursors.range(queue)
  const subscription =
    consumerGroup === undefined ? undefined : await subscriptionIn(call, consumerGroup, topic)
  const { clusterName } = call.context.broker.identity
  const entries: QueueEntry[] = []
  const end = Math.min(maxOffset, index + count)
  for (let offset = Math.max(minOffset, index); offset < end; offset++) {
    const record = await recordAt(call, queue, queueOffset(offset))
    if (record !== undefined) entries.push(entryOf(record, subscription?.filter, clusterName))
  }
  const isOffline = consumerGroup !== undefined && subscription === undefined
  const filterData = isOffline ? `${consumerGroup}@${topic} is not online!` : 'null'
  const body = encodeQueueEntries({
    minOffset,
    maxOffset,
    entries,
    subscription: subscription?.entry,
    filterData: consumerGroup === undefined ? undefined : filterData,
  })
  return answerBody(body)
}

function entryOf(
  record: RecordView,
  filter: MessageFilter | undefined,
  clusterName: string,
): QueueEntry {
  const tag = record.property(PROPERTY.tags)
  return {
    position: record.position,
    size: record.size,
    tagHash: tag === undefined ? 0 : tagHash(tag),
    isSelected: filter && selects(filter, record, clusterName),
  }
}
