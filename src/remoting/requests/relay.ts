// GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309): asked of the broker, which
// passes them on to a member of the group. The bodies of the answers are the client's own.
// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): the broker asks each member (221), and answers for
// all.
import { jsonBody } from '../json/json-emitter.ts'
import { decoder, encoder, only } from '../json/shape.ts'
import { bool, layout, optional, text } from '../layout.ts'
import { SUBSCRIPTION, type SubscriptionEntry } from './clients.ts'
import { QUEUE_POSITIONS, QUEUE_REF, type QueuePosition, type QueueRef } from './queue.ts'

export const CONSUMER_RUNNING_INFO = layout({
  consumerGroup: text,
  clientId: text,
  jstackEnable: optional(bool),
})

/** The broker adds the message as the body, and its own name. */
export const CONSUME_DIRECTLY = layout({
  consumerGroup: text,
  clientId: text,
  /** Where it stands (model/message-id.ts). */
  msgId: text,
  brokerName: optional(text),
  topic: optional(text),
})

/** Without a client: of all members. Members are asked with the same fields. */
export const CONSUMER_OFFSETS = layout({
  topic: text,
  group: text,
  clientAddr: optional(text),
})

/** A member's answer: where it is in each of its queues of the topic. */
const MEMBER_OFFSETS = only('messageQueueTable', QUEUE_POSITIONS)
export const decodeMemberOffsets = decoder(MEMBER_OFFSETS)
export const encodeMemberOffsets = encoder(MEMBER_OFFSETS)

export const encodeConsumerOffsets = (
  members: ReadonlyMap<string, readonly QueuePosition[]>,
): Buffer =>
  jsonBody({
    consumerTable: new Map([...members].map(([id, offsets]) => [id, QUEUE_POSITIONS.out(offsets)])),
    messageQueueTable: {},
  })

export interface HeldQueue {
  readonly queue: QueueRef
  readonly committed: number
  /** Messages with consumers. */
  readonly held: number
}

/** A member that answers for itself: our SDK's, or the broker on behalf of consumers. */
export interface RunningMember {
  readonly queues: readonly HeldQueue[]
  readonly subscriptions: readonly SubscriptionEntry[]
  readonly isOrdered: boolean
  /** 0: not known. */
  readonly startedMs: number
}

/** ConsumerRunningInfo. */
export const encodeRunningInfo = (
  { queues, subscriptions, isOrdered, startedMs }: RunningMember,
  nowMs: number,
): Buffer =>
  jsonBody({
    mqPopTable: {},
    mqTable: new Map(
      queues.map(({ queue, committed, held }) => [
        QUEUE_REF.out(queue),
        { cachedMsgCount: held, commitOffset: committed, droped: false, lastPullTimestamp: nowMs },
      ]),
    ),
    properties: {
      PROP_CONSUME_TYPE: 'CONSUME_PASSIVELY',
      PROP_CONSUMEORDERLY: String(isOrdered),
      PROP_CONSUMER_START_TIMESTAMP: String(startedMs),
      PROP_THREADPOOL_CORE_SIZE: '0',
    },
    statusTable: {},
    subscriptionSet: subscriptions.map(SUBSCRIPTION.out),
  })
