// MQTT topic names <-> topic, tag and key (mapping rules R1 and R2), and shared subscriptions <->
// groups.
//
// Which topics exist is a snapshot that follows the broker's changes; a message is found by
// subscribers under its MQTT name whichever topic it went to.
import { createHash } from 'node:crypto'
import { BrokerError } from '../../errors.ts'
import { ANY_QUEUE, type Destination } from '../../model/message.ts'
import { checkTopicName, MQTT_CATCH_ALL_TOPIC } from '../../model/names.ts'
import { encodeProperties, PROPERTY } from '../../model/properties.ts'
import { catchAllTag, escaped, isMqttAddressable, mqttPlace } from '../../model/routing-name.ts'
import { EVERY_TAG, type TagFilter, tagFilterOf } from '../../model/tag-filter.ts'
import type { Broker } from '../../port/broker.ts'
import { ROUTE_NAME_CHARS_MAX, ROUTES_MAX } from './limits.ts'
import type { Qos } from './packets/protocol.ts'
import { firstLevel } from './packets/topic-name.ts'

/** Where messages of one MQTT topic go, worked out once. */
export interface MessageAddress extends Destination {
  /** The MQTT topic name, also the ordering key of its messages (R7). */
  readonly name: string
  readonly bytes: Buffer
  readonly tag: string | undefined
  /** Readers find the message by it, so that its own TAGS does not replace it. */
  readonly isTagFixed: boolean
  readonly key: string | undefined
  /** Encoded properties of a message that has no properties of its own, by QoS. */
  readonly properties: readonly [Buffer, Buffer, Buffer]
  /** Filters of this gateway that select the name, as of a generation of FilterCounts. */
  filters: number
  filtersGeneration: number
}

/** The native group that a shared subscription's filter means (R6). */
export interface NativeShare {
  readonly topic: string
  readonly filter: TagFilter
}

/** Topics that are asked for at the broker for one SUBSCRIBE. */
const LOOKED_MAX = 32

const GROUP_CHARACTER = /[^|a-zA-Z0-9_-]/gu

export class Addresses {
  readonly #broker: Broker
  #topics: ReadonlySet<string> = new Set()
  readonly #routes = new Map<string, MessageAddress>()
  #watch: Disposable | undefined
  readonly #watchers = new Set<(topic: string | undefined) => void>()
  #isRefreshing = false
  #isStale = false
  /** Changes whenever routes worked out before may be wrong. */
  generation = 0

  constructor(broker: Broker) {
    this.#broker = broker
  }

  async open(): Promise<void> {
    await this.#broker.topics.ensure(MQTT_CATCH_ALL_TOPIC)
    this.#watch = this.#broker.topics.watch((topic) => {
      this.#tell(topic)
      if (isMqttAddressable(topic)) this.#changed()
    })
    await this.#refresh()
  }

  /** As last known: those that names and filters can mean, but for the catch-all. */
  get topics(): ReadonlySet<string> {
    return this.#topics
  }

  /** Told that a topic has changed, and without a name that `topics` has. */
  watch(changed: (topic: string | undefined) => void): void {
    this.#watchers.add(changed)
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
  }

  /**
   * Asks the broker for topics that the filters may mean and `topics` lacks. Before a cluster one
   * that was just made is told of seconds later, and a filter would be bound to the catch-all.
   */
  async look(filters: Iterable<string>): Promise<void> {
    if (this.#broker.lightQueues !== undefined) return
    const unknown = new Set<string>()
    for (const filter of filters) {
      const first = firstLevel(filter)
      if (!this.#topics.has(first) && mayBeTopic(first)) unknown.add(first)
      if (unknown.size === LOOKED_MAX) break
    }
    const found = await Promise.all([...unknown].map((name) => this.#isThere(name)))
    const names = [...unknown].filter((_, i) => found[i])
    if (names.length > 0) this.#know(new Set([...this.#topics, ...names]))
  }

  /** One that cannot be asked for is told of later. */
  async #isThere(name: string): Promise<boolean> {
    return (await this.#broker.topics.get(name).catch(() => undefined)) !== undefined
  }

  #know(topics: ReadonlySet<string>): void {
    this.#topics = topics
    this.#routes.clear()
    this.generation++
    this.#tell(undefined)
  }

  /** `name` must be a legal topic name. */
  route(name: string): MessageAddress {
    const known = this.#routes.get(name)
    if (known !== undefined) return known
    const route = makeRoute(name, this.#topics, this.#broker.lightQueues === undefined)
    if (name.length > ROUTE_NAME_CHARS_MAX) return route
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear()
    this.#routes.set(name, route)
    return route
  }

  /** The topic whose messages a filter's first level selects; undefined when that is a wildcard. */
  topicOfFilter(filter: string): string | undefined {
    const first = firstLevel(filter)
    if (first === '+' || first === '#') return undefined
    return this.#topics.has(first) ? first : MQTT_CATCH_ALL_TOPIC
  }

  /**
   * `T/#`, `T/tag` and `T/tag/#` of an existing topic T are native groups; any other filter is not.
   */
  nativeShare(filter: string): NativeShare | undefined {
    const levels = filter.split('/')
    const [topic, second, third] = levels
    if (topic === undefined || second === undefined || !this.#topics.has(topic)) return undefined
    if (second === '#') return { topic, filter: EVERY_TAG }
    if (isTag(second) && (levels.length === 2 || (levels.length === 3 && third === '#'))) {
      return { topic, filter: tagFilterOf([second]) }
    }
    return undefined
  }

  /**
   * The topic that has all messages of a filter, and what of it brokers can choose by its tag: its
   * readers look at each message. undefined: there may be several.
   */
  lookedShare(filter: string): NativeShare | undefined {
    const [first = '', second = ''] = filter.split('/', 2)
    const topic = this.topicOfFilter(filter)
    if (topic === undefined) return undefined
    if (topic === MQTT_CATCH_ALL_TOPIC) return { topic, filter: tagFilterOf([catchAllTag(first)]) }
    return { topic, filter: isTag(second) && second !== '#' ? tagFilterOf([second]) : EVERY_TAG }
  }

  #changed(): void {
    if (this.#isRefreshing) {
      this.#isStale = true
      return
    }
    this.#refresh().catch(() => {
      // The next change tries again; until then the last snapshot holds.
    })
  }

  #tell(topic: string | undefined): void {
    for (const changed of this.#watchers) changed(topic)
  }

  async #refresh(): Promise<void> {
    this.#isRefreshing = true
    try {
      do {
        this.#isStale = false
        const topics = await this.#broker.topics.list()
        this.#know(new Set(topics.map(({ name }) => name).filter(isMqttAddressable)))
      } while (this.#isStale)
    } finally {
      this.#isRefreshing = false
    }
  }
}

/** The first level of a filter, which may be a wildcard or no name of a topic. */
function mayBeTopic(level: string): boolean {
  try {
    checkTopicName(level)
  } catch {
    return false
  }
  return isMqttAddressable(level)
}

/**
 * Would a native member name this tag by it alone? To RocketMQ '*' is any tag and '||' joins
 * several.
 */
const isTag = (level: string): boolean =>
  !['', '+', '*'].includes(level) && !level.includes('||') && level === level.trim()

/** A share name as a group name: characters RocketMQ refuses become %XX of their UTF-8 bytes. */
export const groupOfShare = (share: string): string => escaped(share, GROUP_CHARACTER)

/** Of a filter's digest; no name of a share becomes it. */
const LOOKING = '%%'
const DIGEST_CHARS = 16

/** The group of a share and one filter, whose members look at each message. */
export const lookingGroup = (group: string, filter: string): string =>
  group + LOOKING + createHash('sha256').update(filter).digest('hex').slice(0, DIGEST_CHARS)

export const isLooking = (group: string): boolean => group.includes(LOOKING)

/** The group that rights are for. */
export const namedGroup = (group: string): string => group.split(LOOKING, 1)[0]!

/** `choosesByTag`: where brokers have no light queues, readers leave the choice by tag to them. */
function makeRoute(
  name: string,
  topics: ReadonlySet<string>,
  choosesByTag: boolean,
): MessageAddress {
  const { topic, isBound, tag, key } = mqttPlace(name, topics.has(firstLevel(name)))
  const properties = (qos: Qos): Buffer => encodeProperties(addressProperties(name, tag, key, qos))
  return {
    name,
    bytes: Buffer.from(name),
    topic,
    queueId: ANY_QUEUE,
    // Only the catch-all may have gone since.
    createTopic: !isBound,
    tag,
    isTagFixed: !isBound || (choosesByTag && tag !== undefined),
    key,
    properties: [properties(0), properties(1), properties(2)],
    filters: 0,
    filtersGeneration: -1,
  }
}

/** @throws BrokerError MESSAGE_INVALID where the name cannot be kept (never for a checked name) */
export function addressProperties(
  name: string,
  tag: string | undefined,
  key: string | undefined,
  qos: Qos,
): [string, string][] {
  if (name === '') throw new BrokerError('NAME_INVALID', 'the MQTT topic name is empty')
  const entries: [string, string][] = [[PROPERTY.mqttTopic, name]]
  if (tag !== undefined) entries.push([PROPERTY.tags, tag])
  if (key !== undefined) entries.push([PROPERTY.keys, key])
  if (qos !== 1) entries.push([PROPERTY.mqttQos, String(qos)])
  return entries
}
