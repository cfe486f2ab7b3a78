// What one session gets of the topics that its gateway follows. While it keeps up, messages that it
// wants are handed to it, and its place on each queue is where the gateway is. On a queue on which
// it is behind it has a place of its own, from which it looks for its messages until it has caught
// up: a slow session costs no more than its places.
import type { SharedSlice } from '../../../clock.ts'
import { FilterTrie } from '../../../model/filter-trie.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { NO_SUBSCRIPTIONS } from '../deliver/merge.ts'
import type { Progress, Stream, StreamReader, StreamState } from '../deliver/stream.ts'
import type { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import { QueuePlaces } from '../session/queue-places.ts'
import type { Session } from '../session/session.ts'
import type { Subscription } from '../session/subscriptions.ts'
import type { Audience, Member, Recipient } from './audience.ts'
import { indexIn } from './batch-cache.ts'
import type { FollowedQueue } from './followed-queue.ts'
import type { FollowedTopic } from './followed-topic.ts'
import { TouchedNames } from './touched-names.ts'
import type { WorkLine } from './work-line.ts'

/** Messages handed to one session and not taken by it yet; beyond, it is behind. */
const HANDED_MAX = 256
/** Reads that these may hold on to. */
const HANDED_BATCHES_MAX = 4
/** Messages looked through between two looks at the clock. */
const LOOKED_MAX = 64

/** What this gateway follows, as a stream needs it. */
export interface StreamsTopics {
  readonly audience: Audience<FollowedQueue>
  readonly line: WorkLine
  /** Of all sessions that look through what they have missed. */
  readonly looks: SharedSlice
  /** The stream has the filter: its topics are followed until it has it no more. */
  touch(filter: string): void
  untouch(filter: string): void
  /** The topics that these filters touch. */
  touchedBy(filters: Iterable<string>): ReadonlySet<FollowedTopic>
  leave(stream: FollowStream): void
}

type QueueMember = Member<FollowedQueue>

interface Handed {
  readonly queue: FollowedQueue
  readonly delivery: OutgoingMessage
  matching: readonly Subscription[]
}

/** The session's own place: behind the gateway's, or ahead of it where another one was further. */
interface Own {
  readonly queue: FollowedQueue
  next: QueueOffset
  /** Until it is known which queue it is: where the session was on it is expected still. */
  readonly isHeld?: boolean
}

export class FollowStream implements Stream, Recipient<FollowedQueue> {
  delivery: OutgoingMessage | undefined
  matching: readonly Subscription[] = NO_SUBSCRIPTIONS
  missed = 0
  compared = 0
  readonly #topics: StreamsTopics
  readonly #session: Session
  readonly #reader: StreamReader
  readonly #members = new Map<string, QueueMember>()
  readonly #touched = new TouchedNames()
  #handed: Handed[] = []
  /** Of the first one that is not dealt with. */
  #handedAt = 0
  #handedBatches = 0
  #own: Map<FollowedQueue, Own> | undefined
  /** Where `delivery` is from; undefined: it was handed. */
  #from: Own | undefined
  /** Of the session's filters, while it is behind. */
  #filters: FilterTrie<QueueMember> | undefined
  #isResting = false
  /** Places of a session that was away, on queues that are not followed yet. */
  #expected: QueuePlaces | undefined
  /** Topics of such a session whose queues are not known yet. */
  #pending: Set<string> | undefined

  constructor(topics: StreamsTopics, session: Session, reader: StreamReader) {
    this.#topics = topics
    this.#session = session
    this.#reader = reader
    this.#expected = session.places
    session.reading = this
  }

  get places(): QueuePlaces {
    const places = new QueuePlaces(this.#expected?.rows())
    for (const topic of this.#topics.touchedBy(this.#filterTexts())) {
      for (const queue of topic.queues()) {
        const own = this.#own?.get(queue)
        if (own?.isHeld) continue
        places.set(queue.name, own?.next ?? queue.head, queue.bornMs)
      }
    }
    for (let i = this.#handed.length - 1; i >= this.#handedAt; i--) {
      const { queue, delivery } = this.#handed[i]!
      places.set(queue.name, delivery.offset, queue.bornMs)
    }
    return places
  }

  get behind(): number {
    let behind = this.#handed.length - this.#handedAt
    for (const { queue, next } of this.#own?.values() ?? []) {
      behind += Math.max(0, queue.knownEnd - next)
    }
    return behind
  }

  /** On queues that have appeared since it was saved it begins at the beginning. */
  async resume(subscriptions: readonly Subscription[]): Promise<void> {
    for (const subscription of subscriptions) this.add(subscription)
    if (this.#expected === undefined) return
    for (const topic of this.#topics.touchedBy(this.#filterTexts())) {
      if (!topic.isOpen) {
        this.#pending ??= new Set()
        this.#pending.add(topic.topic)
      }
      for (const queue of topic.queues()) this.#restore(queue)
    }
  }

  add(subscription: Subscription): void {
    const { text, filter, share } = subscription
    if (share !== undefined) return
    const member: QueueMember = { alone: [subscription], recipient: this }
    this.#members.set(text, member)
    this.#filters = undefined
    this.#touched.add(filter)
    this.#topics.touch(filter)
    this.#topics.audience.add(filter, member)
  }

  replace(subscription: Subscription): void {
    const member = this.#members.get(subscription.text)
    if (member === undefined) return
    member.alone = [subscription]
    this.dropBatches()
  }

  remove({ text, filter }: Subscription): void {
    const member = this.#members.get(text)
    if (member === undefined) return
    this.#members.delete(text)
    this.#filters = undefined
    this.#topics.audience.remove(filter, member)
    this.#touched.delete(filter)
    this.#topics.untouch(filter)
    this.dropBatches()
    for (const { queue } of this.#own?.values() ?? []) {
      if (!this.#touched.has(queue.name.topic)) this.#join(queue)
    }
  }

  async ends(subscriptions: readonly Subscription[]): Promise<Map<Progress, QueueOffset>> {
    const ends = new Map<Progress, QueueOffset>()
    const placeOn = (queue: FollowedQueue): QueueOffset => this.#placeOn(queue)
    const read = subscriptions.filter(({ text }) => this.#members.has(text))
    for (const topic of this.#topics.touchedBy(read.map(({ filter }) => filter))) {
      const known = await topic.ends().catch(() => undefined)
      for (const [queue, end] of known ?? []) {
        if (placeOn(queue) >= end || !queue.whenAt(end, this.#reader)) continue
        const progress = {
          get next() {
            return placeOn(queue)
          },
        }
        ends.set(progress, end)
      }
    }
    return ends
  }

  offer(queue: FollowedQueue, delivery: OutgoingMessage, member: QueueMember): void {
    const { offset } = delivery
    const own = this.#own?.get(queue)
    if (own?.isHeld) return
    if (own !== undefined && (own.next < queue.head || own.next > offset)) return
    if (isBefore(member, queue, offset)) return
    const last = this.#handed.at(-1)
    if (last?.delivery === delivery) {
      last.matching = [...last.matching, member.alone[0]]
      return
    }
    const isNewBatch = last?.delivery.bytes !== delivery.bytes
    const isFull = this.#handed.length - this.#handedAt >= HANDED_MAX
    if (isFull || (isNewBatch && this.#handedBatches >= HANDED_BATCHES_MAX)) {
      if (own === undefined) this.#fallBehind(queue, offset)
      return
    }
    if (own !== undefined) this.#join(queue)
    if (isNewBatch) this.#handedBatches++
    if (this.#handedAt === HANDED_MAX) {
      this.#handed.splice(0, HANDED_MAX)
      this.#handedAt = 0
    }
    this.#handed.push({ queue, delivery, matching: member.alone })
    this.#topics.line.wake(this.#reader)
  }

  /** The queue is followed from now on. */
  found(queue: FollowedQueue): void {
    const { topic } = queue.name
    const isExpected = this.#expected?.get(queue.name) !== undefined
    if (this.#pending?.has(topic) || (isExpected && this.#touched.has(topic))) this.#restore(queue)
  }

  /** Its messages from the offset on are others than before; those that wait here are gone. */
  restarted(queue: FollowedQueue, from: QueueOffset): void {
    const isGone = (offset: QueueOffset): boolean => offset >= from
    const own = this.#own?.get(queue)
    if (own !== undefined && !own.isHeld && isGone(own.next)) this.#join(queue)
    this.#forgetStarts(queue, from)
    this.#forget()
    const handed = this.#handed
      .slice(this.#handedAt)
      .filter((one) => one.queue !== queue || !isGone(one.delivery.offset))
    if (handed.length === 0) this.#dropHanded()
    else {
      this.#handed = handed
      this.#handedAt = 0
    }
  }

  /** It is known again which queue it is. */
  verified(queue: FollowedQueue): void {
    if (!this.#own?.get(queue)?.isHeld) return
    this.#join(queue)
    this.#restore(queue)
    this.#reader.streamMoved()
  }

  next(): StreamState {
    if (this.delivery !== undefined) return 'ready'
    const handed = this.#handed[this.#handedAt]
    if (handed !== undefined) {
      this.delivery = handed.delivery
      this.matching = handed.matching
      return 'ready'
    }
    let state: StreamState = 'idle'
    for (const own of this.#own?.values() ?? []) {
      const found = this.#look(own)
      if (found === 'ready') return found
      if (found === 'reading') state = found
    }
    return state
  }

  advance(): void {
    const { delivery } = this
    const from = this.#from
    this.#forget()
    if (delivery === undefined) return
    if (from === undefined) {
      this.#handedAt++
      if (this.#handedAt === this.#handed.length) this.#dropHanded()
      return
    }
    const { queue } = from
    from.next = queueOffset(delivery.offset + 1)
    // Behind the others, so that each has its turn.
    this.#own?.delete(queue)
    if (from.next < queue.head) this.#own?.set(queue, from)
  }

  dropBatches(): void {
    this.#forget()
    for (let i = this.#handed.length - 1; i >= this.#handedAt; i--) {
      const { queue, delivery } = this.#handed[i]!
      this.#fallBehind(queue, delivery.offset)
    }
    this.#dropHanded()
  }

  close(): void {
    if (this.#session.reading === this) {
      this.#session.places = this.#session.isPersistent ? this.places : undefined
      this.#session.reading = undefined
    }
    for (const member of this.#members.values()) {
      const [{ filter }] = member.alone
      this.#topics.audience.remove(filter, member)
      this.#topics.untouch(filter)
    }
    this.#members.clear()
    this.#topics.leave(this)
    this.#forget()
    this.#dropHanded()
    this.#own = undefined
  }

  *#filterTexts(): Generator<string> {
    for (const { alone } of this.#members.values()) yield alone[0].filter
  }

  /** A place that the queue has not got to yet, or of one before it, is of no use. */
  #restore(queue: FollowedQueue): void {
    const { name, bornMs, knownEnd } = queue
    const expected = this.#expected
    const place = expected?.get(name)
    const isThere = place !== undefined && place <= knownEnd && !expected!.isOther(name, bornMs)
    // The gateway that saved it may know what this one has not heard of.
    const isStale = place !== undefined && !isThere && !queue.isFresh
    if (!queue.isKnown || isStale) {
      if (queue.isSure) queue.doubt()
      this.#setOwn({ queue, next: queueOffset(0), isHeld: true })
      return
    }
    expected?.delete(name)
    const next = isThere ? place : queueOffset(0)
    if (!isThere) this.#forgetStarts(queue, queueOffset(0))
    if (next !== queue.head) this.#setOwn({ queue, next })
  }

  /** Those on a queue before it, or on a part of it that is gone. */
  #forgetStarts({ name, bornMs }: FollowedQueue, from: QueueOffset): void {
    for (const { alone } of this.#members.values()) {
      const { starts } = alone[0]
      if (starts === undefined) continue
      const isIts = bornMs !== undefined && starts.bornMs(name) === bornMs
      const isGone = from > 0 && (starts.get(name) ?? 0) > from
      if (!isIts || isGone) starts.delete(name)
    }
  }

  #placeOn(queue: FollowedQueue): QueueOffset {
    for (let i = this.#handedAt; i < this.#handed.length; i++) {
      const handed = this.#handed[i]!
      if (handed.queue === queue) return handed.delivery.offset
    }
    return this.#own?.get(queue)?.next ?? queue.head
  }

  #fallBehind(queue: FollowedQueue, offset: QueueOffset): void {
    const own = this.#own?.get(queue)
    if (own === undefined) this.#setOwn({ queue, next: offset })
    else if (offset < own.next) own.next = offset
  }

  #setOwn(own: Own): void {
    this.#own ??= new Map()
    this.#own.set(own.queue, own)
  }

  /** From here on the gateway's place is the session's. */
  #join(queue: FollowedQueue): void {
    if (!this.#own?.delete(queue) || this.#own.size > 0) return
    this.#own = undefined
    this.#filters = undefined
  }

  /** Looks from the session's own place for a message that it wants. */
  #look(own: Own): StreamState {
    const { queue } = own
    if (own.isHeld) return 'reading'
    for (;;) {
      if (own.next >= queue.head) {
        if (own.next === queue.head) this.#join(queue)
        return 'idle'
      }
      if (this.#isResting) return 'reading'
      const batch = queue.batchAt(own.next)
      if (batch === undefined) {
        queue.load(own.next, this.#reader)
        return 'reading'
      }
      const end = Math.min(batch.end, queue.head)
      for (let at = indexIn(batch, own.next); at < batch.deliveries.length; at++) {
        const delivery = batch.deliveries[at]!
        if (delivery.offset >= end) break
        own.next = delivery.offset
        const matching = this.#matching(queue, delivery)
        if (matching.length > 0) {
          this.delivery = delivery
          this.matching = matching
          this.#from = own
          return 'ready'
        }
        own.next = queueOffset(delivery.offset + 1)
        if (++this.compared % LOOKED_MAX === 0 && this.#topics.looks.isOver) return this.#rest()
      }
      if (batch.missed > 0) this.missed += batch.end - own.next
      own.next = queueOffset(end)
    }
  }

  #rest(): StreamState {
    this.#isResting = true
    void this.#topics.looks.rest().then(() => {
      this.#isResting = false
      this.#reader.streamMoved()
    })
    return 'reading'
  }

  #matching(queue: FollowedQueue, delivery: OutgoingMessage): readonly Subscription[] {
    if (this.#filters === undefined) {
      this.#filters = new FilterTrie()
      for (const member of this.#members.values()) this.#filters.add(member.alone[0].filter, member)
    }
    let matching: readonly Subscription[] = NO_SUBSCRIPTIONS
    this.#filters.match(delivery.topicName, (member) => {
      if (isBefore(member, queue, delivery.offset)) return
      matching = matching.length === 0 ? member.alone : [...matching, member.alone[0]]
    })
    return matching
  }

  #forget(): void {
    this.delivery = undefined
    this.matching = NO_SUBSCRIPTIONS
    this.#from = undefined
  }

  #dropHanded(): void {
    if (this.#handed.length > 0) this.#handed = []
    this.#handedAt = 0
    this.#handedBatches = 0
  }
}

/** Does the message stand before the subscription's beginning? */
function isBefore(
  { alone }: QueueMember,
  { name, bornMs }: FollowedQueue,
  offset: QueueOffset,
): boolean {
  const { starts } = alone[0]
  if (starts === undefined || starts.isEmpty) return false
  const start = starts.get(name)
  if (start === undefined) return false
  if (offset < start && !starts.isOther(name, bornMs)) return true
  starts.delete(name)
  return false
}
