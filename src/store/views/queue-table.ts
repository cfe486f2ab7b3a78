// Every consume queue by topic and queue id, with what the dispatcher must know of a topic.
import {
  DLQ_PREFIX,
  FACT_TOPIC,
  isSystemTopic,
  RETRY_PREFIX,
  SCHEDULE_TOPIC,
} from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import { type BlockStore, ConsumeQueue } from './consume-queue.ts'
import { keyHash } from './key-index.ts'

/** How the dispatcher treats the records of a topic. */
export type TopicKind = 'messages' | 'notes' | 'parked'

export class TopicQueues {
  readonly name: string
  readonly kind: TopicKind
  /** Do light queues see its messages? A retry or dead letter was seen under its first topic. */
  readonly isRoutable: boolean
  /** Seed of its keys' hashes. */
  readonly hash: number
  /** By queue id; holes are possible. */
  readonly queues: (ConsumeQueue | undefined)[] = []

  constructor(name: string) {
    this.name = name
    this.kind = name === FACT_TOPIC ? 'notes' : name === SCHEDULE_TOPIC ? 'parked' : 'messages'
    this.isRoutable =
      !isSystemTopic(name) && !name.startsWith(RETRY_PREFIX) && !name.startsWith(DLQ_PREFIX)
    this.hash = topicHash(name)
  }
}

export function topicHash(name: string): number {
  const bytes = Buffer.from(name, 'latin1')
  return keyHash(bytes, 0, bytes.length, 0)
}

const PLACE_SEED = topicHash(SCHEDULE_TOPIC)

/** In the key index: copies of the record that was parked first at this place. */
export function placeHash(place: LogPosition): number {
  const bytes = Buffer.from(String(place))
  return keyHash(bytes, 0, bytes.length, PLACE_SEED)
}

export class QueueTable {
  readonly #topics = new Map<string, TopicQueues>()
  readonly #store: BlockStore
  readonly #nextNumber: () => number

  constructor(store: BlockStore, nextNumber: () => number) {
    this.#store = store
    this.#nextNumber = nextNumber
  }

  topic(name: string): TopicQueues {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new TopicQueues(name)
      this.#topics.set(name, topic)
    }
    return topic
  }

  find(topic: string, queueId: number): ConsumeQueue | undefined {
    return this.#topics.get(topic)?.queues[queueId]
  }

  /** The queue, new and empty when it did not exist. */
  queue(topic: TopicQueues, queueId: number, number?: number): ConsumeQueue {
    const known = topic.queues[queueId]
    if (known !== undefined) return known
    const name = number ?? this.#nextNumber()
    const queue = new ConsumeQueue(topic.name, queueId, name, this.#store)
    topic.queues[queueId] = queue
    return queue
  }

  /** Forgets the queue, and its topic with the last one. */
  remove({ topic, queueId }: ConsumeQueue): void {
    const known = this.#topics.get(topic)
    if (known === undefined) return
    known.queues[queueId] = undefined
    if (known.queues.every((queue) => queue === undefined)) this.#topics.delete(topic)
  }

  *all(): Generator<ConsumeQueue> {
    for (const topic of this.#topics.values()) yield* queuesOf(topic)
  }

  /** The queues of a topic; none for an unknown one. */
  *of(topic: string): Generator<ConsumeQueue> {
    const known = this.#topics.get(topic)
    if (known !== undefined) yield* queuesOf(known)
  }

  /** Topics with at least one queue that ever held an entry. */
  *names(): Generator<string> {
    for (const topic of this.#topics.values()) {
      if (topic.queues.some((queue) => queue !== undefined && queue.next > 0)) yield topic.name
    }
  }
}

function* queuesOf(topic: TopicQueues): Generator<ConsumeQueue> {
  for (const queue of topic.queues) if (queue !== undefined) yield queue
}
