// Where queues begin and end, and how far groups are in them.

import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { QueueName } from '../../../model/message.ts'
import { topicOnWire } from '../../../model/names.ts'
import { queueOffset } from '../../../model/positions.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  type CommittedOffset,
  encodeCommittedOffsets,
  OFFSET,
  QUERY_OFFSET,
  QUEUE,
  SEARCH_OFFSET,
  TIMESTAMP,
  UPDATE_OFFSET,
} from '../../../remoting/requests/offsets.ts'
import { CLUSTER, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  answerFields,
  authorize,
  authorizeConsuming,
  type Call,
  DONE,
  notFound,
  ownQueue,
  type RequestTable,
} from '../call.ts'
import { offsetByTime, recordAt } from '../record-at.ts'

export const offsetRequests: RequestTable = new Map([
  [REQUEST.queryConsumerOffset, queryOffset],
  [REQUEST.updateConsumerOffset, updateOffset],
  [REQUEST.getMaxOffset, (call: Call) => queueEnd(call, 'maxOffset')],
  [REQUEST.getMinOffset, (call: Call) => queueEnd(call, 'minOffset')],
  [REQUEST.getEarliestStoreTime, earliestStoreTime],
  [REQUEST.searchOffsetByTimestamp, searchOffset],
  [REQUEST.getAllConsumerOffset, allOffsets],
])

/**
 * A queue whose first message is still here and lies no further back than this counts as young: a
 * group that is new to it starts at its beginning, wherever it asked to start. Apache's rule is the
 * same, with a share of the machine's memory as the measure.
 */
const YOUNG_QUEUE_BYTES_MAX = 1024 * 1024 * 1024

const offsetAnswer = (offset: number): Answer => answerFields(writeFields(OFFSET, { offset }))

async function queryOffset(call: Call): Promise<Answer> {
  const { consumerGroup, topic, queueId, setZeroIfNotFound } = readFields(QUERY_OFFSET, call.fields)
  authorizeConsuming(call, consumerGroup, topic, 'read')
  const { cursors } = call.context.broker
  const queue = ownQueue(call, topic, queueId)
  const committed = await cursors.committed(consumerGroup, queue)
  if (committed !== undefined) return offsetAnswer(committed)
  if (setZeroIfNotFound !== false && (await isYoung(call, queue))) return offsetAnswer(0)
  return notFound('Not found, maybe this group consumer boot first')
}

async function isYoung(call: Call, queue: QueueName): Promise<boolean> {
  const { broker } = call.context
  if ((await broker.topics.get(queue.topic)) === undefined) return true
  const { minOffset, maxOffset } = await broker.cursors.range(queue)
  if (minOffset > 0) return false
  if (maxOffset === 0) return true
  const first = await recordAt(call, queue, minOffset)
  if (first === undefined) return false
  const { logEnd } = await broker.status()
  return logEnd - first.position <= YOUNG_QUEUE_BYTES_MAX
}

async function updateOffset(call: Call): Promise<Answer> {
  const { consumerGroup, topic, queueId, commitOffset } = readFields(UPDATE_OFFSET, call.fields)
  authorizeConsuming(call, consumerGroup, topic)
  // ali-ons says -1 where it knows no offset.
  if (commitOffset < 0) return DONE
  const { cursors } = call.context.broker
  const queue = ownQueue(call, topic, queueId)
  const offset = queueOffset(commitOffset)
  const { clientId, connectionId } = call.client
  // A tool has sent no heartbeat.
  await cursors.commit(consumerGroup, queue, offset, clientId ?? connectionId)
  const kept = await cursors.committed(consumerGroup, queue)
  return kept === commitOffset ? DONE : { remark: staysAt(consumerGroup, kept) }
}

/**
 * As Apache's broker, which ignores commits from a reset until a member has pulled, and answers
 * SUCCESS with a remark: a member's late commit must not undo it, and a tool's looks the same.
 */
const staysAt = (group: string, kept: number | undefined): string =>
  `the group '${group}' stays at offset ${kept ?? 'none'}: it was reset there and no member has ` +
  'followed yet, or the offset is beyond what it can be; reset it to move it'

async function queueEnd(call: Call, end: 'minOffset' | 'maxOffset'): Promise<Answer> {
  const { topic, queueId } = readFields(QUEUE, call.fields)
  authorize(call, 'read', topicResource(topic))
  const range = await call.context.broker.cursors.range(ownQueue(call, topic, queueId))
  return offsetAnswer(range[end])
}

/** -1 for an empty queue. */
async function earliestStoreTime(call: Call): Promise<Answer> {
  const { topic, queueId } = readFields(QUEUE, call.fields)
  authorize(call, 'read', topicResource(topic))
  const queue = ownQueue(call, topic, queueId)
  const { minOffset, maxOffset } = await call.context.broker.cursors.range(queue)
  const first = maxOffset > minOffset ? await recordAt(call, queue, minOffset) : undefined
  return answerFields(writeFields(TIMESTAMP, { timestamp: first?.storeTimestamp ?? -1 }))
}

async function searchOffset(call: Call): Promise<Answer> {
  const search = readFields(SEARCH_OFFSET, call.fields)
  authorize(call, 'read', topicResource(search.topic))
  const boundary = (search.boundaryType ?? 'lower').toLowerCase()
  if (boundary !== 'lower' && boundary !== 'upper') {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `the boundaryType '${boundary.slice(0, 40)}' is neither 'lower' nor 'upper'`,
    )
  }
  const queue = ownQueue(call, search.topic, search.queueId)
  const timestampMs = Math.max(0, search.timestamp)
  return offsetAnswer(await offsetByTime(call, queue, timestampMs, boundary))
}

async function allOffsets(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const { groups } = broker
  const offsets: CommittedOffset[] = []
  const slice = new Slice(clock)
  for (const { name } of await groups.list()) {
    if (slice.isOver) await slice.rest()
    for (const { topic, queueId, committedOffset } of await groups.lags(name)) {
      if (committedOffset >= 0)
        offsets.push({ group: name, topic: topicOnWire(topic), queueId, offset: committedOffset })
    }
  }
  return answerBody(await encodeCommittedOffsets(offsets, slice))
}
