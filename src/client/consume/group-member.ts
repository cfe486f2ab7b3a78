// One member of a consumer group, as RocketMQ's own clients are: it makes itself known to the
// brokers, computes its share of the queues together with the other members, and does so again
// whenever something changes. A member is a RocketMQ client of its own, with its own client id and
// connections.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'
import type { MessageFilter } from '../../model/message-filter.ts'
import { isRetryTopic, retryTopic } from '../../model/names.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import { allocateAveragely } from '../../remoting/allocation.ts'
import { REQUEST } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { readFields } from '../../remoting/layout.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { RunningMember } from '../../remoting/requests/relay.ts'
import { decodeQueuePositions, RESET_CLIENT_OFFSET } from '../../remoting/requests/reset.ts'
import { abortController } from '../calls/abort.ts'
import { BackOff } from '../calls/back-off.ts'
import { consumerIds } from '../calls/calls.ts'
import type { StatusFeed } from '../calls/status.ts'
import type { TraceSink } from '../calls/trace-entry.ts'
import { Brokers } from '../routes/brokers.ts'
import { isConnectionFailure } from '../routes/name-servers.ts'
import type { PeerOptions } from '../routes/peers.ts'
import { Presence } from '../routes/presence.ts'
import { ROUTE_ERRORS, type Routes } from '../routes/routes.ts'
import { Assignment, COMMIT_MS } from './assignment.ts'
import { consumerEntry } from './consumer-entry.ts'
import type { Delivery } from './delivery.ts'
import { answerOf } from './member-info.ts'
import type { MemberOptions } from './member-options.ts'
import { LEASE_RENEW_MS } from './queue-leases.ts'
import type { ReaderOwner } from './queue-reader.ts'

const REBALANCE_MS = 20_000
/**
 * Pauses between tries while queues could not be assigned: short at first, a user may be watching.
 */
const FIRST_RETRY_MS = 200
const LONGEST_RETRY_MS = 2000
const HELD_BYTES_MAX = 64 * 1024 * 1024

export interface MemberContext {
  readonly clock: Clock
  readonly status: StatusFeed
  readonly routes: Routes
  readonly peers: PeerOptions
  /** Hears of each message that a handler is given. */
  readonly traces?: TraceSink | undefined
}

/** Takes a member's messages. */
export interface DeliverySink {
  deliver(delivery: Delivery): void
  /** One more message is settled, or given up. */
  settled?(): void
  /** A broker refuses what will not mend itself; said once it has begun. */
  refused?(error: BrokerError): void
}

export class GroupMember implements ReaderOwner {
  readonly options: MemberOptions
  readonly clock: Clock
  readonly #context: MemberContext
  readonly #sink: DeliverySink
  readonly #startedMs: number
  readonly #presence: Presence
  readonly #brokers: Brokers
  readonly #assignment: Assignment
  readonly #stop = abortController()
  readonly #retries = new BackOff(FIRST_RETRY_MS, LONGEST_RETRY_MS)
  #timers: Timer[] = []
  #retry: Timer | undefined
  #commit: Timer | undefined
  #heldBytes = 0
  #rebalancing: Promise<void> | undefined
  #rebalanceAgain = false
  #closing: Promise<void> | undefined

  constructor(options: MemberOptions, context: MemberContext, sink: DeliverySink) {
    this.options = options
    this.clock = context.clock
    this.#context = context
    this.#sink = sink
    this.#startedMs = context.clock.now()
    const entry = consumerEntry(options, this.#topics(), this.#startedMs)
    this.#presence = new Presence(
      context.peers,
      { consumers: options.isRegistered ? [entry] : [], producerGroups: [] },
      {
        push: (command) => this.#onPush(command),
        asked: (command) => answerOf(this.#running, command, this.clock.now()),
        introduced: () => this.#rebalanceSoon(),
      },
    )
    const { clientId } = this.#presence
    this.#brokers = new Brokers(this.#presence, context.routes)
    this.#assignment = new Assignment(this, this.#brokers, clientId, this.#stop.signal)
  }

  get roomPerQueue(): number {
    return Math.max(1, Math.floor(this.options.prefetch / Math.max(1, this.#assignment.queues)))
  }

  get isFull(): boolean {
    return this.#heldBytes > HELD_BYTES_MAX
  }

  get unsettled(): number {
    return this.#assignment.unsettled
  }

  /** Settles after the first rebalance. Rejects with what will not mend itself. */
  async start(): Promise<void> {
    await this.#rebalance()
    if (this.#stop.signal.aborted) return
    this.#timers.push(
      this.clock.every(REBALANCE_MS, () => this.#rebalanceSoon()),
      this.clock.every(LEASE_RENEW_MS, () => void this.#renewLeases()),
    )
  }

  /**
   * Reads no more, gives `drained` its time, then commits, signs off and disconnects. Never
   * rejects; a broker that is down takes no time.
   */
  close(drained: () => Promise<void> = async () => {}): Promise<void> {
    this.#closing ??= this.#close(drained)
    return this.#closing
  }

  held(bytes: number): void {
    const wasFull = this.isFull
    this.#heldBytes += bytes
    if (wasFull && !this.isFull) this.#assignment.wake()
    if (bytes >= 0) return
    this.#commitLater(COMMIT_MS)
    this.#sink.settled?.()
  }

  deliver(delivery: Delivery): void {
    this.#sink.deliver(delivery)
  }

  failed(error: BrokerError, queue?: QueueRef, retryMs?: number): void {
    const { routes, status } = this.#context
    if (queue === undefined || !isConnectionFailure(error)) {
      if (queue !== undefined && ROUTE_ERRORS.has(error.code)) routes.deny(queue.topic)
      status.emit({ type: 'error', error })
      return
    }
    // The broker may have moved, or its queues to others.
    routes.invalidate(queue.topic)
    this.#rebalanceLater()
    status.emit({ type: 'reconnecting', broker: queue.brokerName, error, delayMs: retryMs ?? 0 })
  }

  moved(): void {
    this.#rebalanceSoon()
  }

  connection(queue: QueueRef, signal?: AbortSignal): Promise<RemotingConnection> {
    return this.#brokers.connection(queue.brokerName, { signal })
  }

  /** The retry topic belongs to a group's subscription; broadcasting has no retry. */
  *#topics(): Iterable<readonly [string, MessageFilter]> {
    yield* this.options.topics
    if (!this.options.broadcasting) yield [retryTopic(this.options.group), EVERY_TAG]
  }

  async #close(drained: () => Promise<void>): Promise<void> {
    this.#stop.abort(new BrokerError('CLOSED', 'the consumer is closed'))
    this.#retry?.cancel()
    this.#commit?.cancel()
    for (const timer of this.#timers) timer.cancel()
    await this.#rebalancing?.catch(() => {})
    await this.#assignment.close(drained)
    await this.#presence.close()
  }

  get #running(): RunningMember {
    const { subscriptions } = consumerEntry(this.options, this.#topics(), this.#startedMs)
    const queues = this.#assignment.held()
    return { queues, subscriptions, isOrdered: this.options.ordered, startedMs: this.#startedMs }
  }

  #onPush({ code, fields, body }: Command): void {
    if (code === REQUEST.notifyConsumersChanged) this.#rebalanceSoon()
    if (code !== REQUEST.resetConsumerOffset || this.options.broadcasting) return
    if (readFields(RESET_CLIENT_OFFSET, fields).group !== this.options.group) return
    for (const { queue, offset } of decodeQueuePositions(body)) this.#assignment.move(queue, offset)
    this.#rebalanceSoon()
  }

  /** Once for everything that is settled until then. */
  #commitLater(delayMs: number): void {
    if (this.options.broadcasting || this.#stop.signal.aborted) return
    this.#commit ??= this.clock.after(delayMs, () => void this.#commitAll())
  }

  async #commitAll(): Promise<void> {
    this.#commit = undefined
    const againMs = await this.#assignment.commitAll()
    if (againMs !== undefined) this.#commitLater(againMs)
  }

  async #renewLeases(): Promise<void> {
    if (await this.#assignment.renewLeases()) this.#rebalanceSoon()
  }

  /** In the background; several calls are one. */
  #rebalanceSoon(): void {
    if (this.#stop.signal.aborted) return
    this.#rebalance().catch((thrown) => {
      const error = BrokerError.from(thrown)
      this.failed(error)
      this.#sink.refused?.(error)
    })
  }

  #rebalanceLater(): void {
    if (this.#stop.signal.aborted) return
    this.#retry ??= this.clock.after(this.#retries.nextMs(), () => {
      this.#retry = undefined
      this.#rebalanceSoon()
    })
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
      if (isComplete) this.#retries.reset()
      else this.#rebalanceLater()
    } while (this.#rebalanceAgain)
  }

  /** False when something is to be tried again soon. Rejects with what will not mend itself. */
  async #rebalanceTopic(topic: string, filter: MessageFilter): Promise<boolean> {
    const { signal } = this.#stop
    try {
      const { readable } = await this.#context.routes.queues(topic, { signal })
      const share = this.options.broadcasting ? readable : await this.#shareOf(readable)
      const isDone = share !== undefined && (await this.#become(topic, filter, share, readable))
      return isDone && !this.#context.routes.isPartial(topic)
    } catch (thrown) {
      if (signal.aborted) return true
      const error = BrokerError.from(thrown)
      if (FINAL.has(error.code)) throw error
      // A name server may know a topic for longer than its broker does.
      if (ROUTE_ERRORS.has(error.code)) this.#context.routes.deny(topic)
      if (error.code === 'TOPIC_NOT_FOUND') {
        this.#assignment.missing(topic)
        await this.#become(topic, filter, [], [])
      }
      // The broker makes the retry topic when it first hears of the group.
      if (!isRetryTopic(topic)) this.#context.status.emit({ type: 'waiting', topic, error })
      return false
    }
  }

  async #become(
    topic: string,
    filter: MessageFilter,
    share: readonly QueueRef[],
    all: readonly QueueRef[],
  ): Promise<boolean> {
    const { isChanged, isComplete } = await this.#assignment.become(topic, filter, share, all)
    if (isChanged) {
      const queues = this.#assignment.queuesOf(topic)
      this.#context.status.emit({ type: 'assigned', group: this.options.group, topic, queues })
    }
    return isComplete
  }

  /** undefined when no broker counts us among the members: then everything stays as it is. */
  async #shareOf(queues: readonly QueueRef[]): Promise<readonly QueueRef[] | undefined> {
    const { signal } = this.#stop
    const brokers = [...new Set(queues.map((queue) => queue.brokerName))]
    // All of them must know us before any is asked: each tells only of those that it knows.
    const connections = await Promise.allSettled(
      brokers.map((brokerName) => this.#brokers.connection(brokerName, { signal })),
    )
    const { clientId } = this.#presence
    let failure: unknown
    for (const settled of connections) {
      if (settled.status === 'rejected') {
        failure = settled.reason
        continue
      }
      const ids = await consumerIds(settled.value, this.options.group, { signal })
      if (ids.includes(clientId)) return allocateAveragely(queues, ids, clientId)
    }
    if (failure !== undefined) throw failure
    return undefined
  }
}

/** Trying again does not help against these. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'NAME_INVALID',
  'FILTER_INVALID',
  'GROUP_NOT_FOUND',
  'CONFIG_INVALID',
])
