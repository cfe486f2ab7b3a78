// One native client's registration on a connection: its id, its groups and their subscriptions.
// Pulls refer to these subscriptions; the broker's registry of clients is kept in step.

import type { Principal } from '../../access/auth.ts'
import type {
  ClientRegistration,
  ConsumerRegistration,
  GroupMode,
  TopicSubscription,
} from '../../model/client.ts'
import type { Host } from '../../model/host.ts'
import { parseMessageFilter } from '../../model/message-filter.ts'
import { topicOfWire } from '../../model/names.ts'
import type { Broker } from '../../port/broker.ts'
import type {
  ConsumerEntry,
  Heartbeat,
  SubscriptionEntry,
} from '../../remoting/requests/clients.ts'

const CONSUME_POP = 'CONSUME_POP'
const BROADCASTING = 'BROADCASTING'

export interface RegisteredClientOptions {
  /** Unique among all connections of the process. */
  readonly connectionId: string
  /** 'ip:port' of the peer, as the admin answers show it. */
  readonly address: string
  readonly host: Host
  /** The groups consumed on this connection changed: it is told when those rebalance. */
  readonly onGroups: (joined: readonly string[], left: readonly string[]) => void
  /** A client with this id produces on this connection, or does so no longer. */
  readonly onProducer: (clientId: string, isHere: boolean) => void
  readonly tellAgain: (group: string) => void
  /** This client alone is told to rebalance. */
  readonly tell: (group: string) => void
}

/** Between two looks of a client at its routes there are 30 s; its heartbeats come as often. */
const LOOKS_AGAIN_MS = 25_000

export class RegisteredClient {
  readonly connectionId: string
  readonly address: string
  /** The peer as a record's born host. */
  readonly host: Host
  /**
   * Its members are told of rebalancing once more, when clients have the routes of topics that were
   * just made.
   */
  readonly tellAgain: RegisteredClientOptions['tellAgain']
  readonly tell: RegisteredClientOptions['tell']
  readonly #onGroups: RegisteredClientOptions['onGroups']
  readonly #onProducer: RegisteredClientOptions['onProducer']
  #registration: ClientRegistration | undefined
  #consumers: ReadonlyMap<string, ConsumerRegistration> = new Map()
  #principal: Principal | undefined
  /** Groups that this client reads by queue, whatever the operator wants of its members. */
  readonly #byQueue = new Set<string>()
  #firstBeatMs: number | undefined
  #hasLookedAgain = false
  #hasEnded = false

  constructor(options: RegisteredClientOptions) {
    this.connectionId = options.connectionId
    this.address = options.address
    this.host = options.host
    this.tellAgain = options.tellAgain
    this.tell = options.tell
    this.#onGroups = options.onGroups
    this.#onProducer = options.onProducer
  }

  /**
   * True for the first heartbeat after the client looked at its routes once more: it may have
   * learned of a topic by then, whose queues it takes no sooner than it rebalances.
   */
  looksAgain(nowMs: number): boolean {
    this.#firstBeatMs ??= nowMs
    if (this.#hasLookedAgain || nowMs - this.#firstBeatMs < LOOKS_AGAIN_MS) return false
    this.#hasLookedAgain = true
    return true
  }

  /** The user of the last registration. */
  get principal(): Principal | undefined {
    return this.#principal
  }

  get clientId(): string | undefined {
    return this.#registration?.clientId
  }

  /** undefined before a heartbeat named this group and topic. */
  subscription(group: string, topic: string): TopicSubscription | undefined {
    const own = topicOfWire(topic)
    return this.#consumers.get(group)?.subscriptions.find((entry) => entry.topic === own)
  }

  subscriptions(group: string): readonly TopicSubscription[] {
    return this.#consumers.get(group)?.subscriptions ?? []
  }

  consumer(group: string): ConsumerRegistration | undefined {
    return this.#consumers.get(group)
  }

  /**
   * Is the client no member of the group, while it is known here? Java clients may renew their
   * locks after they unregistered, and others would wait for what is read by none.
   */
  hasLeft(group: string): boolean {
    return this.#registration !== undefined && !this.#consumers.has(group)
  }

  /**
   * Settles when other clients see it. `consumers`: the groups that may be consumed; `popping`:
   * those of them whose members are to pop.
   */
  async register(
    broker: Broker,
    heartbeat: Heartbeat,
    consumers: readonly ConsumerEntry[],
    peer: { readonly language: string; readonly version: number; readonly principal: Principal },
    popping: ReadonlySet<string>,
  ): Promise<void> {
    // The connection went while groups and topics were made for its heartbeat.
    if (this.#hasEnded) return
    const registration: ClientRegistration = {
      clientId: heartbeat.clientId,
      connectionId: this.connectionId,
      protocol: 'remoting',
      address: this.address,
      language: peer.language,
      version: peer.version,
      consumers: consumers.map((entry) => this.#consumerOf(entry, heartbeat.withoutSub, popping)),
      producerGroups: heartbeat.producerGroups.filter((group) => group !== ''),
    }
    this.#principal = peer.principal
    const before = this.#registration
    // Known before the registry tells others, so that this client is told too.
    this.#remember(registration)
    try {
      await broker.clients.register(registration)
    } catch (error) {
      // Else it would read as what it is not, beside the members that share the queues.
      this.#remember(before ?? { ...registration, consumers: [], producerGroups: [] })
      throw error
    }
    // The connection may end during the registration, and the registry may hear of its end first.
    if (this.#hasEnded) await broker.clients.unregister(this.connectionId)
  }

  /**
   * The client asks for what it needs to read a group in this way. A heartbeat does not say it: a
   * Java consumer that pops says CONSUME_PASSIVELY as well.
   * @throws BrokerError SUBSCRIPTION_CONFLICT
   */
  async reads(broker: Broker, group: string, mode: GroupMode): Promise<void> {
    if (mode === 'queue-assigned') this.#byQueue.add(group)
    else this.#byQueue.delete(group)
    const known = this.#registration
    const consumer = this.#consumers.get(group)
    if (known === undefined || consumer === undefined || consumer.mode === mode) return
    if (consumer.consumeType === CONSUME_POP) return
    const consumers = known.consumers.map((one) => (one === consumer ? { ...one, mode } : one))
    this.#remember({ ...known, consumers })
    try {
      await broker.clients.register({ ...known, consumers })
    } catch (error) {
      this.#remember(known)
      throw error
    }
  }

  async unregister(broker: Broker, groups: readonly string[]): Promise<void> {
    const known = this.#registration
    if (known !== undefined) {
      this.#remember({
        ...known,
        consumers: known.consumers.filter((consumer) => !groups.includes(consumer.group)),
        producerGroups: known.producerGroups.filter((group) => !groups.includes(group)),
      })
    }
    for (const group of groups) await broker.clients.unregister(this.connectionId, group)
  }

  /** The connection is gone. */
  async end(broker: Broker): Promise<void> {
    this.#hasEnded = true
    const known = this.#registration
    if (known === undefined) return
    this.#remember({ ...known, consumers: [], producerGroups: [] })
    this.#registration = undefined
    await broker.clients.unregister(this.connectionId)
  }

  #consumerOf(
    entry: ConsumerEntry,
    withoutSub: boolean,
    popping: ReadonlySet<string>,
  ): ConsumerRegistration {
    const group = entry.groupName
    const known = this.#consumers.get(group)
    const isTold = popping.has(group) && !this.#byQueue.has(group)
    const mode: GroupMode =
      isTold || entry.consumeType === CONSUME_POP ? 'per-message' : 'queue-assigned'
    return {
      group,
      model: entry.messageModel === BROADCASTING ? 'broadcasting' : 'clustering',
      mode,
      subscriptions:
        withoutSub && known ? known.subscriptions : entry.subscriptions.flatMap(subscriptionOf),
      consumeType: entry.consumeType,
      consumeFrom: entry.consumeFromWhere,
    }
  }

  #remember(registration: ClientRegistration): void {
    this.#tellProducer(this.#registration, registration)
    const before = this.#consumers
    const after = new Map(registration.consumers.map((consumer) => [consumer.group, consumer]))
    this.#registration = registration
    this.#consumers = after
    const joined = [...after.keys()].filter((group) => !before.has(group))
    const left = [...before.keys()].filter((group) => !after.has(group))
    if (joined.length + left.length > 0) this.#onGroups(joined, left)
  }

  #tellProducer(before: ClientRegistration | undefined, after: ClientRegistration): void {
    const was = producerId(before)
    const is = producerId(after)
    if (was === is) return
    if (was !== undefined) this.#onProducer(was, false)
    if (is !== undefined) this.#onProducer(is, true)
  }
}

const producerId = (registration: ClientRegistration | undefined): string | undefined =>
  registration?.producerGroups.length ? registration.clientId : undefined

/** An expression that the broker cannot serve subscribes to nothing; the pull says why. */
function subscriptionOf(entry: SubscriptionEntry): TopicSubscription[] {
  try {
    const filter = parseMessageFilter(entry.subString, entry.expressionType)
    return [{ topic: topicOfWire(entry.topic), filter, version: entry.subVersion }]
  } catch {
    return []
  }
}
