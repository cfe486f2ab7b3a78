// A session: its subscriptions, where it stands in each queue of the log, and what it was given and
// has not acknowledged. All before its place in a queue it was given; what comes behind is read
// from the log when its client comes back, so that nothing is kept for a message that waits.
import { isDeepStrictEqual } from 'node:util'
import { BrokerError } from '../errors.ts'
import { filterMatches } from '../model/topic-filter.ts'
import type { Packet } from './packet.ts'
import { type Place, type QueueKey, queueOf } from './queue-key.ts'
import type { Subscription } from './subscriptions.ts'
import { mayBeIn, topicsFor } from './topic-follower.ts'

/** As many as there are packet identifiers. */
const UNACKNOWLEDGED_MAX = 65_535
/** Acknowledged messages that stand before the session's place while it catches up. */
const ACKNOWLEDGED_MAX = 10_000
/** Of unacknowledged messages so many are kept for aedes's event `ack`. */
const PACKETS_MAX = 1_000

/** queued: to be sent; sent; released: the client has a QoS 2 message, and was sent PUBREL. */
export type Stage = 'queued' | 'sent' | 'released'

export interface Unacknowledged extends Place {
  stage: Stage
  messageId: number | undefined
  packet: Packet | undefined
}

interface Kept extends Subscription {
  /** By queue: the first offset that is the subscription's. */
  readonly from: Readonly<Record<QueueKey, number>>
}

interface SessionRecord {
  readonly subscriptions: readonly Kept[]
  readonly places: Readonly<Record<QueueKey, number>>
  readonly unacknowledged: readonly (readonly [QueueKey, number, Stage, number | null])[]
}

const placeName = ({ key, offset }: Place): string => `${offset}@${key}`

export class Session {
  readonly #subscriptions = new Map<string, Kept>()
  readonly #places = new Map<QueueKey, number>()
  readonly #open = new Map<string, Unacknowledged>()
  readonly #byMessageId = new Map<number, Unacknowledged>()
  /** Acknowledged, and not before the session's place yet. */
  readonly #ahead = new Set<string>()
  /** From when its client has connected until it was given what had come before. */
  isCatchingUp = false

  constructor(value?: Buffer) {
    if (value === undefined) return
    const record = JSON.parse(value.toString()) as SessionRecord
    for (const one of record.subscriptions) this.#subscriptions.set(one.topic, one)
    for (const [key, place] of Object.entries(record.places)) this.#places.set(key, place)
    for (const [key, offset, stage, messageId] of record.unacknowledged) {
      this.#put({ key, offset, stage, messageId: messageId ?? undefined, packet: undefined })
    }
  }

  encode(): Buffer {
    const record: SessionRecord = {
      subscriptions: [...this.#subscriptions.values()],
      places: Object.fromEntries(this.#places),
      unacknowledged: [...this.#open.values()].map(
        ({ key, offset, stage, messageId }) => [key, offset, stage, messageId ?? null] as const,
      ),
    }
    return Buffer.from(JSON.stringify(record))
  }

  get isEmpty(): boolean {
    return this.#subscriptions.size === 0 && this.#open.size === 0
  }

  get subscriptions(): readonly Subscription[] {
    return [...this.#subscriptions.values()].map(({ from: _, ...subscription }) => subscription)
  }

  /** By queue and offset. */
  get unacknowledged(): readonly Unacknowledged[] {
    return [...this.#open.values()].sort((one, other) =>
      one.key === other.key ? one.offset - other.offset : one.key < other.key ? -1 : 1,
    )
  }

  /** `from`: where it begins, if it `begins`. Answers whether it changes anything. */
  subscribe(subscription: Subscription, from: Readonly<Record<QueueKey, number>>): boolean {
    const before = this.#subscriptions.get(subscription.topic)
    const kept = this.begins(subscription) ? from : before!.from
    const after = { ...subscription, from: kept }
    if (before !== undefined && isDeepStrictEqual(before, after)) return false
    this.#subscriptions.delete(subscription.topic)
    this.#subscriptions.set(subscription.topic, after)
    return true
  }

  /** Is the session queued messages of the filter by it that it was not before? */
  begins({ topic, qos }: Subscription): boolean {
    const before = this.#subscriptions.get(topic)
    return before === undefined || (before.qos === 0 && qos > 0)
  }

  /** Answers whether it was there. */
  unsubscribe(filter: string): boolean {
    return this.#subscriptions.delete(filter)
  }

  /** The highest QoS by which its subscriptions select a message of the name; 0: none. */
  qosFor(name: string, { key, offset }: Place): number {
    let highest = 0
    for (const { topic, qos, from } of this.#subscriptions.values()) {
      if (qos > highest && offset >= (from[key] ?? 0) && filterMatches(topic, name)) highest = qos
    }
    return highest
  }

  /** Topics whose messages it may have to be given, of those that there are. */
  topicsOf(topics: readonly string[]): readonly string[] {
    const queued = [...this.#subscriptions.values()].filter(({ qos }) => qos > 0)
    return topicsFor(
      queued.map(({ topic }) => topic),
      topics,
    )
  }

  /** The first offset of the queue that it was not given. */
  placeIn(key: QueueKey): number {
    const place = this.#places.get(key)
    if (place !== undefined) return place
    const { topic } = queueOf(key)
    let first = Number.POSITIVE_INFINITY
    for (const one of this.#subscriptions.values()) {
      if (one.qos > 0 && mayBeIn(one.topic, topic)) first = Math.min(first, one.from[key] ?? 0)
    }
    return first
  }

  /** Was the message given to the client already? */
  wasGiven(place: Place): boolean {
    const name = placeName(place)
    return this.#open.has(name) || this.#ahead.has(name)
  }

  /** It was given all of the queue before `next`. */
  pass(key: QueueKey, next: number): void {
    if (next <= (this.#places.get(key) ?? -1)) return
    this.#places.set(key, next)
    for (const name of this.#ahead) {
      const at = name.indexOf('@')
      if (name.slice(at + 1) === key && Number(name.slice(0, at)) < next) this.#ahead.delete(name)
    }
  }

  /** To be sent as soon as its client takes it. */
  queue(place: Place): void {
    this.#put({ ...place, stage: 'queued', messageId: undefined, packet: undefined })
    this.pass(place.key, place.offset + 1)
  }

  /** @throws BrokerError QUOTA_EXCEEDED */
  sent(place: Place, packet: Packet): void {
    const { messageId } = packet
    const kept = this.#open.size < PACKETS_MAX ? packet : undefined
    const before = this.#open.get(placeName(place))
    if (before === undefined && this.#open.size >= UNACKNOWLEDGED_MAX) throw tooMany()
    if (before?.messageId !== undefined) this.#byMessageId.delete(before.messageId)
    this.#put({ ...place, stage: before?.stage ?? 'sent', messageId, packet: kept })
    if (before?.stage === 'queued') this.#open.get(placeName(place))!.stage = 'sent'
    // Messages of a queue are given in their order, but those that came while it was away.
    if (!this.isCatchingUp) this.pass(place.key, place.offset + 1)
  }

  /** The client has it, and is sent PUBREL. Answers whether there is such a message. */
  released(messageId: number): boolean {
    const open = this.#byMessageId.get(messageId)
    if (open === undefined) return false
    open.stage = 'released'
    open.packet = undefined
    return true
  }

  acknowledged(messageId: number): Unacknowledged | undefined {
    const open = this.#byMessageId.get(messageId)
    if (open !== undefined) this.#settle(open)
    return open
  }

  /** It is not to be given to the client: it has it by another filter, or may not have it. */
  skipped(place: Place): void {
    if (this.#open.has(placeName(place)) || this.isCatchingUp) return
    this.pass(place.key, place.offset + 1)
  }

  /** It is not in the log any more. */
  forget(open: Unacknowledged): void {
    this.#settle(open)
  }

  #put(open: Unacknowledged): void {
    this.#open.set(placeName(open), open)
    if (open.messageId !== undefined) this.#byMessageId.set(open.messageId, open)
  }

  #settle(open: Unacknowledged): void {
    const name = placeName(open)
    this.#open.delete(name)
    if (open.messageId !== undefined && this.#byMessageId.get(open.messageId) === open) {
      this.#byMessageId.delete(open.messageId)
    }
    if (open.offset < (this.#places.get(open.key) ?? 0)) return
    if (this.#ahead.size >= ACKNOWLEDGED_MAX) {
      const [oldest] = this.#ahead
      this.#ahead.delete(oldest!)
    }
    this.#ahead.add(name)
  }
}

const tooMany = (): BrokerError =>
  new BrokerError(
    'QUOTA_EXCEEDED',
    `the client has ${UNACKNOWLEDGED_MAX} messages that it has not acknowledged`,
  )
