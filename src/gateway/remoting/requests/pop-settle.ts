// What becomes of a popped message: ACK_MESSAGE, BATCH_ACK_MESSAGE and
// CHANGE_MESSAGE_INVISIBLETIME. A handle names a delivery in words that anyone can write, so it
// counts for the group that the caller may consume in, and only while that delivery lasts.
import { BrokerError } from '../../../errors.ts'
import type { PopDelivery } from '../../../model/message.ts'
import { isRetryTopic, retryTopic } from '../../../model/names.ts'
import { queueOffset } from '../../../model/positions.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  ACK,
  CHANGE_INVISIBLE_TIME,
  CHANGE_RESPONSE,
  decodeBatchAck,
  type PopHandle,
  parseHandle,
  topicOfPopRetry,
} from '../../../remoting/requests/pop.ts'
import { type Answer, authorizeConsuming, type Call, DONE, type RequestTable } from '../call.ts'

export const popSettleRequests: RequestTable = new Map([
  [REQUEST.ackMessage, ack],
  [REQUEST.batchAckMessage, batchAck],
  [REQUEST.changeInvisibleTime, change],
])

interface Named {
  readonly consumerGroup: string
  /** The topic of the POP, or the retry topic's name of the handle. */
  readonly topic: string
  readonly queueId: number
  readonly offset: number
  readonly extraInfo: string
}

/** The parts of its call that a settlement needs. */
type SettleCall = Pick<Call, 'context' | 'principal'>

async function ack(call: Call): Promise<Answer> {
  return ackNamed(call, readFields(ACK, call.fields))
}

export async function ackNamed(call: SettleCall, named: Named): Promise<Answer> {
  const topic = authorizedTopic(call, named.consumerGroup, named.topic)
  const refusal = await outOfRange(call, topic, named, 1)
  if (refusal !== undefined) return refusal
  const { popTime } = handleOf(named)
  await call.context.broker.pops.ack([deliveryOf(topic, named, popTime)])
  return DONE
}

async function batchAck(call: Call): Promise<Answer> {
  const acks = call.body.length === 0 ? [] : decodeBatchAck(call.body)
  if (acks.length === 0) return { code: RESPONSE.noMessage }
  const deliveries = acks.map(({ group, topic, retryKind, queueId, popTime, offsets }) => {
    authorizeConsuming(call, group, topic)
    return {
      group,
      topic: retryKind === '0' || isRetryTopic(topic) ? topic : retryTopic(group),
      queueId,
      poppedAt: popTime,
      offsets: offsets.map(queueOffset),
    }
  })
  await call.context.broker.pops.ack(deliveries)
  return DONE
}

async function change(call: Call): Promise<Answer> {
  const named = readFields(CHANGE_INVISIBLE_TIME, call.fields)
  const topic = authorizedTopic(call, named.consumerGroup, named.topic)
  const refusal = await outOfRange(call, topic, named, 0)
  if (refusal !== undefined) return refusal
  const { popTime, reviveQid } = handleOf(named)
  const invisibleTime = Math.max(0, named.invisibleTime)
  const { pops } = call.context.broker
  const renamed = await pops.change(
    deliveryOf(topic, named, popTime),
    invisibleTime,
    named.suspend === true,
  )
  // As Apache's broker, which does not know that the handle is stale; here nothing comes of it.
  const answered = renamed ?? call.context.clock.now()
  return {
    fields: writeFields(CHANGE_RESPONSE, { popTime: answered, invisibleTime, reviveQid }),
  }
}

/** Where the message stands. @throws BrokerError PERMISSION_DENIED */
export function authorizedTopic(call: SettleCall, group: string, topic: string): string {
  const popped = topicOfPopRetry(group, topic)
  authorizeConsuming(call, group, popped ?? topic)
  if (popped === undefined) return topic
  return isRetryTopic(popped) ? popped : retryTopic(group)
}

/** `beyond`: how many offsets behind the last message still count as there. */
async function outOfRange(
  { context }: SettleCall,
  topic: string,
  { queueId, offset }: Named,
  beyond: number,
): Promise<Answer | undefined> {
  const ranges = await context.broker.topics.ranges(topic)
  const { brokerName } = context.broker.identity
  const queue = ranges.find((range) => range.queueId === queueId && range.brokerName === brokerName)
  if (queue === undefined) {
    const remark = `queueId[${queueId}] is illegal, topic:[${topic}] topicConfig.readQueueNums:[${ranges.length}]`
    return { code: RESPONSE.messageIllegal, remark }
  }
  const { minOffset, maxOffset } = queue
  if (offset >= minOffset && offset < maxOffset + beyond) return undefined
  const remark = `offset is illegal, key:${topic}@${queueId}, commit:${offset}, store:${minOffset}~${maxOffset}`
  return { code: RESPONSE.noMessage, remark }
}

/** @throws BrokerError PROTOCOL_ERROR, whose code is that of Apache's exception */
function handleOf({ extraInfo }: Named): PopHandle {
  const handle = parseHandle(extraInfo)
  if (handle !== undefined) return handle
  throw new BrokerError(
    'PROTOCOL_ERROR',
    `the extraInfo '${extraInfo.slice(0, 80)}' is no receipt handle: eight words are due`,
  )
}

const deliveryOf = (
  topic: string,
  { consumerGroup, queueId, offset }: Named,
  poppedAt: number,
): PopDelivery => ({
  group: consumerGroup,
  topic,
  queueId,
  poppedAt,
  offsets: [queueOffset(offset)],
})
