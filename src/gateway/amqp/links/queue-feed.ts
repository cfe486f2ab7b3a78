// Messages read by position from some queues of a topic: broadcast, replay and browsing. Nothing is
// kept for the reader in the broker; the cursors live and die with the link.

import type { QueueName } from '../../../model/message.ts'
import type { MessageFilter } from '../../../model/message-filter.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { PROPERTY } from '../../../model/properties.ts'
import { type RecordView, recordsOf } from '../../../model/record.ts'
import { originalTopic } from '../../../model/routing-name.ts'
import type { Feed, FeedItem } from './feed.ts'
import type { Peer } from './link.ts'

/** Of the feed's topic, or of the retry topic of the group that is browsed. */
export interface QueueCursor extends QueueName {
  /** To be read before `offset`, ascending. */
  readonly waiting: QueueOffset[]
  offset: QueueOffset
  /** False when everything up to the last known end was read. */
  mayHaveMore: boolean
}

export class QueueFeed implements Feed {
  readonly lockMs = undefined
  readonly consumes = []
  readonly #peer: Peer
  readonly #topic: string
  readonly #filter: MessageFilter
  readonly #cursors: QueueCursor[]
  /** Queues that the topic gets later are read too; not when one queue was asked for. */
  readonly #takesNewQueues: boolean
  readonly #watch: Disposable
  #next = 0
  #wake: (() => void) | undefined

  constructor(
    peer: Peer,
    source: {
      topic: string
      filter: MessageFilter
      cursors: QueueCursor[]
      takesNewQueues: boolean
    },
  ) {
    this.#peer = peer
    this.#topic = source.topic
    this.#filter = source.filter
    this.#cursors = source.cursors
    this.#takesNewQueues = source.takesNewQueues
    this.#watch = peer.broker.watch(source.topic, (brokerName, queueId) =>
      this.#arrived({ topic: source.topic, brokerName, queueId }),
    )
  }

  #arrived(queue: QueueName): void {
    const cursor = this.#cursors.find((one) => isSame(one, queue))
    if (cursor !== undefined) cursor.mayHaveMore = true
    else if (this.#takesNewQueues) {
      this.#cursors.push({ ...queue, waiting: [], offset: queueOffset(0), mayHaveMore: true })
    } else return
    this.#wake?.()
  }

  async read(max: number, waitMs: number, signal: AbortSignal): Promise<readonly FeedItem[]> {
    const items = await this.#readNow(max, signal)
    if (items.length > 0 || waitMs === 0 || signal.aborted) return items
    await this.#arrival(waitMs, signal)
    return signal.aborted ? [] : this.#readNow(max, signal)
  }

  /** Queue after queue, beginning with the one after the last read, until it is enough. */
  async #readNow(max: number, signal: AbortSignal): Promise<FeedItem[]> {
    const items: FeedItem[] = []
    let bytes = 0
    const bytesMax = this.#peer.readBytesMax
    const isEnough = (): boolean => items.length >= max || bytes >= bytesMax || signal.aborted
    for (let tried = 0; tried < this.#cursors.length && !isEnough(); tried++) {
      const cursor = this.#cursors[this.#next++ % this.#cursors.length]!
      while (cursor.mayHaveMore && !isEnough()) {
        try {
          const given = await this.#pull(cursor, max - items.length, bytesMax - bytes, items)
          bytes += given
          // There may be many more that the reader does not select.
          if (given === 0 && cursor.mayHaveMore) await nextTurn()
        } catch (error) {
          cursor.mayHaveMore = true
          // The cursors of the other queues are behind what they gave; the failure comes up again.
          if (items.length === 0) throw error
          return items
        }
      }
    }
    return items
  }

  /** Answers how many bytes were read, 0 when nothing of them is for the reader. */
  async #pull(
    cursor: QueueCursor,
    max: number,
    maxBytes: number,
    into: FeedItem[],
  ): Promise<number> {
    cursor.mayHaveMore = false
    const run = runOf(cursor.waiting, max)
    const from = run > 0 ? cursor.waiting[0]! : cursor.offset
    const result = await this.#peer.broker.pull({
      topic: cursor.topic,
      brokerName: cursor.brokerName,
      queueId: cursor.queueId,
      offset: from,
      maxMessages: run > 0 ? run : max,
      maxBytes,
      filter: this.#filter,
      waitMs: 0,
    })
    if (run > 0) {
      const read = cursor.waiting.findIndex((offset) => offset >= result.nextOffset)
      cursor.waiting.splice(0, Math.max(1, Math.min(run, read === -1 ? run : read)))
      cursor.mayHaveMore = true
    } else {
      cursor.offset = result.nextOffset
      cursor.mayHaveMore = result.status !== 'at-end' && result.nextOffset < result.maxOffset
    }
    const had = into.length
    for (const record of recordsOf(result.records)) {
      // With a filter a read goes on behind the run, where other messages stand.
      if (run > 0 && record.queueOffset >= from + run) break
      if (cursor.topic !== this.#topic && sourceOf(record) !== this.#topic) continue
      const attempt = record.reconsumeTimes + 1
      into.push({ record: bytesOf(record), attempt, receipt: undefined, note: undefined })
    }
    return into.length > had ? result.records.length : 0
  }

  #arrival(waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        signal.removeEventListener('abort', done)
        this.#wake = undefined
        resolve()
      }
      const timer = this.#peer.clock.after(waitMs, done)
      signal.addEventListener('abort', done)
      this.#wake = done
      if (this.#cursors.some((cursor) => cursor.mayHaveMore)) done()
    })
  }

  /** A reader by position has no group whose offset a settlement could move. */
  async settle(): Promise<void> {}

  async giveBack(): Promise<void> {}

  close(): void {
    this.#watch[Symbol.dispose]()
  }
}

const isSame = (one: QueueName, other: QueueName): boolean =>
  one.queueId === other.queueId && one.brokerName === other.brokerName && one.topic === other.topic

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** How many of the first offsets, `max` at most, stand without a gap. */
function runOf(waiting: readonly QueueOffset[], max: number): number {
  let run = 0
  while (run < max && run < waiting.length && waiting[run] === waiting[0]! + run) run++
  return run
}

const bytesOf = ({ bytes, start, size }: RecordView): Buffer => bytes.subarray(start, start + size)

/** The topic whose consumers a retry belongs to. */
const sourceOf = (record: RecordView): string =>
  record.property(PROPERTY.receivedFrom) ?? originalTopic(record)
