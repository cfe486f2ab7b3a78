// END_TRANSACTION (37) and CHECK_TRANSACTION_STATE (39, broker to producer; its body is the half
// record).
import { bool, int, layout, long, optional, text } from '../layout.ts'

export const END_TRANSACTION = layout({
  topic: optional(text),
  producerGroup: text,
  /** Queue offset of the half message. */
  tranStateTableOffset: long,
  /** Its log position. */
  commitLogOffset: long,
  /** TRANSACTION_OUTCOME. */
  commitOrRollback: int,
  fromTransactionCheck: optional(bool),
  msgId: text,
  transactionId: optional(text),
})

export const TRANSACTION_OUTCOME = { unknown: 0, commit: 8, rollback: 12 } as const

export const CHECK_TRANSACTION = layout({
  topic: optional(text),
  tranStateTableOffset: long,
  commitLogOffset: long,
  msgId: optional(text),
  transactionId: optional(text),
  offsetMsgId: optional(text),
  bname: optional(text),
})
