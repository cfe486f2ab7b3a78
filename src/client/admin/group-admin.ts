// Consumer groups: their names, their connected members, and how far each is behind.
import { BrokerError } from '../../errors.ts'
import { checkGroupName } from '../../model/names.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import { CONSUMER_GROUP } from '../../remoting/requests/clients.ts'
import {
  decodeConsumerConnections,
  decodeConsumeStats,
  decodeGroupTable,
  GET_CONSUME_STATS,
} from '../../remoting/requests/groups.ts'
import type { CallOptions } from '../calls/calls.ts'
import { checkKind, KIND } from '../calls/option-names.ts'
import { type Masters, noting, type PartialOptions } from './masters.ts'
import { type OffsetReset, type ResetQueue, resetOffsets } from './offset-reset.ts'

export interface GroupSummary {
  readonly name: string
  /** Deliveries after the first; then the dead-letter topic. */
  readonly retriesMax: number
}

export interface GroupQueue {
  readonly topic: string
  readonly brokerName: string
  readonly queueId: number
  readonly committedOffset: number
  readonly maxOffset: number
  readonly lag: number
}

export interface GroupMemberEntry {
  readonly clientId: string
  readonly address: string
  readonly language: string
}

export interface GroupDescription extends GroupSummary {
  /** undefined while no consumer is connected. */
  readonly broadcasting: boolean | undefined
  readonly members: readonly GroupMemberEntry[]
  /** Tag expression by topic, as the connected members want it. */
  readonly subscriptions: ReadonlyMap<string, string>
  readonly queues: readonly GroupQueue[]
  readonly lag: number
}

/** Groups that a RocketMQ broker has for itself. */
const BUILT_IN =
  /^(TOOLS_CONSUMER|FILTERSRV_CONSUMER|SELF_TEST_.*|CID_ONS.*|CID_RMQ_SYS_.*|CID_DefaultHeartBeat.*)$/

export class GroupAdmin {
  readonly #masters: Masters

  constructor(masters: Masters) {
    this.#masters = masters
  }

  async list(options: CallOptions & PartialOptions = {}): Promise<readonly GroupSummary[]> {
    const answers = await this.#masters.ask(REQUEST.getAllGroupConfig, 'listing groups', options)
    const groups = new Map<string, GroupSummary>()
    for (const { response } of answers) {
      for (const { name, retryTimesMax } of decodeGroupTable(response.body)) {
        if (!BUILT_IN.test(name)) groups.set(name, { name, retriesMax: retryTimesMax })
      }
    }
    return [...groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Rejects with GROUP_NOT_FOUND. */
  async describe(
    name: string,
    options: CallOptions & PartialOptions = {},
  ): Promise<GroupDescription> {
    checkGroupName(name)
    const { noted, away } = noting(options)
    // Asking for the one group makes it on brokers that create groups on first use.
    const summary = (await this.list(noted)).find((group) => group.name === name)
    if (summary === undefined) {
      const [error] = away
      if (error !== undefined) throw error
      throw new BrokerError(
        'GROUP_NOT_FOUND',
        `the group '${name}' does not exist: no consumer ever used it; see: trivet group list`,
      )
    }
    const [queues, present] = await Promise.all([
      this.#queues(name, noted),
      this.#present(name, noted),
    ])
    return {
      ...summary,
      ...present,
      queues,
      lag: queues.reduce((sum, queue) => sum + queue.lag, 0),
    }
  }

  /** Messages that the group has not settled. Rejects with GROUP_NOT_FOUND. */
  async lag(name: string, options: CallOptions & PartialOptions = {}): Promise<number> {
    checkGroupName(name)
    const queues = await this.#queues(name, options)
    return queues.reduce((sum, queue) => sum + queue.lag, 0)
  }

  /**
   * Moves a group in a topic, members that are connected too; answers where each queue goes.
   * Rejects with GROUP_NOT_FOUND, TOPIC_NOT_FOUND, QUEUE_NOT_FOUND, OFFSET_OUT_OF_RANGE.
   */
  async resetOffsets(
    reset: OffsetReset,
    options: CallOptions = {},
  ): Promise<readonly ResetQueue[]> {
    checkKind('reset', reset, KIND.object)
    const { queues } = await this.describe(reset.group, options)
    return resetOffsets(this.#masters, reset, queues, options)
  }

  async #queues(name: string, options: CallOptions & PartialOptions): Promise<GroupQueue[]> {
    const answers = await this.#masters.ask(
      REQUEST.getConsumeStats,
      `the progress of group '${name}'`,
      { ...options, fields: writeFields(GET_CONSUME_STATS, { consumerGroup: name }) },
      RESPONSE.consumerNotOnline,
    )
    return answers
      .flatMap(({ response }) => decodeConsumeStats(response.body))
      .map(({ queue, brokerOffset, consumerOffset }) => ({
        topic: queue.topic,
        brokerName: queue.brokerName,
        queueId: queue.queueId,
        committedOffset: consumerOffset,
        maxOffset: brokerOffset,
        lag: Math.max(0, brokerOffset - Math.max(0, consumerOffset)),
      }))
      .sort(
        (a, b) =>
          a.topic.localeCompare(b.topic) ||
          a.brokerName.localeCompare(b.brokerName) ||
          a.queueId - b.queueId,
      )
  }

  async #present(
    name: string,
    options: CallOptions & PartialOptions,
  ): Promise<Pick<GroupDescription, 'broadcasting' | 'members' | 'subscriptions'>> {
    const answers = await this.#masters.ask(
      REQUEST.getConsumerConnections,
      `the members of group '${name}'`,
      { ...options, fields: writeFields(CONSUMER_GROUP, { consumerGroup: name }) },
      RESPONSE.consumerNotOnline,
    )
    const members = new Map<string, GroupMemberEntry>()
    const subscriptions = new Map<string, string>()
    let broadcasting: boolean | undefined
    for (const { response } of answers) {
      const consumers = decodeConsumerConnections(response.body)
      broadcasting = consumers.messageModel === 'BROADCASTING'
      for (const { clientId, clientAddr, language } of consumers.connections) {
        members.set(clientId, { clientId, address: clientAddr, language })
      }
      for (const { topic, subString } of consumers.subscriptions) {
        subscriptions.set(topic, subString)
      }
    }
    return { broadcasting, members: [...members.values()], subscriptions }
  }
}
