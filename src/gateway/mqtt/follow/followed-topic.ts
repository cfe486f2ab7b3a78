// One topic that this gateway follows: its queues, of all brokers, those that are there when it is
// taken up and those that appear later.
import type { QueueName } from '../../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import type { QueuePlaces } from '../session/queue-places.ts'
import { FollowedQueue, type FollowParts } from './followed-queue.ts'

/** Where the queues of the topic are read from: a topic that has just appeared has nothing old. */
export type Begins = 'at its end' | 'at its beginning'

export interface TopicParts extends FollowParts {
  /** One more queue is read. */
  readonly found: (queue: FollowedQueue) => void
}

export type Ends = ReadonlyMap<FollowedQueue, QueueOffset>

export class FollowedTopic {
  readonly topic: string
  /** When a filter last touched it, monotonic. */
  usedMs = 0
  readonly #parts: TopicParts
  readonly #begins: Begins
  readonly #queues = new Map<string, FollowedQueue>()
  readonly #watch: Disposable
  /** Its queues were told: others appear later. */
  isOpen = false
  #asking: Promise<Ends> | undefined
  #askingNext: Promise<Ends> | undefined

  constructor(parts: TopicParts, topic: string, begins: Begins) {
    this.#parts = parts
    this.topic = topic
    this.#begins = begins
    this.#watch = parts.broker.watch(topic, (brokerName, queueId, maxOffset) => {
      this.#queue({ topic, brokerName, queueId }, maxOffset).arrived(maxOffset)
    })
  }

  queues(): Iterable<FollowedQueue> {
    return this.#queues.values()
  }

  /**
   * The ends of its queues as they are now. Of queues that are followed already, where they are
   * known to end when that cannot be asked. Rejects as `Topics.ranges` does.
   */
  ends(): Promise<Ends> {
    if (this.#askingNext !== undefined) return this.#askingNext
    const asking = this.#asking
    if (asking === undefined) return this.#ask()
    // What is under way may have been answered before this was asked.
    const next = asking.then(
      () => this.#ask(),
      () => this.#ask(),
    )
    this.#askingNext = next
    return next
  }

  /**
   * Are the places on queues that are known, and not beyond what is known of them? Else the session
   * was further at another gateway, or on another topic of the name.
   */
  covers(places: QueuePlaces): boolean {
    if (!this.isOpen || this.#asking !== undefined) return false
    for (const { topic, brokerName, offsets } of places.rows()) {
      if (topic !== this.topic) continue
      const isKnown = (offset: number, queueId: number): boolean =>
        offset < 0 || this.#queues.has(keyOf({ brokerName, queueId }))
      if (!offsets.every(isKnown)) return false
    }
    for (const { isKnown, name, bornMs, knownEnd } of this.#queues.values()) {
      const isOther = !isKnown || places.isOther(name, bornMs)
      if (isOther || (places.get(name) ?? 0) > knownEnd) return false
    }
    return true
  }

  /** Also that it is another one of the same name. */
  changed(): void {
    for (const queue of this.#queues.values()) queue.doubt()
    this.#look()
  }

  /** Tries again what failed. */
  retry(): void {
    if (!this.isOpen && this.#asking === undefined) this.#look()
    for (const queue of this.#queues.values()) queue.retry()
  }

  close(): void {
    this.#watch[Symbol.dispose]()
    for (const queue of this.#queues.values()) queue.close()
  }

  #look(): void {
    // One that fails is tried again by the next sweep, or when the topic changes again.
    this.ends().catch(() => {})
  }

  #ask(): Promise<Ends> {
    this.#askingNext = undefined
    const asking = this.#askEnds().finally(() => {
      if (this.#asking === asking) this.#asking = undefined
    })
    this.#asking = asking
    return asking
  }

  /** Of queues that are known to be what they are, while they can be read. */
  async #askEnds(): Promise<Ends> {
    for (;;) {
      await Promise.all([...this.#queues.values()].map((queue) => queue.untilSure()))
      const ends = await this.#askEndsOnce()
      await Promise.allSettled([...ends.keys()].map((queue) => queue.learnBirth()))
      if (![...ends.keys()].some((queue) => queue.isBeingVerified)) return ends
    }
  }

  async #askEndsOnce(): Promise<Ends> {
    const ends = new Map<FollowedQueue, QueueOffset>()
    const known = new Map([...this.#queues.values()].map((queue) => [queue, queue.knownEnd]))
    try {
      for (const range of await this.#parts.broker.topics.ranges(this.topic)) {
        const { maxOffset } = range
        const queue = this.#queue(range, maxOffset)
        // Else a place that another gateway has got to seems to be beyond the end.
        if (maxOffset > queue.knownEnd) queue.arrived(maxOffset)
        else if (maxOffset < (known.get(queue) ?? 0)) queue.doubt()
        ends.set(queue, maxOffset)
      }
      this.isOpen = true
    } catch (error) {
      if (!this.isOpen) throw error
      for (const queue of this.#queues.values()) ends.set(queue, queue.knownEnd)
    }
    return ends
  }

  #queue(name: QueueName, maxOffset: QueueOffset): FollowedQueue {
    const key = keyOf(name)
    const known = this.#queues.get(key)
    if (known !== undefined) return known
    const isNew = this.isOpen || this.#begins === 'at its beginning'
    const queue = new FollowedQueue(this.#parts, name, isNew ? queueOffset(0) : maxOffset)
    this.#queues.set(key, queue)
    this.#parts.found(queue)
    queue.arrived(maxOffset)
    return queue
  }
}

const keyOf = ({ brokerName, queueId }: Omit<QueueName, 'topic'>): string =>
  `${brokerName}\n${queueId}`
