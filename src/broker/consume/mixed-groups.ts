// The members of each group that share its messages: native members by queue, the others per
// message by the broker. With both kinds the broker takes part in the natives' sharing
// (queue-share.ts). Members that broadcast take no part.
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { ClientRegistration, ConsumerRegistration } from '../../model/client.ts'
import { formatHost } from '../../model/host.ts'
import type { PullRequest, ReceiveRequest } from '../../model/message.ts'
import { type MessageFilter, wantTheSame } from '../../model/message-filter.ts'
import { isRetryTopic } from '../../model/names.ts'
import type { MessageStore } from '../../store/store.ts'
import type { TopicTable } from '../definitions/topics.ts'
import type { BrokerOptions } from '../options.ts'
import type { QueueLockTable } from '../publish/queue-locks.ts'
import type { CursorTable } from './cursors.ts'
import type { Puller } from './puller.ts'
import { QueueShare } from './queue-share.ts'
import type { Receiver } from './receiver.ts'
import type { TopicSpread } from './topic-spread.ts'

const TICK_MS = 500
/** A consumer that never registered counts so long after it last asked. */
const RECEIVED_MS = 30_000
/** And a topic as received so long: a POP may be held for two minutes. */
const TOPIC_RECEIVED_MS = 150_000

interface Member {
  readonly registration: ClientRegistration
  readonly consumer: ConsumerRegistration
}

interface Group {
  /** By connection. */
  readonly natives: Map<string, Member>
  readonly receivers: Map<string, Member>
  /** Monotonic, of the latest receive while there are natives. */
  receivedMs: number
  /** When each topic was last asked for by those. */
  readonly received: Map<string, number>
  isToldOf: boolean
  isToldOfOthers: boolean
}

interface Parts {
  readonly clock: Clock
  readonly log: Logger
  readonly options: BrokerOptions
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly locks: QueueLockTable
  readonly cursors: CursorTable
  readonly spread: TopicSpread
  /** Of the parts that are made after this one. */
  readonly serving: () => { readonly receiver: Receiver; readonly puller: Puller }
}

interface Wanted {
  readonly topic: string
  readonly filter: MessageFilter
}

export class MixedGroups {
  readonly #parts: Parts
  readonly #groups = new Map<string, Group>()
  /** Of the groups with members of both kinds: mostly none. */
  readonly #shares = new Map<string, QueueShare>()
  #ticking: Timer | undefined
  /** The list of a group's members changed, or one may look again. */
  onChange: (group: string) => void = () => {}

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** undefined: the group has members of one kind only. */
  share(group: string | undefined): QueueShare | undefined {
    return this.#shares.size === 0 || group === undefined ? undefined : this.#shares.get(group)
  }

  /** The share in which this pull is a native member's. */
  shareOf({ group, member }: PullRequest): QueueShare | undefined {
    return member === undefined ? undefined : this.share(group)
  }

  hasNatives(group: string): boolean {
    return (this.#groups.get(group)?.natives.size ?? 0) > 0
  }

  /** Client ids of the members that share by queue, the virtual ones too; undefined without any. */
  queueSharers(group: string): readonly string[] | undefined {
    const share = this.share(group)
    if (share !== undefined) return share.ids
    const natives = this.#groups.get(group)?.natives
    if (natives === undefined || natives.size === 0) return undefined
    return [
      ...new Set([...natives.values()].map(({ registration }) => registration.clientId)),
    ].sort()
  }

  /**
   * A native member subscribes to all that the group receives per message, with the same filters:
   * otherwise each kind would lose what the other one does not want. One that was a member before
   * another broker had the topic stays: without its heartbeats it would be forgotten, and what it
   * goes on to read would be handed out as well.
   * @throws SUBSCRIPTION_CONFLICT; nothing is changed then
   */
  check(registration: ClientRegistration): void {
    const { connectionId, consumers } = registration
    for (const consumer of consumers) {
      if (consumer.model === 'broadcasting') continue
      const { natives, receivers } = this.#groups.get(consumer.group) ?? NO_MEMBERS
      const isNative = consumer.mode === 'queue-assigned'
      for (const other of (isNative ? receivers : natives).values()) {
        // What this replaces: the client may become a member of the other kind.
        if (other.registration.connectionId === connectionId) continue
        const [native, receiver] = isNative
          ? [consumer, other.consumer]
          : [other.consumer, consumer]
        const isHere = readsHere(isNative ? other.registration : registration)
        for (const wanted of receiver.subscriptions) {
          checkAlike(native, wanted)
          if (!isHere || this.#isIn(connectionId, consumer, wanted.topic)) continue
          this.#checkHere(consumer.group, wanted.topic)
        }
      }
    }
  }

  /**
   * Settles when it is known which other brokers have queues that members of both kinds would
   * share. Never rejects.
   */
  async look({ connectionId, consumers }: ClientRegistration): Promise<void> {
    const topics: string[] = []
    for (const consumer of consumers) {
      const { group, model, mode, subscriptions } = consumer
      if (model === 'broadcasting') continue
      const { natives, receivers } = this.#groups.get(group) ?? NO_MEMBERS
      const others = mode === 'queue-assigned' ? receivers : natives
      if (others.size === 0 && !this.#shares.has(group)) continue
      for (const { topic } of subscriptions) {
        if (!this.#isIn(connectionId, consumer, topic)) topics.push(topic)
      }
    }
    await this.#parts.spread.learn(topics)
  }

  /** May the group receive this per message? @throws SUBSCRIPTION_CONFLICT */
  checkReceiving(group: string, wanted: Wanted): void {
    for (const { consumer } of this.#groups.get(group)?.natives.values() ?? NONE) {
      checkAlike(consumer, wanted)
    }
  }

  /** The same of a consumer that receives from this broker alone. @throws SUBSCRIPTION_CONFLICT */
  async checkReceivingHere(group: string, wanted: Wanted): Promise<void> {
    this.checkReceiving(group, wanted)
    if (!this.hasNatives(group)) return
    await this.#parts.spread.learn([wanted.topic])
    // Natives may have come or gone in that time.
    this.checkReceiving(group, wanted)
    if (this.hasNatives(group)) this.#checkHere(group, wanted.topic)
  }

  /** A receive, of a registered consumer or not. @throws SUBSCRIPTION_CONFLICT */
  receiving(request: ReceiveRequest): void {
    const group = this.#groups.get(request.group)
    if (group === undefined || group.natives.size === 0) return
    this.checkReceiving(request.group, request)
    group.receivedMs = this.#parts.clock.monotonic()
    group.received.set(request.topic, group.receivedMs)
    if (!this.#shares.has(request.group)) this.update(request.group)
  }

  /** Until `update` the group is as it was. */
  join(registration: ClientRegistration): void {
    for (const consumer of registration.consumers) {
      if (consumer.model === 'broadcasting') continue
      let group = this.#groups.get(consumer.group)
      if (group === undefined) {
        const receivedMs = Number.NEGATIVE_INFINITY
        const received = new Map<string, number>()
        group = {
          ...{ natives: new Map(), receivers: new Map(), receivedMs, received },
          ...{ isToldOf: false, isToldOfOthers: false },
        }
        this.#groups.set(consumer.group, group)
      }
      const members = consumer.mode === 'queue-assigned' ? group.natives : group.receivers
      // A client with several subscriptions in one group has one member for each of them.
      const others = members.get(registration.connectionId)?.consumer.subscriptions ?? []
      const subscriptions = [...others, ...consumer.subscriptions]
      members.set(registration.connectionId, {
        registration,
        consumer: { ...consumer, subscriptions },
      })
    }
  }

  leave(connectionId: string, name: string): void {
    const group = this.#groups.get(name)
    group?.natives.delete(connectionId)
    if (group?.receivers.delete(connectionId) !== true || group.receivers.size > 0) return
    // It was this one that asked, as far as is known.
    group.receivedMs = Number.NEGATIVE_INFINITY
  }

  /** Members came or went, or something else that counts. */
  update(name: string): void {
    const group = this.#groups.get(name)
    const share = this.#shares.get(name)
    if (group === undefined) return
    const { natives, receivers } = group
    if (natives.size + receivers.size === 0) this.#groups.delete(name)
    if (natives.size === 0) {
      if (share !== undefined) this.#end(name)
      return
    }
    const count = this.#receiverCount(name, group)
    if (share === undefined && count === 0) return
    this.#setMembers(name, group, share ?? this.#start(name), count)
  }

  /** Does a native member read the topic? */
  haveNatives(group: string, topic: string): boolean {
    return this.#nativesOn(group, topic).length > 0
  }

  /** Does a native member read the topic that begins at the first message? */
  startFirst(group: string, topic: string): boolean {
    return this.#nativesOn(group, topic).some(({ consumer }) =>
      FROM_FIRST.has(consumer.consumeFrom),
    )
  }

  /** A native member may leave a queue before it commits. */
  pulls({ group, member, topic, queueId, offset }: PullRequest): void {
    if (group === undefined || member === undefined || !this.hasNatives(group)) return
    this.#parts.cursors.begin(group, topic, queueId, offset)
  }

  mayTake(group: string, topic: string, queueId: number): boolean {
    return this.share(group)?.mayTake({ topic, queueId }) ?? true
  }

  closed(group: string, topic: string, queueId: number): void {
    this.share(group)?.closed({ topic, queueId })
  }

  /** As the registry shows it: each takes the natives' place in their sharing. */
  virtualMembers(): ClientRegistration[] {
    return [...this.#shares].flatMap(([name, share]) => {
      const [native] = this.#groups.get(name)?.natives.values() ?? []
      if (native === undefined) return []
      return share.virtualIds.map((clientId) => ({
        ...native.registration,
        ...{ clientId, connectionId: clientId, language: 'OTHER', producerGroups: [] },
        address: formatHost(this.#parts.store.storeHost),
        consumers: [{ ...native.consumer, mode: 'per-message' as const }],
      }))
    })
  }

  close(): void {
    this.#ticking?.cancel()
  }

  /**
   * May members per message that are connected to this broker share the topic with natives? These
   * leave them queues of every broker.
   * @throws SUBSCRIPTION_CONFLICT
   */
  #checkHere(group: string, topic: string): void {
    const { others } = this.#parts.spread.of(topic)
    if (others.length === 0 || isRetryTopic(topic)) return
    throw new BrokerError(
      'SUBSCRIPTION_CONFLICT',
      `the topic '${topic}' has queues at ${listOf(others)} too, and native members of the group '${group}' would leave ` +
        `some of those to MQTT and AMQP clients, which read from ${this.#parts.options.brokerName} alone: ` +
        "connect these to 'trivet gateway', or use another group",
    )
  }

  /** Is this connection's member of the kind there, and consumes the topic? */
  #isIn(connectionId: string, { group, mode }: ConsumerRegistration, topic: string): boolean {
    const { natives, receivers } = this.#groups.get(group) ?? NO_MEMBERS
    const member = (mode === 'queue-assigned' ? natives : receivers).get(connectionId)
    return member?.consumer.subscriptions.some((one) => one.topic === topic) ?? false
  }

  #nativesOn(group: string, topic: string): Member[] {
    return [...(this.#groups.get(group)?.natives.values() ?? NONE)].filter(({ consumer }) =>
      consumer.subscriptions.some((subscription) => subscription.topic === topic),
    )
  }

  #receiverCount(name: string, { receivers, receivedMs }: Group): number {
    const ids = new Set([...receivers.values()].map(({ registration }) => registration.clientId))
    if (ids.size > 0) return ids.size
    const { clock, serving } = this.#parts
    const isReceiving = clock.monotonic() - receivedMs < RECEIVED_MS
    return isReceiving || serving().receiver.isBusy(name) ? 1 : 0
  }

  #setMembers(name: string, group: Group, share: QueueShare, count: number): void {
    const { receiver } = this.#parts.serving()
    const overMs = this.#parts.clock.monotonic() - TOPIC_RECEIVED_MS
    for (const [topic, ms] of group.received) if (ms < overMs) group.received.delete(topic)
    const received = new Set(group.receivers.size === 0 ? group.received.keys() : [])
    for (const { consumer } of group.receivers.values()) {
      for (const { topic } of consumer.subscriptions) received.add(topic)
    }
    const natives = [...group.natives.values()].map(({ registration, consumer }) => ({
      clientId: registration.clientId,
      consumer,
    }))
    const hasChanged = share.setMembers(natives, count, received)
    if (share.virtualIds.length === 0) receiver.letGoAll(name, (topic) => share.isShared(topic))
    if (count > 0) this.#tellUncovered(name, group, share)
    this.#tellOfOthers(name, group)
    if (count === 0 && !receiver.isOpen(name)) {
      this.#shares.delete(name)
      receiver.retire(name)
    } else receiver.take(name)
    if (hasChanged) this.onChange(name)
  }

  #start(name: string): QueueShare {
    const { clock, topics, locks, cursors, spread, serving } = this.#parts
    const { receiver, puller } = serving()
    const share = new QueueShare({
      clock,
      spread: (topic) => spread.of(topic),
      readQueues: (topic) => topics.find(topic)?.definition.readQueues ?? 0,
      isLocked: ({ topic, queueId }) => locks.isLocked(name, topic, queueId),
      isOpen: ({ topic, queueId }) => receiver.isOpen(name, topic, queueId),
      letGo: ({ topic, queueId }) => receiver.letGo(name, topic, queueId),
      committed: ({ topic, queueId }) => cursors.committed(name, topic, queueId),
      endPulls: (clientIds) => puller.endPulls(name, clientIds),
      lockAgain: () => this.onChange(name),
    })
    this.#shares.set(name, share)
    this.#ticking ??= clock.every(TICK_MS, () => this.#tick())
    return share
  }

  /** The last native member left: every queue is handed out per message. */
  #end(name: string): void {
    this.#shares.delete(name)
    this.#parts.serving().receiver.takeAll(name)
    this.onChange(name)
  }

  #tick(): void {
    for (const [name, share] of this.#shares) {
      share.tick()
      const group = this.#groups.get(name)
      if (group !== undefined) void this.#parts.spread.learn(this.#topicsOf(group))
      this.#parts.serving().receiver.endOverdue(name)
      this.update(name)
    }
    if (this.#shares.size > 0) return
    this.#ticking?.cancel()
    this.#ticking = undefined
  }

  /** That members of either kind consume. */
  #topicsOf({ natives, receivers, received }: Group): Set<string> {
    const topics = new Set(received.keys())
    for (const { consumer } of [...natives.values(), ...receivers.values()]) {
      for (const { topic } of consumer.subscriptions) topics.add(topic)
    }
    return topics
  }

  /** Another broker got queues of the topic after the members had come. */
  #tellOfOthers(name: string, group: Group): void {
    const { spread } = this.#parts
    if (group.isToldOfOthers) return
    const isHere = [...group.receivers.values()].some(({ registration }) => readsHere(registration))
    const topics = [...this.#topicsOf(group)].filter((topic) => !isRetryTopic(topic))
    const topic = topics.find((one) => spread.of(one).others.length > 0)
    if (!isHere || topic === undefined) return
    group.isToldOfOthers = true
    const { others } = spread.of(topic)
    this.#parts.log.warn(
      { evt: 'group.several_brokers', group: name, topic, brokers: others },
      `native members of the group '${name}' leave queues of '${topic}' at ${listOf(others)} to its MQTT and AMQP ` +
        "clients, which read from this broker alone: connect these to 'trivet gateway', or use another group",
    )
  }

  #tellUncovered(name: string, group: Group, { uncovered }: QueueShare): void {
    if (uncovered.length === 0) group.isToldOf = false
    if (uncovered.length === 0 || group.isToldOf) return
    group.isToldOf = true
    const fields = { evt: 'group.topics_differ', group: name, topics: uncovered }
    this.#parts.log.warn(
      fields,
      `native members of the group '${name}' subscribe to topics that its other consumers do not receive, so ` +
        'those are given nothing: have one of them receive these topics too, or use another group',
    )
  }
}

const NONE: readonly Member[] = []
const NO_MEMBERS: Pick<Group, 'natives' | 'receivers'> = {
  natives: new Map(),
  receivers: new Map(),
}

/** Clients of RocketMQ's protocol receive from every broker of a topic. */
const readsHere = ({ protocol }: ClientRegistration): boolean => protocol !== 'remoting'

const listOf = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ')

const FROM_FIRST: ReadonlySet<string> = new Set([
  'CONSUME_FROM_FIRST_OFFSET',
  'CONSUME_FROM_MIN_OFFSET',
])

/** @throws SUBSCRIPTION_CONFLICT */
function checkAlike(native: ConsumerRegistration, { topic, filter }: Wanted): void {
  // Members that pop subscribe to it too; it is the group's own.
  if (isRetryTopic(topic)) return
  const { group, subscriptions } = native
  const topics = subscriptions.filter((subscription) => !isRetryTopic(subscription.topic))
  if (topics.length === 0) return
  const subscribed = topics.find((subscription) => subscription.topic === topic)
  if (subscribed !== undefined && wantTheSame(subscribed.filter, filter)) return
  const theirs =
    subscribed === undefined
      ? `do not subscribe to '${topic}'`
      : `subscribe to '${topic}' with '${subscribed.filter.expression}'`
  throw new BrokerError(
    'SUBSCRIPTION_CONFLICT',
    `native members of the group '${group}' ${theirs}, and others receive it with '${filter.expression}': ` +
      'give all of them the same topics and filters, or use another group',
  )
}
