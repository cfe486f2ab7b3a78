// One queue that this gateway follows: it is read once for all sessions, and each message is handed
// to those that want it. A session that is behind has its own place read, from the cache or again.
import type { Clock } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { PullResult, QueueName, QueueRange } from '../../../model/message.ts'
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
/** A broker that says so long that it has less than was read of it has lost its newest messages. */
const LESS_MS = 10_000
/** What was verified is not doubted again within that time. */
const FRESH_MS = 1_000

export interface FollowParts {
  readonly broker: Broker
  readonly clock: Clock
  readonly audience: Audience<FollowedQueue>
  readonly cache: BatchCache
  readonly line: WorkLine
  /** Once for each time in which the queue cannot be read. */
  readonly failed: (error: unknown, topic: string) => void
  /** Its messages from the offset on are others than before: places behind it are of no use. */
  readonly restarted: (queue: FollowedQueue, from: QueueOffset) => void
  /** It is known which queue it is, after a time in which it was not. */
  readonly verified: (queue: FollowedQueue) => void
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
  /** How often its end was told. */
  #news = 0
  /** Being handed out, and the index of its next message. */
  #batch: QueueBatch | undefined
  #at = 0
  /** The last message that was handed out. */
  #last: OutgoingMessage | undefined
  #isReading = false
  #isFailing = false
  /** How often its topic was changed: each time it may have become another one of the same name. */
  #doubts = 0
  /** Of these, those after which it was seen which one it is. */
  #cleared = 0
  #clearedMs = Number.NEGATIVE_INFINITY
  /** Was it seen when it began, before a doubt came, or is it read from its beginning? */
  #isIdentified: boolean
  /** Since then its topic was seen not to exist. */
  #wasGone = false
  /** When it was first said to have less than was handed out, monotonic. */
  #lessMs: number | undefined
  /** `verified` is due. */
  #isUntold = false
  #isClosed = false
  #isBirthAsked = false
  /** Sessions that wait for a read at an offset. */
  readonly #loading = new Map<QueueOffset, Set<StreamReader>>()
  /** Sessions whose read waits until the queue can be read, and is known to be the one it was. */
  #stalled = new Set<StreamReader>()
  readonly #waits = new Set<Wait>()
  #sureWaits: (() => void)[] = []

  constructor(parts: FollowParts, { brokerName, topic, queueId }: QueueName, head: QueueOffset) {
    this.#parts = parts
    this.name = { brokerName, topic, queueId }
    this.head = head
    this.#maxOffset = head
    this.#isIdentified = head === 0
  }

  close(): void {
    this.#isClosed = true
    this.#batch = undefined
    this.#parts.cache.drop(this.#batches)
    this.#endWaits()
    this.#endSureWaits()
  }

  arrived(maxOffset: QueueOffset): void {
    this.#news++
    if (maxOffset === this.#maxOffset) return
    this.#maxOffset = maxOffset
    this.readOn()
  }

  /** Its topic was changed, or deleted and made again: nothing is read before that is known. */
  doubt(): void {
    this.#suspect()
    this.readOn()
  }

  #suspect(): void {
    this.#doubts++
    this.#isUntold = true
  }

  /** Settles when it is known which queue it is, or cannot be known now. */
  untilSure(): Promise<void> {
    if (!this.isBeingVerified) return Promise.resolve()
    return new Promise((resolve) => this.#sureWaits.push(resolve))
  }

  /** Reads its first message, unless retention took it. */
  async learnBirth(): Promise<void> {
    if (this.#isBirthKnown) return
    const doubts = this.#doubts
    const bornMs = await this.#storedMsAt(queueOffset(0))
    if (doubts !== this.#doubts) return
    this.bornMs ??= bornMs
    this.#isBirthAsked = true
    this.#isIdentified = true
  }

  /** Tries again what failed. */
  retry(): void {
    if (this.#isFailing) this.readOn()
  }

  readOn(): void {
    if (this.#isClosed || this.#isReading || this.#batch !== undefined) return
    if (this.isSure && this.head === this.#maxOffset) return
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

  /** Is it known which queue it is, and when it began? */
  get isKnown(): boolean {
    return this.isSure && this.#isBirthKnown
  }

  get isSure(): boolean {
    return !this.#isDoubted && !this.#isFailing
  }

  get isBeingVerified(): boolean {
    return this.#isDoubted && !this.#isFailing && !this.#isClosed
  }

  /** Was it seen just now? */
  get isFresh(): boolean {
    return this.#parts.clock.monotonic() - this.#clearedMs < FRESH_MS
  }

  get #isDoubted(): boolean {
    return this.#doubts !== this.#cleared
  }

  get #isBirthKnown(): boolean {
    return this.#isBirthAsked || this.bornMs !== undefined || this.knownEnd === 0
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
    if (!this.isSure) {
      this.#stalled.add(reader)
      if (this.#isFailing) reader.streamFailed()
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
        const isRead = await this.#load(offset)
        this.#loading.delete(offset)
        for (const one of readers) {
          if (isRead || this.isSure) one.streamMoved()
          else this.#stalled.add(one)
        }
      } catch (error) {
        this.#loading.delete(offset)
        for (const one of readers) this.#stalled.add(one)
        this.#fail(error)
      }
    })
  }

  /** False: it was doubted since, and what it says now may be of another queue. */
  async #load(offset: QueueOffset): Promise<boolean> {
    if (this.#isClosed || offset >= this.head) return true
    const doubts = this.#doubts
    const result = await this.#pull(offset, BATCH_MESSAGES_MAX)
    if (this.#isClosed) return true
    if (this.#isDoubted || doubts !== this.#doubts) return false
    if (result.nextOffset <= offset) {
      this.#suspect()
      throw this.#hasLess(result.maxOffset)
    }
    this.#keep(this.#batchOf(offset, result))
    return true
  }

  async #readHead(): Promise<void> {
    if (this.#isDoubted) await this.#verify()
    if (this.#isDoubted) return
    const [doubts, news] = [this.#doubts, this.#news]
    const from = this.head
    const result = await this.#pull(from, BATCH_MESSAGES_MAX)
    if (this.#isClosed || doubts !== this.#doubts) return
    // What was told since may be newer.
    if (news === this.#news || result.maxOffset > this.#maxOffset) {
      this.#maxOffset = result.maxOffset
    }
    if (result.nextOffset > from) {
      this.#batch = this.#batchOf(from, result)
      this.#at = 0
      this.#keep(this.#batch)
    } else if (result.maxOffset < from) this.#suspect()
  }

  #hasRead(error: unknown): void {
    this.#isReading = false
    if (this.#isClosed) return
    if (error !== undefined) {
      this.#fail(error)
      return
    }
    if (!this.#isDoubted) this.#tellSure()
    if (this.#batch !== undefined) this.#parts.line.handOut(this)
    else this.readOn()
  }

  #tellSure(): void {
    this.#isFailing = false
    if (this.#isUntold) {
      this.#isUntold = false
      this.#parts.verified(this)
    }
    this.#endSureWaits()
    if (this.#stalled.size === 0) return
    const stalled = this.#stalled
    this.#stalled = new Set()
    for (const reader of stalled) reader.streamMoved()
  }

  #fail(error: unknown): void {
    if (!this.#isFailing) this.#parts.failed(error, this.name.topic)
    this.#isFailing = true
    this.#isUntold = true
    this.#endSureWaits()
    for (const reader of this.#stalled) reader.streamFailed()
    this.#endWaits()
  }

  #endWaits(): void {
    for (const { reader } of this.#waits) reader.streamFailed()
    this.#waits.clear()
  }

  #endSureWaits(): void {
    const waits = this.#sureWaits
    this.#sureWaits = []
    for (const resolve of waits) resolve()
  }

  #tellWaits(): void {
    for (const wait of this.#waits) {
      if (wait.offset > this.head) continue
      this.#waits.delete(wait)
      this.#parts.line.wake(wait.reader)
    }
  }

  /** Learns which queue it is, and where it is read on. */
  async #verify(): Promise<void> {
    const { broker, clock } = this.#parts
    const doubts = this.#doubts
    // A pull from a topic that is no more may make it again.
    if ((await broker.topics.get(this.name.topic)) === undefined) {
      this.#wasGone = true
      throw new BrokerError('TOPIC_NOT_FOUND', `the topic '${this.name.topic}' does not exist`)
    }
    const range = await broker.cursors.range(this.name)
    const bornMs = range.maxOffset === 0 ? undefined : await this.#storedMsAt(queueOffset(0))
    const isOther = await this.#isOther(range, bornMs)
    const isLess = !isOther && range.maxOffset < this.head
    const since = isLess ? await this.#sinceLast(range, bornMs) : range.minOffset
    if (doubts !== this.#doubts) return
    this.#cleared = doubts
    this.#clearedMs = clock.monotonic()
    this.#wasGone = false
    this.#lessMs = undefined
    this.#maxOffset = range.maxOffset
    this.#isBirthAsked = range.maxOffset > 0
    this.#isIdentified = true
    this.bornMs = isOther ? bornMs : (bornMs ?? this.bornMs)
    if (isOther || isLess) this.#restart(since, isOther ? queueOffset(0) : since)
  }

  /** @param from where its messages are others than before */
  #restart(place: QueueOffset, from: QueueOffset): void {
    this.#parts.cache.drop(this.#batches)
    this.head = place
    this.#last = undefined
    this.#endWaits()
    this.#parts.restarted(this, from)
  }

  /**
   * Is it another queue than the one whose messages were handed out? Its first message tells, and
   * the last one that was. That it has less does not: a broker that has just begun may say so.
   */
  async #isOther(range: QueueRange, bornMs: number | undefined): Promise<boolean> {
    const isBornThen = bornMs !== undefined && bornMs === this.bornMs
    if (bornMs !== undefined && this.bornMs !== undefined && !isBornThen) return true
    const last = this.#last
    if (last !== undefined && last.offset >= range.minOffset && last.offset < range.maxOffset) {
      // It is not shown where it has expired.
      const storedMs = await this.#storedMsAt(last.offset)
      if (storedMs !== undefined) return storedMs !== last.storedMs
    }
    if (this.#wasGone && !isBornThen) return true
    if (!this.#isIdentified && last === undefined) return true
    if (range.maxOffset >= this.head) this.#lessMs = undefined
    else this.#checkLess(range.maxOffset)
    return false
  }

  /** @throws OFFSET_OUT_OF_RANGE unless it has been said for long */
  #checkLess(maxOffset: QueueOffset): void {
    const nowMs = this.#parts.clock.monotonic()
    this.#lessMs ??= nowMs
    if (nowMs - this.#lessMs < LESS_MS) throw this.#hasLess(maxOffset)
  }

  #hasLess(maxOffset: QueueOffset): BrokerError {
    const { topic, brokerName, queueId } = this.name
    return new BrokerError(
      'OFFSET_OUT_OF_RANGE',
      `queue ${queueId} of '${topic}' at '${brokerName}' is said to end at ${maxOffset}; it was ` +
        `read up to ${this.head}`,
    )
  }

  /** The first message that was stored since the last one that was handed out. */
  async #sinceLast(
    { minOffset, maxOffset }: QueueRange,
    bornMs: number | undefined,
  ): Promise<QueueOffset> {
    const last = this.#last
    if (last !== undefined) {
      return this.#parts.broker.cursors.byTime(this.name, last.storedMs, 'lower')
    }
    return bornMs !== undefined && bornMs === this.bornMs ? maxOffset : minOffset
  }

  /** undefined: no message is shown there. */
  async #storedMsAt(offset: QueueOffset): Promise<number | undefined> {
    const { records, count } = await this.#pull(offset, 1)
    if (count === 0) return undefined
    const record = new RecordView(records)
    return record.queueOffset === offset ? record.storeTimestamp : undefined
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
