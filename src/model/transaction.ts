// The values of transactions that cross the Broker port: half messages, their ends and the
// questions that the broker asks about those that were left open. Plain data.
import type { LogPosition, QueueOffset } from './positions.ts'

/** Where a half message waits, as its `PublishReceipt` says. It keeps this name to its end. */
export interface HalfName {
  readonly brokerName: string
  readonly position: LogPosition
  readonly queueOffset: QueueOffset
}

export interface TransactionEnd {
  readonly half: HalfName
  /** The producer group that the half message was sent by. */
  readonly group: string
  readonly outcome: 'commit' | 'rollback'
}

/** Asks a producer of the half message's group what became of the transaction. */
export interface TransactionCheck {
  /** The producer's, as it is registered with the broker's clients. */
  readonly connectionId: string
  readonly group: string
  readonly half: HalfName
  /** The client's own id of the message. */
  readonly transactionId: string
  /** The message as one record of the topic and queue that it is for. */
  readonly record: Buffer
}
