// The Broker port: what the front-ends ask of a broker, and the broker answers. Everything here is
// location-transparent: names, ids, offsets, receipts and values, so that a front-end can stand
// before a remote cluster as well as before the broker in its own process.
import type { ClientRegistration, GroupMode } from '../model/client.ts'
import type { GroupDefinition } from '../model/group.ts'
import type {
  HandBack,
  NewMessage,
  PublishReceipt,
  PublishResult,
  PullRequest,
  PullResult,
  QueueLag,
  QueueName,
  QueueRange,
  Receipt,
  ReceivedMessage,
  ReceiveRequest,
  SendBack,
  SettleResult,
} from '../model/message.ts'
import type { LogPosition, QueueOffset } from '../model/positions.ts'
import type { StateChange } from '../model/state.ts'
import type { BrokerIdentity, BrokerStatus } from '../model/status.ts'
import type { TopicDefinition } from '../model/topic.ts'
import type { States } from './states.ts'

/** Every method rejects with a BrokerError. */
export interface Broker {
  readonly identity: BrokerIdentity
  /**
   * Settles after the topic's durability is reached; one result per message, in order. Bodies and
   * properties are copied within the call: they may be views on a buffer that is reused after it.
   *
   * `changes`: state of the front-end that one acknowledgement stands for together with the
   * messages.
   * - One that belongs to a message is durable exactly when the message is: a crash leaves both or
   *   neither, and a message that is refused leaves the state as it was. `load` answers the new
   *   state once the call has settled.
   * - One that belongs to no message is durable before or with each message of the call, and by
   *   itself when all are refused. It is kept like a `States.save`: `load` answers it at once, and
   *   what the log refuses is written as soon as the log takes it.
   * - Those of the messages come in the messages' order, behind those of no message; of two with
   *   one id the later holds, as do later calls over earlier ones.
   * - When the guard of one does not hold, the call rejects and nothing of it is stored.
   * Without messages it rejects when the changes could not be written.
   * @throws STATE_CONFLICT, CLAIM_LOST
   */
  publish(
    messages: readonly NewMessage[],
    changes?: readonly StateChange[],
  ): Promise<readonly PublishResult[]>
  /**
   * Messages of one topic, at least one: all of them are stored, in one append and back to back in
   * one queue, or none is, and then it rejects. A small batch is handed to the store within the
   * call, a large one some turns later: what is to stand behind it waits until it has settled, and
   * until then bodies and properties stay as they are.
   */
  publishTogether(messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]>
  /** Reading by position: no state is kept for the reader. */
  pull(request: PullRequest): Promise<PullResult>
  /**
   * Competing consumers per message; empty after `waitMs` without one.
   * @throws GROUP_MODE_CONFLICT
   */
  receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]>
  ack(receipts: readonly Receipt[]): Promise<readonly SettleResult[]>
  /**
   * Counts an attempt. Without a delay the first failure comes again at once, a later one by the
   * retry ladder; after the last attempt: dead letter.
   */
  nack(
    receipts: readonly Receipt[],
    delayMs?: number,
    handBack?: HandBack,
  ): Promise<readonly SettleResult[]>
  /** Available again at once, and no attempt. */
  release(receipts: readonly Receipt[], handBack?: HandBack): Promise<readonly SettleResult[]>
  /**
   * All that one consumer held when it was lost without a word, in the order in which it was handed
   * out: available again at once; the first counts as an attempt, for it may be the cause.
   */
  abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]>
  extend(receipts: readonly Receipt[], invisibleMs: number): Promise<readonly SettleResult[]>
  deadLetter(receipts: readonly Receipt[], reason: string): Promise<readonly SettleResult[]>
  /**
   * The native protocol's nack: a copy goes to the group's retry topic, or after the last attempt
   * to its dead letters; the caller commits its own offset. @throws GROUP_NOT_FOUND,
   * MESSAGE_NOT_FOUND
   */
  sendBack(request: SendBack): Promise<void>
  /**
   * Calls `arrived` (never with messages) after new entries are readable; coalesced, no ordering
   * promised.
   */
  watch(topic: string, arrived: Arrived): Disposable

  readonly topics: Topics
  readonly groups: Groups
  readonly cursors: Cursors
  readonly lightQueues: LightQueues
  readonly lookup: Lookup
  readonly clients: Clients
  readonly states: States
  readonly queueLocks: QueueLocks
  /** The state for operators: role, writability, flush mode, disk, counts. */
  status(): Promise<BrokerStatus>
}

export type Arrived = (brokerName: string, queueId: number, maxOffset: QueueOffset) => void

export interface Topics {
  list(): Promise<readonly TopicDefinition[]>
  get(name: string): Promise<TopicDefinition | undefined>
  /**
   * Creates or changes; durable when it settles.
   * @throws NAME_INVALID, ARGUMENT_INVALID, QUOTA_EXCEEDED
   */
  put(definition: TopicDefinition): Promise<void>
  /**
   * The topic, created with the defaults when it does not exist and that is allowed.
   * @throws TOPIC_NOT_FOUND
   */
  ensure(name: string): Promise<TopicDefinition>
  /** Messages and cursors of it go too. @throws TOPIC_NOT_FOUND */
  delete(name: string): Promise<void>
  /** min and max offset of every read queue, of all brokers. @throws TOPIC_NOT_FOUND */
  ranges(name: string): Promise<readonly QueueRange[]>
  /** Called with the name after any change; a deleted topic is not there any more. */
  watch(changed: (topic: string) => void): Disposable
}

export interface Groups {
  list(): Promise<readonly GroupDefinition[]>
  get(name: string): Promise<GroupDefinition | undefined>
  put(definition: GroupDefinition): Promise<void>
  /** The group and its retry topic, created when allowed. @throws GROUP_NOT_FOUND */
  ensure(name: string): Promise<GroupDefinition>
  /**
   * `keepOffsets`: a group that is made again under the name goes on where this one was.
   * @throws GROUP_NOT_FOUND
   */
  delete(name: string, options?: { keepOffsets?: boolean }): Promise<void>
  /** undefined while no consumer is connected. */
  mode(name: string): Promise<GroupMode | undefined>
  /**
   * Every queue of every topic the group ever committed or subscribed to.
   * @throws GROUP_NOT_FOUND
   */
  lags(name: string): Promise<readonly QueueLag[]>
}

export interface Cursors {
  /** undefined when the group never committed here. */
  committed(group: string, queue: QueueName): Promise<QueueOffset | undefined>
  /**
   * The offsets that the group could be handed now: those that wait to be handed out again,
   * ascending, and new ones.
   */
  available(
    group: string,
    queue: QueueName,
  ): Promise<{ readonly waiting: readonly QueueOffset[]; readonly next: QueueOffset }>
  /**
   * Next offset to consume. Kept at once, durable within a second (sooner at shutdown). Where a
   * group starts, its first here, gets into the log before any message that is published after the
   * call.
   */
  commit(group: string, queue: QueueName, offset: QueueOffset): Promise<void>
  range(queue: QueueName): Promise<QueueRange>
  /** 'lower': first offset stored at or after; 'upper': last stored at or before. */
  byTime(queue: QueueName, timestampMs: number, boundary: 'lower' | 'upper'): Promise<QueueOffset>
  /** Moves a group, forgetting its deliveries in flight. */
  reset(group: string, queue: QueueName, offset: QueueOffset): Promise<void>
}

/**
 * Filters over routing names; each bound filter owns one queue, addressed as a topic of one queue.
 */
export interface LightQueues {
  /**
   * Entries exist from now on. With an owner the queue is durable: it survives restarts, and each
   * owner binds it once however often it says so. Without one it is live: bindings are counted, the
   * queue is kept in memory and gone with its last one. Settles with the queue's next offset.
   */
  bind(filter: string, owner: string | undefined): Promise<QueueName & { offset: QueueOffset }>
  /** Once per owner, or per live `bind`. */
  unbind(filter: string, owner: string | undefined): Promise<void>
  /** Undoes every binding of the owner. */
  release(owner: string): Promise<void>
}

export interface Lookup {
  byPosition(brokerName: string, position: LogPosition): Promise<Buffer | undefined>
  /**
   * Newest first, one at least whatever its size; business keys and client-made message ids share
   * one index.
   */
  byKey(
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]>
}

export interface Clients {
  /** New or refreshed. @throws GROUP_MODE_CONFLICT, GROUP_NOT_FOUND */
  register(registration: ClientRegistration): Promise<void>
  /** All of a connection, or one group of it. */
  unregister(connectionId: string, group?: string): Promise<void>
  list(): Promise<readonly ClientRegistration[]>
  /** Client ids of a group's consumers, sorted, without doubles. */
  consumerIds(group: string): Promise<readonly string[]>
  /** A group's members or subscriptions changed: tell its clients to rebalance. */
  watch(changed: (group: string) => void): Disposable
}

/** Strictly ordered consumption: one consumer at a time per queue. Leases of 60 s. */
export interface QueueLocks {
  /** The queues that `clientId` holds now, out of those asked for. */
  lock(group: string, clientId: string, queues: readonly QueueName[]): Promise<readonly QueueName[]>
  unlock(group: string, clientId: string, queues: readonly QueueName[]): Promise<void>
}
