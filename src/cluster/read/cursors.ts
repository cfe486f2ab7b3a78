// Where groups stand at the brokers of a cluster.
import { GroupAdmin } from '../../client/admin/group-admin.ts'
import { accepted, call, commitOffset } from '../../client/calls/calls.ts'
import { BrokerError } from '../../errors.ts'
import type { QueueName, QueueRange } from '../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import type { Cursors } from '../../port/broker.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { readFields, writeFields } from '../../remoting/layout.ts'
import { OFFSET, QUERY_OFFSET, SEARCH_OFFSET } from '../../remoting/requests/offsets.ts'
import type { ClusterTopics } from '../definitions/topics.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'

interface Parts {
  readonly links: Links
  readonly options: ClusterOptions
  readonly topics: ClusterTopics
}

export class ClusterCursors implements Cursors {
  readonly #parts: Parts
  readonly #groups: GroupAdmin

  constructor(parts: Parts) {
    this.#parts = parts
    this.#groups = new GroupAdmin(parts.links.masters)
  }

  async committed(group: string, queue: QueueName): Promise<QueueOffset | undefined> {
    await this.#checkQueue(queue)
    const connection = await this.#connection(queue)
    const { topic, queueId } = queue
    // Otherwise a broker answers 0 for a queue that has all of its messages still.
    const asked = { consumerGroup: group, topic, queueId, setZeroIfNotFound: false }
    const fields = writeFields(QUERY_OFFSET, asked)
    const code = REQUEST.queryConsumerOffset
    const response = await connection.request(code, { ...this.#limits, fields })
    if (response.code === RESPONSE.queryNotFound) return undefined
    const answer = accepted(response, `the offset of group '${group}' in '${topic}'`)
    return queueOffset(readFields(OFFSET, answer.fields).offset)
  }

  /** What was popped and comes again is in no place that a reader could be told of. */
  async available(group: string, queue: QueueName): ReturnType<Cursors['available']> {
    const next = await this.committed(group, queue)
    return { waiting: [], next: next ?? (await this.range(queue)).minOffset }
  }

  async commit(group: string, queue: QueueName, offset: QueueOffset): Promise<void> {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      const text = `the offset ${offset} cannot be: a whole number from 0 on is due`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    const { maxOffset } = await this.range(queue)
    const connection = await this.#connection(queue)
    await commitOffset(connection, group, queue, Math.min(offset, maxOffset), this.#limits)
  }

  async range(queue: QueueName): Promise<QueueRange> {
    await this.#checkQueue(queue)
    return this.#parts.topics.range(queue)
  }

  async byTime(
    queue: QueueName,
    timestampMs: number,
    boundary: 'lower' | 'upper',
  ): Promise<QueueOffset> {
    await this.#checkQueue(queue)
    const { topic, queueId } = queue
    const response = await call(
      await this.#connection(queue),
      REQUEST.searchOffsetByTimestamp,
      SEARCH_OFFSET,
      { topic, queueId, timestamp: timestampMs, boundaryType: boundary },
      `the offset by time in '${topic}'`,
      this.#limits,
    )
    return queueOffset(readFields(OFFSET, response.fields).offset)
  }

  async reset(group: string, queue: QueueName, offset: QueueOffset): Promise<void> {
    const { topic, brokerName, queueId } = queue
    const to = { offset }
    await this.#groups.resetOffsets({ group, topic, brokerName, queueId, to }, this.#limits)
  }

  #connection({ brokerName }: QueueName) {
    return this.#parts.links.brokers.connection(brokerName, this.#limits)
  }

  /** @throws TOPIC_NOT_FOUND, QUEUE_NOT_FOUND */
  async #checkQueue({ topic, brokerName, queueId }: QueueName): Promise<void> {
    const { readable } = await this.#parts.links.routes.queues(topic, this.#limits)
    if (readable.some((one) => one.brokerName === brokerName && one.queueId === queueId)) return
    this.#parts.links.routes.doubt(topic)
    const text = `the topic '${topic}' has no queue ${queueId} of '${brokerName}'`
    throw new BrokerError('QUEUE_NOT_FOUND', text)
  }

  get #limits(): { timeoutMs: number } {
    return { timeoutMs: this.#parts.options.requestTimeoutMs }
  }
}
