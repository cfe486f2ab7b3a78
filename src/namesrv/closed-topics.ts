// Topics that an operator closed for writing (wipeWritePerm), and the permission that their broker
// gives them. Holds until the operator opens them, or the broker gives another permission, deletes
// the topic or signs off; a broker whose connection broke finds them closed when it registers anew.
import { PERM_WRITE, type TopicDefinition } from '../model/topic.ts'

export class ClosedTopics {
  /** By broker name, the one closed last at the end: what its topics' permissions were. */
  readonly #brokers = new Map<string, Map<string, number>>()
  readonly #topicsMax: number

  /** @param topicsMax topics of all brokers; of more those are forgotten that were closed first */
  constructor(topicsMax: number) {
    this.#topicsMax = topicsMax
  }

  /** Closed twice, what the broker gives is what it gave before the first time. */
  close(brokerName: string, topics: Iterable<TopicDefinition>): void {
    const closed = this.#brokers.get(brokerName) ?? new Map<string, number>()
    for (const { name, perm } of topics) if (!closed.has(name)) closed.set(name, perm)
    this.#brokers.delete(brokerName)
    this.#brokers.set(brokerName, closed)
    this.#bound()
  }

  open(brokerName: string): void {
    this.#brokers.delete(brokerName)
  }

  /** The topic as its broker announces it, or closed. */
  asClosed(brokerName: string, topic: TopicDefinition): TopicDefinition {
    const closed = this.#brokers.get(brokerName)
    const perm = closed?.get(topic.name)
    if (perm === topic.perm) return { ...topic, perm: perm & ~PERM_WRITE }
    closed?.delete(topic.name)
    return topic
  }

  /** One that is deleted and made again is another topic. */
  keepOnly(brokerName: string, topics: ReadonlySet<string>): void {
    const closed = this.#brokers.get(brokerName)
    for (const topic of closed?.keys() ?? []) if (!topics.has(topic)) closed?.delete(topic)
  }

  #bound(): void {
    let count = 0
    for (const closed of this.#brokers.values()) count += closed.size
    for (const [brokerName, closed] of this.#brokers) {
      if (count <= this.#topicsMax) return
      this.#brokers.delete(brokerName)
      count -= closed.size
    }
  }
}
