// GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309): asked of the broker, which
// passes them on to a member of the group. The bodies of the answers are the client's own.
// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): the broker asks each member (221), and answers for
// all.
import { emitMember, jsonBody } from '../json/json-emitter.ts'
import { asObject, objectAt, parseObject } from '../json/json-members.ts'
import { bool, layout, optional, text } from '../layout.ts'
import { type SubscriptionEntry, subscriptionOut } from './clients.ts'
import { type QueueRef, queueOf, queueOut } from './queue.ts'

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

export interface MemberOffset {
  readonly queue: QueueRef
  readonly offset: number
}

/** A member's answer: where it is in each of its queues of the topic. */
export const decodeMemberOffsets = (body: Buffer): MemberOffset[] =>
  [...objectAt(parseObject(body), 'messageQueueTable')].map(([key, offset]) => ({
    queue: queueOf(asObject(typeof key === 'string' ? null : key)),
    offset: Number(offset),
  }))

export function encodeConsumerOffsets(
  members: ReadonlyMap<string, readonly MemberOffset[]>,
): Buffer {
  const tables = [...members].map(([clientId, offsets]) => {
    const table = offsets.map(({ queue, offset }) => emitMember(queueOut(queue), offset))
    return `${JSON.stringify(clientId)}:{${table.join(',')}}`
  })
  return Buffer.from(`{"consumerTable":{${tables.join(',')}},"messageQueueTable":{}}`)
}

export interface HeldQueue {
  readonly queue: QueueRef
  readonly committed: number
  /** Messages with consumers. */
  readonly held: number
}

/** ConsumerRunningInfo of a member that the broker is itself. */
export const encodeRunningInfo = (
  queues: readonly HeldQueue[],
  subscriptions: readonly SubscriptionEntry[],
  nowMs: number,
): Buffer =>
  jsonBody({
    mqPopTable: {},
    mqTable: new Map(
      queues.map(({ queue, committed, held }) => [
        queueOut(queue),
        { cachedMsgCount: held, commitOffset: committed, droped: false, lastPullTimestamp: nowMs },
      ]),
    ),
    properties: {
      PROP_CONSUME_TYPE: 'CONSUME_PASSIVELY',
      PROP_CONSUMEORDERLY: 'false',
      PROP_CONSUMER_START_TIMESTAMP: '0',
      PROP_THREADPOOL_CORE_SIZE: '0',
    },
    statusTable: {},
    subscriptionSet: subscriptions.map(subscriptionOut),
  })
