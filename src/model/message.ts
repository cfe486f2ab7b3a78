// The values that cross the Broker port. Plain data, no behaviour: they can travel to another
// process.
import type { BrokerError } from '../errors.ts'
import type { Host } from './host.ts'
import type { MessageFilter } from './message-filter.ts'
import type { LogPosition, QueueOffset } from './positions.ts'

/** The broker chooses the queue: by ordering key when there is one, else round robin. */
export const ANY_QUEUE = -1

/** One queue. Its id alone names none: each broker of a topic has queues from 0 on. */
export interface QueueName {
  readonly topic: string
  readonly brokerName: string
  readonly queueId: number
}

export interface NewMessage {
  readonly topic: string
  /** 0 .. writeQueues-1, or ANY_QUEUE. */
  readonly queueId: number
  /** Whose queue that is; the broker of the port's choice when absent. */
  readonly brokerName?: string | undefined
  /**
   * Messages of one key go to one queue, in order. Not stored; front-ends also set the property.
   */
  readonly orderingKey?: string | undefined
  /** The body, as a client of any protocol sees it. At most the configured body limit. */
  readonly body: Uint8Array
  /** Encoded as in properties.ts; tag, keys, delay, priority and expiry are in them. */
  readonly properties: Uint8Array
  /** RocketMQ's user flag; 0 for other protocols. */
  readonly flag: number
  readonly sysFlag: number
  /** The sender's clock, epoch ms. */
  readonly bornTimestamp: number
  readonly bornHost: Host
  /** Earlier deliveries of this message; 0 for a new one. */
  readonly reconsumeTimes: number
  /** May the topic be created when it does not exist (and the broker is set to)? */
  readonly createTopic: boolean
  /** Queues of a topic created by this message; the broker's default when absent. */
  readonly createQueues?: number | undefined
  /** Retry and dead-letter topics only: the sender's limit overrides the group's. */
  readonly retryTimesMax?: number | undefined
  /**
   * The front-end wrote the properties itself. Otherwise they are the sender's words, and those
   * that only a broker writes (`BROKER_PROPERTIES`) are dropped.
   */
  readonly ownProperties?: boolean | undefined
}

/** Where a front-end's message goes. */
export interface Destination {
  readonly topic: string
  readonly queueId: number
  /** May a message make the topic? */
  readonly createTopic: boolean
}

/** A new message whose properties its front-end wrote itself. */
export const newMessage = (
  { topic, queueId, createTopic }: Destination,
  orderingKey: string | undefined,
  body: Uint8Array,
  properties: Uint8Array,
  bornHost: Host,
  bornTimestamp: number,
): NewMessage => ({
  topic,
  queueId,
  orderingKey,
  body,
  properties,
  flag: 0,
  sysFlag: 0,
  bornTimestamp,
  bornHost,
  reconsumeTimes: 0,
  createTopic,
  createQueues: undefined,
  retryTimesMax: undefined,
  ownProperties: true,
})

/** The message with bytes of its own, for a publish when the memory of its views is used again. */
export const withOwnBytes = (message: NewMessage): NewMessage => ({
  ...message,
  body: Buffer.from(message.body),
  properties: Buffer.from(message.properties),
})

/** Where an accepted message stands. Its offsetMsgId is `offsetMessageId(storeHost, position)`. */
export interface PublishReceipt {
  readonly brokerName: string
  readonly queueId: number
  readonly queueOffset: QueueOffset
  readonly position: LogPosition
  readonly storeHost: Host
  /** Of a delayed message: by it the message is taken back before its time. */
  readonly recallHandle?: string | undefined
  /** Of a half message, which waits until `transactions.end`: this receipt is its name. */
  readonly transactionId?: string
}

/** Errors are per message: one bad message does not spoil its batch. */
export type PublishResult = PublishReceipt | BrokerError

/** The topic may be a light queue's `lightQueueTopic(filter)`, whose only queue is 0. */
export interface PullRequest extends QueueName {
  /** First offset wanted. */
  readonly offset: QueueOffset
  /** 1 or more. */
  readonly maxMessages: number
  /** At least one message is returned even when it is larger. */
  readonly maxBytes: number
  readonly filter: MessageFilter
  /** 0 = answer at once; else hold the answer until something matches, this long at most. */
  readonly waitMs: number
  readonly signal?: AbortSignal | undefined
  /** Whose progress the reader shares: when the group is moved, its readers are told by 'reset'. */
  readonly group?: string | undefined
  /**
   * With `group`: the identity of the reader, a connection for instance, which is told of each move
   * once.
   */
  readonly reader?: object | undefined
  /** With `group`: the client id of the member that reads. */
  readonly member?: string | undefined
}

export type PullStatus =
  | 'found'
  /** Nothing beyond the offset yet. */
  | 'at-end'
  /** Entries were scanned and none matched: go on at nextOffset at once. */
  | 'no-match'
  /** The offset is below min or above max: go on at nextOffset. */
  | 'moved'
  /** The group was moved by an operator: go on at nextOffset. */
  | 'reset'

export interface PullResult {
  readonly status: PullStatus
  /** Back-to-back records (record.ts) of the queue's broker, empty unless 'found'. */
  readonly records: Buffer
  readonly count: number
  /** Of each record, in order: the queue's, where a record in a light queue says its topic's. */
  readonly offsets: readonly QueueOffset[]
  readonly nextOffset: QueueOffset
  readonly minOffset: QueueOffset
  /** Offset the next message will get. */
  readonly maxOffset: QueueOffset
}

export interface ReceiveRequest {
  /** A topic, or a light queue's `lightQueueTopic(filter)`. */
  readonly topic: string
  /** The queues of this id only, or ANY_QUEUE. */
  readonly queueId: number
  /** The queues of this broker only; of all when absent. */
  readonly brokerName?: string | undefined
  readonly group: string
  readonly filter: MessageFilter
  /**
   * What the filter does not select stays for the group's other consumers, each of which may have a
   * filter of its own, as at a JMS queue: up to `broker.inFlightMax` messages of a queue, beyond
   * which such consumers find nothing more. Absent: it is stepped over, and all consumers of the
   * group have one filter, as in RocketMQ.
   */
  readonly leavesRest?: boolean | undefined
  readonly maxMessages: number
  readonly maxBytes: number
  /** How long the messages stay with this consumer unless settled or extended. */
  readonly invisibleMs: number
  /** Hand out the next message of a queue only after the earlier one is settled. */
  readonly ordered: boolean
  /** Where a group without committed offset starts. */
  readonly startAt: 'first' | 'last'
  readonly waitMs: number
  /**
   * The consumer, by a name of its own: one link, or one client's shared subscription. What it
   * loses, and what must not come to it again, is told by this.
   */
  readonly memberId: string
  readonly signal?: AbortSignal | undefined
}

declare const SEALED: unique symbol

/**
 * Proof of one delivery, to be handed back to the broker that made it; worthless once settled,
 * released or expired. What is in it is that broker's affair.
 */
export interface Receipt {
  readonly [SEALED]: never
}

export interface ReceivedMessage {
  /**
   * One record (record.ts). Its topic is the retry topic for a retried message; `originalTopic`
   * undoes that.
   */
  readonly record: Buffer
  /** Where it stands. */
  readonly brokerName: string
  readonly receipt: Receipt
  /** 1 for the first delivery. */
  readonly attempt: number
  /**
   * The consumer's note from when it was last handed back; undefined for most, and after a restart.
   */
  readonly note: string | undefined
}

/**
 * Receiving by names, as RocketMQ's POP does: what a client sends back are words of its own, so
 * that they may come by another connection.
 */
export interface PopRequest extends ReceiveRequest {
  /**
   * In order only: the same request may come again, for its answer may have been lost. What an
   * earlier one of the same `memberId` holds is handed out again then.
   */
  readonly mayRepeat?: boolean | undefined
}

/** What one POP handed out of one queue, or some of it. */
export interface PopDelivery {
  readonly group: string
  /** Where it stands: the topic asked for, or the group's retry topic. */
  readonly topic: string
  readonly queueId: number
  /** Of the POP, or of the change that made a new name. */
  readonly poppedAt: number
  readonly offsets: readonly QueueOffset[]
}

export interface PoppedMessage {
  /** One record (record.ts), as it stands in its topic. */
  readonly record: Buffer
  readonly topic: string
  readonly queueId: number
  readonly offset: QueueOffset
  /** 1 for the first delivery. */
  readonly attempt: number
}

export interface Popped {
  /**
   * Epoch ms, by the broker's clock; later than that of every delivery that had the same message
   * before.
   */
  readonly poppedAt: number
  readonly messages: readonly PoppedMessage[]
}

/** With what a consumer hands messages back. */
export interface HandBack {
  /** Not to this consumer again: they wait for another one (AMQP 3.4.5). */
  readonly isNotHere?: boolean | undefined
  /** For the next consumer; replaces what was said before. The front-end bounds its length. */
  readonly note?: string | undefined
}

/** What becomes of a received message: one of the ways to settle it (`Broker.ack`, ...). */
export type Verdict =
  | { readonly kind: 'ack' }
  | { readonly kind: 'nack'; readonly delayMs?: number | undefined; readonly handBack?: HandBack }
  | { readonly kind: 'release'; readonly handBack?: HandBack }
  | { readonly kind: 'deadLetter'; readonly reason: string }

export interface Settlement {
  readonly receipt: Receipt
  readonly verdict: Verdict
}

/**
 * Result per receipt, in order: null, or RECEIPT_EXPIRED when the delivery is no longer the
 * caller's.
 */
export type SettleResult = BrokerError | null

/** A consumer that reads by position hands a message back for a later delivery. */
export interface SendBack {
  readonly group: string
  /** Where the record stands, in this broker's log. */
  readonly brokerName: string
  readonly position: LogPosition
  /** Below 0: dead letter at once; 0: the retry ladder; else RocketMQ's delay level. */
  readonly delayLevel: number
  /** The sender's limit overrides the group's. */
  readonly retryTimesMax?: number | undefined
}

export interface QueueRange extends QueueName {
  readonly minOffset: QueueOffset
  readonly maxOffset: QueueOffset
}

export interface QueueLag extends QueueRange {
  /** -1 when the group never committed here. */
  readonly committedOffset: number
  readonly inFlight: number
  /** maxOffset - committedOffset, or all messages when nothing was committed. */
  readonly lag: number
}
