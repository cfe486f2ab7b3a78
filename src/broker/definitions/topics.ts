// The broker's topics: definitions in memory, each a durable fact. Owns names, queue counts,
// creation on first use and the topics RocketMQ's clients expect to find; knows nothing of
// messages.
import { BrokerError, isUnconfirmed } from '../../errors.ts'
import { QUEUES_PER_TOPIC_MAX } from '../../model/limits.ts'
import type { QueueRange } from '../../model/message.ts'
import {
  AUTO_CREATE_TOPIC,
  checkTopicName,
  groupOfTopic,
  isDeadLetterTopic,
  isLightQueue,
  isRetryTopic,
  isSendForbidden,
  LIGHT_QUEUE_PREFIX,
  MQTT_CATCH_ALL_TOPIC,
  replyTopic,
  retryTopic,
  SCHEDULE_TOPIC,
  TRACE_TOPIC,
  TRANSACTIONS_GIVEN_UP_TOPIC,
} from '../../model/names.ts'
import {
  PERM_INHERIT,
  PERM_READ,
  PERM_READ_WRITE,
  PERM_WRITE,
  type TopicDefinition,
} from '../../model/topic.ts'
import type { Fact, MessageStore } from '../../store/store.ts'
import { FACT, type FactWriter } from '../facts/fact-writer.ts'
import { Unsaved } from '../facts/unsaved.ts'
import type { BrokerOptions } from '../options.ts'

const AUTO_CREATE_TOPIC_QUEUES = 8

/** One topic as the broker keeps it. */
export interface Topic {
  definition: TopicDefinition
  /** Is the definition durable? Until then every append that needs it carries it along. */
  isSaved: boolean
  /** Made anew at every start unless an operator changed it; cannot be deleted. */
  readonly isBuiltIn: boolean
  /** Where round robin goes on. */
  turn: number
}

export class TopicTable {
  readonly #store: MessageStore
  readonly #facts: FactWriter
  readonly #options: BrokerOptions
  readonly #topics = new Map<string, Topic>()
  readonly unsavedTopics = new Unsaved<Topic>((topic) => this.#save(topic))
  readonly #watchers = new Set<(name: string) => void>()
  /** Topics of users: neither built in nor a group's. */
  #userTopics = 0

  constructor(store: MessageStore, facts: FactWriter, options: BrokerOptions) {
    this.#store = store
    this.#facts = facts
    this.#options = options
    for (const definition of builtInTopics(options)) {
      this.#add(definition, { isSaved: true, isBuiltIn: true })
    }
    for (const [name, value] of store.facts(FACT.topic)) this.follow(name, value)
  }

  /** What the log says of it, which another broker may have written. */
  follow(name: string, value: Buffer | undefined): void {
    const known = this.#topics.get(name)
    if (value === undefined) {
      if (known?.isBuiltIn === false) this.forget(name)
      return
    }
    const definition = { ...JSON.parse(value.toString()), name } as TopicDefinition
    if (known === undefined) this.#add(definition, { isSaved: true, isBuiltIn: false })
    else known.definition = definition
    this.#changed(name)
  }

  find(name: string): Topic | undefined {
    return this.#topics.get(name)
  }

  /** @throws TOPIC_NOT_FOUND */
  need(name: string): Topic {
    const topic = this.#topics.get(name)
    if (topic === undefined) throw topicNotFound(name, this.#options.autoCreateTopics)
    return topic
  }

  list(): TopicDefinition[] {
    return [...this.#topics.values()].map((topic) => topic.definition)
  }

  /**
   * A new topic, known at once and not durable yet: the caller writes `unsaved` facts with its own.
   * @throws NAME_INVALID, ARGUMENT_INVALID, QUOTA_EXCEEDED
   */
  stage(name: string, queues: number): Topic {
    const definition = {
      name,
      readQueues: queues,
      writeQueues: queues,
      perm: PERM_READ_WRITE,
      ordered: false,
      sysFlag: 0,
    }
    this.#check(definition)
    const topic = this.#add(definition, { isSaved: false, isBuiltIn: false })
    this.#changed(name)
    return topic
  }

  /** The facts that must be durable before a client may rely on these topics. */
  unsaved(topics: Iterable<Topic>): Fact[] {
    const facts: Fact[] = []
    for (const topic of topics) if (!topic.isSaved) facts.push(topicFact(topic.definition))
    return facts
  }

  async put(definition: TopicDefinition): Promise<void> {
    const { name, readQueues, writeQueues, perm, ordered, sysFlag, attributes } = definition
    const wanted = {
      ...{ name, readQueues, writeQueues, perm, ordered, sysFlag },
      ...(attributes !== undefined && { attributes }),
    }
    this.#check(wanted)
    const known = this.#topics.get(name)
    if (known === undefined) this.#checkGroupOf(name)
    const before = known?.definition
    const topic = known ?? this.#add(wanted, { isSaved: false, isBuiltIn: false })
    topic.definition = wanted
    try {
      await this.#facts.write([topicFact(wanted)])
    } catch (error) {
      if (isUnconfirmed(BrokerError.from(error))) this.#saved(topic)
      else if (topic.definition === wanted) {
        if (before === undefined) this.forget(name)
        else topic.definition = before
      }
      throw error
    }
    this.#saved(topic)
  }

  #saved(topic: Topic): void {
    topic.isSaved = true
    this.#changed(topic.definition.name)
  }

  /**
   * The topic, durable but while the store is read-only; created when it is missing and that is
   * allowed. @throws TOPIC_NOT_FOUND
   */
  async ensure(name: string): Promise<Topic> {
    const { firstUses } = this.#facts
    if (this.#topics.get(name)?.isSaved !== true && firstUses.isOver) await firstUses.rest()
    const topic = this.findOrStage(name)
    if (topic.isSaved) return topic
    try {
      await this.unsavedTopics.saveOrKeep(topic)
    } catch (error) {
      const isRefused = BrokerError.from(error).code === 'READ_ONLY'
      if (isRefused && !topic.isSaved && this.#topics.get(name) === topic) this.forget(name)
      throw error
    }
    return topic
  }

  async #save(topic: Topic): Promise<void> {
    if (topic.isSaved) return
    await this.#facts.write([topicFact(topic.definition)]).catch((error: unknown) => {
      topic.isSaved ||= isUnconfirmed(BrokerError.from(error))
      throw error
    })
    topic.isSaved = true
  }

  /** @throws TOPIC_NOT_FOUND, NAME_INVALID, QUOTA_EXCEEDED */
  findOrStage(name: string, queues?: number): Topic {
    const topic = this.#topics.get(name)
    if (topic !== undefined) return topic
    if (!this.#options.autoCreateTopics) {
      checkTopicName(name)
      throw topicNotFound(name, false)
    }
    this.#checkGroupOf(name)
    const count = isGroupsTopic(name) ? 1 : (queues ?? this.#options.queuesDefault)
    return this.stage(name, Math.min(Math.max(1, count), QUEUES_PER_TOPIC_MAX))
  }

  ranges(name: string): QueueRange[] {
    const { readQueues } = this.need(name).definition
    const { brokerName } = this.#options
    return Array.from({ length: readQueues }, (_, queueId) => ({
      ...{ topic: name, brokerName, queueId },
      ...this.#store.range(name, queueId),
    }))
  }

  /** Out of the table, not out of the log. */
  forget(name: string): void {
    const topic = this.#topics.get(name)
    if (topic === undefined) return
    this.#topics.delete(name)
    this.unsavedTopics.forget(topic)
    if (!isGroupsTopic(name)) this.#userTopics--
    this.#changed(name)
  }

  /** Called with the name after any change. */
  watch(changed: (name: string) => void): Disposable {
    this.#watchers.add(changed)
    return { [Symbol.dispose]: () => void this.#watchers.delete(changed) }
  }

  #add(definition: TopicDefinition, kind: { isSaved: boolean; isBuiltIn: boolean }): Topic {
    const topic = { definition, ...kind, turn: 0 }
    this.#topics.set(definition.name, topic)
    if (!kind.isBuiltIn && !isGroupsTopic(definition.name)) this.#userTopics++
    return topic
  }

  /**
   * A group's topics do not count as topics of users, so they are made only for groups that exist:
   * names from the wire must not fill the memory. Every group has a retry topic.
   */
  #checkGroupOf(name: string): void {
    if (!isGroupsTopic(name)) return
    const group = groupOfTopic(name)
    if (this.#topics.has(retryTopic(group))) return
    throw new BrokerError(
      'TOPIC_NOT_FOUND',
      `the topic '${name.slice(0, 300)}' comes with the consumer group '${group.slice(0, 300)}', which does not exist`,
    )
  }

  #changed(name: string): void {
    for (const changed of this.#watchers) changed(name)
  }

  #check(definition: TopicDefinition): void {
    const { name, readQueues, writeQueues, perm } = definition
    checkTopicName(name)
    if (isLightQueue(name)) {
      throw new BrokerError(
        'NAME_INVALID',
        `the topic name '${name}' starts with ${LIGHT_QUEUE_PREFIX}, which addresses light queues`,
      )
    }
    for (const queues of [readQueues, writeQueues]) {
      if (Number.isInteger(queues) && queues >= 1 && queues <= QUEUES_PER_TOPIC_MAX) continue
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `the topic '${name}' cannot have ${queues} queues; 1 to ${QUEUES_PER_TOPIC_MAX} are possible`,
      )
    }
    const bits = PERM_READ | PERM_WRITE | PERM_INHERIT
    if ((perm & ~bits) !== 0) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `the topic '${name}' cannot have the permission ${perm}; add up 4 read, 2 write, 1 inherit`,
      )
    }
    if (this.#topics.has(name) || isGroupsTopic(name)) return
    if (this.#userTopics >= this.#options.topicsMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `the topic '${name}' would be number ${this.#userTopics + 1}; broker.topicsMax is ${this.#options.topicsMax}`,
      )
    }
  }
}

export const noSuchBroker = (brokerName: string): BrokerError =>
  new BrokerError(
    'QUEUE_NOT_FOUND',
    `no queue of a broker '${brokerName.slice(0, 300)}' is here; the topic's ranges name its queues`,
  )

/** `isCreated`: the first use creates a topic, but what was asked for here is none. */
export const topicNotFound = (name: string, isCreated = true): BrokerError =>
  new BrokerError(
    'TOPIC_NOT_FOUND',
    `the topic '${name.slice(0, 300)}' does not exist` +
      (isCreated ? '' : '; create it first, or set broker.autoCreateTopics'),
  )

/** Retry and dead-letter topics come and go with their group. */
const isGroupsTopic = (name: string): boolean => isRetryTopic(name) || isDeadLetterTopic(name)

const topicFact = (definition: TopicDefinition): Fact => {
  const { name, ...rest } = definition
  return { kind: FACT.topic, key: name, value: Buffer.from(JSON.stringify(rest)) }
}

/**
 * The topics that RocketMQ's clients and tools expect a broker to have, and MQTT's catch-all.
 */
function builtInTopics(options: BrokerOptions): TopicDefinition[] {
  const { clusterName, brokerName, autoCreateTopics, queuesDefault } = options
  const topic = (name: string, queues: number, perm = PERM_READ_WRITE): TopicDefinition => ({
    name,
    readQueues: queues,
    writeQueues: queues,
    perm,
    ordered: false,
    sysFlag: 0,
  })
  const inherited = PERM_READ_WRITE | PERM_INHERIT
  const delayLevels = 18
  return [
    ...(autoCreateTopics ? [topic(AUTO_CREATE_TOPIC, AUTO_CREATE_TOPIC_QUEUES, inherited)] : []),
    topic('SELF_TEST_TOPIC', 1),
    topic('OFFSET_MOVED_EVENT', 1),
    topic(SCHEDULE_TOPIC, delayLevels),
    topic(TRANSACTIONS_GIVEN_UP_TOPIC, 1),
    topic(TRACE_TOPIC, 1),
    topic(clusterName, 16, inherited),
    topic(brokerName, 1, inherited),
    topic(replyTopic(clusterName), 1),
    topic(MQTT_CATCH_ALL_TOPIC, queuesDefault),
  ]
}

/** @throws PERMISSION_DENIED for topics that hold the broker's own records */
export function checkSendable(name: string): void {
  if (isSendForbidden(name)) {
    throw new BrokerError(
      'PERMISSION_DENIED',
      `'${name}' is a system topic: clients may not send to it`,
    )
  }
}
