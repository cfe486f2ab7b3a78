// Topics of the cluster: made and changed on every master, described by what the masters say.

import type { Master } from '../../client/admin/masters.ts'
import { endOffset } from '../../client/calls/calls.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { QUEUES_PER_TOPIC_MAX } from '../../model/limits.ts'
import type { QueueName, QueueRange } from '../../model/message.ts'
import { AUTO_CREATE_TOPIC, checkTopicName, isLightQueue, STATE_TOPIC } from '../../model/names.ts'
import { queueOffset } from '../../model/positions.ts'
import { PERM_READ_WRITE, type TopicDefinition } from '../../model/topic.ts'
import type { Topics } from '../../port/broker.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import {
  decodeTopicConfig,
  decodeTopicTable,
  TOPIC,
  UPDATE_TOPIC,
} from '../../remoting/requests/topics.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'
import { Watchers } from './watchers.ts'

/** What other gateways and operators change is looked for so often, while it is watched. */
const LOOK_MS = 5_000

interface Parts {
  readonly links: Links
  readonly clock: Clock
  readonly options: ClusterOptions
  /** The topic is deleted. */
  readonly deleted?: ((topic: string) => void) | undefined
}

export class ClusterTopics implements Topics {
  readonly #parts: Parts
  readonly #watchers: Watchers
  /**
   * What each master had when it was last asked: those of one that is away are no deleted topics.
   */
  readonly #tables = new Map<string, ReadonlyMap<string, TopicDefinition>>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#watchers = new Watchers(parts.clock, LOOK_MS, async () => {
      const topics = await this.list()
      return topics.map((topic) => [topic.name, JSON.stringify(topic)] as const)
    })
  }

  async list(): Promise<readonly TopicDefinition[]> {
    const { masters } = this.#parts.links
    const asked = { ...this.#limits, missing: ignore }
    const answers = await masters.ask(REQUEST.getAllTopicConfig, 'listing topics', asked)
    for (const { name, response } of answers) {
      const { topics } = decodeTopicTable(response.body)
      this.#tables.set(name, new Map(topics.map((topic) => [topic.name, topic])))
    }
    const all = [...this.#tables.values()].flatMap((table) => [...table.values()])
    return [...new Map(all.map((topic) => [topic.name, topic])).values()]
  }

  async get(name: string): Promise<TopicDefinition | undefined> {
    const fields = writeFields(TOPIC, { topic: name })
    const away = new Map<string, BrokerError>()
    const missing = (master: Master, error: BrokerError): void => void away.set(master.name, error)
    const asked = { ...this.#limits, fields, missing }
    const { masters } = this.#parts.links
    const what = `the topic '${name}'`
    const [first] = await masters.ask(REQUEST.getTopicConfig, what, asked, RESPONSE.topicNotExist)
    if (first !== undefined) return { ...decodeTopicConfig(first.response.body), name }
    const present = new Set((await masters.list(this.#limits)).map((master) => master.name))
    for (const [master, table] of this.#tables) {
      if ((away.has(master) || !present.has(master)) && table.has(name)) return table.get(name)
    }
    // It cannot be known.
    for (const [master, error] of away) if (!this.#tables.has(master)) throw error
    return undefined
  }

  async put(definition: TopicDefinition): Promise<void> {
    const { name, readQueues, writeQueues, perm, ordered, sysFlag } = definition
    checkTopicName(name)
    if (isLightQueue(name)) throw reserved(name)
    for (const queues of [readQueues, writeQueues]) checkQueues(name, queues)
    const { links } = this.#parts
    const fields = writeFields(UPDATE_TOPIC, {
      topic: name,
      defaultTopic: AUTO_CREATE_TOPIC,
      readQueueNums: readQueues,
      writeQueueNums: writeQueues,
      perm,
      topicFilterType: 'SINGLE_TAG',
      topicSysFlag: sysFlag,
      order: ordered,
    })
    const masters = await links.masters.list(this.#limits)
    const doing = `setting up the topic '${name}'`
    await links.masters.change(masters, REQUEST.updateTopic, doing, { ...this.#limits, fields })
    links.routes.forget(name)
    await links.routes.untilKnown(name, masters.length * Math.max(readQueues, writeQueues))
    this.#watchers.tell(name)
  }

  async ensure(name: string): Promise<TopicDefinition> {
    checkTopicName(name)
    const found = await this.get(name)
    if (found !== undefined) return found
    if (!this.#parts.options.createTopics) throw notFound(name)
    const queues = this.#parts.options.queuesDefault
    const made = {
      name,
      readQueues: queues,
      writeQueues: queues,
      perm: PERM_READ_WRITE,
      ordered: false,
      sysFlag: 0,
    }
    await this.put(made)
    return made
  }

  /**
   * A topic that brokers make by themselves, each when it needs it, and tell the name servers of
   * some time later: it is on every master that answers and in the routes when this settles, so
   * that none of its queues is missed.
   */
  async ensureEverywhere(name: string, queues: number): Promise<void> {
    const { masters, routes } = this.#parts.links
    const fields = writeFields(TOPIC, { topic: name })
    const all = await masters.list(this.#limits)
    let answering = all.length
    const asked = { ...this.#limits, fields, missing: () => void answering-- }
    const what = `the topic '${name}'`
    const found = await masters.ask(REQUEST.getTopicConfig, what, asked, RESPONSE.topicNotExist)
    if (found.length < answering) {
      const made = { name, readQueues: queues, writeQueues: queues, perm: PERM_READ_WRITE }
      return this.put({ ...made, ordered: false, sysFlag: 0 })
    }
    if (answering < all.length) return
    const counts = found.map(({ response }) => {
      const { readQueues, writeQueues } = decodeTopicConfig(response.body)
      return Math.max(readQueues, writeQueues)
    })
    const sum = counts.reduce((before, count) => before + count, 0)
    await routes.untilKnown(name, sum)
  }

  async delete(name: string): Promise<void> {
    if (name === STATE_TOPIC) {
      throw new BrokerError(
        'PERMISSION_DENIED',
        `gateways keep sessions in '${name}'; once none is left, delete it with the brokers' tools`,
      )
    }
    if ((await this.get(name)) === undefined) throw notFound(name)
    const { links } = this.#parts
    const fields = writeFields(TOPIC, { topic: name })
    const masters = await links.masters.list(this.#limits)
    const asked = { ...this.#limits, fields }
    await links.masters.change(masters, REQUEST.deleteTopic, `deleting the topic '${name}'`, asked)
    await links.directory.forgetTopic(name, this.#limits)
    links.routes.forget(name)
    for (const [master, table] of this.#tables) {
      this.#tables.set(master, new Map([...table].filter(([topic]) => topic !== name)))
    }
    this.#parts.deleted?.(name)
    this.#watchers.tell(name)
  }

  async ranges(name: string): Promise<readonly QueueRange[]> {
    checkTopicName(name)
    const { readable } = await this.#parts.links.routes.queues(name, this.#limits)
    return Promise.all(readable.map((queue) => this.range(queue)))
  }

  async range(queue: QueueName): Promise<QueueRange> {
    const { brokers } = this.#parts.links
    const connection = await brokers.connection(queue.brokerName, this.#limits)
    const [minOffset, maxOffset] = await Promise.all([
      endOffset(connection, 'min', queue, this.#limits),
      endOffset(connection, 'max', queue, this.#limits),
    ])
    const { topic, brokerName, queueId } = queue
    return {
      topic,
      brokerName,
      queueId,
      // A queue that was never written may say that its first message is behind its end.
      minOffset: queueOffset(Math.min(minOffset, maxOffset)),
      maxOffset: queueOffset(maxOffset),
    }
  }

  watch(changed: (topic: string) => void): Disposable {
    return this.#watchers.watch(changed)
  }

  close(): void {
    this.#watchers.close()
  }

  get #limits(): { timeoutMs: number } {
    return { timeoutMs: this.#parts.options.requestTimeoutMs }
  }
}

const ignore = (): void => {}

function checkQueues(topic: string, queues: number): void {
  if (Number.isInteger(queues) && queues >= 1 && queues <= QUEUES_PER_TOPIC_MAX) return
  throw new BrokerError(
    'ARGUMENT_INVALID',
    `the topic '${topic}' is to have ${queues} queues; 1 to ${QUEUES_PER_TOPIC_MAX} are possible`,
  )
}

const reserved = (name: string): BrokerError =>
  new BrokerError('NAME_INVALID', `'${name}' is a name of a light queue, and no topic has it`)

export const notFound = (name: string): BrokerError =>
  new BrokerError('TOPIC_NOT_FOUND', `the topic '${name}' does not exist`)
