// Which other brokers have queues of a topic: native members divide the queues of all of them, by
// the list of members that one of them tells.
import type { Clock } from '../../clock.ts'
import type { BrokerQueues } from '../../model/topic.ts'

/** As a name server tells; undefined: none does. Never rejects. */
export type QueueDirectory = (topic: string) => Promise<readonly BrokerQueues[] | undefined>

export interface Spread {
  /** Names of the other brokers, sorted. */
  readonly others: readonly string[]
  /** Their queues. */
  readonly elsewhere: number
  /** Those of them that clients sort before this broker's. */
  readonly before: number
}

const HERE: Spread = { others: [], elsewhere: 0, before: 0 }
/** What was told holds so long. */
const FRESH_MS = 10_000
/** Of topics whose groups have members of both kinds. */
const TOPICS_MAX = 10_000

interface Known {
  readonly spread: Spread
  readonly untilMs: number
}

export class TopicSpread {
  readonly #clock: Clock
  readonly #brokerName: string
  readonly #known = new Map<string, Known>()
  readonly #asking = new Map<string, Promise<void>>()
  /** Absent: the broker is alone. */
  directory: QueueDirectory | undefined

  constructor(clock: Clock, brokerName: string) {
    this.#clock = clock
    this.#brokerName = brokerName
  }

  /** As last learned. */
  of(topic: string): Spread {
    return this.#known.get(topic)?.spread ?? HERE
  }

  /** Settles when it is known as of now, or no name server tells. Never rejects. */
  async learn(topics: Iterable<string>): Promise<void> {
    const { directory } = this
    if (directory === undefined) return
    const asked: Promise<void>[] = []
    for (const topic of new Set(topics)) {
      if (this.#clock.monotonic() < (this.#known.get(topic)?.untilMs ?? 0)) continue
      let asking = this.#asking.get(topic)
      if (asking === undefined) {
        asking = this.#learn(topic, directory).finally(() => this.#asking.delete(topic))
        this.#asking.set(topic, asking)
      }
      asked.push(asking)
    }
    await Promise.all(asked)
  }

  async #learn(topic: string, directory: QueueDirectory): Promise<void> {
    const told = await directory(topic)
    const spread = told === undefined ? this.of(topic) : this.#spreadOf(told)
    this.#known.delete(topic)
    if (this.#known.size >= TOPICS_MAX) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(topic, { spread, untilMs: this.#clock.monotonic() + FRESH_MS })
  }

  #spreadOf(told: readonly BrokerQueues[]): Spread {
    const others = told.filter(
      ({ brokerName, readQueues }) => brokerName !== this.#brokerName && readQueues > 0,
    )
    if (others.length === 0) return HERE
    const earlier = others.filter(({ brokerName }) => brokerName < this.#brokerName)
    return {
      others: others.map(({ brokerName }) => brokerName).sort(),
      elsewhere: sum(others),
      before: sum(earlier),
    }
  }
}

const sum = (all: readonly BrokerQueues[]): number =>
  all.reduce((count, { readQueues }) => count + readQueues, 0)
