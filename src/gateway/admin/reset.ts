// An operator moves a group on a topic. Members that read by position are sent there by their next
// pull (`PullStatus` reset), those that receive per message by the broker: nothing depends on what
// a client makes of a push.
import { BrokerError } from '../../errors.ts'
import type { QueueName, QueueRange } from '../../model/message.ts'
import {
  isLightQueue,
  LIGHT_QUEUE_PREFIX,
  MQTT_CATCH_ALL_TOPIC,
  topicOfWire,
} from '../../model/names.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import type { Broker } from '../../port/broker.ts'
import type { Administrator } from './definitions.ts'

export interface ResetRequest {
  readonly group: string
  /** As it is on the wire. */
  readonly topic: string
  /** Absent: all of them. */
  readonly queueId?: number | undefined
  /** Of each of these queues; else `timestampMs` says where. */
  readonly offset?: number | undefined
  /** Epoch ms; absent: the end. */
  readonly timestampMs?: number | undefined
}

export interface ResetPlace {
  readonly queue: QueueName
  readonly offset: QueueOffset
}

/** Finds where a time is in a queue, in its turn. */
export type OffsetByTime = (queue: QueueName, timestampMs: number) => Promise<QueueOffset>

/** @throws BrokerError PERMISSION_DENIED, GROUP_NOT_FOUND, OFFSET_OUT_OF_RANGE and others */
export async function resetGroup(
  { context, principal }: Administrator,
  request: ResetRequest,
  offsetByTime: OffsetByTime,
): Promise<readonly ResetPlace[]> {
  const { broker, auth } = context
  const { group, topic, queueId, offset, timestampMs } = request
  auth.authorize(principal, 'manage', { kind: 'group', name: group })
  auth.authorize(principal, 'read', { kind: 'topic', name: topic })
  if ((await broker.groups.get(group)) === undefined) {
    throw new BrokerError('GROUP_NOT_FOUND', `subscription group [${group}] does not exist`)
  }
  const placeAt = async (range: QueueRange): Promise<QueueOffset> => {
    if (timestampMs === undefined) return range.maxOffset
    return queueOffset(Math.max(range.minOffset, await offsetByTime(range, timestampMs)))
  }
  const places: ResetPlace[] = []
  for (const range of await rangesOf(broker, topic)) {
    if (queueId !== undefined && range.queueId !== queueId) continue
    if (offset !== undefined && (offset > range.maxOffset || offset < range.minOffset)) {
      throw outOfRange(offset, range)
    }
    const at = offset === undefined ? await placeAt(range) : queueOffset(offset)
    places.push({ queue: range, offset: at })
  }
  if (offset === undefined && queueId === undefined) {
    for (const queue of await lightQueues(broker, group, topic)) {
      places.push({ queue, offset: await placeAt(queue) })
    }
  }
  for (const place of places) await broker.cursors.reset(group, place.queue, place.offset)
  return places
}

async function rangesOf(broker: Broker, topic: string): Promise<readonly QueueRange[]> {
  if (!isLightQueue(topic)) return broker.topics.ranges(topic)
  const { brokerName } = broker.identity
  return [await broker.cursors.range({ topic: topicOfWire(topic), brokerName, queueId: 0 })]
}

/**
 * Members over MQTT may read messages of the topic from a light queue: the group's place there
 * moves as well.
 */
async function lightQueues(broker: Broker, group: string, topic: string): Promise<QueueRange[]> {
  const queues: QueueRange[] = []
  for (const queue of await broker.groups.lags(group)) {
    if (!queue.topic.startsWith(LIGHT_QUEUE_PREFIX)) continue
    const [first = ''] = queue.topic.slice(LIGHT_QUEUE_PREFIX.length).split('/')
    const isOfTopic =
      first === topic ||
      (topic === MQTT_CATCH_ALL_TOPIC && (await broker.topics.get(first)) === undefined)
    if (isOfTopic) queues.push(queue)
  }
  return queues
}

const outOfRange = (offset: number, { minOffset, maxOffset }: QueueRange): BrokerError =>
  new BrokerError(
    'OFFSET_OUT_OF_RANGE',
    `Target offset ${offset} not in consume queue range [${minOffset}-${maxOffset}]`,
  )
