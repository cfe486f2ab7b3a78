// The Broker port: what the front-ends ask of a broker, and the broker answers: names, ids,
// offsets, receipts and values, so that a front-end can stand before a cluster across a network as
// well as before the broker in its own process. test/conformance/broker.ts holds each broker to it.
//
// Failures. A call rejects with a BrokerError, or has one in its place of a list of results. After
// one of `UNCERTAIN_CODES` the call may have been done, or be done later: a message may have been
// stored, and sent again it is there twice. After any other the call changed nothing. Retryable
// ones may be tried again as they are. What a call asks for beyond this broker, a transaction
// before a cluster for instance, is refused with NOT_SUPPORTED, never left out in silence.
//
// A slave answers what reads, as far as its copy goes. It refuses what would change something with
// BUSY, and nothing is changed: its master takes that.
//
// Order. Calls overtake each other, and so do their answers, but:
// - messages of one topic with one ordering key, or for one named queue, are stored in the order in
//   which they were given, over all calls of `publish` and within each. One that fails leaves a
//   gap; those behind it go on;
// - changes of one state (`States`), also those that go with messages, hold in the order of the
//   calls;
// - calls about one binding of a light queue, one client's connection, one group's place on a
//   queue, one client's locks, or one definition by its name, take effect in the order of the
//   calls.
// What must come before a call of another kind is awaited first.
//
// Staleness. What a settled call has changed is there for later calls through the same port.
// Messages are there for readers soon after `publish` has settled; reads that wait see them then.
// What other gateways change is seen within seconds.
//
// Watching starts within the call, so what a later read shows and what is told leave no gap between
// them. News comes late, coalesced, and also without a change: after an interruption all watchers
// are told. No watcher is called after its end.
import type { BrokerError, ErrorCode } from '../errors.ts'
import type { ClientRegistration } from '../model/client.ts'
import type { GroupDefinition } from '../model/group.ts'
import type { Host } from '../model/host.ts'
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
  Settlement,
  SettleResult,
} from '../model/message.ts'
import type { MessageFilter } from '../model/message-filter.ts'
import type { LogPosition, QueueOffset } from '../model/positions.ts'
import type { StateChange } from '../model/state.ts'
import type { BrokerIdentity, BrokerStatus, RecentCounts } from '../model/status.ts'
import type { TopicDefinition } from '../model/topic.ts'
import type { HalfName, TransactionAsker, TransactionEnd } from '../model/transaction.ts'
import type { Pops } from './pops.ts'
import type { States } from './states.ts'

/**
 * After these it is not known whether the call was done. READ_ONLY is among them for a disk that
 * failed while it wrote: what it has is found at the next start. After NOT_REPLICATED and
 * NO_REPLICA it was done here, and may be lost with this machine.
 */
export const UNCERTAIN_CODES: ReadonlySet<ErrorCode> = new Set([
  'TIMED_OUT',
  'UNREACHABLE',
  'CLOSED',
  'READ_ONLY',
  'NOT_REPLICATED',
  'NO_REPLICA',
  'INTERNAL',
])

export interface Broker {
  /**
   * Of the port, as its clients are told of it; never changes. Only where the broker is in this
   * process is its name that of the queues.
   */
  readonly identity: BrokerIdentity
  /**
   * Settles after the topic's durability is reached; one result per message, in order: an error of
   * one leaves the others alone. Not idempotent. Bodies and properties are copied within the call:
   * they may be views on a buffer that is reused after it. A message with a priority and neither a
   * delay nor an ordering key among its properties goes to the queue of that number, the topic's
   * last one at most, whichever it names. One that names light queues in INNER_MULTI_DISPATCH
   * (names.ts) is in these too, made when they are missing. One that says when it expires is not
   * read from then on, by no `pull` and no `receive`.
   *
   * `changes`: state of the front-end that one acknowledgement stands for together with the
   * messages.
   * - One that belongs to a message holds once the message is stored, and a message that is refused
   *   leaves the state as it was. In one process a crash leaves both or neither; across a network
   *   it may leave the message alone, which is sent again then, for it was not acknowledged. `load`
   *   answers the new state once the call has settled.
   * - One that belongs to no message is durable before or with each message of the call, and by
   *   itself when all are refused. It is kept like a `States.save`: `load` answers it at once, and
   *   what the log refuses is written as soon as the log takes it.
   * - Those of the messages come in the messages' order, behind those of no message; of two with
   *   one id the later holds, as do later calls over earlier ones.
   * - When the guard of one does not hold, the call rejects and nothing of it is stored.
   * Without messages it rejects when the changes could not be written.
   *
   * A message with the property TRAN_MSG 'true' is a half message: it is stored and no reader sees
   * it until `transactions.end` commits it. It names its producer group (PGROUP); a delay counts
   * from the commit.
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
  /**
   * New messages of any topics together with settlements of received ones, as one transaction: all
   * messages are stored and all settlements hold, durable in one append when it settles, or none of
   * it, and then it rejects. One receipt for each message, in order. Not idempotent.
   *
   * The messages keep their order. A few thousand without settlements are handed to the store
   * within the call; more of them, or some with settlements, later: what is to stand behind them
   * waits until the call has settled, and until then bodies and properties stay as they are. A
   * message that is being settled is the caller's until then. After any but an uncertain error it
   * still is, until its time is over.
   * @throws RECEIPT_EXPIRED for one receipt that is no longer good; MESSAGE_TOO_LARGE when all of
   * it does not fit into one append; what `publish` answers for one message
   */
  publishAndSettle(
    messages: readonly NewMessage[],
    settlements: readonly Settlement[],
  ): Promise<readonly PublishReceipt[]>
  /**
   * Takes back a delayed message of the topic, by the handle of its receipt: durable when it
   * settles, and the message is never delivered. Idempotent before the message's time. Settles with
   * the message's id.
   * @throws TOPIC_NOT_FOUND; ARGUMENT_INVALID for no handle, or one of another topic or broker;
   * MESSAGE_NOT_FOUND when its time has come and it is delivered; PERMISSION_DENIED where that is
   * switched off
   */
  recall(topic: string, handle: string): Promise<string>
  /**
   * Reading by position: no state is kept for the reader. Records come in the order of their
   * offsets. An answer that may wait comes by `waitMs`, 'at-end' or sooner as well: go on at
   * `nextOffset`. What retention or damage took is stepped over.
   * @throws TOPIC_NOT_FOUND, QUEUE_NOT_FOUND, PERMISSION_DENIED, BUSY; ABORTED by its signal
   */
  pull(request: PullRequest): Promise<PullResult>
  /**
   * Competing consumers per message; empty by `waitMs` without one, or sooner. The messages are the
   * caller's until it settles them, or their time is over: not before `invisibleMs`, counted from
   * when they were handed out. A call that fails or is aborted may have been handed some, which
   * come to another consumer when their time is over, and sooner where the port knows of them. A
   * broker that crashed may hand out again what was acknowledged in its last seconds.
   *
   * Settling: one result per receipt, in order. null: it holds. RECEIPT_EXPIRED: the message is the
   * caller's no longer, and nothing is changed by this receipt; settled twice, the first holds.
   * After any other error the message stays the caller's until its time is over; the same call may
   * be made again.
   * @throws TOPIC_NOT_FOUND, GROUP_NOT_FOUND, QUEUE_NOT_FOUND, PERMISSION_DENIED, BUSY,
   * SUBSCRIPTION_CONFLICT, ARGUMENT_INVALID; ABORTED by its signal
   */
  receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]>
  /** Done for the group. Durable within a second: after a crash it may come once more. */
  ack(receipts: readonly Receipt[]): Promise<readonly SettleResult[]>
  /**
   * Counts an attempt. Without a delay the first failure comes again as soon as the broker can, a
   * later one by the retry ladder; after the last attempt: dead letter. `handBack` is a wish: a
   * broker that cannot keep a message from a consumer, or its note, hands it out without.
   */
  nack(
    receipts: readonly Receipt[],
    delayMs?: number,
    handBack?: HandBack,
  ): Promise<readonly SettleResult[]>
  /** Available again as soon as the broker can, and no attempt. */
  release(receipts: readonly Receipt[], handBack?: HandBack): Promise<readonly SettleResult[]>
  /**
   * All that one consumer held when it was lost without a word, in the order in which it was handed
   * out: as a release, but that the first counts as an attempt, for it may be the cause.
   */
  abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]>
  /** The time starts again; idempotent. */
  extend(receipts: readonly Receipt[], invisibleMs: number): Promise<readonly SettleResult[]>
  /** Its copy, with the reason where it has room, is durable when it settles; then it is done. */
  deadLetter(receipts: readonly Receipt[], reason: string): Promise<readonly SettleResult[]>
  /**
   * The native protocol's nack: a copy goes to the group's retry topic, or after the last attempt
   * to its dead letters, durable when it settles; the caller commits its own offset. Not
   * idempotent. @throws GROUP_NOT_FOUND, MESSAGE_NOT_FOUND, QUEUE_NOT_FOUND
   */
  sendBack(request: SendBack): Promise<void>
  /** Calls `arrived` (never with messages) after new entries are readable. */
  watch(topic: string, arrived: Arrived): Disposable

  /** Receiving per message by names instead of receipts. */
  readonly pops: Pops
  readonly permission: Permission
  readonly topics: Topics
  readonly groups: Groups
  readonly cursors: Cursors
  /**
   * undefined: this broker has none, and its topics are read as they are. Where it has some, the
   * messages of each of its brokers are in one log, and their positions say which came first. Never
   * changes.
   */
  readonly lightQueues: LightQueues | undefined
  readonly lookup: Lookup
  readonly clients: Clients
  readonly states: States
  readonly queueLocks: QueueLocks
  readonly transactions: Transactions
  readonly replies: Replies
  /** The state for operators: role, writability, flush mode, disk, counts; as last known. */
  status(): Promise<BrokerStatus>
}

export type Arrived = (brokerName: string, queueId: number, maxOffset: QueueOffset) => void

/** What clients may do with the broker as a whole, whatever the permission of a topic. */
export interface Permission {
  /** 2: write, 4: read, 6: both. */
  get(): Promise<number>
  /**
   * Kept over restarts; durable when it settles, and holds from then on. Without writing new
   * messages are refused with PERMISSION_DENIED, while what consumers hand back, delayed messages
   * and commits of half messages go on; without reading, what reads. Idempotent.
   * @throws ARGUMENT_INVALID, READ_ONLY; NOT_SUPPORTED before a cluster
   */
  set(perm: number): Promise<void>
  watch(changed: () => void): Disposable
}

/** Lists and definitions are as last known: a topic that another gateway made shows in seconds. */
export interface Topics {
  list(): Promise<readonly TopicDefinition[]>
  get(name: string): Promise<TopicDefinition | undefined>
  /**
   * Creates or changes; durable when it settles. Idempotent.
   * @throws NAME_INVALID, ARGUMENT_INVALID, QUOTA_EXCEEDED, PERMISSION_DENIED
   */
  put(definition: TopicDefinition): Promise<void>
  /**
   * The topic, created with the defaults when it does not exist and that is allowed.
   * TOPIC_NOT_FOUND means that there is none: while it cannot be known, UNREACHABLE. Idempotent.
   * @throws TOPIC_NOT_FOUND, NAME_INVALID, QUOTA_EXCEEDED
   */
  ensure(name: string): Promise<TopicDefinition>
  /**
   * Messages and cursors of it go too; of a named queue its entries and cursors.
   * @throws TOPIC_NOT_FOUND
   */
  delete(name: string): Promise<void>
  /**
   * min and max offset of every read queue, of all brokers; all of them or UNREACHABLE. What was
   * stored while they were asked may be missing. @throws TOPIC_NOT_FOUND
   */
  ranges(name: string): Promise<readonly QueueRange[]>
  /** Called with the name after any change; a deleted topic is not there any more. */
  watch(changed: (topic: string) => void): Disposable
}

/** As last known, like topics. */
export interface Groups {
  list(): Promise<readonly GroupDefinition[]>
  get(name: string): Promise<GroupDefinition | undefined>
  /** Creates or changes; durable when it settles. Idempotent. @throws as `Topics.put` */
  put(definition: GroupDefinition): Promise<void>
  /** The group and its retry topic, created when allowed. Idempotent. @throws GROUP_NOT_FOUND */
  ensure(name: string): Promise<GroupDefinition>
  /**
   * `keepOffsets`: a group that is made again under the name goes on where this one was.
   * @throws GROUP_NOT_FOUND
   */
  delete(name: string, options?: { keepOffsets?: boolean }): Promise<void>
  /**
   * May consumers of the group receive this topic so? Not where its native members subscribe to
   * something else. @throws SUBSCRIPTION_CONFLICT; PERMISSION_DENIED where the topic may not be
   * read; NOT_SUPPORTED where `receive` would
   */
  checkReceiving(
    name: string,
    topic: string,
    filter: MessageFilter,
    leavesRest?: boolean,
  ): Promise<void>
  /**
   * Every queue of every topic the group ever committed or subscribed to, as of the call.
   * @throws GROUP_NOT_FOUND
   */
  lags(name: string): Promise<readonly QueueLag[]>
  /**
   * What the group was handed of the topic, or of all, by the brokers' processes as they are now;
   * nothing of a group that does not exist. Broadcasting members are not counted.
   */
  given(name: string, topic?: string): Promise<RecentCounts>
}

/** Where groups stand. @throws GROUP_NOT_FOUND, TOPIC_NOT_FOUND, QUEUE_NOT_FOUND */
export interface Cursors {
  /** undefined when the group never committed here. */
  committed(group: string, queue: QueueName): Promise<QueueOffset | undefined>
  /**
   * The offsets that the group could be handed now: those that wait to be handed out again,
   * ascending, and new ones. Before a cluster new ones alone: what waits only its brokers know.
   */
  available(
    group: string,
    queue: QueueName,
  ): Promise<{ readonly waiting: readonly QueueOffset[]; readonly next: QueueOffset }>
  /**
   * Next offset to consume, at most the queue's end. Kept at once, durable within a second (sooner
   * at shutdown): after a crash the group may be handed again what it had in the last seconds.
   * Where a group starts, its first here, holds from when it has settled: messages that are
   * published after that are the group's, also after a crash. Idempotent.
   * `member`: the client id of the native client that says so; without it the first commit of a
   * queue that native members read is theirs to make. What came since a member first pulled or
   * committed is the group's, so a first commit is no further than that. What the group's consumers
   * per message settled before a native member took the queue over stays settled.
   */
  commit(group: string, queue: QueueName, offset: QueueOffset, member?: string): Promise<void>
  range(queue: QueueName): Promise<QueueRange>
  /** 'lower': first offset stored at or after; 'upper': last stored at or before. */
  byTime(queue: QueueName, timestampMs: number, boundary: 'lower' | 'upper'): Promise<QueueOffset>
  /** Moves a group, forgetting its deliveries in flight; durable when it settles. Idempotent. */
  reset(group: string, queue: QueueName, offset: QueueOffset): Promise<void>
}

/**
 * Filters over routing names; each bound filter owns one queue, addressed as a topic of one queue.
 * Named queues (names.ts) are among them: bound by the first message that names one, or by
 * the first pull, and unbound by `Topics.delete`.
 */
export interface LightQueues {
  /**
   * Entries exist from now on. With an owner the queue is durable: it survives restarts, and each
   * owner binds it once however often it says so. Without one it is live: bindings are counted, the
   * queue is kept in memory and gone with its last one. Settles with the queue's next offset.
   * Idempotent with an owner. @throws FILTER_INVALID, ARGUMENT_INVALID
   */
  bind(filter: string, owner: string | undefined): Promise<QueueName & { offset: QueueOffset }>
  /**
   * The filter's durable queue, the one that owners bind, for as long as it is held and this
   * process runs: holds are counted, and none outlives a restart. Settles like `bind`.
   * @throws FILTER_INVALID
   */
  hold(filter: string): Promise<QueueName & { offset: QueueOffset }>
  /** Undoes one `hold`; without one it changes nothing. */
  letGo(filter: string): Promise<void>
  /** Once per owner, or per live `bind`; what is not bound is no error. */
  unbind(filter: string, owner: string | undefined): Promise<void>
  /** Undoes every binding of the owner. */
  unbindAll(owner: string): Promise<void>
}

export interface Lookup {
  /**
   * The broker whose records have this store host, as receipts and ids of messages tell it;
   * undefined when none that is known is there.
   */
  brokerAt(storeHost: Host): Promise<string | undefined>
  /** undefined when no message is there (any more). */
  byPosition(brokerName: string, position: LogPosition): Promise<Buffer | undefined>
  /**
   * Newest first, one at least whatever its size; business keys and client-made message ids share
   * one index, which may lag behind by a second.
   */
  byKey(
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]>
}

/**
 * The clients of all gateways, as last known: those of a gateway that died are forgotten in time.
 */
export interface Clients {
  /**
   * New or refreshed; idempotent. In a group with native members and consumers per message the
   * broker is a member on behalf of these: natives leave it a share of the queues, whose messages
   * it hands out. A queue passes from one kind to the other when its owner has let go of it: what
   * a consumer holds of it is settled first, or given up after a minute.
   * @throws SUBSCRIPTION_CONFLICT, GROUP_NOT_FOUND
   */
  register(registration: ClientRegistration): Promise<void>
  /** All of a connection, or one group of it; what is not registered is no error. */
  unregister(connectionId: string, group?: string): Promise<void>
  /** With the virtual members. */
  list(): Promise<readonly ClientRegistration[]>
  /**
   * Client ids of a group's consumers, sorted, without doubles; where native members share its
   * queues, of these and the virtual members. `asking`: the member that divides the queues by it.
   */
  consumerIds(group: string, asking?: string): Promise<readonly string[]>
  /** What is handed out on behalf of a virtual member; undefined: it is none. */
  virtualQueues(group: string, clientId: string): Promise<readonly QueueName[] | undefined>
  /** A group's members or subscriptions changed: tell its clients to rebalance. */
  watch(changed: (group: string) => void): Disposable
}

/**
 * Half messages, from `publish`: what becomes of them. One that is left open is checked: a producer
 * of its group is asked, after a first time again and again, and after the last time the message
 * goes to TRANS_CHECK_MAX_TIME_TOPIC and is lost to its own topic.
 */
export interface Transactions {
  /**
   * A commit stores the message behind what its queue has by then, once it settles; a rollback
   * forgets it. The first end of a half message holds: again the same is no error and changes
   * nothing, whichever call came first when two race. After an uncertain error the same end may be
   * made again.
   * @throws MESSAGE_NOT_FOUND for no half message, or one that was ended otherwise,
   * ARGUMENT_INVALID for another group's, TOPIC_NOT_FOUND when its topic was deleted
   */
  end(end: TransactionEnd): Promise<void>
  /** As `end` of each, in their order, with its error; of half messages of one broker. */
  endAll(ends: readonly TransactionEnd[]): Promise<readonly (BrokerError | undefined)[]>
  /** Which topic the half message is for, while that is known. */
  topic(half: HalfName): Promise<string | undefined>
  /**
   * Told each check that is due, with the one connection that is to be asked: the front-end that
   * has it asks. A check may come after the end of its half message, and more than once. None is
   * made, and none counts, while no front-end has a producer that may be asked.
   */
  watch(asker: TransactionAsker): Disposable
}

/** Replies to requests of native clients, which wait for them; they are stored nowhere. */
export interface Replies {
  /**
   * Settles when the client has taken it, whichever gateway it is connected to. After an uncertain
   * error it may have been taken; clients pass over a reply that they do not wait for.
   * @throws CLIENT_NOT_FOUND when no such client is connected, ABORTED when it refuses
   */
  push(clientId: string, reply: NewMessage): Promise<void>
  /**
   * Replies are handed to `deliver`, which settles when the client has taken it and rejects with
   * CLIENT_NOT_FOUND for a client that is another gateway's.
   */
  serve(deliver: (clientId: string, reply: NewMessage) => Promise<void>): Disposable
}

/** Strictly ordered consumption: one consumer at a time per queue. Leases of 60 s. */
export interface QueueLocks {
  /**
   * The queues that `clientId` holds now, out of those asked for; a lease of its own is renewed.
   * After an error it holds none that it may use. @throws GROUP_NOT_FOUND
   */
  lock(group: string, clientId: string, queues: readonly QueueName[]): Promise<readonly QueueName[]>
  unlock(group: string, clientId: string, queues: readonly QueueName[]): Promise<void>
}
