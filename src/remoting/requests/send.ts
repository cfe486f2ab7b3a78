// SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320) and the replies (324, 325):
// the same fields by full name or by letter. The body is the message's, or batch-body.ts.
import { bool, int, layout, long, named, optional, text, type Values } from '../layout.ts'

/** What a message is sent with, and what a reply is pushed with (reply.ts). */
export const MESSAGE = layout({
  producerGroup: text,
  topic: text,
  defaultTopic: text,
  defaultTopicQueueNums: int,
  /** Below 0: the broker chooses. */
  queueId: int,
  sysFlag: int,
  bornTimestamp: long,
  flag: int,
  properties: optional(text),
  /** Only on re-sends to a retry topic. */
  reconsumeTimes: optional(int),
  unitMode: optional(bool),
})

export const SEND = layout({ ...MESSAGE, maxReconsumeTimes: optional(int), batch: optional(bool) })

/** The letters follow the order of the names. */
const lettered = Object.entries(SEND).map(([name, field], index) => {
  return [name, named(String.fromCharCode(97 + index), field)]
})

export const SEND_V2 = layout({
  ...(Object.fromEntries(lettered) as typeof SEND),
  brokerName: named('n', optional(text)),
})

export type SendFields = Values<typeof SEND>

export const SEND_RESPONSE = layout({
  /** Offset message ids, joined by commas for a batch. */
  msgId: text,
  queueId: int,
  /** Of the first message of a batch. */
  queueOffset: long,
  transactionId: optional(text),
  MSG_REGION: optional(text),
  TRACE_ON: optional(text),
  /** Of a delayed message. */
  recallHandle: optional(text),
})
