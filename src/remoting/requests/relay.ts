// GET_CONSUMER_RUNNING_INFO (307) and CONSUME_MESSAGE_DIRECTLY (309): asked of the broker, which
// passes them on to a member of the group. The bodies of the answers are the client's own.
import { bool, layout, optional, text } from '../layout.ts'

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
