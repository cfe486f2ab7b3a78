// RECALL_MESSAGE (370): a producer takes a delayed message back before its time. No body.
import { layout, optional, text } from '../layout.ts'

export const RECALL = layout({
  producerGroup: optional(text),
  topic: text,
  /** model/message-id.ts */
  recallHandle: text,
})

/** The unique key of the message. */
export const RECALLED = layout({ msgId: text, MSG_REGION: optional(text) })
