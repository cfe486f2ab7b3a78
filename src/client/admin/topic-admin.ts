// Topics: created and deleted on every master, described from what all of them say.
import { BrokerError } from '../../errors.ts'
import { QUEUES_PER_TOPIC_MAX } from '../../model/limits.ts'
import { AUTO_CREATE_TOPIC, checkTopicName, isUserTopic } from '../../model/names.ts'
import { PERM_READ_WRITE } from '../../model/topic.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import {
  decodeGroupList,
  decodeTopicConfig,
  decodeTopicStats,
  decodeTopicTable,
  TOPIC,
  UPDATE_TOPIC,
} from '../../remoting/requests/topics.ts'
import type { CallOptions } from '../calls/calls.ts'
import { checkKind, checkNames, KIND, type Kind } from '../calls/option-names.ts'
import { checkCount } from '../consume/subscribe-options.ts'
import type { Directory } from '../routes/name-servers.ts'
import type { Routes } from '../routes/routes.ts'
import { type Master, type Masters, noting, type PartialOptions, quoted } from './masters.ts'

export interface NewTopic {
  readonly name: string
  /** On each broker; default 8. */
  readonly queues?: number | undefined
  /** Keeps its queues when a broker is away, for strict order. */
  readonly ordered?: boolean | undefined
}

const NAMES: Readonly<Record<keyof NewTopic, Kind | true>> = {
  name: KIND.text,
  queues: KIND.number,
  ordered: KIND.flag,
}

export interface TopicSummary {
  readonly name: string
  readonly brokerName: string
  readonly readQueues: number
  readonly writeQueues: number
  /** RocketMQ's bits: 4 read, 2 write. */
  readonly perm: number
  readonly ordered: boolean
}

export interface TopicQueue {
  readonly brokerName: string
  readonly queueId: number
  readonly minOffset: number
  readonly maxOffset: number
  /** Epoch ms of the last message; 0 for none. */
  readonly lastStoredMs: number
}

export interface TopicDescription {
  readonly name: string
  readonly brokers: readonly TopicSummary[]
  readonly queues: readonly TopicQueue[]
  /** Groups that consume it. */
  readonly groups: readonly string[]
  readonly messages: number
}

const QUEUES_DEFAULT = 8

export class TopicAdmin {
  readonly #masters: Masters
  readonly #directory: Directory
  readonly #routes: Routes

  constructor(masters: Masters, directory: Directory, routes: Routes) {
    this.#masters = masters
    this.#directory = directory
    this.#routes = routes
  }

  /**
   * Settles when clients find it. Rejects with TOPIC_EXISTS, NAME_INVALID, ARGUMENT_INVALID, and
   * when a master does not answer; a topic that is on some masters only, as this makes it, is made
   * on the others.
   */
  async create(topic: NewTopic, options: CallOptions = {}): Promise<void> {
    checkNames('field of a new topic', topic, NAMES)
    const { name, queues = QUEUES_DEFAULT, ordered = false } = topic
    checkTopicName(name)
    checkCount('queues', queues, 1, QUEUES_PER_TOPIC_MAX)
    const { masters, having } = await this.#whereIs(name, 'created', options)
    const without = masters.filter((master) => !having.some(isOn(master)))
    const isAsWanted = (one: TopicSummary): boolean =>
      one.readQueues === queues && one.writeQueues === queues && one.ordered === ordered
    if (having.length > 0 && (without.length === 0 || !having.every(isAsWanted))) {
      throw new BrokerError('TOPIC_EXISTS', `the topic '${name}' exists already`)
    }
    const fields = writeFields(UPDATE_TOPIC, {
      topic: name,
      defaultTopic: AUTO_CREATE_TOPIC,
      readQueueNums: queues,
      writeQueueNums: queues,
      perm: PERM_READ_WRITE,
      topicFilterType: 'SINGLE_TAG',
      topicSysFlag: 0,
      order: ordered,
    })
    const asked = { ...options, fields }
    await this.#masters.change(without, REQUEST.updateTopic, `creating '${name}'`, asked)
    this.#routes.forget(name)
    await this.#routes.untilKnown(name, masters.length * queues, options)
  }

  /** Without retry, dead-letter and system topics unless asked for. */
  async list(
    options: CallOptions & PartialOptions & { all?: boolean } = {},
  ): Promise<readonly TopicSummary[]> {
    checkKind('options', options, KIND.object)
    const { all = false, ...call } = options
    const answers = await this.#masters.ask(REQUEST.getAllTopicConfig, 'listing topics', call)
    return answers
      .flatMap(({ name: brokerName, response }) =>
        decodeTopicTable(response.body).topics.map((topic) => ({ ...topic, brokerName })),
      )
      .filter(({ name, brokerName }) => all || isUserTopic(name, brokerName))
      .map(({ sysFlag: _, ...summary }) => summary)
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }

  /** Rejects with TOPIC_NOT_FOUND. */
  async describe(
    name: string,
    options: CallOptions & PartialOptions = {},
  ): Promise<TopicDescription> {
    checkTopicName(name)
    const { noted, away } = noting(options)
    const brokers = await this.#configs(name, noted)
    if (brokers.length === 0) throw away[0] ?? notFound(name)
    const ask = async (code: number, asked: string) =>
      this.#masters.ask(
        code,
        `${asked} '${name}'`,
        { ...noted, fields: writeFields(TOPIC, { topic: name }) },
        RESPONSE.topicNotExist,
      )
    const [stats, consumers] = await Promise.all([
      ask(REQUEST.getTopicStats, 'the queues of'),
      ask(REQUEST.queryTopicConsumers, 'the groups of'),
    ])
    const queues = stats
      .flatMap(({ response }) => decodeTopicStats(response.body))
      .map(({ queue, minOffset, maxOffset, lastUpdateTimestamp }) => ({
        brokerName: queue.brokerName,
        queueId: queue.queueId,
        minOffset,
        maxOffset,
        lastStoredMs: lastUpdateTimestamp,
      }))
      .sort((a, b) => a.brokerName.localeCompare(b.brokerName) || a.queueId - b.queueId)
    const groups = new Set(consumers.flatMap(({ response }) => decodeGroupList(response.body)))
    const messages = queues.reduce((sum, queue) => sum + queue.maxOffset - queue.minOffset, 0)
    return { name, brokers, queues, groups: [...groups].sort(), messages }
  }

  /** Rejects with TOPIC_NOT_FOUND, and when a master does not answer. Its messages go with it. */
  async delete(name: string, options: CallOptions = {}): Promise<void> {
    checkTopicName(name)
    const { masters, having } = await this.#whereIs(name, 'deleted', options)
    if (having.length === 0) throw notFound(name)
    const asked = { ...options, fields: writeFields(TOPIC, { topic: name }) }
    const found = masters.filter((master) => having.some(isOn(master)))
    await this.#masters.change(found, REQUEST.deleteTopic, `deleting '${name}'`, asked)
    await this.#directory.forgetTopic(name, options)
    this.#routes.forget(name)
  }

  /**
   * The masters, and what those that have the topic say of it. Rejects when one does not answer:
   * nothing is changed then.
   */
  async #whereIs(
    name: string,
    done: string,
    options: CallOptions,
  ): Promise<{ masters: readonly Master[]; having: readonly TopicSummary[] }> {
    const masters = await this.#masters.list(options)
    const away: { readonly master: Master; readonly error: BrokerError }[] = []
    const missing = (master: Master, error: BrokerError): void => void away.push({ master, error })
    const having = await this.#configs(name, { ...options, missing })
    const [first] = away
    if (first === undefined) return { masters, having }
    const { error } = first
    const names = quoted(away.map(({ master }) => master.name))
    const where = having.length === 0 ? 'none' : quoted(having.map((one) => one.brokerName))
    throw new BrokerError(
      error.code,
      `the topic '${name}' was ${done} nowhere, for ${names} does not answer (${error.message}); ` +
        `of the others ${where} has it`,
      { cause: error, retryable: error.retryable },
    )
  }

  /** By asking the brokers: a name server may know a topic later than they do, or longer. */
  async #configs(name: string, options: CallOptions & PartialOptions): Promise<TopicSummary[]> {
    const fields = writeFields(TOPIC, { topic: name })
    const answers = await this.#masters.ask(
      REQUEST.getTopicConfig,
      `the topic '${name}'`,
      { ...options, fields },
      RESPONSE.topicNotExist,
    )
    return answers.map(({ name: brokerName, response }) => {
      const { sysFlag: _, ...config } = decodeTopicConfig(response.body)
      return { ...config, name, brokerName }
    })
  }
}

const isOn =
  ({ name }: Master) =>
  ({ brokerName }: TopicSummary): boolean =>
    brokerName === name

const notFound = (name: string): BrokerError =>
  new BrokerError(
    'TOPIC_NOT_FOUND',
    `the topic '${name}' does not exist; see: trivet topic list, trivet topic create ${name}`,
  )
