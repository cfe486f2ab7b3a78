// The messages that a group gave up: reading them, and sending them to their topic again.
import { BrokerError } from '../errors.ts'
import { checkGroupName, DLQ_PREFIX } from '../model/names.ts'
import type { CallOptions } from './calls/calls.ts'
import { checkKind, checkNames, KIND, type Kind } from './calls/option-names.ts'
import type { OutgoingMessage } from './calls/outgoing.ts'
import type { Message } from './consume/delivery.ts'
import type { PullRequest, PullResult, QueueEnds } from './consume/positions.ts'
import type { SendResult } from './produce/producer.ts'

export interface DeadLetterQuery {
  /** Given up at this time or later, epoch ms. */
  readonly fromMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const NAMES: Readonly<Record<keyof DeadLetterQuery, Kind | true>> = {
  fromMs: KIND.count,
  signal: KIND.signal,
}

/** The parts of the client that it is made from. */
export interface DeadLetterContext {
  queues(topic: string, options: CallOptions): Promise<readonly QueueEnds[]>
  offsetByTime(
    at: { topic: string; queueId: number; brokerName: string; timestampMs: number },
    options: CallOptions,
  ): Promise<number>
  pull(request: PullRequest): Promise<PullResult>
  send(message: OutgoingMessage, options: CallOptions): Promise<SendResult>
}

export class DeadLetters {
  readonly #context: DeadLetterContext

  constructor(context: DeadLetterContext) {
    this.#context = context
  }

  /** Those that are there now, queue by queue; none for a group that never gave one up. */
  async *list(group: string, query: DeadLetterQuery = {}): AsyncGenerator<Message, void, void> {
    checkNames('option of a list of dead letters', query, NAMES)
    checkGroupName(group)
    const { fromMs, signal } = query
    const topic = `${DLQ_PREFIX}${group}`
    for (const { brokerName, queueId, minOffset, maxOffset } of await this.#queues(topic, signal)) {
      const queue = { topic, brokerName, queueId }
      let offset = minOffset
      if (fromMs !== undefined) {
        const at = { ...queue, timestampMs: fromMs }
        offset = Math.max(offset, await this.#context.offsetByTime(at, { signal }))
      }
      while (offset < maxOffset) {
        const { messages, nextOffset } = await this.#context.pull({ ...queue, offset, signal })
        yield* messages.filter((message) => message.queueOffset < maxOffset)
        if (nextOffset <= offset) break
        offset = nextOffset
      }
    }
  }

  /**
   * Sends its body, tag, keys, ordering key and properties to the topic that it was sent to first:
   * all groups of that topic get it. The dead letter stays where it is. Rejects as a send does, and
   * with MESSAGE_INVALID when it does not say where it came from.
   */
  async replay(message: Message, options: CallOptions = {}): Promise<SendResult> {
    checkKind('message', message, KIND.object)
    const { topic, storedTopic, body, tag, keys, orderingKey, properties } = message
    if (topic === storedTopic) {
      throw new BrokerError(
        'MESSAGE_INVALID',
        `${message.messageId} in '${storedTopic}' does not say which topic it was sent to`,
      )
    }
    return this.#context.send({ topic, body, tag, keys, orderingKey, properties }, options)
  }

  async #queues(topic: string, signal: AbortSignal | undefined): Promise<readonly QueueEnds[]> {
    try {
      return await this.#context.queues(topic, { signal })
    } catch (error) {
      // Made with the first dead letter.
      const { code } = BrokerError.from(error)
      if (code === 'TOPIC_NOT_FOUND' || code === 'NO_ROUTE') return []
      throw error
    }
  }
}
