// Follows the topics that the listeners' filters may select: that of a filter's first level, or all
// where it is a wildcard, and the catch-all beside them.
import { BrokerError } from '../errors.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../model/names.ts'
import type { FollowedQueue } from './followed-queue.ts'
import { FollowedTopic, type TopicParts } from './followed-topic.ts'
import { AEDES_TOPIC, isSystemName } from './message.ts'
import { type QueueKey, queueOf } from './queue-key.ts'

export interface TopicFollowerParts extends TopicParts {
  /** A topic is followed no more. */
  readonly dropped: (topic: string) => void
  readonly topicsMax: number
}

export class TopicFollower {
  readonly #parts: TopicFollowerParts
  readonly #topics: () => ReadonlySet<string>
  readonly #followed = new Map<string, FollowedTopic>()
  /** Filters by what they follow: a topic's name, or EVERY. */
  readonly #wanted = new Map<string, number>()
  readonly #opening = new Set<Promise<void>>()
  /** Topics for which there is no room now. */
  readonly #refused = new Set<string>()
  #isClosed = false

  constructor(topics: () => ReadonlySet<string>, parts: TopicFollowerParts) {
    this.#topics = topics
    this.#parts = parts
  }

  /** Settles when messages that are published from then on come to the filter's listener. */
  async want(wants: readonly string[]): Promise<void> {
    for (const what of wants) this.#wanted.set(what, (this.#wanted.get(what) ?? 0) + 1)
    await Promise.all(this.#affected(wants).map((topic) => this.#look(topic, false)?.opened))
  }

  unwant(wants: readonly string[]): void {
    for (const what of wants) {
      const count = (this.#wanted.get(what) ?? 0) - 1
      if (count > 0) this.#wanted.set(what, count)
      else this.#wanted.delete(what)
    }
    for (const topic of this.#affected(wants)) this.#look(topic, false)
  }

  topicChanged(topic: string, isThere: boolean): void {
    if (!isThere) this.#drop(topic)
    else this.#look(topic, true)
  }

  /** Settles when all that is followed by now is open. Never rejects. */
  async opened(): Promise<void> {
    if (this.#opening.size > 0) await Promise.all(this.#opening)
  }

  isFollowed(topic: string): boolean {
    return this.#followed.has(topic)
  }

  /** undefined: it is not followed. */
  queue(key: QueueKey): FollowedQueue | undefined {
    return this.#followed.get(queueOf(key).topic)?.queue(key)
  }

  /** The places of a topic's queues, of all before which its listeners have let go. */
  *doneOf(topic: string): Generator<readonly [QueueKey, number]> {
    const followed = this.#followed.get(topic)
    if (followed === undefined) return
    for (const key of followed.keys()) yield [key, followed.queue(key)!.done]
  }

  close(): void {
    this.#isClosed = true
    for (const topic of [...this.#followed.keys()]) this.#drop(topic)
  }

  #affected(wants: readonly string[]): readonly string[] {
    const topics = this.#topics()
    if (wants.includes(EVERY)) return [MQTT_CATCH_ALL_TOPIC, ...topics]
    return wants.filter((what) => what === AEDES_TOPIC || isShared(what) || topics.has(what))
  }

  #look(topic: string, isNew: boolean): FollowedTopic | undefined {
    const isWanted = !this.#isClosed && (this.#wanted.has(topic) || this.#isInEvery(topic))
    if (!isWanted) {
      this.#drop(topic)
      return undefined
    }
    let followed = this.#followed.get(topic)
    if (followed === undefined) {
      if (this.#followed.size >= this.#parts.topicsMax) {
        this.#refuse(topic)
        return undefined
      }
      this.#refused.delete(topic)
      followed = new FollowedTopic(topic, isNew, this.#parts)
      this.#followed.set(topic, followed)
      const { opened } = followed
      this.#opening.add(opened)
      void opened.then(() => this.#opening.delete(opened))
    }
    return followed
  }

  /** Its messages come to no listener until another topic is followed no more. */
  #refuse(topic: string): void {
    const { topicsMax, troubled } = this.#parts
    if (this.#refused.size === 0) {
      const text = `${topicsMax} topics are followed; topicsMax is ${topicsMax}: messages of '${topic}' and of further topics do not come to listeners`
      troubled(new BrokerError('QUOTA_EXCEEDED', text))
    }
    this.#refused.add(topic)
  }

  #isInEvery(topic: string): boolean {
    return this.#wanted.has(EVERY) && (isShared(topic) || this.#topics().has(topic))
  }

  #drop(topic: string): void {
    this.#refused.delete(topic)
    const followed = this.#followed.get(topic)
    if (followed === undefined) return
    followed.close()
    this.#followed.delete(topic)
    this.#parts.dropped(topic)
    const [next] = this.#refused
    if (next !== undefined) this.#look(next, false)
  }
}

const isShared = (topic: string): boolean => topic === MQTT_CATCH_ALL_TOPIC

const EVERY = '#'

/** What is followed for a filter. */
export function wantsOf(filter: string): readonly string[] {
  if (isSystemName(filter)) return [AEDES_TOPIC]
  const [first = ''] = filter.split('/', 1)
  return first === '+' || first === '#' ? [EVERY] : [first, MQTT_CATCH_ALL_TOPIC]
}

/** Those of the topics whose messages may have names that one of the filters selects. */
export function topicsFor(filters: Iterable<string>, topics: readonly string[]): string[] {
  const wants = new Set<string>()
  for (const filter of filters) for (const what of wantsOf(filter)) wants.add(what)
  const isInEvery = wants.has(EVERY)
  return topics.filter((topic) => wants.has(topic) || (isInEvery && topic !== AEDES_TOPIC))
}

/** May messages of the topic have names that the filter selects? */
export const mayBeIn = (filter: string, topic: string): boolean => {
  const wants = wantsOf(filter)
  return topic !== AEDES_TOPIC
    ? wants.includes(topic) || wants.includes(EVERY)
    : wants.includes(AEDES_TOPIC)
}
