// INVOKE_BROKER_TO_RESET_OFFSET (222) and RESET_CONSUMER_CLIENT_OFFSET (220, broker to consumer).
import { decoder, encoder, only } from '../json/shape.ts'
import { bool, int, layout, long, optional, text } from '../layout.ts'
import { QUEUE_POSITIONS } from './queue.ts'

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

const POSITIONS = only('offsetTable', QUEUE_POSITIONS)
export const decodeQueuePositions = decoder(POSITIONS)
export const encodeQueuePositions = encoder(POSITIONS)
