// A session's ordinary subscriptions as one stream in log order: a k-way merge of its light queues by
// position. The same position in several queues is one message with several matching subscriptions.
//
// A message may go out only once no other queue can still bring an earlier one: every other queue either
// shows its next message, or was seen empty by a read asked for after this message had been read.
import {
  type LogPosition,
  logPosition,
  type QueueOffset,
  queueOffset,
} from '../../model/positions.ts'
import type { Delivery } from './delivery.ts'
import type { Batch, Feed, FeedReader, Feeds } from './light-feed.ts'
import type { Subscription } from './subscriptions.ts'

interface Cursor {
  readonly subscription: Subscription
  readonly feed: Feed
  /** Next entry of the queue. */
  offset: QueueOffset
  batch: Batch | undefined
}

export type MergeState =
  /** `delivery` and `matching` hold the next message. */
  | 'ready'
  /** Reads are under way; the reader is told. */
  | 'reading'
  /** Nothing there. */
  | 'idle'

export class Merge {
  /** The next message after `next()` answered 'ready'; valid until `advance`. */
  delivery: Delivery | undefined
  readonly matching: Subscription[] = []
  /** Entries that retention took before they were read. */
  missed = 0
  readonly #feeds: Feeds
  readonly #reader: FeedReader
  readonly #cursors = new Map<string, Cursor>()
  /** Every cursor without a message at hand was seen empty by reads asked for at this tick or later. */
  #emptyTick = 0

  constructor(feeds: Feeds, reader: FeedReader) {
    this.#feeds = feeds
    this.#reader = reader
  }

  get size(): number {
    return this.#cursors.size
  }

  add(subscription: Subscription, offset: QueueOffset): void {
    const feed = this.#feeds.open(subscription.queue, this.#reader)
    this.#cursors.set(subscription.text, { subscription, feed, offset, batch: undefined })
    this.#emptyTick = 0
    this.#forget()
  }

  /** Other options for a filter that goes on where it is. */
  replace(subscription: Subscription): void {
    const cursor = this.#cursors.get(subscription.text)
    if (cursor === undefined) return
    this.#cursors.set(subscription.text, { ...cursor, subscription })
    this.#forget()
  }

  remove(text: string): void {
    const cursor = this.#cursors.get(text)
    if (cursor === undefined) return
    this.#cursors.delete(text)
    this.#closeFeed(cursor.feed)
    this.#forget()
  }

  close(): void {
    const feeds = new Set([...this.#cursors.values()].map(({ feed }) => feed))
    this.#cursors.clear()
    for (const feed of feeds) this.#feeds.close(feed, this.#reader)
    this.#forget()
  }

  /** Finds the next message. Stays 'ready' with the same one until `advance`. */
  next(): MergeState {
    if (this.delivery !== undefined) return 'ready'
    let first: Cursor | undefined
    let isReading = false
    let hasEmpty = false
    for (const cursor of this.#cursors.values()) {
      const batch = this.#batchOf(cursor)
      if (batch === undefined) {
        if (cursor.feed.isEmptySince(cursor.offset, this.#emptyTick)) {
          hasEmpty = true
        } else {
          cursor.feed.load(cursor.offset)
          isReading = true
        }
      } else if (first === undefined || positionAt(cursor) < positionAt(first)) {
        first = cursor
      }
    }
    if (isReading) return 'reading'
    if (first === undefined) return 'idle'
    if (hasEmpty && this.#emptyTick < first.batch!.readAt) {
      this.#emptyTick = first.batch!.readAt
      return this.next()
    }
    this.#take(first)
    return 'ready'
  }

  /** The message is dealt with. */
  advance(): void {
    const position = this.delivery?.position
    this.#forget()
    if (position === undefined) return
    for (const cursor of this.#cursors.values()) {
      if (cursor.batch !== undefined && positionAt(cursor) === position) {
        cursor.offset = queueOffset(cursor.offset + 1)
        if (cursor.offset >= cursor.batch.end) cursor.batch = undefined
      }
    }
  }

  /** While nothing can be sent no batch is held: the feeds' cache, or the log, has it. */
  release(): void {
    this.#forget()
    for (const cursor of this.#cursors.values()) cursor.batch = undefined
  }

  #take(first: Cursor): void {
    const position = positionAt(first)
    this.delivery = deliveryAt(first)
    for (const cursor of this.#cursors.values()) {
      if (cursor.batch !== undefined && positionAt(cursor) === position) {
        this.matching.push(cursor.subscription)
      }
    }
  }

  #batchOf(cursor: Cursor): Batch | undefined {
    if (cursor.batch !== undefined) return cursor.batch
    const moved = cursor.feed.movedFrom(cursor.offset)
    if (moved !== undefined) {
      this.missed += Math.max(0, moved - cursor.offset)
      cursor.offset = moved
    }
    cursor.batch = cursor.feed.batchAt(cursor.offset)
    return cursor.batch
  }

  #forget(): void {
    this.delivery = undefined
    this.matching.length = 0
  }

  #closeFeed(feed: Feed): void {
    for (const cursor of this.#cursors.values()) if (cursor.feed === feed) return
    this.#feeds.close(feed, this.#reader)
  }
}

const deliveryAt = (cursor: Cursor): Delivery =>
  cursor.batch!.deliveries[cursor.offset - cursor.batch!.start]!

const positionAt = (cursor: Cursor): LogPosition =>
  cursor.batch === undefined ? logPosition(Number.POSITIVE_INFINITY) : deliveryAt(cursor).position
