// Light queues: filters that own an ordered list of the messages they match. Knows the owners bound
// to a filter, durably for durable ones; the entries themselves are the store's.
import { BrokerError } from '../../errors.ts'
import {
  filterOfNamed,
  isLiveQueue,
  LIGHT_QUEUE_PREFIX,
  LIVE_QUEUE_PREFIX,
  lightQueueTopic,
  topicOnWire,
} from '../../model/names.ts'
import type { QueueOffset } from '../../model/positions.ts'
import { checkTopicFilter } from '../../model/topic-filter.ts'
import type { Fact, MessageStore } from '../../store/store.ts'
import { FACT, type FactWriter } from '../facts/fact-writer.ts'

/** Of a durable queue. */
interface Binding {
  readonly filter: string
  readonly owner: string
}

const OWNER_MARK = '\u0000'
const OWNER_CHARS_MAX = 4096
/** Of the queues that native clients name. */
const NATIVE_CLIENTS = 'native'
/** Of those that are held for as long as this process runs. */
const HOLDERS = 'held'

export class LightQueueTable {
  readonly #store: MessageStore
  readonly #facts: FactWriter
  /** Owners of the durable queue, by filter. */
  readonly #durable = new Map<string, Set<string>>()
  /** The same the other way round. */
  readonly #owned = new Map<string, Set<string>>()
  /**
   * Filters whose last binding is on its way out of the log: their queues can be read till then.
   */
  readonly #leaving = new Set<string>()
  /** Bindings whose owner is no more and that the log has still, by their facts' keys. */
  readonly #unwanted = new Map<string, Binding>()
  /** Holds by filter; HOLDERS has bound each. */
  readonly #held = new Map<string, number>()
  /** Live bindings by filter. */
  readonly #live = new Map<string, number>()
  readonly #namedMax: number

  constructor(store: MessageStore, facts: FactWriter, namedMax: number) {
    this.#store = store
    this.#facts = facts
    this.#namedMax = namedMax
    for (const [key] of store.facts(FACT.binding)) {
      this.follow(key, true)
      const { filter, owner } = bindingOf(key)
      if (owner === HOLDERS) this.isUnwanted(filter, owner)
    }
  }

  /** What the log says of a binding, which another broker may have written. */
  follow(key: string, isBound: boolean): void {
    const { filter, owner } = bindingOf(key)
    if (isBound) this.#own(filter, owner)
    else this.#disown(filter, owner)
  }

  /** Is there such a queue? */
  has(topic: string): boolean {
    if (isLiveQueue(topic)) return this.#live.has(topic.slice(LIVE_QUEUE_PREFIX.length))
    const filter = topic.slice(LIGHT_QUEUE_PREFIX.length)
    return this.#durable.has(filter) || this.#leaving.has(filter)
  }

  /** @throws TOPIC_NOT_FOUND */
  need(topic: string): void {
    if (this.has(topic)) return
    throw new BrokerError(
      'TOPIC_NOT_FOUND',
      `the light queue '${topic.slice(0, 300)}' does not exist; bind its filter first`,
    )
  }

  /**
   * A named queue of this topic, made when it is missing: within the call, so that what is appended
   * after it has its entry there. Settles when the queue is durable; undefined: it is there.
   * @throws QUOTA_EXCEEDED
   */
  ensureNamed(topic: string): Promise<void> | undefined {
    if (this.has(topic)) return undefined
    const count = this.#owned.get(NATIVE_CLIENTS)?.size ?? 0
    if (count >= this.#namedMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `the light queue '${topicOnWire(topic)}' would be number ${count + 1} of those that native clients name; broker.namedQueuesMax is ${this.#namedMax}: delete some, as topics are deleted`,
      )
    }
    return this.#bindDurable(filterOfNamed(topic), NATIVE_CLIENTS)
  }

  async bind(
    filter: string,
    owner: string | undefined,
  ): Promise<{ topic: string; offset: QueueOffset }> {
    checkTopicFilter(filter)
    if (owner === undefined) await this.#bindLive(filter)
    else await this.#bindDurable(filter, owner)
    const topic = lightQueueTopic(filter, owner !== undefined)
    return { topic, offset: this.#store.range(topic, 0).maxOffset }
  }

  /**
   * The durable queue, bound while it is held. Holds are counted here and are one binding in the
   * log, by which the next start knows what a crash left.
   */
  async hold(filter: string): Promise<{ topic: string; offset: QueueOffset }> {
    checkTopicFilter(filter)
    count(this.#held, filter, 1)
    try {
      await this.#bindDurable(filter, HOLDERS)
    } catch (error) {
      count(this.#held, filter, -1)
      throw error
    }
    // The first of two holds may have failed since.
    this.#own(filter, HOLDERS)
    const topic = lightQueueTopic(filter)
    return { topic, offset: this.#store.range(topic, 0).maxOffset }
  }

  /** What the log does not take now is undone when it does. */
  async letGo(filter: string, gone: (topic: string) => Iterable<Fact>): Promise<void> {
    if (!this.#held.has(filter) || count(this.#held, filter, -1) > 0) return
    try {
      await this.unbind(filter, HOLDERS, gone)
    } catch {
      if (!this.#held.has(filter)) this.isUnwanted(filter, HOLDERS)
    }
  }

  /** A named queue goes. @throws TOPIC_NOT_FOUND */
  async unbindNamed(topic: string, gone: (topic: string) => Iterable<Fact>): Promise<void> {
    this.need(topic)
    await this.unbind(filterOfNamed(topic), NATIVE_CLIENTS, gone)
  }

  /**
   * `gone` is called within the call with the queue's topic when that was its last binding; what it
   * answers is written together with that. What the log does not take leaves the binding as it was.
   */
  async unbind(
    filter: string,
    owner: string | undefined,
    gone: (topic: string) => Iterable<Fact>,
  ): Promise<void> {
    if (owner === undefined) return this.#unbindLive(filter, gone)
    if (!this.#disown(filter, owner)) return
    const fact = bindingFact(filter, owner, null)
    try {
      if (this.#durable.has(filter)) await this.#facts.write([fact])
      else await this.#removeQueue(filter, fact, gone)
    } catch (error) {
      if (this.#isSaved(fact)) this.#own(filter, owner)
      throw error
    }
  }

  async #unbindLive(filter: string, gone: (topic: string) => Iterable<Fact>): Promise<void> {
    if (!this.#live.has(filter) || count(this.#live, filter, -1) > 0) return
    const facts = gone(lightQueueTopic(filter, false))
    const writing = this.#facts.write(facts)
    try {
      await Promise.all([this.#store.unbindLightQueue(filter, false), writing])
    } catch (error) {
      // The queue is gone. Its readers' places that the log still has go at the next start.
      if (BrokerError.from(error).code !== 'READ_ONLY') throw error
    }
  }

  async #removeQueue(
    filter: string,
    fact: Fact,
    gone: (topic: string) => Iterable<Fact>,
  ): Promise<void> {
    this.#leaving.add(filter)
    const cursors = gone(lightQueueTopic(filter, true))
    try {
      await this.#facts.writeBy(
        (part) => this.#store.unbindLightQueue(filter, true, [fact, ...part]),
        cursors,
      )
    } finally {
      this.#leaving.delete(filter)
    }
  }

  /** Filters that the owner has bound. */
  boundBy(owner: string): readonly string[] {
    return [...(this.#owned.get(owner) ?? [])]
  }

  /** The binding is to be undone when the store takes that. */
  isUnwanted(filter: string, owner: string): void {
    if (!this.#durable.get(filter)?.has(owner)) return
    this.#unwanted.set(bindingFact(filter, owner, null).key, { filter, owner })
  }

  /** Those of now; each is to be taken when its turn comes, for it may be bound again by then. */
  get unwanted(): readonly Binding[] {
    return [...this.#unwanted.values()]
  }

  /** False: it is wanted again. */
  takeUnwanted({ filter, owner }: Binding): boolean {
    return this.#unwanted.delete(bindingFact(filter, owner, null).key)
  }

  async #bindLive(filter: string): Promise<void> {
    if (count(this.#live, filter, 1) > 1) return
    await this.#store.bindLightQueue(filter, false)
  }

  async #bindDurable(filter: string, owner: string): Promise<void> {
    if (owner.length === 0 || owner.length > OWNER_CHARS_MAX) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `the owner of a light queue has 1 to ${OWNER_CHARS_MAX} characters, not ${owner.length}`,
      )
    }
    // Noted before the first wait, so that another owner's unbind during it does not remove the
    // queue.
    const isNew = this.#own(filter, owner)
    const fact = bindingFact(filter, owner, BOUND)
    this.#unwanted.delete(fact.key)
    const isSaved = !isNew && this.#isSaved(fact)
    try {
      // The store is asked every time, whatever the facts say: it is idempotent, and a queue that
      // is missing loses messages.
      await this.#store.bindLightQueue(filter, true, isSaved ? [] : [fact])
    } catch (error) {
      if (isNew && !this.#isSaved(fact)) this.#disown(filter, owner)
      throw error
    }
  }

  #isSaved({ kind, key }: Fact): boolean {
    return this.#store.fact(kind, key) !== undefined
  }

  #own(filter: string, owner: string): boolean {
    const isNew = addTo(this.#durable, filter, owner)
    addTo(this.#owned, owner, filter)
    return isNew
  }

  #disown(filter: string, owner: string): boolean {
    removeFrom(this.#owned, owner, filter)
    return removeFrom(this.#durable, filter, owner)
  }
}

const BOUND = Buffer.from('1')

function bindingOf(key: string): Binding {
  const mark = key.indexOf(OWNER_MARK)
  return { filter: key.slice(0, mark), owner: key.slice(mark + 1) }
}

const bindingFact = (filter: string, owner: string, value: Buffer | null): Fact => ({
  kind: FACT.binding,
  key: `${filter}${OWNER_MARK}${owner}`,
  value,
})

function count(counts: Map<string, number>, filter: string, by: number): number {
  const sum = (counts.get(filter) ?? 0) + by
  if (sum > 0) counts.set(filter, sum)
  else counts.delete(filter)
  return sum
}

function addTo(sets: Map<string, Set<string>>, key: string, member: string): boolean {
  const set = sets.get(key)
  if (set === undefined) sets.set(key, new Set([member]))
  else if (set.has(member)) return false
  else set.add(member)
  return true
}

function removeFrom(sets: Map<string, Set<string>>, key: string, member: string): boolean {
  const set = sets.get(key)
  if (set === undefined || !set.delete(member)) return false
  if (set.size === 0) sets.delete(key)
  return true
}
