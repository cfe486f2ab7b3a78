// One topic, followed from a moment on: what is stored later goes to the listeners.
import { sleep } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { FollowedQueue, type FollowParts } from './followed-queue.ts'
import { keyOf, type QueueKey } from './queue-key.ts'

const RETRY_MS = 500

export type TopicParts = Omit<FollowParts, 'signal'>

export class FollowedTopic {
  readonly #topic: string
  readonly #parts: FollowParts
  readonly #end = new AbortController()
  readonly #queues = new Map<QueueKey, FollowedQueue>()
  /** While it is not known where the queues stand: the ends that were told. */
  #told: Map<QueueKey, number> | undefined = new Map()
  #watch: Disposable | undefined
  /** What is published from then on is given to the listeners. Never rejects. */
  readonly opened: Promise<void>

  /** `isNew`: all its messages are new, also those that are there. */
  constructor(topic: string, isNew: boolean, parts: TopicParts) {
    this.#topic = topic
    this.#parts = { ...parts, signal: this.#end.signal }
    this.opened = this.#open(isNew)
  }

  queue(key: QueueKey): FollowedQueue | undefined {
    return this.#queues.get(key)
  }

  keys(): Iterable<QueueKey> {
    return this.#queues.keys()
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
    this.#end.abort(new BrokerError('ABORTED', 'the topic is followed no more'))
  }

  async #open(isNew: boolean): Promise<void> {
    const { broker, clock, signal, troubled } = this.#parts
    this.#watch = broker.watch(this.#topic, (brokerName, queueId, end) => {
      this.#arrived(keyOf({ topic: this.#topic, brokerName, queueId }), end)
    })
    while (!signal.aborted) {
      try {
        const ranges = await broker.topics.ranges(this.#topic)
        for (const { minOffset, maxOffset, ...name } of ranges) {
          const key = keyOf(name)
          this.#queues.set(key, new FollowedQueue(key, isNew ? minOffset : maxOffset, this.#parts))
          if (isNew) this.#queues.get(key)!.arrived(maxOffset)
        }
        break
      } catch (thrown) {
        const error = BrokerError.from(thrown)
        if (error.code === 'TOPIC_NOT_FOUND') break
        troubled(error)
        await sleep(clock, RETRY_MS, signal).catch(() => {})
      }
    }
    const told = this.#told
    this.#told = undefined
    for (const [key, end] of told ?? []) this.#arrived(key, end)
  }

  #arrived(key: QueueKey, end: number): void {
    if (this.#told !== undefined) {
      this.#told.set(key, end)
      return
    }
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      // It was not there when the topic's queues were asked for: all in it is new.
      queue = new FollowedQueue(key, 0, this.#parts)
      this.#queues.set(key, queue)
    }
    queue.arrived(end)
  }
}
