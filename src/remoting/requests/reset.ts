// INVOKE_BROKER_TO_RESET_OFFSET (222) and RESET_CONSUMER_CLIENT_OFFSET (220, broker to consumer).
import { jsonBody } from '../json/json-emitter.ts'
import { asObject, objectAt, parseObject } from '../json/json-members.ts'
import { bool, int, layout, long, optional, text } from '../layout.ts'
import { type QueueRef, queueOf, queueOut } from './queue.ts'

export const RESET_OFFSET = layout({
  group: text,
  topic: text,
  /** -1 or absent: every queue. */
  queueId: optional(int),
  /** Wins over the time; -1 (as mqadmin of 5.x says) or absent: the time counts. */
  offset: optional(long),
  /** Epoch ms; -1 = the end. */
  timestamp: long,
  isForce: bool,
})

export const RESET_CLIENT_OFFSET = layout({ group: text, topic: text, timestamp: long })

export interface QueuePosition {
  readonly queue: QueueRef
  readonly offset: number
}

export const encodeQueuePositions = (positions: readonly QueuePosition[]): Buffer =>
  jsonBody({
    offsetTable: new Map(positions.map(({ queue, offset }) => [queueOut(queue), offset])),
  })

export const decodeQueuePositions = (body: Buffer): QueuePosition[] =>
  [...objectAt(parseObject(body), 'offsetTable')].map(([key, offset]) => ({
    queue: queueOf(asObject(typeof key === 'string' ? null : key)),
    offset: Number(offset),
  }))
