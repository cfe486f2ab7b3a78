// What a MessageStore must show after a row of groups, computed in the plainest way, and the
// comparison with what it does show. Retention may have taken the oldest entries of a queue, never
// other ones.
import { lightQueueTopic } from '../../../src/model/names.ts'
import { filterMatches } from '../../../src/model/topic-filter.ts'

export interface ModelMessage {
  readonly id: string
  readonly topic: string
  readonly queueId: number
  readonly tag: string | undefined
  readonly key: string
  readonly dueMs: number | undefined
}

export interface ModelFact {
  readonly key: string
  /** Shown for a message's record: its id. */
  readonly value: string | null
  /** Index of the message in its group that is the value. */
  readonly message?: number
}

/** One append to the log. */
export interface ModelGroup {
  readonly messages: readonly ModelMessage[]
  readonly facts: readonly ModelFact[]
  /** Ids of parked messages. */
  readonly fired: readonly string[]
  /** A parked message waits on. */
  readonly putOff?: { readonly id: string; readonly dueMs: number }
  readonly bind?: string
  readonly unbind?: string
  readonly drop?: string
}

export interface Entry {
  readonly offset: number
  readonly id: string
}

/** What a store shows. */
export interface Shown {
  /** Retention took nothing. */
  readonly isWhole: boolean
  readonly queues: ReadonlyMap<
    string,
    { readonly min: number; readonly max: number; readonly entries: readonly Entry[] }
  >
  readonly facts: ReadonlyMap<string, string>
  /** Parked messages, `dueMs id`. */
  readonly parked: readonly string[]
  /** Ids found by `topic key`, newest first. */
  readonly keyed: ReadonlyMap<string, readonly string[]>
}

export class StoreModel {
  /**
   * By `topic/queueId`; undefined where a light queue has a message of a topic that was dropped
   * since.
   */
  readonly queues = new Map<string, (string | undefined)[]>()
  readonly facts = new Map<string, string>()
  readonly parked = new Map<string, number>()
  readonly keyed = new Map<string, string[]>()
  readonly #bound = new Set<string>()
  /** By id. */
  readonly #topics = new Map<string, string>()

  static of(groups: Iterable<ModelGroup>): StoreModel {
    const model = new StoreModel()
    for (const group of groups) model.apply(group)
    return model
  }

  apply({ messages, facts, fired, putOff, bind, unbind, drop }: ModelGroup): void {
    for (const message of messages) this.#message(message)
    for (const { key, value } of facts) {
      if (value === null) this.facts.delete(key)
      else this.facts.set(key, value)
    }
    for (const id of fired) this.parked.delete(id)
    if (putOff !== undefined && this.parked.has(putOff.id)) this.parked.set(putOff.id, putOff.dueMs)
    if (bind !== undefined && !this.#bound.has(bind)) {
      this.#bound.add(bind)
      this.queues.set(`${lightQueueTopic(bind)}/0`, [])
    }
    if (unbind !== undefined) {
      this.#bound.delete(unbind)
      this.queues.delete(`${lightQueueTopic(unbind)}/0`)
    }
    if (drop !== undefined) this.#drop(drop)
  }

  #drop(topic: string): void {
    for (const queue of this.queues.keys())
      if (queue.startsWith(`${topic}/`)) this.queues.set(queue, [])
    for (const key of this.keyed.keys()) if (key.startsWith(`${topic} `)) this.keyed.set(key, [])
    for (const id of this.parked.keys()) if (this.#topics.get(id) === topic) this.parked.delete(id)
    for (const filter of this.#bound) {
      const entries = this.queues.get(`${lightQueueTopic(filter)}/0`)!
      for (const [i, id] of entries.entries())
        if (id !== undefined && this.#topics.get(id) === topic) entries[i] = undefined
    }
  }

  #message({ id, topic, queueId, tag, key, dueMs }: ModelMessage): void {
    this.#topics.set(id, topic)
    if (dueMs !== undefined) {
      this.parked.set(id, dueMs)
      return
    }
    push(this.queues, `${topic}/${queueId}`, id)
    push(this.keyed, `${topic} ${key}`, id)
    // Retries were seen under their first topic.
    if (topic.startsWith('%')) return
    const name = tag === undefined ? topic : `${topic}/${tag}`
    for (const filter of this.#bound) {
      if (filterMatches(filter, name)) push(this.queues, `${lightQueueTopic(filter)}/0`, id)
    }
  }

  /** undefined when this is what the store shows, else the first difference. */
  differenceTo(shown: Shown): string | undefined {
    return (
      this.#queueDifference(shown) ??
      differs('facts', [...this.facts].sort().join(), [...shown.facts].sort().join()) ??
      differs('parked', this.#parkedText(), [...shown.parked].sort().join()) ??
      this.#keyDifference(shown)
    )
  }

  #queueDifference({ queues, isWhole }: Shown): string | undefined {
    for (const queue of new Set([...this.queues.keys(), ...queues.keys()])) {
      const ids = this.queues.get(queue) ?? []
      const { min, max, entries } = queues.get(queue) ?? { min: 0, max: 0, entries: [] }
      if (max !== ids.length) return `${queue} ends at ${max} instead of ${ids.length}`
      if (isWhole && min > 0) return `${queue} starts at ${min} in a whole log`
      const expected = ids.flatMap((id, i) => (id === undefined || i < min ? [] : [`${i} ${id}`]))
      const found = entries.map(({ offset, id }) => `${offset} ${id}`)
      const difference = differs(queue, expected.join(), found.join())
      if (difference !== undefined) return difference
    }
    return undefined
  }

  #parkedText(): string {
    return [...this.parked]
      .map(([id, dueMs]) => `${dueMs} ${id}`)
      .sort()
      .join()
  }

  /** Newest first; retention may have taken the oldest. */
  #keyDifference({ keyed, isWhole }: Shown): string | undefined {
    for (const [key, found] of keyed) {
      const ids = (this.keyed.get(key) ?? []).toReversed()
      const expected = isWhole ? ids : ids.slice(0, found.length)
      const difference = differs(`key ${key}`, expected.join(), found.join())
      if (difference !== undefined) return difference
    }
    return undefined
  }
}

function push(lists: Map<string, (string | undefined)[]>, name: string, id: string): void {
  const list = lists.get(name)
  if (list === undefined) lists.set(name, [id])
  else list.push(id)
}

const differs = (what: string, expected: string, found: string): string | undefined =>
  expected === found ? undefined : `${what}: expected [${expected}], found [${found}]`
