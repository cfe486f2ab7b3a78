// Light queues: an entry list per bound topic filter. A durable one is bound by a note in the log, so
// that replay rebuilds it; a live one is counted, kept in memory only and bounded. The two have
// queues and offsets of their own even for the same filter.
import { isLiveQueue, lightQueueTopic } from '../model/names.ts'
import { FilterTrie } from '../model/topic-filter.ts'
import { type BlockStore, ConsumeQueue } from './consume-queue.ts'

interface Bound {
  durable: ConsumeQueue | undefined
  live: ConsumeQueue | undefined
  liveBinders: number
  /** Records before this position do not concern the live queue. */
  liveFrom: number
}

export class LightQueues {
  readonly #trie = new FilterTrie<Bound>()
  /** By their topic name. */
  readonly #queues = new Map<string, ConsumeQueue>()
  readonly #durableStore: BlockStore
  readonly #liveStore: BlockStore
  readonly #nextNumber: () => number

  constructor(durableStore: BlockStore, liveStore: BlockStore, nextNumber: () => number) {
    this.#durableStore = durableStore
    this.#liveStore = liveStore
    this.#nextNumber = nextNumber
  }

  get isEmpty(): boolean {
    return this.#trie.size === 0
  }

  find(topic: string): ConsumeQueue | undefined {
    return this.#queues.get(topic)
  }

  hasDurable(filter: string): boolean {
    return this.#trie.get(filter)?.durable !== undefined
  }

  /** Idempotent. */
  bindDurable(filter: string): ConsumeQueue {
    const bound = this.#bound(filter)
    if (bound.durable === undefined) {
      bound.durable = this.#create(filter, true, this.#durableStore)
    }
    return bound.durable
  }

  /** The queue that is gone, if there was one. */
  unbindDurable(filter: string): ConsumeQueue | undefined {
    const bound = this.#trie.get(filter)
    const queue = bound?.durable
    if (bound === undefined || queue === undefined) return undefined
    bound.durable = undefined
    this.#forget(filter, queue, bound)
    return queue
  }

  bindLive(filter: string, from: number): void {
    const bound = this.#bound(filter)
    bound.liveBinders++
    if (bound.live !== undefined) return
    bound.live = this.#create(filter, false, this.#liveStore)
    bound.liveFrom = from
  }

  unbindLive(filter: string): void {
    const bound = this.#trie.get(filter)
    if (bound?.live === undefined) return
    bound.liveBinders--
    if (bound.liveBinders > 0) return
    const queue = bound.live
    bound.live = undefined
    this.#forget(filter, queue, bound)
  }

  /** Every queue whose filter matches the routing name of the record at the position. */
  match(name: string, position: number, each: (queue: ConsumeQueue) => void): void {
    this.#trie.match(name, ({ durable, live, liveFrom }) => {
      if (durable !== undefined) each(durable)
      if (live !== undefined && position >= liveFrom) each(live)
    })
  }

  *durable(): Generator<ConsumeQueue> {
    for (const [topic, queue] of this.#queues) if (!isLiveQueue(topic)) yield queue
  }

  #bound(filter: string): Bound {
    const known = this.#trie.get(filter)
    if (known !== undefined) return known
    const bound: Bound = { durable: undefined, live: undefined, liveBinders: 0, liveFrom: 0 }
    this.#trie.add(filter, bound)
    return bound
  }

  #create(filter: string, durable: boolean, store: BlockStore): ConsumeQueue {
    const topic = lightQueueTopic(filter, durable)
    const queue = new ConsumeQueue(topic, 0, this.#nextNumber(), store)
    this.#queues.set(topic, queue)
    return queue
  }

  #forget(filter: string, queue: ConsumeQueue, bound: Bound): void {
    this.#queues.delete(queue.topic)
    if (bound.durable === undefined && bound.live === undefined) this.#trie.delete(filter)
  }
}
