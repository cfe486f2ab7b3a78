// Reads light queues for all sessions of this gateway: sessions at the same place share one read
// and one decoded batch. Keeps recent batches within a budget of bytes; a session that falls behind
// reads again from its own place, so that a slow one costs no memory.
import type { PullResult, QueueName } from '../../../model/message.ts'
import { type LogPosition, type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { recordsOf } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import type { Broker } from '../../../port/broker.ts'
import { OutgoingMessage } from '../outgoing/outgoing-message.ts'

const BATCH_MESSAGES_MAX = 256
const BATCH_BYTES_MAX = 256 * 1024
const CACHE_BYTES_MAX = 32 * 1024 * 1024
/** Batches of one feed beyond this are dropped oldest first. */
const BATCHES_PER_FEED_MAX = 16

/** Records that one turn of the event loop reads and decodes for all feeds. */
export const TURN_RECORDS_MAX = 2_048
/** A read costs the turn as much as so many records, whatever it brings. */
export const READ_RECORDS = 7

/**
 * Readers that are told in one turn of feeds that many sessions read: each writes what there is for
 * its client at the end of that turn.
 */
export const TURN_TOLD_MAX = 256
/** A feed with so few readers is not counted. */
const FEW_READERS = 8

/** With fewer reads in a turn none looks for what another one has decoded. */
const READS_ALONE = 8

/** Back-to-back messages of one light queue. */
export interface FeedBatch {
  readonly start: QueueOffset
  readonly deliveries: readonly OutgoingMessage[]
  readonly end: QueueOffset
  readonly bytes: number
  /** When the read came back, on the scale of `Feeds.tick`. */
  readonly readAt: number
}

/** Told what happens to a feed. Must not throw. */
export interface LightFeedReader {
  /** A read came back, or something arrived. */
  feedMoved(feed: LightFeed): void
  /** A read failed; it is tried again a little later. */
  feedFailed(feed: LightFeed): void
}

interface Untold {
  readonly feed: LightFeed
  readonly readers: readonly LightFeedReader[]
  at: number
}

export class LightFeeds {
  readonly broker: Broker
  readonly #failed: (error: unknown, topic: string) => void
  readonly #feeds = new Map<string, LightFeed>()
  /** Cached batches, oldest first. */
  readonly #cached = new Map<FeedBatch, LightFeed>()
  readonly #failing = new Set<LightFeed>()
  #cachedBytes = 0
  #tick = 0
  /** Records that the reads of this turn brought, or may bring. */
  #records = 0
  /** Reads for later turns, from `#at` on. */
  #line: { readonly recordsMax: number; readonly read: () => void }[] = []
  #at = 0
  #isTurnCounted = false
  #reads = 0
  #told = 0
  /** Readers to be told in later turns. */
  #untold: Untold[] = []
  /**
   * What this turn decoded since it reads many feeds, by broker and position, as feeds of one
   * broker may well bring the same records.
   */
  readonly #decoded = new Map<string, Map<LogPosition, OutgoingMessage>>()

  constructor(broker: Broker, failed: (error: unknown, topic: string) => void) {
    this.broker = broker
    this.#failed = failed
  }

  /** Orders reads by when they were asked for and when they came back. */
  tick(): number {
    return ++this.#tick
  }

  /** Calls `read`, which brings at most so many records, in this turn or a later one, in order. */
  inTurn(recordsMax: number, read: () => void): void {
    if (this.#line.length > 0 || this.#records >= TURN_RECORDS_MAX) {
      this.#line.push({ recordsMax, read })
      return
    }
    this.#count(recordsMax)
    read()
  }

  /** A read brought so many fewer. */
  broughtLess(records: number): void {
    this.#records = Math.max(0, this.#records - records)
  }

  /** The records of one read, each decoded once a turn for all feeds that bring it. */
  deliveries(records: Buffer, brokerName: string): readonly OutgoingMessage[] {
    const deliveries: OutgoingMessage[] = []
    const decoded = this.#decodedOf(brokerName)
    for (const { start, position } of recordsOf(records)) {
      const delivery = decoded?.get(position) ?? new OutgoingMessage(records, start, brokerName)
      decoded?.set(position, delivery)
      deliveries.push(delivery)
    }
    return deliveries
  }

  #decodedOf(brokerName: string): Map<LogPosition, OutgoingMessage> | undefined {
    if (this.#reads < READS_ALONE) return undefined
    let decoded = this.#decoded.get(brokerName)
    if (decoded === undefined) {
      decoded = new Map()
      this.#decoded.set(brokerName, decoded)
    }
    return decoded
  }

  /** Something happened to the feed: its readers are told, where there are many over some turns. */
  tell(feed: LightFeed): void {
    const { size } = feed.readers
    if (size <= FEW_READERS) {
      for (const reader of feed.readers) reader.feedMoved(feed)
      return
    }
    // Those that are told later see what there is by then.
    if (feed.isUntold) return
    feed.isUntold = true
    this.#untold.push({ feed, readers: [...feed.readers], at: 0 })
    if (this.#untold.length === 1) this.#tellOn()
    this.#countTurn()
  }

  #tellOn(): void {
    for (let first = this.#untold[0]; first !== undefined; first = this.#untold[0]) {
      const { feed, readers } = first
      while (first.at < readers.length) {
        if (this.#told >= TURN_TOLD_MAX) return
        feed.isUntold = false
        const reader = readers[first.at++]!
        if (!feed.readers.has(reader)) continue
        this.#told++
        reader.feedMoved(feed)
      }
      this.#untold.shift()
    }
  }

  #count(records: number): void {
    this.#reads++
    this.#records += records + READ_RECORDS
    this.#countTurn()
  }

  #countTurn(): void {
    if (this.#isTurnCounted) return
    this.#isTurnCounted = true
    setImmediate(() => this.#endTurn())
  }

  #endTurn(): void {
    this.#isTurnCounted = false
    this.#reads = 0
    this.#records = 0
    this.#told = 0
    this.#decoded.clear()
    if (this.#untold.length > 0) {
      this.#countTurn()
      this.#tellOn()
    }
    // Read in place: every filter of a session may wait here, and each turn takes a few.
    while (this.#at < this.#line.length && this.#records < TURN_RECORDS_MAX) {
      const { recordsMax, read } = this.#line[this.#at++]!
      this.#count(recordsMax)
      read()
    }
    if (this.#at === 0 || this.#at < this.#line.length / 2) return
    this.#line = this.#line.slice(this.#at)
    this.#at = 0
  }

  find(queue: QueueName): LightFeed | undefined {
    return this.#feeds.get(keyOf(queue))
  }

  open(queue: QueueName, reader: LightFeedReader): LightFeed {
    const key = keyOf(queue)
    let feed = this.#feeds.get(key)
    if (feed === undefined) {
      feed = new LightFeed(this, queue)
      this.#feeds.set(key, feed)
    }
    feed.readers.add(reader)
    return feed
  }

  close(feed: LightFeed, reader: LightFeedReader): void {
    feed.readers.delete(reader)
    if (feed.readers.size > 0) return
    feed.dispose()
    this.#feeds.delete(keyOf(feed.queue))
    this.#failing.delete(feed)
    for (const batch of feed.batches) this.#uncache(batch)
  }

  /** Readers whose last read failed try again. */
  retry(): void {
    for (const feed of this.#failing) this.tell(feed)
    this.#failing.clear()
  }

  cache(feed: LightFeed, batch: FeedBatch): void {
    if (feed.batches.length >= BATCHES_PER_FEED_MAX) this.#uncache(feed.batches.shift()!)
    feed.batches.push(batch)
    this.#cached.set(batch, feed)
    this.#cachedBytes += batch.bytes
    for (const [oldest, owner] of this.#cached) {
      if (this.#cachedBytes <= CACHE_BYTES_MAX) break
      owner.batches.splice(owner.batches.indexOf(oldest), 1)
      this.#uncache(oldest)
    }
  }

  failed(feed: LightFeed, error: unknown): void {
    this.#failing.add(feed)
    this.#failed(error, feed.queue.topic)
    for (const reader of feed.readers) reader.feedFailed(feed)
  }

  #uncache(batch: FeedBatch): void {
    if (this.#cached.delete(batch)) this.#cachedBytes -= batch.bytes
  }
}

export class LightFeed {
  readonly queue: QueueName
  readonly readers = new Set<LightFeedReader>()
  readonly batches: FeedBatch[] = []
  /** All of its readers are to be told. */
  isUntold = false
  readonly #feeds: LightFeeds
  readonly #watch: Disposable
  /** Reads under way, by their offset. */
  readonly #reading = new Set<QueueOffset>()
  /** Offset of the next message that will come, as far as known. */
  #maxOffset = queueOffset(0)
  /** At `#emptyAt` nothing was there, as of a read asked for at `#emptyTick`. */
  #emptyAt = queueOffset(-1)
  #emptyTick = 0
  /** Offsets below the first retained one lead here. */
  #moved: { from: QueueOffset; to: QueueOffset } | undefined

  constructor(feeds: LightFeeds, { brokerName, topic, queueId }: QueueName) {
    this.#feeds = feeds
    this.queue = { brokerName, topic, queueId }
    this.#watch = feeds.broker.watch(topic, (arrivedAt, arrivedId, maxOffset) => {
      if (arrivedId !== queueId || arrivedAt !== brokerName) return
      if (maxOffset > this.#maxOffset) this.#maxOffset = maxOffset
      feeds.tell(this)
    })
  }

  dispose(): void {
    this.#watch[Symbol.dispose]()
  }

  /** The cached batch with the message at the offset. */
  batchAt(offset: QueueOffset): FeedBatch | undefined {
    for (let i = this.batches.length - 1; i >= 0; i--) {
      const batch = this.batches[i]!
      if (offset >= batch.start && offset < batch.end) return batch
    }
    return undefined
  }

  /** Was the queue seen to end at the offset, by a read asked for at `tick` or later? */
  isEmptySince(offset: QueueOffset, tick: number): boolean {
    return offset === this.#emptyAt && this.#emptyTick >= tick && offset >= this.#maxOffset
  }

  /** Where to go on when the offset is not retained any more. */
  movedFrom(offset: QueueOffset): QueueOffset | undefined {
    return this.#moved?.from === offset ? this.#moved.to : undefined
  }

  /** Reads from the offset; readers are told when it is back. Once per offset at a time. */
  load(offset: QueueOffset): void {
    if (this.#reading.has(offset)) return
    this.#reading.add(offset)
    const known = this.#maxOffset - offset
    const recordsMax = known > 0 ? Math.min(known, BATCH_MESSAGES_MAX) : BATCH_MESSAGES_MAX
    this.#feeds.inTurn(recordsMax, () => this.#read(offset, recordsMax))
  }

  #read(offset: QueueOffset, recordsMax: number): void {
    // Closed while it waited for its turn.
    if (this.readers.size === 0) return
    const tick = this.#feeds.tick()
    const request = {
      ...this.queue,
      offset,
      maxMessages: BATCH_MESSAGES_MAX,
      maxBytes: BATCH_BYTES_MAX,
      filter: EVERY_TAG,
      waitMs: 0,
    }
    this.#feeds.broker.pull(request).then(
      (result) => {
        this.#reading.delete(offset)
        this.#feeds.broughtLess(recordsMax - result.count)
        if (result.maxOffset > this.#maxOffset) this.#maxOffset = result.maxOffset
        if (result.count > 0) this.#found(offset, result)
        else if (result.nextOffset !== offset) this.#moved = { from: offset, to: result.nextOffset }
        if (result.nextOffset >= result.maxOffset) this.#isEmpty(result.nextOffset, tick)
        this.#feeds.tell(this)
      },
      (error: unknown) => {
        this.#reading.delete(offset)
        this.#feeds.failed(this, error)
      },
    )
  }

  #found(offset: QueueOffset, { records, count, nextOffset: end }: PullResult): void {
    const deliveries = this.#feeds.deliveries(records, this.queue.brokerName)
    const start = queueOffset(end - count)
    // Damage took some of them: readers at `offset` go on at `start`.
    if (start !== offset) this.#moved = { from: offset, to: start }
    const batch = {
      start,
      deliveries,
      end,
      bytes: records.length,
      readAt: this.#feeds.tick(),
    }
    this.#feeds.cache(this, batch)
  }

  #isEmpty(offset: QueueOffset, tick: number): void {
    this.#emptyAt = offset
    this.#emptyTick = tick
  }
}

/** A line feed is in no broker's name. */
const keyOf = ({ brokerName, topic, queueId }: QueueName): string =>
  `${brokerName}\n${queueId}\n${topic}`
