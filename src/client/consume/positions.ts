// Reading by position: which queues a topic has, how far they reach, and what stands from an offset
// on. No state is kept for the reader, here or at the broker.
import { BrokerError } from '../../errors.ts'
import { EXPRESSION_TYPE, selects } from '../../model/message-filter.ts'
import { TOOLS_GROUP } from '../../model/names.ts'
import { recordsOf } from '../../model/record.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { PULL_FLAG } from '../../remoting/requests/pull.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { type CallOptions, endOffset, offsetByTime, pull } from '../calls/calls.ts'
import { checkNames, KIND, type Kind } from '../calls/option-names.ts'
import type { Brokers } from '../routes/brokers.ts'
import type { Routes } from '../routes/routes.ts'
import { Delivery, type Message } from './delivery.ts'
import { checkCount, filterOf, type Tags } from './subscribe-options.ts'

/** An answer that is held at the broker comes this much later than asked for, at most. */
const ANSWER_MS = 5000
const MESSAGES_MAX = 32

export interface QueueEnds {
  readonly brokerName: string
  readonly queueId: number
  /** First offset retained. */
  readonly minOffset: number
  /** Offset of the next message. */
  readonly maxOffset: number
}

export interface PullRequest {
  readonly topic: string
  readonly queueId: number
  /** Needed where several brokers have the topic. */
  readonly brokerName?: string | undefined
  readonly offset: number
  readonly tags?: Tags | undefined
  /** Instead of tags: a condition over properties, in RocketMQ's SQL92. */
  readonly sql?: string | undefined
  /** At most this many; default and most 32. */
  readonly max?: number | undefined
  /** How long to wait when nothing is there yet; default: not at all. */
  readonly waitMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const NAMES: Readonly<Record<keyof PullRequest, Kind | true>> = {
  topic: KIND.text,
  queueId: KIND.count,
  brokerName: KIND.text,
  offset: KIND.number,
  tags: true,
  sql: KIND.text,
  max: KIND.number,
  waitMs: KIND.ms,
  signal: KIND.signal,
}

export interface PullResult {
  readonly messages: readonly Message[]
  /** Where to go on. */
  readonly nextOffset: number
  readonly minOffset: number
  readonly maxOffset: number
}

export class Positions {
  readonly #brokers: Brokers
  readonly #routes: Routes

  constructor(brokers: Brokers, routes: Routes) {
    this.#brokers = brokers
    this.#routes = routes
  }

  async queues(topic: string, options: CallOptions = {}): Promise<readonly QueueEnds[]> {
    const { readable } = await this.#routes.queues(topic, options)
    return Promise.all(
      readable.map(async (queue) => {
        const connection = await this.#connection(queue, options)
        const [minOffset, maxOffset] = await Promise.all([
          endOffset(connection, 'min', queue, options),
          endOffset(connection, 'max', queue, options),
        ])
        return { brokerName: queue.brokerName, queueId: queue.queueId, minOffset, maxOffset }
      }),
    )
  }

  /** First offset stored at or after the time. */
  async offsetByTime(
    at: { topic: string; queueId: number; brokerName?: string | undefined; timestampMs: number },
    options: CallOptions = {},
  ): Promise<number> {
    const queue = await this.#queue(at, options)
    const connection = await this.#connection(queue, options)
    return offsetByTime(connection, queue, at.timestampMs, options)
  }

  async pull(request: PullRequest): Promise<PullResult> {
    checkNames('option of pull', request, NAMES)
    const { offset, waitMs = 0, max = MESSAGES_MAX, signal } = request
    checkCount('max', max, 1, Number.MAX_SAFE_INTEGER)
    const filter = filterOf(request.sql === undefined ? request.tags : { sql: request.sql })
    const queue = await this.#queue(request, { signal })
    const connection = await this.#connection(queue, { signal })
    const answer = await pull(
      connection,
      {
        consumerGroup: TOOLS_GROUP,
        topic: queue.topic,
        queueId: queue.queueId,
        queueOffset: offset,
        maxMsgNums: Math.min(max, MESSAGES_MAX),
        sysFlag: PULL_FLAG.subscription | PULL_FLAG.many | (waitMs > 0 ? PULL_FLAG.suspend : 0),
        commitOffset: 0,
        suspendTimeoutMillis: waitMs,
        subscription: filter.expression,
        subVersion: 0,
        expressionType: EXPRESSION_TYPE[filter.kind],
      },
      { timeoutMs: waitMs + ANSWER_MS, signal },
    )
    const messages = [...recordsOf(answer.records)]
      .filter((record) => selects(filter, record))
      .map((record) => new Delivery(record, queue.brokerName))
    const { nextOffset, minOffset, maxOffset } = answer
    return { messages, nextOffset, minOffset, maxOffset }
  }

  async #queue(
    wanted: { topic: string; queueId: number; brokerName?: string | undefined },
    options: CallOptions,
  ): Promise<QueueRef> {
    const { topic, queueId, brokerName } = wanted
    const { readable } = await this.#routes.queues(topic, options)
    const found = readable.filter(
      (queue) =>
        queue.queueId === queueId && (brokerName === undefined || queue.brokerName === brokerName),
    )
    if (found.length === 1) return found[0]!
    const names = [...new Set(readable.map((queue) => queue.brokerName))].join(', ')
    throw found.length > 1
      ? new BrokerError('ARGUMENT_INVALID', `say which broker's queue ${queueId}: ${names}`)
      : new BrokerError('QUEUE_NOT_FOUND', `'${topic}' has no queue ${queueId} to read (${names})`)
  }

  #connection(queue: QueueRef, options: CallOptions): Promise<RemotingConnection> {
    return this.#brokers.connection(queue.brokerName, options)
  }
}
