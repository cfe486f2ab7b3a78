// What a session's ordinary subscriptions read from one broker, as one stream in the order of its
// log: a k-way merge of light queues by position. The same position in several queues is one
// message with several matching subscriptions.
//
// A message may go out only once no other queue can still bring an earlier one: every other queue
// either shows its next message, or was seen empty by a read asked for after this message had been
// read.
import { type LogPosition, logPosition, queueOffset } from '../../../model/positions.ts'
import type { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import type { Place, Subscription } from '../session/subscriptions.ts'
import type { FeedBatch, LightFeed, LightFeedReader, LightFeeds } from './light-feed.ts'
import type { StreamState } from './stream.ts'

interface Cursor {
  /** Its subscription, as the list that `matching` is while no other filter matches. */
  alone: readonly [Subscription]
  readonly place: Place
  readonly feed: LightFeed
  /** Where the entry at `place.next` is at hand. */
  batch: FeedBatch | undefined
}

export const NO_SUBSCRIPTIONS: readonly Subscription[] = []

export class Merge {
  /** The next message after `next()` answered 'ready'; valid until `advance`. */
  delivery: OutgoingMessage | undefined
  matching: readonly Subscription[] = NO_SUBSCRIPTIONS
  /** Entries that retention took before they were read. */
  missed = 0
  /** Entries compared so far: what the choice of messages costs. */
  compared = 0
  /**
   * The stream has passed everything before this: a filter that comes in later does not go back.
   */
  #floor: LogPosition = logPosition(0)
  readonly #feeds: LightFeeds
  readonly #reader: LightFeedReader
  readonly #moved: (subscription: Subscription) => void
  /** One per filter, and therefore per feed. */
  readonly #cursors = new Map<LightFeed, Cursor>()
  /** Cursors with a message at hand. */
  #active: Cursor[] = []
  /** Cursors to look at before anything goes out. */
  readonly #unsure = new Set<Cursor>()
  /**
   * Cursors whose feed is being read; it tells when it is back. The others were seen empty since
   * `#emptyTick`.
   */
  readonly #reading = new Set<Cursor>()
  #emptyTick = 0

  /** `moved`: a place of the subscription is another one. */
  constructor(
    feeds: LightFeeds,
    reader: LightFeedReader,
    moved: (subscription: Subscription) => void,
  ) {
    this.#feeds = feeds
    this.#reader = reader
    this.#moved = moved
  }

  /** Goes on where the place is. */
  add(subscription: Subscription, place: Place): void {
    const feed = this.#feeds.open(place, this.#reader)
    const cursor: Cursor = { alone: [subscription], place, feed, batch: undefined }
    if (place.floor < this.#floor) {
      place.floor = this.#floor
      this.#moved(subscription)
    }
    this.#cursors.set(feed, cursor)
    this.#unsure.add(cursor)
    this.#forget()
  }

  /** Other options for a filter that goes on where it is. */
  replace(subscription: Subscription, place: Place): void {
    const cursor = this.#find(place)
    if (cursor !== undefined) cursor.alone = [subscription]
    this.#forget()
  }

  remove(place: Place): void {
    const cursor = this.#find(place)
    if (cursor === undefined) return
    this.#cursors.delete(cursor.feed)
    this.#unsure.delete(cursor)
    this.#reading.delete(cursor)
    if (cursor.batch !== undefined) this.#active = this.#active.filter((one) => one !== cursor)
    this.#feeds.close(cursor.feed, this.#reader)
    this.#forget()
  }

  has(place: Place): boolean {
    return this.#find(place) !== undefined
  }

  close(): void {
    for (const feed of this.#cursors.keys()) this.#feeds.close(feed, this.#reader)
    this.#cursors.clear()
    this.#unsure.clear()
    this.#reading.clear()
    this.#active = []
    this.#forget()
  }

  /** Something happened to the feed. */
  lookAt(feed: LightFeed): void {
    const cursor = this.#cursors.get(feed)
    if (cursor === undefined || cursor.batch !== undefined) return
    this.#reading.delete(cursor)
    this.#unsure.add(cursor)
  }

  /** Finds the next message. Stays 'ready' with the same one until `advance`. */
  next(): StreamState {
    if (this.delivery !== undefined) return 'ready'
    for (;;) {
      if (this.#unsure.size > 0) for (const cursor of this.#unsure) this.#look(cursor)
      if (this.#reading.size > 0) return 'reading'
      const first = this.#first()
      if (first === undefined) return 'idle'
      if (this.#emptyTick >= first.batch!.readAt || this.#active.length === this.#cursors.size) {
        this.#take(first)
        return 'ready'
      }
      this.#emptyTick = first.batch!.readAt
      for (const cursor of this.#cursors.values()) {
        if (cursor.batch === undefined) this.#unsure.add(cursor)
      }
    }
  }

  /** The message is dealt with. */
  advance(): void {
    const position = this.delivery?.position
    this.#forget()
    if (position === undefined) return
    this.#floor = logPosition(position + 1)
    let hasEnded = false
    for (const cursor of this.#active) {
      if (deliveryAt(cursor).position !== position) continue
      const { place } = cursor
      place.next = queueOffset(place.next + 1)
      this.#moved(cursor.alone[0])
      if (place.next < cursor.batch!.end) continue
      cursor.batch = undefined
      this.#unsure.add(cursor)
      hasEnded = true
    }
    if (hasEnded) this.#active = this.#active.filter(({ batch }) => batch !== undefined)
  }

  /** While nothing can be sent no batch is held: the feeds' cache, or the log, has it. */
  dropBatches(): void {
    this.#forget()
    for (const cursor of this.#active) {
      cursor.batch = undefined
      this.#unsure.add(cursor)
    }
    this.#active = []
  }

  #find(place: Place): Cursor | undefined {
    const feed = this.#feeds.find(place)
    const cursor = feed && this.#cursors.get(feed)
    return cursor?.place === place ? cursor : undefined
  }

  /** Makes the cursor sure, or has its feed read. */
  #look(cursor: Cursor): void {
    const { feed, place } = cursor
    const moved = feed.movedFrom(place.next)
    if (moved !== undefined) {
      this.missed += Math.max(0, moved - place.next)
      place.next = moved
      this.#moved(cursor.alone[0])
    }
    this.#findBatch(cursor)
    this.#unsure.delete(cursor)
    if (cursor.batch !== undefined) this.#active.push(cursor)
    else if (!feed.isEmptySince(place.next, this.#emptyTick)) {
      this.#reading.add(cursor)
      feed.load(place.next)
    }
  }

  /** The batch with the cursor's next message that the session has not passed. */
  #findBatch(cursor: Cursor): void {
    const { feed, place } = cursor
    cursor.batch = feed.batchAt(place.next)
    if (place.floor === 0 || cursor.batch === undefined) return
    while (cursor.batch !== undefined && deliveryAt(cursor).position < place.floor) {
      place.next = queueOffset(place.next + 1)
      if (place.next >= cursor.batch.end) cursor.batch = feed.batchAt(place.next)
    }
    // Positions go up with the offsets: from here on no entry is below the floor.
    if (cursor.batch !== undefined) place.floor = logPosition(0)
    this.#moved(cursor.alone[0])
  }

  #first(): Cursor | undefined {
    let first: Cursor | undefined
    let position = Number.POSITIVE_INFINITY
    for (const cursor of this.#active) {
      const at: LogPosition = deliveryAt(cursor).position
      if (at < position) {
        first = cursor
        position = at
      }
    }
    return first
  }

  #take(first: Cursor): void {
    this.delivery = deliveryAt(first)
    const { position } = this.delivery
    this.compared += this.#active.length
    this.matching = first.alone
    if (this.#active.length === 1) return
    const matching = this.#active.filter((cursor) => deliveryAt(cursor).position === position)
    if (matching.length > 1) this.matching = matching.map(({ alone }) => alone[0])
  }

  #forget(): void {
    this.delivery = undefined
    this.matching = NO_SUBSCRIPTIONS
  }
}

const deliveryAt = ({ batch, place }: Cursor): OutgoingMessage =>
  batch!.deliveries[place.next - batch!.start]!
