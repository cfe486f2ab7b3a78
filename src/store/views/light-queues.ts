// Light queues: an entry list per bound topic filter. A durable one is bound by a note in the log,
// so that replay rebuilds it; a live one is counted, kept in memory only and bounded. The two have
// queues and offsets of their own even for the same filter.

import { FilterTrie } from '../../model/filter-trie.ts'
import { LIVE_QUEUE_PREFIX, lightQueueTopic } from '../../model/names.ts'
import { type BlockStore, ConsumeQueue } from './consume-queue.ts'

interface Bound {
  durable: ConsumeQueue | undefined
  live: ConsumeQueue | undefined
  liveBinders: number
}

export class LightQueueIndex {
  readonly #trie = new FilterTrie<Bound>()
  /** By their topic name. */
  readonly #durable = new Map<string, ConsumeQueue>()
  readonly #live = new Map<string, ConsumeQueue>()
  /** Rebuilt from a log that starts after their binding: a later note says their offsets. */
  readonly #unnumbered = new Set<ConsumeQueue>()
  readonly #durableStore: BlockStore
  readonly #liveStore: BlockStore
  readonly #nextNumber: () => number
  /** What the last name matched: the next record's is mostly the same. undefined: none is known. */
  #matchedName: string | undefined
  #matched: readonly ConsumeQueue[] = []

  constructor(durableStore: BlockStore, liveStore: BlockStore, nextNumber: () => number) {
    this.#durableStore = durableStore
    this.#liveStore = liveStore
    this.#nextNumber = nextNumber
  }

  get isEmpty(): boolean {
    return this.#trie.size === 0
  }

  find(topic: string): ConsumeQueue | undefined {
    return this.#durable.get(topic) ?? this.#live.get(topic)
  }

  hasDurable(filter: string): boolean {
    return this.#durable.has(lightQueueTopic(filter, true))
  }

  /** Idempotent. */
  bindDurable(filter: string, number?: number): ConsumeQueue {
    const bound = this.#bound(filter)
    if (bound.durable === undefined) {
      const topic = lightQueueTopic(filter, true)
      const name = number ?? this.#nextNumber()
      bound.durable = new ConsumeQueue(topic, 0, name, this.#durableStore)
      this.#durable.set(topic, bound.durable)
    }
    return bound.durable
  }

  /** Bound before the log starts: entries count from 0 until a note says the truth. */
  bindUnnumbered(filter: string): void {
    this.#unnumbered.add(this.bindDurable(filter))
  }

  /** Of a build that was half done: those that no note has numbered yet. */
  resumeUnnumbered(): void {
    for (const queue of this.#durable.values()) {
      if (queue.notePosition === -1) this.#unnumbered.add(queue)
    }
  }

  /**
   * A note says the offset of the first entry from the position on, and that the filter is bound.
   * @throws ViewsDamaged
   */
  number(filter: string, nextOffset: number, position: number): ConsumeQueue {
    const queue = this.bindDurable(filter)
    if (this.#unnumbered.delete(queue)) queue.renumber(queue.offsetAt(position), nextOffset)
    else if (queue.next < nextOffset) queue.reset(nextOffset)
    return queue
  }

  /** The queue that is gone, if there was one. */
  unbindDurable(filter: string): ConsumeQueue | undefined {
    const bound = this.#trie.get(filter)
    const queue = bound?.durable
    if (bound === undefined || queue === undefined) return undefined
    bound.durable = undefined
    this.#durable.delete(queue.topic)
    this.#unnumbered.delete(queue)
    this.#prune(filter, bound)
    return queue
  }

  bindLive(filter: string): void {
    const bound = this.#bound(filter)
    bound.liveBinders++
    if (bound.live !== undefined) return
    const topic = lightQueueTopic(filter, false)
    bound.live = new ConsumeQueue(topic, 0, 0, this.#liveStore)
    this.#live.set(topic, bound.live)
  }

  unbindLive(filter: string): void {
    const bound = this.#trie.get(filter)
    const queue = bound?.live
    if (bound === undefined || queue === undefined) return
    bound.liveBinders--
    if (bound.liveBinders > 0) return
    bound.live = undefined
    this.#live.delete(queue.topic)
    this.#prune(filter, bound)
    queue.reset(0)
  }

  /** Takes over the live queues of the views that these here replace. */
  adoptLive(from: LightQueueIndex): void {
    for (const [topic, queue] of from.#live) {
      const filter = topic.slice(LIVE_QUEUE_PREFIX.length)
      const { liveBinders } = from.#trie.get(filter)!
      const bound = this.#bound(filter)
      bound.live = queue
      bound.liveBinders = liveBinders
      this.#live.set(topic, queue)
    }
  }

  /** Every queue whose filter matches the routing name of a record. */
  matching(name: string): readonly ConsumeQueue[] {
    if (name === this.#matchedName) return this.#matched
    const matched: ConsumeQueue[] = []
    this.#trie.match(name, ({ durable, live }) => {
      if (durable !== undefined) matched.push(durable)
      if (live !== undefined) matched.push(live)
    })
    this.#matchedName = name
    this.#matched = matched
    return matched
  }

  durable(): Iterable<ConsumeQueue> {
    return this.#durable.values()
  }

  live(): Iterable<ConsumeQueue> {
    return this.#live.values()
  }

  #bound(filter: string): Bound {
    this.#forgetMatched()
    const known = this.#trie.get(filter)
    if (known !== undefined) return known
    const bound: Bound = { durable: undefined, live: undefined, liveBinders: 0 }
    this.#trie.add(filter, bound)
    return bound
  }

  #prune(filter: string, { durable, live }: Bound): void {
    this.#forgetMatched()
    if (durable === undefined && live === undefined) this.#trie.delete(filter)
  }

  #forgetMatched(): void {
    this.#matchedName = undefined
    this.#matched = []
  }
}
