// Light queues: filters that own an ordered list of the messages they match. Counts who is bound to
// a filter, durably for durable ones; the entries themselves are the store's.
import { BrokerError } from '../errors.ts'
import {
  isLiveQueue,
  LIGHT_QUEUE_PREFIX,
  LIVE_QUEUE_PREFIX,
  lightQueueTopic,
} from '../model/names.ts'
import type { QueueOffset } from '../model/positions.ts'
import { checkTopicFilter } from '../model/topic-filter.ts'
import type { MessageStore } from '../store/store.ts'
import { FACT, type FactWriter } from './fact-writer.ts'

export class LightQueueTable {
  readonly #store: MessageStore
  readonly #facts: FactWriter
  /** Bindings by filter. */
  readonly #durable = new Map<string, number>()
  readonly #live = new Map<string, number>()
  /** Under way at the store: a second binder waits for the first one's. */
  readonly #binding = new Map<string, Promise<void>>()

  constructor(store: MessageStore, facts: FactWriter) {
    this.#store = store
    this.#facts = facts
    for (const [filter, value] of store.facts(FACT.lightQueue)) {
      this.#durable.set(filter, Number(value.toString()))
    }
  }

  /** Is there such a queue? */
  has(topic: string): boolean {
    return isLiveQueue(topic)
      ? this.#live.has(topic.slice(LIVE_QUEUE_PREFIX.length))
      : this.#durable.has(topic.slice(LIGHT_QUEUE_PREFIX.length))
  }

  /** @throws TOPIC_NOT_FOUND */
  need(topic: string): void {
    if (this.has(topic)) return
    throw new BrokerError(
      'TOPIC_NOT_FOUND',
      `the light queue '${topic.slice(0, 300)}' does not exist; bind its filter first`,
    )
  }

  async bind(filter: string, durable: boolean): Promise<{ topic: string; offset: QueueOffset }> {
    checkTopicFilter(filter)
    // Counted before the first wait, so that an unbind of another binder meanwhile does not remove
    // it.
    const count = this.#count(filter, durable, 1)
    try {
      if (count === 1) this.#start(filter, durable)
      await this.#binding.get(bindingKey(filter, durable))
      if (durable) await this.#save(filter)
    } catch (error) {
      this.#count(filter, durable, -1)
      throw error
    }
    const topic = lightQueueTopic(filter, durable)
    return { topic, offset: this.#store.range(topic, 0).maxOffset }
  }

  /** Answers with the queue's topic when that was its last binding. */
  async unbind(filter: string, durable: boolean): Promise<string | undefined> {
    const bindings = durable ? this.#durable : this.#live
    if (!bindings.has(filter)) return undefined
    const count = this.#count(filter, durable, -1)
    if (count === 0) await this.#store.unbindLightQueue(filter, durable)
    if (durable) await this.#save(filter)
    const topic = lightQueueTopic(filter, durable)
    return this.has(topic) ? undefined : topic
  }

  #start(filter: string, durable: boolean): void {
    const key = bindingKey(filter, durable)
    const bound = this.#store.bindLightQueue(filter, durable).finally(() => {
      if (this.#binding.get(key) === bound) this.#binding.delete(key)
    })
    this.#binding.set(key, bound)
  }

  #count(filter: string, durable: boolean, by: number): number {
    const bindings = durable ? this.#durable : this.#live
    const count = (bindings.get(filter) ?? 0) + by
    if (count > 0) bindings.set(filter, count)
    else bindings.delete(filter)
    return count
  }

  async #save(filter: string): Promise<void> {
    const count = this.#durable.get(filter)
    const value = count === undefined ? null : Buffer.from(String(count))
    await this.#facts.write([{ kind: FACT.lightQueue, key: filter, value }])
  }
}

const bindingKey = (filter: string, durable: boolean): string =>
  durable ? `durable ${filter}` : `live ${filter}`
