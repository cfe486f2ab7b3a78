// INVOKE_BROKER_TO_RESET_OFFSET: an operator moves a group. Members that read by position are sent
// there by their next pull (`PullStatus` reset), those that receive per message by the broker:
// nothing depends on what a client makes of a push. `isForce` changes nothing, as on Apache's
// broker of 5.5.
import { BrokerError } from '../../../errors.ts'
import type { QueueName, QueueRange } from '../../../model/message.ts'
import {
  isLightQueue,
  LIGHT_QUEUE_PREFIX,
  MQTT_CATCH_ALL_TOPIC,
  topicOnWire,
} from '../../../model/names.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import { encodeQueuePositions, RESET_OFFSET } from '../../../remoting/requests/reset.ts'
import { groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  type Call,
  ownQueue,
  type RequestTable,
} from '../call.ts'
import { offsetByTime } from '../record-at.ts'

export const resetRequests: RequestTable = new Map([[REQUEST.resetOffset, resetOffset]])

interface Target {
  readonly queue: QueueName
  readonly offset: QueueOffset
}

async function resetOffset(call: Call): Promise<Answer> {
  const {
    group,
    topic,
    queueId = -1,
    offset = -1,
    timestamp,
  } = readFields(RESET_OFFSET, call.fields)
  authorize(call, 'manage', groupResource(group))
  authorize(call, 'read', topicResource(topic))
  const { broker } = call.context
  if ((await broker.groups.get(group)) === undefined) {
    throw new BrokerError('GROUP_NOT_FOUND', `subscription group [${group}] does not exist`)
  }
  const targets: Target[] = []
  for (const range of await rangesOf(call, topic)) {
    if (queueId >= 0 && range.queueId !== queueId) continue
    if (offset > range.maxOffset || (offset >= 0 && offset < range.minOffset)) {
      return outOfRange(offset, range)
    }
    const at = offset >= 0 ? offset : await placeAt(call, range, timestamp)
    targets.push({ queue: range, offset: queueOffset(at) })
  }
  if (offset < 0 && queueId < 0)
    targets.push(...(await lightTargets(call, group, topic, timestamp)))
  for (const target of targets) await broker.cursors.reset(group, target.queue, target.offset)
  return answerBody(
    encodeQueuePositions(
      targets.map(({ queue, offset }) => ({
        queue: { ...queue, topic: topicOnWire(queue.topic) },
        offset,
      })),
    ),
  )
}

async function rangesOf(call: Call, topic: string): Promise<readonly QueueRange[]> {
  const { topics, cursors } = call.context.broker
  return isLightQueue(topic)
    ? [await cursors.range(ownQueue(call, topic, 0))]
    : topics.ranges(topic)
}

/** @param timestamp epoch ms; below 0: the end */
async function placeAt(call: Call, range: QueueRange, timestamp: number): Promise<number> {
  if (timestamp < 0) return range.maxOffset
  return Math.max(range.minOffset, await offsetByTime(call, range, timestamp, 'lower'))
}

/**
 * Members over MQTT may read messages of the topic from a light queue: the group's place there
 * moves as well.
 */
async function lightTargets(
  call: Call,
  group: string,
  topic: string,
  timestamp: number,
): Promise<Target[]> {
  const { broker } = call.context
  const targets: Target[] = []
  for (const queue of await broker.groups.lags(group)) {
    if (!queue.topic.startsWith(LIGHT_QUEUE_PREFIX)) continue
    const [first = ''] = queue.topic.slice(LIGHT_QUEUE_PREFIX.length).split('/')
    const isOfTopic =
      first === topic ||
      (topic === MQTT_CATCH_ALL_TOPIC && (await broker.topics.get(first)) === undefined)
    if (!isOfTopic) continue
    targets.push({ queue, offset: queueOffset(await placeAt(call, queue, timestamp)) })
  }
  return targets
}

const outOfRange = (offset: number, { minOffset, maxOffset }: QueueRange): Answer => ({
  code: RESPONSE.systemError,
  remark: `Target offset ${offset} not in consume queue range [${minOffset}-${maxOffset}]`,
})
