// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361). The answer's body is back-to-back records.
import { int, layout, long, optional, text, type Values } from '../layout.ts'

export const PULL = layout({
  consumerGroup: text,
  topic: text,
  queueId: int,
  queueOffset: long,
  maxMsgNums: int,
  sysFlag: int,
  commitOffset: long,
  suspendTimeoutMillis: long,
  subscription: optional(text),
  subVersion: optional(long),
  expressionType: optional(text),
  maxMsgBytes: optional(int),
})

export type PullFields = Values<typeof PULL>

/** Bits of `sysFlag` in a pull (values, not positions). */
export const PULL_FLAG = {
  commitOffset: 1,
  suspend: 2,
  subscription: 4,
  classFilter: 8,
  lite: 16,
  /**
   * Ours, and unread by Apache's broker: the client takes as many messages in one answer as it asks
   * for, where every other client is given 32 at most.
   */
  many: 1 << 16,
} as const

/** All four are due in every answer of code 0, 19, 20 and 21. */
export const PULL_RESPONSE = layout({
  suggestWhichBrokerId: long,
  nextBeginOffset: long,
  minOffset: long,
  maxOffset: long,
})
