// Reading by position at the brokers of a cluster.
import { type CallOptions, pull } from '../../client/calls/calls.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { PullRequest, PullResult } from '../../model/message.ts'
import { EXPRESSION_TYPE, selects } from '../../model/message-filter.ts'
import { checkTopicName, isLightQueue, TOOLS_GROUP } from '../../model/names.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { recordsOf } from '../../model/record.ts'
import { unreadable } from '../../model/topic.ts'
import { PULL_FLAG } from '../../remoting/requests/pull.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'
import { filterOfPull } from './broker-filter.ts'
import { isGone } from './expiry.ts'

/** A held answer comes this much later than asked for, at most. */
const ANSWER_MS = 5_000
/** A broker gives no more at once. */
const MESSAGES_MAX = 32
/** Longer waits are several requests. */
const HELD_MS_MAX = 15_000

interface Parts {
  readonly links: Links
  readonly clock: Clock
  readonly options: ClusterOptions
}

export class ClusterPuller {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  pull(request: PullRequest): Promise<PullResult> {
    return this.#pull(request, (endMs) => this.#wait(request, endMs))
  }

  /** The broker's one answer, as it is: it may be a refusal to read what is there. */
  pullOnce(request: PullRequest): Promise<PullResult> {
    return this.#pull(request, () => this.#ask(request))
  }

  async #pull(
    request: PullRequest,
    ask: (endMs: number) => Promise<PullResult>,
  ): Promise<PullResult> {
    const { topic, queueId, brokerName, waitMs, signal } = request
    if (isLightQueue(topic)) {
      throw new BrokerError('NOT_SUPPORTED', 'a cluster of RocketMQ has no light queues')
    }
    checkTopicName(topic)
    signal?.throwIfAborted()
    const limits = { timeoutMs: this.#parts.options.requestTimeoutMs, signal }
    const { readable, writable } = await this.#parts.links.routes.queues(topic, limits)
    const isIt = (one: QueueRef): boolean =>
      one.queueId === queueId && one.brokerName === brokerName
    if (!readable.some(isIt)) {
      this.#parts.links.routes.doubt(topic)
      throw writable.some(isIt) ? unreadable(topic) : noQueue(request)
    }
    const endMs = this.#parts.clock.monotonic() + waitMs
    try {
      return await ask(endMs)
    } catch (error) {
      if (signal?.aborted) throw new BrokerError('ABORTED', 'the pull was called off')
      throw error
    }
  }

  async #wait(request: PullRequest, endMs: number): Promise<PullResult> {
    for (let { offset } = request; ; ) {
      const leftMs = Math.max(0, endMs - this.#parts.clock.monotonic())
      const result = await this.#ask({ ...request, offset, waitMs: Math.min(leftMs, HELD_MS_MAX) })
      const isOver = this.#parts.clock.monotonic() >= endMs
      if (isOver || (result.status !== 'at-end' && result.status !== 'no-match')) return result
      offset = result.nextOffset
    }
  }

  async #ask(request: PullRequest): Promise<PullResult> {
    const { topic, queueId, brokerName, offset, maxMessages, waitMs, signal } = request
    const { kind, expression } = filterOfPull(request.filter)
    const connection = await this.#parts.links.brokers.connection(brokerName, { signal })
    const limits: CallOptions = { timeoutMs: waitMs + ANSWER_MS, signal }
    const flags = PULL_FLAG.subscription | PULL_FLAG.many
    const fields = {
      consumerGroup: TOOLS_GROUP,
      topic,
      queueId,
      queueOffset: offset,
      maxMsgNums: Math.min(maxMessages, MESSAGES_MAX),
      sysFlag: waitMs > 0 ? flags | PULL_FLAG.suspend : flags,
      commitOffset: 0,
      suspendTimeoutMillis: Math.floor(waitMs),
      subscription: expression,
      subVersion: 0,
      expressionType: EXPRESSION_TYPE[kind],
    }
    const answer = await pull(connection, fields, limits)
    return this.#chosen(request, answer)
  }

  /** What the filter really selects, as much of it as is wanted. */
  #chosen(request: PullRequest, answer: Awaited<ReturnType<typeof pull>>): PullResult {
    const { filter, maxMessages, maxBytes } = request
    const bounds = {
      minOffset: queueOffset(answer.minOffset),
      maxOffset: queueOffset(answer.maxOffset),
    }
    let nextOffset: QueueOffset = queueOffset(answer.nextOffset)
    if (answer.status !== 'found') {
      return { ...bounds, ...NONE, status: answer.status, nextOffset }
    }
    const taken: Buffer[] = []
    const offsets: QueueOffset[] = []
    let bytes = 0
    for (const record of recordsOf(answer.records)) {
      if (!selects(filter, record) || isGone(record, this.#parts.clock)) continue
      const { size, start } = record
      if (taken.length > 0 && (taken.length >= maxMessages || bytes + size > maxBytes)) {
        nextOffset = record.queueOffset
        break
      }
      taken.push(record.bytes.subarray(start, start + size))
      offsets.push(record.queueOffset)
      bytes += size
    }
    const status = taken.length === 0 ? 'no-match' : 'found'
    const records = taken.length === 1 ? taken[0]! : Buffer.concat(taken)
    return { ...bounds, status, records, count: taken.length, offsets, nextOffset }
  }
}

const noQueue = ({ topic, queueId, brokerName }: PullRequest): BrokerError =>
  new BrokerError(
    'QUEUE_NOT_FOUND',
    `the topic '${topic}' has no queue ${queueId} of '${brokerName}' to read now`,
  )

const NONE = { records: Buffer.alloc(0), count: 0, offsets: [] }
