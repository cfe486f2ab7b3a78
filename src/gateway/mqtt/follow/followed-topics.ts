// Reading before a broker without light queues: every topic that the filters of connected sessions
// touch is followed once, all its queues of all brokers, and what comes is matched in memory.
//
// A filter touches the topic that its first level names, and the catch-all, in which messages of
// that name are stored while the topic is not there or not known yet. One that begins with a
// wildcard touches every topic that MQTT names can mean, also those that are made later.
import { type Clock, SharedSlice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../../../model/names.ts'
import type { Broker } from '../../../port/broker.ts'
import type { Addresses } from '../address.ts'
import type { Binding, Stream, StreamReader, StreamSource } from '../deliver/stream.ts'
import { firstLevel } from '../packets/topic-name.ts'
import { QueuePlaces } from '../session/queue-places.ts'
import type { Session } from '../session/session.ts'
import { Audience } from './audience.ts'
import { BatchCache } from './batch-cache.ts'
import { FollowStream, type StreamsTopics } from './follow-stream.ts'
import type { FollowedQueue } from './followed-queue.ts'
import { type Begins, FollowedTopic, type TopicParts } from './followed-topic.ts'
import { isWildcard } from './touched-names.ts'
import { WorkLine } from './work-line.ts'

/** Topics whose ends are asked for at once. */
const ASKED_AT_ONCE_MAX = 32
/** A topic that no filter touches is followed so much longer. */
const UNUSED_MS = 60_000

interface Parts {
  readonly broker: Broker
  readonly clock: Clock
  readonly addresses: Pick<Addresses, 'topics' | 'watch'>
  readonly failed: (error: unknown, topic: string) => void
}

export class FollowedTopics implements StreamSource, StreamsTopics {
  readonly audience = new Audience<FollowedQueue>()
  readonly line = new WorkLine()
  /** Of all sessions that look through what they have missed. */
  readonly looks: SharedSlice
  readonly #parts: Parts
  readonly #topicParts: TopicParts
  readonly #topics = new Map<string, FollowedTopic>()
  readonly #streams = new Set<FollowStream>()
  /** How many filters have this first level. */
  readonly #firsts = new Map<string, number>()
  /** First levels of the filters that were bound again for a connection of a session. */
  readonly #rebound = new WeakMap<object, Set<string>>()
  #filters = 0

  constructor(parts: Parts) {
    const { broker, clock, addresses, failed } = parts
    this.#parts = parts
    this.looks = new SharedSlice(clock)
    this.#topicParts = {
      ...{ broker, clock, failed, audience: this.audience, line: this.line },
      cache: new BatchCache(),
      found: (queue) => {
        for (const stream of this.#streams) stream.found(queue)
      },
      restarted: (queue, from) => {
        for (const stream of this.#streams) stream.restarted(queue, from)
      },
      verified: (queue) => {
        for (const stream of this.#streams) stream.verified(queue)
      },
    }
    addresses.watch((topic) => {
      if (topic === undefined) this.#followNew()
      else this.#topics.get(topic)?.changed()
    })
  }

  async bind(session: Session, filter: string, isShared: boolean): Promise<Binding> {
    if (isShared) {
      const text = 'before this broker a shared subscription names a topic, and a tag at most'
      throw new BrokerError('NOT_SUPPORTED', text)
    }
    const starts = new QueuePlaces()
    const places = session.reading?.places
    for (const topics of inParts(this.#namesTouchedBy(filter), ASKED_AT_ONCE_MAX)) {
      const followed = topics.map((topic) => this.#follow(topic, 'at its end').ends())
      for (const ends of await Promise.all(followed)) {
        for (const [queue, end] of ends) {
          const { name, bornMs, head } = queue
          const isOther = places?.isOther(name, bornMs) ?? false
          const place = isOther ? 0 : (places?.get(name) ?? head)
          if (end > place) starts.set(name, end, bornMs)
        }
      }
    }
    return {
      places: [],
      bound: session.isPersistent ? 'owned' : 'live',
      starts: starts.isEmpty ? undefined : starts,
    }
  }

  async unbind(): Promise<void> {
    // A topic that no filter touches is let go of by the sweep.
  }

  /**
   * What cannot be asked now is read when it can. The topics of filters with one first level are
   * asked for once, however many filters there are, and not at all where it is known how far they
   * reach: ten thousand sessions come back at once.
   */
  async rebind(
    { reading }: Session,
    { filter, share }: { filter: string; share: unknown },
  ): Promise<void> {
    if (share !== undefined || reading === undefined) return
    const first = firstLevel(filter)
    const rebound = this.#rebound.get(reading) ?? new Set()
    this.#rebound.set(reading, rebound)
    if (rebound.has(first)) return
    rebound.add(first)
    for (const topics of inParts(this.#namesTouchedBy(filter), ASKED_AT_ONCE_MAX)) {
      const followed = topics.map((topic) => this.#follow(topic, 'at its end'))
      const asked = followed.filter((topic) => !topic.covers(reading.places))
      await Promise.allSettled(asked.map((topic) => topic.ends()))
    }
  }

  async pass(): Promise<void> {
    // The place is the session's, not the subscription's.
  }

  open(session: Session, reader: StreamReader): Stream {
    const stream = new FollowStream(this, session, reader)
    this.#streams.add(stream)
    return stream
  }

  sweep(nowMs: number): void {
    for (const [name, topic] of this.#topics) {
      if (this.#isTouched(name)) topic.usedMs = nowMs
      if (nowMs - topic.usedMs < UNUSED_MS) topic.retry()
      else {
        this.#topics.delete(name)
        topic.close()
      }
    }
  }

  close(): void {
    for (const topic of this.#topics.values()) topic.close()
    this.#topics.clear()
  }

  /** The stream has the filter: its topics are followed until it has it no more. */
  touch(filter: string): void {
    const first = firstLevel(filter)
    const count = this.#firsts.get(first) ?? 0
    this.#firsts.set(first, count + 1)
    this.#filters++
    // They are followed for the others, and those that appear are.
    if (count > 0) return
    for (const topic of this.#namesTouchedBy(filter)) this.#follow(topic, 'at its beginning')
  }

  untouch(filter: string): void {
    const first = firstLevel(filter)
    const count = this.#firsts.get(first)! - 1
    if (count > 0) this.#firsts.set(first, count)
    else this.#firsts.delete(first)
    this.#filters--
  }

  leave(stream: FollowStream): void {
    this.#streams.delete(stream)
  }

  /** The topics that these filters touch. */
  touchedBy(filters: Iterable<string>): ReadonlySet<FollowedTopic> {
    const touched = new Set<FollowedTopic>()
    for (const filter of filters) {
      const first = firstLevel(filter)
      if (isWildcard(first)) return new Set(this.#topics.values())
      for (const name of [MQTT_CATCH_ALL_TOPIC, first]) {
        const topic = this.#topics.get(name)
        if (topic !== undefined) touched.add(topic)
      }
    }
    return touched
  }

  /** Also topics that are no more: sessions that are behind may have messages of them. */
  #namesTouchedBy(filter: string): ReadonlySet<string> {
    const { topics } = this.#parts.addresses
    const first = firstLevel(filter)
    const names = new Set([MQTT_CATCH_ALL_TOPIC])
    if (isWildcard(first)) {
      for (const name of topics) names.add(name)
      for (const name of this.#topics.keys()) names.add(name)
    } else if (topics.has(first) || this.#topics.has(first)) names.add(first)
    return names
  }

  #isTouched(topic: string): boolean {
    if (this.#filters === 0) return false
    if (topic === MQTT_CATCH_ALL_TOPIC || this.#firsts.has(topic)) return true
    return this.#firsts.has('+') || this.#firsts.has('#')
  }

  #follow(name: string, begins: Begins): FollowedTopic {
    let topic = this.#topics.get(name)
    if (topic === undefined) {
      topic = new FollowedTopic(this.#topicParts, name, begins)
      this.#topics.set(name, topic)
      if (begins === 'at its beginning') topic.retry()
    }
    topic.usedMs = this.#parts.clock.monotonic()
    return topic
  }

  /** Topics that have appeared: all that they have came after the filters that touch them. */
  #followNew(): void {
    if (this.#filters === 0) return
    for (const topic of this.#parts.addresses.topics) {
      if (!this.#topics.has(topic) && this.#isTouched(topic))
        this.#follow(topic, 'at its beginning')
    }
  }
}

function* inParts<T>(all: Iterable<T>, size: number): Generator<T[]> {
  let part: T[] = []
  for (const one of all) {
    part.push(one)
    if (part.length < size) continue
    yield part
    part = []
  }
  if (part.length > 0) yield part
}
