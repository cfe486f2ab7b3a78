// PUSH_REPLY_MESSAGE_TO_CLIENT (326): the reply to a request, pushed to the client that asked. The
// replier sends it with the fields of a SEND (send.ts).
import { bool, int, layout, long, optional, text } from '../layout.ts'

export const PUSH_REPLY = layout({
  producerGroup: text,
  topic: text,
  defaultTopic: text,
  defaultTopicQueueNums: int,
  queueId: int,
  sysFlag: int,
  bornTimestamp: long,
  flag: int,
  properties: optional(text),
  reconsumeTimes: optional(int),
  unitMode: optional(bool),
  /** 'host:port', as the next one. */
  bornHost: text,
  storeHost: text,
  storeTimestamp: long,
})
