// CONSUMER_SEND_MSG_BACK (36): a consumer failed on a message and wants it again later. No body.
import { bool, int, layout, long, optional, text } from '../layout.ts'

export const SEND_BACK = layout({
  /** Log position of the record. */
  offset: long,
  group: text,
  /** 0 = the ladder decides, below 0 = dead letter. */
  delayLevel: int,
  originMsgId: optional(text),
  originTopic: optional(text),
  unitMode: optional(bool),
  maxReconsumeTimes: optional(int),
})
