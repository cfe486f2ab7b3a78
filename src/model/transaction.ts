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

/** A producer of the half message's group, which may be asked about it. */
export interface CheckCandidate {
  readonly connectionId: string
  /** Which the half message is for. */
  readonly topic: string
  /** Where its producer wants to be asked, if it said so (MQTT). */
  readonly responseTopic: string | undefined
}

/** A front-end, as far as it has producers that are asked. */
export interface TransactionAsker {
  /**
   * Answers within the call: has this front-end the connection, and may that publish to the topic?
   * What it is told of a half message is what it may send itself.
   */
  mayAsk(candidate: CheckCandidate): boolean
  ask(check: TransactionCheck): void
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
