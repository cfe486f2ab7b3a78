// The brokers and topics of many homes, each pair once, so that a home needs a number for both.
import type { Home } from '../outgoing/home.ts'

type HomeName = Pick<Home, 'brokerName' | 'topic'>

export class HomeNames {
  readonly #names: HomeName[] = []
  /** Indexes by broker and topic, once there are two. */
  #indexes: Map<string, number> | undefined
  /** The index asked for last, which mostly is the next one too. */
  #last = 0

  get count(): number {
    return this.#names.length
  }

  [Symbol.iterator](): Iterator<HomeName> {
    return this.#names.values()
  }

  at(index: number): HomeName {
    return this.#names[index]!
  }

  /** Adds the name when it is new. */
  indexOf({ brokerName, topic }: HomeName): number {
    const last = this.#names[this.#last]
    if (last === undefined || last.topic !== topic || last.brokerName !== brokerName) {
      this.#last = this.#find(brokerName, topic)
    }
    return this.#last
  }

  #find(brokerName: string, topic: string): number {
    const index = this.#names.length
    if (index > 0) {
      this.#indexes ??= new Map(
        this.#names.map((name, i) => [keyOf(name.brokerName, name.topic), i]),
      )
      const key = keyOf(brokerName, topic)
      const known = this.#indexes.get(key)
      if (known !== undefined) return known
      this.#indexes.set(key, index)
    }
    this.#names.push({ brokerName, topic })
    return index
  }
}

/** A line feed is in no broker's name. */
const keyOf = (brokerName: string, topic: string): string => `${brokerName}\n${topic}`
