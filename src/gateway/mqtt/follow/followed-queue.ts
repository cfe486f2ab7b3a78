// One queue that this gateway follows: it is read once for all sessions, and each message is handed
// to those that want it. A session that is behind has its own place read, from the cache or again.
import { BrokerError } from '../../../errors.ts'
import type { PullResult, QueueName } from '../../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'
import { RecordView, recordsOf } from '../../../model/record.ts'
import { EVERY_TAG } from '../../../model/tag-filter.ts'
import type { Broker } from '../../../port/broker.ts'
import type { StreamReader } from '../deliver/stream.ts'
import { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import type { Audience } from './audience.ts'
import type { BatchCache, QueueBatch, QueueBatches } from './batch-cache.ts'
import type { WorkLine } from './work-line.ts'

const BATCH_MESSAGES_MAX = 256
const BATCH_BYTES_MAX = 256 * 1024

export interface FollowParts {
  readonly broker: Broker
  readonly audience: Audience<FollowedQueue>
  readonly cache: BatchCache
  readonly line: WorkLine
  /** Once for each time in which the queue cannot be read. */
  readonly failed: (error: unknown, topic: string) => void
  /** The queue begins anew: places on it are of no use. */
  readonly restarted: (queue: FollowedQueue) => void
}

/** Told when a queue has got to an offset. */
interface Wait {
  readonly offset: QueueOffset
  readonly reader: StreamReader
}

export class FollowedQueue {
  readonly name: QueueName
  /** The next message that is handed out; sessions that keep up are here. */
  head: QueueOffset
  /** Store time of its first message, while that is known. */
  bornMs: number | undefined
  readonly #parts: FollowParts
  readonly #batches: QueueBatches = []
  #maxOffset: QueueOffset
  /** Being handed out, and the index of its next message. */
  #batch: QueueBatch | undefined
  #at = 0
  /** The last message that was handed out. */
  #last: OutgoingMessage | undefined
  #isReading = false
  #isFailing = false
  /** Its topic was changed: it may be another one of the same name. */
  #isDoubted = false
  #isVerifying = false
  #isClosed = false
  #isBirthAsked = false
  /** Sessions that wait for a read at an offset. */
  readonly #loading = new Map<QueueOffset, Set<StreamReader>>()
  /** Sessions whose read waits until the queue can be read. */
  #stalled = new Set<StreamReader>()
  readonly #waits = new Set<Wait>()

  constructor(parts: FollowParts, { brokerName, topic, queueId }: QueueName, head: QueueOffset) {
    this.#parts = parts
    this.name = { brokerName, topic, queueId }
    this.head = head
    this.#maxOffset = head
  }

  close(): void {
    this.#isClosed = true
    this.#batch = undefined
    this.#parts.cache.drop(this.#batches)
    for (const { reader } of this.#waits) reader.streamFailed()
    this.#waits.clear()
  }

  arrived(maxOffset: QueueOffset): void {
    if (maxOffset === this.#maxOffset) return
    this.#maxOffset = maxOffset
    this.readOn()
  }

  /** The topic was changed, or deleted and made again. */
  doubt(): void {
    this.#isDoubted = true
    this.readOn()
  }

  /** Reads its first message, unless retention took it. */
  async learnBirth(): Promise<void> {
    if (this.#isBirthAsked || this.bornMs !== undefined || this.knownEnd === 0) return
    this.#batchOf(queueOffset(0), await this.#pull(queueOffset(0), 1))
    this.#isBirthAsked = true
  }

  /** Tries again what failed. */
  retry(): void {
    if (this.#isFailing) this.readOn()
  }

  readOn(): void {
    if (this.#isClosed || this.#isReading || this.#batch !== undefined) return
    if (!this.#isDoubted && !this.#isFailing && this.head === this.#maxOffset) return
    this.#isReading = true
    this.#readHead().then(
      () => this.#hasRead(undefined),
      (error: unknown) => this.#hasRead(error),
    )
  }

  /** Hands out messages until so much work is done; answers how much it was. */
  handOut(workMax: number): number {
    const batch = this.#batch
    if (batch === undefined) return 0
    let work = 1
    while (this.#at < batch.deliveries.length && work < workMax) {
      const delivery = batch.deliveries[this.#at++]!
      work += 1 + this.#parts.audience.offer(this, delivery)
      this.#last = delivery
      this.head = queueOffset(delivery.offset + 1)
    }
    if (this.#at < batch.deliveries.length) return work
    this.head = batch.end
    this.#batch = undefined
    this.#tellWaits()
    this.readOn()
    return work
  }

  /** At least so much is there, as far as is known. */
  get knownEnd(): QueueOffset {
    return queueOffset(Math.max(this.head, this.#maxOffset))
  }

  /** Is it known to be the queue that it was? */
  get isSure(): boolean {
    return !this.#isDoubted && !this.#isVerifying && !this.#isFailing
  }

  get isHandedOut(): boolean {
    return this.#batch === undefined
  }

  /** Tells the reader when the queue has got there, unless it cannot be read. */
  whenAt(offset: QueueOffset, reader: StreamReader): boolean {
    if (this.#isFailing || this.#isClosed) return false
    if (this.head < offset) {
      this.#waits.add({ offset, reader })
      this.arrived(queueOffset(Math.max(offset, this.#maxOffset)))
    }
    return true
  }

  /** The cached batch with what is at the offset. */
  batchAt(offset: QueueOffset): QueueBatch | undefined {
    for (let i = this.#batches.length - 1; i >= 0; i--) {
      const batch = this.#batches[i]!
      if (offset >= batch.start && offset < batch.end) return batch
    }
    return undefined
  }

  /** Reads from the offset, which the queue has passed; the session is told when it is back. */
  load(offset: QueueOffset, reader: StreamReader): void {
    if (this.#isFailing) {
      this.#stalled.add(reader)
      reader.streamFailed()
      return
    }
    const waiting = this.#loading.get(offset)
    if (waiting !== undefined) {
      waiting.add(reader)
      return
    }
    const readers = new Set([reader])
    this.#loading.set(offset, readers)
    this.#parts.line.load(async () => {
      try {
        await this.#load(offset)
        this.#loading.delete(offset)
        for (const one of readers) one.streamMoved()
      } catch (error) {
        this.#loading.delete(offset)
        for (const one of readers) this.#stalled.add(one)
        this.#fail(error)
      }
    })
  }

  async #load(offset: QueueOffset): Promise<void> {
    if (this.#isClosed || offset >= this.head) return
    const result = await this.#pull(offset, BATCH_MESSAGES_MAX)
    if (this.#isClosed) return
    if (result.nextOffset <= offset) {
      // It has less than was handed out of it.
      this.doubt()
      this.#keep({ start: offset, end: this.head, deliveries: [], missed: 0, bytes: 0 })
    } else this.#keep(this.#batchOf(offset, result))
  }

  async #readHead(): Promise<void> {
    if (this.#isDoubted) {
      this.#isVerifying = true
      await this.#verify()
        .catch((error: unknown) => {
          this.#isDoubted = true
          throw error
        })
        .finally(() => {
          this.#isVerifying = false
        })
    }
    const from = this.head
    const result = await this.#pull(from, BATCH_MESSAGES_MAX)
    if (this.#isClosed) return
    this.#maxOffset = result.maxOffset
    if (result.nextOffset > from) {
      this.#batch = this.#batchOf(from, result)
      this.#at = 0
      this.#keep(this.#batch)
    } else if (result.maxOffset < from) this.#isDoubted = true
  }

  #hasRead(error: unknown): void {
    this.#isReading = false
    if (this.#isClosed) return
    if (error !== undefined) {
      this.#fail(error)
      return
    }
    if (this.#isFailing) {
      this.#isFailing = false
      const stalled = this.#stalled
      this.#stalled = new Set()
      for (const reader of stalled) reader.streamMoved()
    }
    if (this.#batch !== undefined) this.#parts.line.handOut(this)
    else this.readOn()
  }

  #fail(error: unknown): void {
    if (!this.#isFailing) this.#parts.failed(error, this.name.topic)
    this.#isFailing = true
    for (const reader of this.#stalled) reader.streamFailed()
    for (const { reader } of this.#waits) reader.streamFailed()
    this.#waits.clear()
  }

  #tellWaits(): void {
    for (const wait of this.#waits) {
      if (wait.offset > this.head) continue
      this.#waits.delete(wait)
      this.#parts.line.wake(wait.reader)
    }
  }

  /**
   * Is it the queue whose messages were handed out? Where its last one is not, nothing of it is:
   * all that was stored since then is new.
   */
  async #verify(): Promise<void> {
    const { broker } = this.#parts
    this.#isDoubted = false
    // A pull from a topic that is no more may make it again.
    if ((await broker.topics.get(this.name.topic)) === undefined) {
      throw new BrokerError('TOPIC_NOT_FOUND', `the topic '${this.name.topic}' does not exist`)
    }
    const last = this.#last
    const { minOffset, maxOffset } = await broker.cursors.range(this.name)
    let place = this.head
    if (last === undefined) {
      if (maxOffset < this.head) place = minOffset
    } else if (!(await this.#has(last))) {
      place = await broker.cursors.byTime(this.name, last.storedMs, 'lower')
    }
    this.#maxOffset = maxOffset
    if (place === this.head) return
    this.#parts.cache.drop(this.#batches)
    this.head = place
    this.#last = undefined
    this.bornMs = undefined
    this.#isBirthAsked = false
    this.#parts.restarted(this)
    await this.learnBirth()
  }

  async #has({ offset, storedMs }: OutgoingMessage): Promise<boolean> {
    const { records, count } = await this.#pull(offset, 1)
    if (count === 0) return false
    const record = new RecordView(records)
    return record.queueOffset === offset && record.storeTimestamp === storedMs
  }

  #pull(offset: QueueOffset, maxMessages: number): Promise<PullResult> {
    return this.#parts.broker.pull({
      ...this.name,
      ...{ offset, maxMessages, maxBytes: BATCH_BYTES_MAX, filter: EVERY_TAG, waitMs: 0 },
    })
  }

  #batchOf(
    start: QueueOffset,
    { status, records, count, nextOffset: end }: PullResult,
  ): QueueBatch {
    const deliveries: OutgoingMessage[] = []
    if (count > 0) {
      for (const record of recordsOf(records)) {
        deliveries.push(new OutgoingMessage(records, record.start, this.name.brokerName))
      }
    }
    const [first] = deliveries
    if (first?.offset === 0) this.bornMs ??= first.storedMs
    const missed = status === 'moved' ? end - start : 0
    return { start, end, deliveries, missed, bytes: records.length }
  }

  #keep(batch: QueueBatch): void {
    this.#parts.cache.add(batch, this.#batches)
  }
}
