// One member of a consumer group, as RocketMQ's own clients are: it makes itself known to every broker,
// computes its share of the queues together with the others, reads those, and commits how far it came.
// A member is a RocketMQ client of its own, with its own client id and connections.
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { isRetryTopic, retryTopic } from '../model/names.ts'
import { EVERY_TAG, type TagFilter } from '../model/tag-filter.ts'
import { REQUEST } from '../remoting/codes.ts'
import type { RemotingConnection } from '../remoting/connection.ts'
import type { ConsumerEntry } from '../remoting/requests/clients.ts'
import type { QueueRef } from '../remoting/requests/queue.ts'
import { allocateAveragely, queueKey } from './allocation.ts'
import { BackOff } from './back-off.ts'
import { commitOffset, consumerIds } from './calls.ts'
import type { Delivery } from './delivery.ts'
import type { MemberOptions } from './member-options.ts'
import type { PeerOptions } from './peers.ts'
import { Presence } from './presence.ts'
import { LEASE_RENEW_MS, QueueLeases } from './queue-leases.ts'
import { QueueReader, type ReaderOwner } from './queue-reader.ts'
import type { Routes } from './routes.ts'
import { startOffset } from './start-offset.ts'
import type { StatusFeed } from './status.ts'

const REBALANCE_MS = 20_000
const COMMIT_MS = 5000
/** What could not be assigned yet is tried again after growing pauses, up to the rebalance period. */
const FIRST_RETRY_MS = 200
/** A commit while closing: a broker that is down must not hold it up. */
const FAREWELL_MS = 1000
const HELD_BYTES_MAX = 64 * 1024 * 1024

export interface MemberContext {
  readonly clock: Clock
  readonly status: StatusFeed
  readonly routes: Routes
  readonly peers: PeerOptions
}

/** Who takes a member's messages. */
export interface DeliverySink {
  deliver(delivery: Delivery): void
  /** One more message is settled, or given up. */
  settled?(): void
}

export class GroupMember implements ReaderOwner {
  readonly options: MemberOptions
  readonly clock: Clock
  readonly #context: MemberContext
  readonly #sink: DeliverySink
  readonly #presence: Presence
  readonly #leases: QueueLeases
  readonly #readers = new Map<string, QueueReader>()
  /** Offset last committed, by queue. */
  readonly #committed = new Map<string, number>()
  /** Topics that were looked at before: a queue of theirs that appears now has only new messages. */
  readonly #seen = new Set<string>()
  readonly #stop = new AbortController()
  readonly #retries = new BackOff(FIRST_RETRY_MS, REBALANCE_MS)
  #timers: Timer[] = []
  #heldBytes = 0
  #rebalancing: Promise<void> | undefined
  #rebalanceAgain = false
  #retry: Timer | undefined
  #closing: Promise<void> | undefined

  constructor(options: MemberOptions, context: MemberContext, sink: DeliverySink) {
    this.options = options
    this.clock = context.clock
    this.#context = context
    this.#sink = sink
    const entry = consumerEntry(options, this.#topics(), context.clock.now())
    const consumers = options.isRegistered ? [entry] : []
    this.#presence = new Presence(
      context.peers,
      { consumers, producerGroups: [] },
      {
        push: ({ code }) => {
          if (code === REQUEST.notifyConsumersChanged) this.#rebalanceSoon()
        },
        introduced: () => this.#rebalanceSoon(),
      },
    )
    const holder = { clientId: this.#presence.clientId, consumerGroup: options.group }
    this.#leases = new QueueLeases(holder, context.clock, (queue) => this.connection(queue))
  }

  get clientId(): string {
    return this.#presence.clientId
  }

  get roomPerQueue(): number {
    return Math.max(1, Math.floor(this.options.prefetch / Math.max(1, this.#readers.size)))
  }

  get isFull(): boolean {
    return this.#heldBytes > HELD_BYTES_MAX
  }

  /** Messages that are read and not settled. */
  get unsettled(): number {
    let count = 0
    for (const reader of this.#readers.values()) count += reader.unsettled
    return count
  }

  /** Settles after the first rebalance. Rejects with what will not mend itself. */
  async start(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    await this.#rebalance()
    this.#timers.push(
      this.clock.every(REBALANCE_MS, () => this.#rebalanceSoon()),
      this.clock.every(COMMIT_MS, () => this.#commitAll()),
    )
    if (this.#needsLeases) {
      this.#timers.push(this.clock.every(LEASE_RENEW_MS, () => void this.#renewLeases()))
    }
  }

  /**
   * Reads no more, gives `drained` its time, then commits, signs off and disconnects. Never rejects; a
   * broker that is down takes no time.
   */
  close(drained: () => Promise<void> = async () => {}): Promise<void> {
    this.#closing ??= this.#close(drained)
    return this.#closing
  }

  held(bytes: number): void {
    const wasFull = this.isFull
    this.#heldBytes += bytes
    if (wasFull && !this.isFull) for (const reader of this.#readers.values()) reader.wake()
    if (bytes < 0) this.#sink.settled?.()
  }

  deliver(delivery: Delivery): void {
    this.#sink.deliver(delivery)
  }

  failed(error: BrokerError, queue?: QueueRef): void {
    if (queue !== undefined && error.code === 'TOPIC_NOT_FOUND') {
      this.#context.routes.forget(queue.topic)
    }
    this.#context.status.emit({ type: 'error', error })
  }

  async connection(queue: QueueRef, signal?: AbortSignal): Promise<RemotingConnection> {
    return this.#presence.connection(this.#context.routes.addressOf(queue.brokerName), signal)
  }

  get #needsLeases(): boolean {
    return this.options.ordered && !this.options.broadcasting
  }

  /** The retry topic belongs to a group's subscription; broadcasting has no retry. */
  *#topics(): Iterable<readonly [string, TagFilter]> {
    yield* this.options.topics
    if (!this.options.broadcasting) yield [retryTopic(this.options.group), EVERY_TAG]
  }

  async #close(drained: () => Promise<void>): Promise<void> {
    this.#stop.abort()
    this.#retry?.cancel()
    for (const timer of this.#timers) timer.cancel()
    await this.#rebalancing?.catch(() => {})
    const readers = [...this.#readers.values()]
    await Promise.all(readers.map((reader) => reader.stop()))
    await drained()
    const reachable = readers.filter(({ queue }) => this.#isConnected(queue))
    const queues = reachable.map(({ queue }) => queue)
    await Promise.allSettled(reachable.map((reader) => this.#commit(reader)))
    if (this.#needsLeases) await this.#leases.give(queues).catch(() => {})
    await this.#presence.close()
    for (const reader of readers) reader.release()
  }

  #isConnected(queue: QueueRef): boolean {
    try {
      const address = this.#context.routes.addressOf(queue.brokerName)
      return this.#presence.open(address) !== undefined
    } catch {
      return false
    }
  }

  /** In the background, soon; several calls are one. */
  #rebalanceSoon(): void {
    this.#rebalance().catch((error) => this.failed(BrokerError.from(error)))
  }

  #rebalance(): Promise<void> {
    if (this.#rebalancing !== undefined) {
      this.#rebalanceAgain = true
      return this.#rebalancing
    }
    this.#rebalancing = this.#rebalanceAll().finally(() => {
      this.#rebalancing = undefined
    })
    return this.#rebalancing
  }

  async #rebalanceAll(): Promise<void> {
    do {
      this.#rebalanceAgain = false
      let isComplete = true
      for (const [topic, filter] of this.#topics()) {
        if (this.#stop.signal.aborted) return
        isComplete = (await this.#rebalanceTopic(topic, filter)) && isComplete
      }
      this.#retry?.cancel()
      if (isComplete) this.#retries.reset()
      else this.#retry = this.clock.after(this.#retries.nextMs(), () => this.#rebalanceSoon())
    } while (this.#rebalanceAgain)
  }

  /** False when something is to be tried again soon. Rejects with what will not mend itself. */
  async #rebalanceTopic(topic: string, filter: TagFilter): Promise<boolean> {
    const { signal } = this.#stop
    try {
      const { readable } = await this.#context.routes.queues(topic, { signal })
      const share = this.options.broadcasting ? readable : await this.#shareOf(readable)
      if (share === undefined) return false
      return await this.#assign(topic, filter, share)
    } catch (thrown) {
      if (signal.aborted) return true
      const error = BrokerError.from(thrown)
      if (FINAL.has(error.code)) throw error
      if (error.code === 'TOPIC_NOT_FOUND') {
        await this.#assign(topic, filter, [])
        this.#seen.add(topic)
      }
      // The broker makes the retry topic when it first hears of the group.
      if (!isRetryTopic(topic)) this.#context.status.emit({ type: 'waiting', topic, error })
      return false
    }
  }

  /** undefined when no broker says who the members are: then everything stays as it is. */
  async #shareOf(queues: readonly QueueRef[]): Promise<readonly QueueRef[] | undefined> {
    const { signal } = this.#stop
    const brokers = new Map(queues.map((queue) => [queue.brokerName, queue]))
    const connections = await Promise.allSettled(
      [...brokers.values()].map((queue) => this.connection(queue, signal)),
    )
    let failure: unknown
    for (const settled of connections) {
      if (settled.status === 'rejected') {
        failure = settled.reason
        continue
      }
      const ids = await consumerIds(settled.value, this.options.group, { signal })
      if (ids.includes(this.clientId)) return allocateAveragely(queues, ids, this.clientId)
    }
    if (failure !== undefined) throw failure
    return undefined
  }

  /** Makes the readers of a topic those of the share. False when not all could start or stop yet. */
  async #assign(topic: string, filter: TagFilter, share: readonly QueueRef[]): Promise<boolean> {
    const wanted = new Set(share.map(queueKey))
    const dropped = [...this.#readers.values()].filter(
      ({ queue, isRetired }) =>
        queue.topic === topic && (isRetired || !wanted.has(queueKey(queue))),
    )
    const drops = await Promise.all(dropped.map((reader) => this.#drop(reader)))
    const added = share.filter((queue) => !this.#readers.has(queueKey(queue)))
    if (this.#needsLeases) await this.#leases.take(added)
    const isNew = this.#seen.has(topic)
    const starts = await Promise.all(added.map((queue) => this.#add(queue, filter, isNew)))
    this.#seen.add(topic)
    if (dropped.length > 0 || added.length > 0) this.#announce(topic)
    return ![...drops, ...starts].includes(false)
  }

  async #add(queue: QueueRef, filter: TagFilter, isNew: boolean): Promise<boolean> {
    const { group, from, broadcasting } = this.options
    const { signal } = this.#stop
    if (this.#needsLeases && !this.#leases.holds(queue)) return false
    const connection = await this.connection(queue, signal)
    const committer = broadcasting ? undefined : group
    const offset = await startOffset(connection, committer, queue, from, isNew, { signal })
    if (signal.aborted) return true
    const reader = new QueueReader(queue, filter, offset, this)
    this.#readers.set(queueKey(queue), reader)
    reader.start()
    return true
  }

  /** In order the message in hand is finished first; until then the queue is kept. */
  async #drop(reader: QueueReader): Promise<boolean> {
    const { queue } = reader
    if (this.#needsLeases) {
      reader.retire()
      if (reader.isBusy) return false
    }
    this.#readers.delete(queueKey(queue))
    await reader.stop()
    // Whoever has the lock now may have committed further.
    const isOurs = !this.#needsLeases || this.#leases.holds(queue)
    if (isOurs) await this.#commit(reader).catch(() => {})
    this.#committed.delete(queueKey(queue))
    if (this.#needsLeases) await this.#leases.give([queue]).catch(() => {})
    reader.release()
    return true
  }

  #announce(topic: string): void {
    const queues = [...this.#readers.values()]
      .filter(({ queue }) => queue.topic === topic)
      .map(({ queue }) => `${queue.brokerName}:${queue.queueId}`)
    this.#context.status.emit({ type: 'assigned', group: this.options.group, topic, queues })
  }

  /** A queue whose lock is gone is given up; it is read again, from what is committed, with a new lock. */
  async #renewLeases(): Promise<void> {
    await this.#leases.renew().catch((error) => this.failed(BrokerError.from(error)))
    const lost = [...this.#readers.values()].filter(({ queue }) => !this.#leases.holds(queue))
    await Promise.all(lost.map((reader) => this.#drop(reader)))
    if (lost.length > 0) this.#rebalanceSoon()
  }

  #commitAll(): void {
    for (const reader of this.#readers.values()) {
      if (!this.#isConnected(reader.queue)) continue
      this.#commit(reader).catch((error) => this.failed(BrokerError.from(error)))
    }
  }

  async #commit(reader: QueueReader): Promise<void> {
    if (this.options.broadcasting) return
    const { queue, committable } = reader
    const key = queueKey(queue)
    if (this.#committed.get(key) === committable) return
    const connection = await this.connection(queue)
    const { group } = this.options
    await commitOffset(connection, group, queue, committable, { timeoutMs: FAREWELL_MS })
    this.#committed.set(key, committable)
  }
}

/** Trying again does not help against these. */
const FINAL: ReadonlySet<string> = new Set([
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'NAME_INVALID',
  'FILTER_INVALID',
  'GROUP_NOT_FOUND',
  'GROUP_MODE_CONFLICT',
  'CONFIG_INVALID',
])

function consumerEntry(
  options: MemberOptions,
  topics: Iterable<readonly [string, TagFilter]>,
  subVersion: number,
): ConsumerEntry {
  return {
    groupName: options.group,
    consumeType: 'CONSUME_PASSIVELY',
    messageModel: options.broadcasting ? 'BROADCASTING' : 'CLUSTERING',
    consumeFromWhere:
      options.from === 'first'
        ? 'CONSUME_FROM_FIRST_OFFSET'
        : options.from === 'last'
          ? 'CONSUME_FROM_LAST_OFFSET'
          : 'CONSUME_FROM_TIMESTAMP',
    subscriptions: Array.from(topics, ([topic, filter]) => ({
      topic,
      subString: filter.expression,
      expressionType: 'TAG',
      subVersion,
      tagsSet: [...(filter.tags ?? [])],
      codeSet: [...(filter.hashes ?? [])],
    })),
  }
}
