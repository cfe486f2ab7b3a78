// Which broker is where and which topics it has. State of one name server, in memory only: brokers
// tell it again every 30 s. No sockets, no requests.
//
// Which topics a broker has changes at once (`#topicsOf`). What is found by topic (`#topics`)
// follows in slices, as a broker may have very many: an entry that is not among its broker's topics
// is on its way out.
import { type Clock, Slice, systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import {
  AUTO_CREATE_TOPIC,
  isDeadLetterTopic,
  isRetryTopic,
  LIGHT_QUEUE_PREFIX,
} from '../model/names.ts'
import {
  PERM_INHERIT,
  PERM_READ,
  PERM_READ_WRITE,
  PERM_WRITE,
  type TopicDefinition,
} from '../model/topic.ts'
import type { BrokerAddresses, RouteQueues, TopicRoute } from '../remoting/requests/route.ts'
import type { DataVersion, WireTopicTable } from '../remoting/requests/topics.ts'
import { ClosedTopics } from './closed-topics.ts'

export interface BrokerKey {
  readonly clusterName: string
  readonly brokerName: string
  readonly brokerId: number
  readonly address: string
}

/** One living broker process. */
interface BrokerEntry extends BrokerKey {
  readonly haAddress: string
  readonly expiryMs: number
  /** The connection that registered it; its end is the broker's. */
  connection: object
  seenMs: number
  version: DataVersion
}

/** Only a master's topics are routes: clients send to broker id 0 and read from it by default. */
const MASTER_ID = 0
/** Queues of a topic that does not exist yet; what every client asks for by default. */
const NEW_TOPIC_QUEUES = 4
const RETRY_TOPIC_QUEUES = 1
/** Topics of a broker that are closed or opened before others have a turn. */
const SET_AT_ONCE = 1_024
const BROKERS_MAX = 10_000
/**
 * A broker has one connection of its own; what registers many stands for a whole cluster at most.
 */
const BROKERS_PER_CONNECTION_MAX = 64
/**
 * Of all brokers, each counted for every broker that has it, retry and dead-letter topics included;
 * a broker has 10,000 topics and as many groups by default.
 */
const TOPICS_MAX = 500_000
/** Of a broker, a cluster, an address or a topic. */
const NAME_CHARS_MAX = 512

export interface Registration extends BrokerKey {
  readonly haAddress: string
  readonly expiryMs: number
  readonly connection: object
  readonly table: WireTopicTable
  readonly nowMs: number
}

export class RouteTable {
  /** By address: one process, one entry. */
  readonly #brokers = new Map<string, BrokerEntry>()
  /** The same by broker name, then broker id. */
  readonly #members = new Map<string, Map<number, BrokerEntry>>()
  /** Topic to broker name to its queues; see above for what is on its way. */
  readonly #topics = new Map<string, Map<string, TopicDefinition>>()
  /** By broker name: its topics. */
  readonly #topicsOf = new Map<string, Set<string>>()
  readonly #closed: ClosedTopics
  readonly #clock: Clock
  readonly #topicsMax: number
  /** As `TOPICS_MAX` counts them. */
  #count = 0
  /** Topics that brokers had, to be taken out of `#topics`. */
  readonly #leaving: { readonly brokerName: string; readonly topics: Iterable<string> }[] = []
  #isSweeping = false
  #sweeping: Promise<void> | undefined
  #indexing: Promise<void> | undefined

  constructor(topicsMax = TOPICS_MAX, clock = systemClock) {
    this.#topicsMax = topicsMax
    // Twice as many as live brokers have at most: those of brokers that are away besides.
    this.#closed = new ClosedTopics(2 * topicsMax)
    this.#clock = clock
  }

  /**
   * Everything is found that was registered, and nothing else; a large table takes several turns.
   */
  async settled(): Promise<void> {
    await this.#indexing
    await this.#sweeping
  }

  /**
   * Another is registered when this one is settled.
   * @returns whether the broker was unknown
   * @throws BrokerError QUOTA_EXCEEDED, ARGUMENT_INVALID for names of absurd length
   */
  register(registration: Registration): boolean {
    const { table, nowMs, connection, ...key } = registration
    checkLength(key.clusterName, key.brokerName, key.address, key.haAddress)
    if (this.#isReplaced(key, table.version)) return false
    const known = this.#knownAs(key)
    if (known === undefined && this.#brokers.size >= BROKERS_MAX) {
      throw quotaExceeded(`the name server knows ${BROKERS_MAX} brokers already`)
    }
    if (known === undefined && this.#countOf(connection) >= BROKERS_PER_CONNECTION_MAX) {
      throw quotaExceeded(
        `one connection registers ${BROKERS_PER_CONNECTION_MAX} brokers at most, each broker has its own`,
      )
    }
    const isChanged = known === undefined || !isSameVersion(known.version, table.version)
    const hasNewTopics = key.brokerId === MASTER_ID && isChanged
    if (hasNewTopics) this.#claim(key.brokerName, table.topics)
    this.#add({ ...key, connection, seenMs: nowMs, version: table.version })
    if (hasNewTopics) this.#indexing = this.#index(key.brokerName, table.topics)
    return known === undefined
  }

  /**
   * A master that another broker was put in place of: its `stateVersion` is lower. As with Apache's
   * name server it is answered like others, and its entry stays that of the newer one.
   */
  #isReplaced(
    { brokerName, brokerId, address }: BrokerKey,
    { stateVersion }: DataVersion,
  ): boolean {
    if (brokerId !== MASTER_ID) return false
    const known = this.#members.get(brokerName)?.get(MASTER_ID)
    if (known === undefined || known.address === address) return false
    return known.version.stateVersion > stateVersion
  }

  /** The broker still lives. @returns its data version, if it is known */
  refresh(address: string, connection: object, nowMs: number): DataVersion | undefined {
    const broker = this.#brokers.get(address)
    if (broker === undefined) return undefined
    broker.seenMs = nowMs
    broker.connection = connection
    return broker.version
  }

  /**
   * The broker signs off: what an operator closed of it is open when it comes again, as with
   * Apache's name server.
   */
  unregister(address: string): boolean {
    const broker = this.#brokers.get(address)
    if (broker?.brokerId === MASTER_ID) this.#closed.open(broker.brokerName)
    return this.#remove(address)
  }

  #remove(address: string): boolean {
    const broker = this.#brokers.get(address)
    if (broker === undefined) return false
    this.#brokers.delete(address)
    const { brokerName, brokerId } = broker
    const members = this.#members.get(brokerName)
    if (members?.get(brokerId) === broker) members.delete(brokerId)
    if (members?.size === 0) this.#members.delete(brokerName)
    // Slaves are read from while their master is gone; as with Apache's name server the route is as
    // before but for the master's address.
    if (!this.#members.has(brokerName)) this.#dropTopics(brokerName)
    return true
  }

  /**
   * Of the brokers that registered through the connection, one goes with it. @returns its address;
   * undefined when there is none any more
   */
  unregisterOneOf(connection: object): string | undefined {
    return this.#unregisterOne((broker) => broker.connection === connection)
  }

  /**
   * One of the brokers that were silent for too long goes.
   * @returns its address; undefined when there is none
   */
  expireOne(nowMs: number): string | undefined {
    return this.#unregisterOne(({ seenMs, expiryMs }) => nowMs - seenMs >= expiryMs)
  }

  #unregisterOne(goes: (broker: BrokerEntry) => boolean): string | undefined {
    for (const broker of this.#brokers.values()) {
      if (!goes(broker)) continue
      this.#remove(broker.address)
      return broker.address
    }
    return undefined
  }

  /** undefined when no broker has it. Every broker has every light queue: its own one, to read. */
  route(topic: string): TopicRoute | undefined {
    if (!topic.startsWith(LIGHT_QUEUE_PREFIX)) return this.#routeOver(this.#queuesOf(topic))
    const queue = { name: topic, readQueues: 1, writeQueues: 1, perm: PERM_READ, ...PLAIN }
    return this.#routeOver(new Map([...this.#members.keys()].map((name) => [name, queue])))
  }

  /** The route that a missing topic will have: on the brokers that create topics on first use. */
  newRoute(topic: string): TopicRoute | undefined {
    return this.#routeOver(this.#newTopic(topic) ?? NO_QUEUES)
  }

  brokers(): BrokerAddresses[] {
    return [...this.#members.keys()].map((brokerName) => this.#addressesOf(brokerName))
  }

  /** Address of a broker's master, and where its slaves fetch the log. */
  master(brokerName: string): { readonly address: string; readonly haAddress: string } | undefined {
    return this.#members.get(brokerName)?.get(MASTER_ID)
  }

  /** Found as they are asked for, in what there is then: there may be very many. */
  *topics(): Generator<string> {
    for (const [topic, queues] of this.#topics) {
      for (const brokerName of queues.keys()) {
        if (!this.#has(brokerName, topic)) continue
        yield topic
        break
      }
    }
  }

  /** As `topics`. */
  *topicsOfCluster(cluster: string): Generator<string> {
    const names = new Set(this.#brokersOfCluster(cluster))
    for (const [topic, queues] of this.#topics) {
      for (const brokerName of queues.keys()) {
        if (!names.has(brokerName) || !this.#has(brokerName, topic)) continue
        yield topic
        break
      }
    }
  }

  /** With a cluster: only what that cluster's brokers have of it. */
  deleteTopic(topic: string, cluster: string | undefined): void {
    const brokerNames =
      cluster === undefined ? [...this.#queuesOf(topic).keys()] : this.#brokersOfCluster(cluster)
    for (const brokerName of brokerNames) this.#dropTopic(brokerName, topic)
  }

  /**
   * Adds a topic to brokers that did not say they have it (REGISTER_TOPIC). An entry of a broker
   * that is not here would stay for ever, so there is none.
   */
  addTopic(topic: string, queues: readonly RouteQueues[]): void {
    checkLength(topic)
    for (const entry of queues) {
      if (!this.#members.has(entry.brokerName)) continue
      if (this.#topicsOf.get(entry.brokerName)?.has(topic) !== true) this.#checkRoom(1)
      this.#setTopic(entry.brokerName, definitionOf(topic, entry))
    }
  }

  /**
   * Takes a broker out of what producers see, or puts it back; one after the other, and none while
   * a table is on its way in. @returns how many topics it has
   */
  async setWritable(brokerName: string, isWritable: boolean): Promise<number> {
    const topics = [...(this.#topicsOf.get(brokerName) ?? NO_TOPICS)]
    if (isWritable) this.#closed.open(brokerName)
    const slice = new Slice(this.#clock)
    for (let at = 0; at < topics.length; at += SET_AT_ONCE) {
      if (slice.isOver) await slice.rest()
      this.#setWritable(brokerName, topics.slice(at, at + SET_AT_ONCE), isWritable)
    }
    return topics.length
  }

  #setWritable(brokerName: string, topics: readonly string[], isWritable: boolean): void {
    const definitions = topics
      .map((topic) => this.#topics.get(topic)?.get(brokerName))
      .filter((definition) => definition !== undefined)
    if (!isWritable) this.#closed.close(brokerName, definitions)
    for (const definition of definitions) {
      const perm = isWritable ? PERM_READ_WRITE : definition.perm & ~PERM_WRITE
      this.#topics.get(definition.name)!.set(brokerName, { ...definition, perm })
    }
  }

  #has(brokerName: string, topic: string): boolean {
    return this.#topicsOf.get(brokerName)?.has(topic) === true
  }

  /** By broker name. */
  #queuesOf(topic: string): Map<string, TopicDefinition> {
    const queues = this.#topics.get(topic) ?? NO_QUEUES
    return new Map([...queues].filter(([brokerName]) => this.#has(brokerName, topic)))
  }

  #routeOver(queues: ReadonlyMap<string, TopicDefinition>): TopicRoute | undefined {
    const reachable = [...queues].filter(([brokerName]) => this.#members.has(brokerName))
    if (reachable.length === 0) return undefined
    return {
      brokers: reachable.map(([brokerName]) => this.#addressesOf(brokerName)),
      queues: reachable.map(([brokerName, definition]) => routeQueues(brokerName, definition)),
      orderTopicConf: undefined,
    }
  }

  #countOf(connection: object): number {
    let count = 0
    for (const broker of this.#brokers.values()) if (broker.connection === connection) count++
    return count
  }

  #brokersOfCluster(cluster: string): string[] {
    return this.brokers()
      .filter((broker) => broker.cluster === cluster)
      .map((broker) => broker.brokerName)
  }

  /** The entry of this process; one that changed its name or its role is another broker now. */
  #knownAs({ address, brokerName, brokerId }: BrokerKey): BrokerEntry | undefined {
    const known = this.#brokers.get(address)
    if (known?.brokerName === brokerName && known.brokerId === brokerId) return known
    this.unregister(address)
    return undefined
  }

  /** A broker that changed its address has one entry, the newest. */
  #add(broker: BrokerEntry): void {
    const { brokerName, brokerId, address } = broker
    const members = this.#members.get(brokerName) ?? new Map<number, BrokerEntry>()
    const before = members.get(brokerId)
    if (before !== undefined) this.#brokers.delete(before.address)
    this.#brokers.set(address, broker)
    this.#members.set(brokerName, members.set(brokerId, broker))
  }

  #addressesOf(brokerName: string): BrokerAddresses {
    const members = [...this.#members.get(brokerName)!.values()]
    return {
      brokerName,
      cluster: members[0]!.clusterName,
      addresses: new Map(members.map(({ brokerId, address }) => [brokerId, address])),
    }
  }

  /**
   * The topics are the broker's from now on: all of the table or nothing, as a process that is
   * refused must not take the topics of one of its name.
   */
  #claim(brokerName: string, topics: readonly TopicDefinition[]): void {
    // Brokers of 5.x may announce a single new topic; a whole table replaces what was known.
    const isWhole = topics.length > 1
    const before = this.#topicsOf.get(brokerName) ?? NO_TOPICS
    const after = new Set(isWhole ? undefined : before)
    for (const { name } of topics) {
      if (name.length > NAME_CHARS_MAX) throw tooLong(name)
      after.add(name)
    }
    this.#checkRoom(after.size - before.size)
    this.#count += after.size - before.size
    if (after.size === 0) this.#topicsOf.delete(brokerName)
    else this.#topicsOf.set(brokerName, after)
    if (isWhole) this.#sweep(brokerName, before)
  }

  async #index(brokerName: string, topics: readonly TopicDefinition[]): Promise<void> {
    const names = this.#topicsOf.get(brokerName)
    const slice = new Slice(this.#clock)
    for (const topic of topics) {
      if (slice.isOver) await slice.rest()
      // The broker went, or was replaced.
      if (names === undefined || this.#topicsOf.get(brokerName) !== names) return
      if (!names.has(topic.name)) continue
      this.#put(brokerName, this.#closed.asClosed(brokerName, topic))
    }
    this.#closed.keepOnly(brokerName, names ?? NO_TOPICS)
  }

  #checkRoom(more: number): void {
    if (this.#count + more <= this.#topicsMax) return
    throw quotaExceeded(
      `the name server knows ${this.#count} topics of brokers, and ${this.#topicsMax} is the most`,
    )
  }

  #setTopic(brokerName: string, topic: TopicDefinition): void {
    const topics = this.#topicsOf.get(brokerName)
    if (topics?.has(topic.name) !== true) this.#count++
    if (topics) topics.add(topic.name)
    else this.#topicsOf.set(brokerName, new Set([topic.name]))
    this.#put(brokerName, topic)
  }

  #put(brokerName: string, topic: TopicDefinition): void {
    const queues = this.#topics.get(topic.name)
    if (queues === undefined) this.#topics.set(topic.name, new Map([[brokerName, topic]]))
    else queues.set(brokerName, topic)
  }

  #dropTopics(brokerName: string): void {
    const topics = this.#topicsOf.get(brokerName)
    if (topics === undefined) return
    this.#topicsOf.delete(brokerName)
    this.#count -= topics.size
    this.#sweep(brokerName, topics)
  }

  #dropTopic(brokerName: string, topic: string): void {
    const topics = this.#topicsOf.get(brokerName)
    if (topics?.delete(topic) !== true) return
    this.#count--
    if (topics.size === 0) this.#topicsOf.delete(brokerName)
    this.#takeOut(brokerName, topic)
  }

  #sweep(brokerName: string, topics: Iterable<string>): void {
    this.#leaving.push({ brokerName, topics })
    if (!this.#isSweeping) this.#sweeping = this.#sweepAll()
  }

  async #sweepAll(): Promise<void> {
    this.#isSweeping = true
    const slice = new Slice(this.#clock)
    for (let one = this.#leaving.shift(); one !== undefined; one = this.#leaving.shift()) {
      for (const topic of one.topics) {
        if (slice.isOver) await slice.rest()
        if (!this.#has(one.brokerName, topic)) this.#takeOut(one.brokerName, topic)
      }
    }
    this.#isSweeping = false
  }

  #takeOut(brokerName: string, topic: string): void {
    const queues = this.#topics.get(topic)
    if (queues?.delete(brokerName) === true && queues.size === 0) this.#topics.delete(topic)
  }

  #newTopic(topic: string): Map<string, TopicDefinition> | undefined {
    const template = this.#queuesOf(AUTO_CREATE_TOPIC)
    if (template.size === 0 || isDeadLetterTopic(topic)) return undefined
    const queues = isRetryTopic(topic) ? RETRY_TOPIC_QUEUES : NEW_TOPIC_QUEUES
    return new Map(
      [...template].map(([brokerName, definition]) => [
        brokerName,
        {
          ...definition,
          name: topic,
          readQueues: Math.min(queues, definition.readQueues),
          writeQueues: Math.min(queues, definition.writeQueues),
          perm: definition.perm & ~PERM_INHERIT,
        },
      ]),
    )
  }
}

const NO_TOPICS: ReadonlySet<string> = new Set()
const PLAIN = { ordered: false, sysFlag: 0 }
const NO_QUEUES: ReadonlyMap<string, TopicDefinition> = new Map()

const quotaExceeded = (text: string): BrokerError => new BrokerError('QUOTA_EXCEEDED', text)

function checkLength(...names: readonly string[]): void {
  const long = names.find((name) => name.length > NAME_CHARS_MAX)
  if (long !== undefined) throw tooLong(long)
}

const tooLong = (name: string): BrokerError =>
  new BrokerError(
    'ARGUMENT_INVALID',
    `the name '${name.slice(0, 40)}...' has ${name.length} characters; ${NAME_CHARS_MAX} is the most`,
  )

const isSameVersion = (a: DataVersion, b: DataVersion): boolean =>
  a.counter === b.counter && a.stateVersion === b.stateVersion && a.timestamp === b.timestamp

const routeQueues = (brokerName: string, topic: TopicDefinition): RouteQueues => ({
  brokerName,
  readQueues: topic.readQueues,
  writeQueues: topic.writeQueues,
  perm: topic.perm,
  topicSysFlag: topic.sysFlag,
})

const definitionOf = (name: string, queues: RouteQueues): TopicDefinition => ({
  name,
  readQueues: queues.readQueues,
  writeQueues: queues.writeQueues,
  perm: queues.perm,
  ordered: false,
  sysFlag: queues.topicSysFlag,
})
