// Hands out messages of one topic to one group's consumers: what is ready again or new, on the
// topic's queues and on the group's retry topic, in turn over the queues. Everything happens at
// once from memory; what must be loaded from the disk is announced by the reader and asked for
// again.
import type { Clock } from '../../clock.ts'
import { getI32 } from '../../model/bytes.ts'
import { isExpired } from '../../model/expiry.ts'
import { ANY_QUEUE, type PopRequest, type ReceivedMessage } from '../../model/message.ts'
import {
  type MessageFilter,
  recordsInTimeOf,
  selects,
  selectsAll,
} from '../../model/message-filter.ts'
import { type QueueOffset, queueOffset } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import type { GivenCounts } from '../../numbers/given-counts.ts'
import type { Counter } from '../../numbers/numbers.ts'
import type { BrokerOptions } from '../options.ts'
import type { GroupQueue } from './held/group-queue.ts'
import { type Entry, type Holder, OWNER_UNKNOWN } from './held/unsettled.ts'
import type { QueueReader } from './queue-reader.ts'
import type { SearchLine } from './search-line.ts'

export interface HandoutRequest extends PopRequest {
  /** Its deliveries go by names. */
  readonly isPop?: boolean | undefined
}

export interface Source {
  readonly queue: GroupQueue
  readonly reader: QueueReader
}

/** Of all groups together. */
export interface ReceiveCounts {
  readonly messages: Counter
  readonly found: Counter
  readonly given: GivenCounts
  readonly expired: Counter
  /** Receives that wait now. */
  waiting: number
}

/** The group, as handing out needs it. */
export interface HandoutGroup {
  readonly name: string
  readonly clock: Clock
  readonly searches: SearchLine
  readonly options: BrokerOptions
  readonly counts: ReceiveCounts
  nextSerial(): number
  /** The consumer of this id. */
  holder(id: string): Holder
  /** The queues of a topic and of the group's retry topic. */
  sources(topic: string): readonly Source[]
  /** Are the topic's queues read from the highest down? */
  isByPriority(topic: string): boolean
  /** Where a message of the retry topic belongs; undefined = nowhere any longer. */
  ownerOf(record: RecordView): string | undefined
  /** Something is ready for the consumers of this topic. */
  wake(topic: string): void
  /** The queue's place changed and is not durable yet. */
  moved(queue: GroupQueue): void
  /** A delivery has a deadline now. */
  expects(queue: GroupQueue): void
  /** The message has expired; it goes where the broker is told to send such. */
  expired(queue: GroupQueue, entry: Entry): void
}

/**
 * Entries that one receive looks through for what its filter wants; then the event loop has its
 * turn. An entry that is not in memory costs about a microsecond.
 */
const LOOKED_THROUGH_MAX = 16_384
/** So many bytes that a condition looks through count as one more record. */
const LOOKED_BYTES_PER_RECORD = 512

export class Handout {
  readonly topic: string
  #filter: MessageFilter
  /** Each consumer has a filter of its own, and what it does not select stays for the others. */
  #leavesRest = false
  readonly #group: HandoutGroup
  #turn = 0
  /** The other consumers are about to be told of messages that were left for them. */
  #isOffering = false
  #isSearching = false

  constructor(group: HandoutGroup, topic: string, filter: MessageFilter) {
    this.#group = group
    this.topic = topic
    this.#filter = filter
  }

  get filter(): MessageFilter {
    return this.#filter
  }

  get leavesRest(): boolean {
    return this.#leavesRest
  }

  /** Messages that the filter before left out may be wanted now. */
  change(filter: MessageFilter, leavesRest: boolean): void {
    this.#filter = filter
    this.#leavesRest = leavesRest
    for (const { queue } of this.#sources) queue.offerAgain(this.topic)
  }

  /** Is something on its way from the disk? */
  get isLoading(): boolean {
    return this.#sources.some(({ reader }) => reader.isLoading)
  }

  /** Did the last look end before everything was looked through? It goes on by itself. */
  get isSearching(): boolean {
    return this.#isSearching && this.hasMore
  }

  /** Are messages with consumers? */
  get isBusy(): boolean {
    return this.#sources.some(({ queue }) => !queue.isRetry && queue.isBusy)
  }

  /** Could there be something to hand out? Cheap, and wrong only by what filters leave out. */
  get hasMore(): boolean {
    return this.#sources.some(
      ({ queue }) =>
        queue.next < queue.maxOffset ||
        queue.hasReady(this.topic) ||
        (queue.isRetry && queue.hasReady(OWNER_UNKNOWN)),
    )
  }

  /** Are there messages that some consumers may have and others not? */
  get hasAside(): boolean {
    return this.#sources.some(({ queue }) => queue.hasAside)
  }

  /** Estimate of how many. */
  get available(): number {
    let count = 0
    for (const { queue } of this.#sources) count += queue.availableCount
    return count
  }

  /** Drops the records loaded from the disk: no receive waits for them any longer. */
  dropLoaded(): void {
    for (const { reader } of this.#sources) reader.drop()
  }

  collect(request: HandoutRequest, maxMessages: number): ReceivedMessage[] {
    const sources = this.#sources
    if (request.mayRepeat === true && request.ordered) {
      for (const { queue } of sources) queue.reclaim(request.memberId)
    }
    const holder = this.#group.holder(request.memberId)
    const deadlineMs = this.#group.clock.monotonic() + request.invisibleMs
    const taking = new Taking(request, holder, maxMessages, this.#popTime(request), deadlineMs)
    const isByPriority = !request.ordered && this.#group.isByPriority(this.topic)
    const start = isByPriority ? 0 : this.#turn % Math.max(1, sources.length)
    const bytesLeft = this.#bytesLeft
    for (let i = 0; i < sources.length && taking.hasRoom && taking.maySearch; i++) {
      const source = (isByPriority ? highestFirst : inTurn)(sources, start + i)
      const { queue } = source
      const isAsked =
        request.queueId === ANY_QUEUE || queue.isRetry || queue.cursor.queueId === request.queueId
      // What is on its way from the disk is not overtaken by a lower priority.
      if (isByPriority && isAsked && source.reader.isLoading) break
      if (!isAsked || source.reader.isLoading || taking.bytes >= bytesLeft) continue
      try {
        this.#takeReady(source, taking)
        this.#takeNew(source, taking)
        // This receive takes what is being loaded for it; no receive waits for further loads.
        if (source.reader.isLoading && taking.messages.length === 0) break
      } catch (error) {
        // Messages taken from other queues are delivered first; the next receive meets the error
        // again.
        if (taking.messages.length === 0) throw error
        break
      }
    }
    this.#isSearching = !taking.maySearch
    if (this.#isSearching) setImmediate(() => this.#group.wake(this.topic))
    // Only then, so that a receive comes back to the queue that was loaded for it.
    if (taking.messages.length > 0 || this.#isSearching) this.#turn++
    if (taking.messages.length > 0) {
      this.#group.counts.messages.value += taking.messages.length
      this.#group.counts.found.value++
      this.#group.counts.given.add(this.#group.name, this.topic, taking.messages.length)
    }
    return taking.messages
  }

  /** As the clock has it, but later than what any of these messages was popped at before. */
  #popTime(request: HandoutRequest): number {
    if (request.isPop !== true) return 0
    let poppedAt = this.#group.clock.now()
    for (const { queue } of this.#sources) poppedAt = Math.max(poppedAt, queue.popFloorMs)
    return poppedAt
  }

  get #sources(): readonly Source[] {
    return this.#group.sources(this.topic)
  }

  /** The bytes that consumers may be given beyond those in flight. */
  get #bytesLeft(): number {
    let left = this.#group.options.inFlightBytesMax
    for (const { queue } of this.#sources) left -= queue.inFlightBytes
    return left
  }

  #takeReady({ queue, reader }: Source, taking: Taking): void {
    const { ordered } = taking.request
    while (taking.hasRoom && taking.maySearch && !(ordered && queue.isBlocked)) {
      const entry =
        this.#firstReady(queue, taking) ??
        (queue.isRetry ? queue.firstReady(OWNER_UNKNOWN) : undefined)
      if (entry === undefined) return
      // In order, a message that this consumer may not have holds up those behind it.
      const isOvertaking = ordered && entry !== queue.firstReady(entry.owner)
      if (isOvertaking && !this.#leavesRest) return
      const result = reader.read(entry.offset, 1, taking.bytesLeft, undefined)
      if (result === undefined) return
      if (result.status !== 'found' || result.offsets[0] !== entry.offset) {
        // Retention took the record: there is nothing left to deliver.
        queue.forget(entry)
        this.#group.moved(queue)
        continue
      }
      if (entry.size === 0) this.#meet(queue, entry, new RecordView(result.records))
      if (entry.owner !== this.topic) continue
      const record = new RecordView(result.records)
      if (!this.#isToDeliver(queue, entry, record, taking)) {
        taking.look(1, entry.size)
        continue
      }
      if (!this.#deliver(queue, entry, result.records.subarray(0, record.size), taking)) return
    }
  }

  #firstReady(queue: GroupQueue, { request, isSelecting }: Taking): Entry | undefined {
    const { memberId, filter } = request
    return this.#leavesRest && isSelecting
      ? queue.firstUnseen(this.topic, memberId, filter.expression)
      : queue.firstReady(this.topic, memberId)
  }

  /** False for one that has expired, or that the consumer does not select: it is seen to. */
  #isToDeliver(queue: GroupQueue, entry: Entry, record: RecordView, taking: Taking): boolean {
    const isWanted = this.#isWanted(record, taking)
    // What is left for other consumers would be left for ever.
    if ((isWanted || this.#leavesRest) && isExpired(record, this.#group.clock)) {
      this.#group.expired(queue, entry)
      return false
    }
    if (!isWanted) this.#passOver(queue, entry, taking)
    return isWanted
  }

  /** First sight of a message that an earlier process left unsettled. */
  #meet(queue: GroupQueue, entry: Entry, record: RecordView): void {
    entry.size = record.size
    entry.reconsumeTimes = record.reconsumeTimes
    if (entry.owner !== OWNER_UNKNOWN) return
    const owner = this.#group.ownerOf(record)
    if (owner === undefined) {
      queue.forget(entry)
      this.#group.moved(queue)
      return
    }
    queue.assign(entry, owner)
    if (owner !== this.topic) this.#group.wake(owner)
  }

  #takeNew({ queue, reader }: Source, taking: Taking): void {
    const { ordered } = taking.request
    while (taking.hasRoom && taking.maySearch && queue.next < queue.maxOffset) {
      const room = this.#group.options.inFlightMax - queue.unsettledCount
      if (room <= 0) return
      // One that waits again and did not fit into this receive must not be overtaken.
      if (this.#isWaiting(queue, taking)) return
      if (ordered && queue.isBlocked) return
      const max = ordered ? 1 : Math.min(room, taking.messagesLeft)
      const hashes = queue.isRetry ? undefined : this.#filter.hashes
      const result = reader.read(queue.next, max, taking.bytesLeft, hashes)
      if (result === undefined || result.status === 'at-end') return
      taking.look(result.nextOffset - queue.next, result.records.length)
      if (!this.#takeFound(queue, result.records, result.offsets, max, taking)) return
      if (result.nextOffset > queue.next || result.status === 'moved') {
        queue.next = result.nextOffset
        this.#group.moved(queue)
      }
    }
  }

  #isWaiting(queue: GroupQueue, taking: Taking): boolean {
    if (this.#leavesRest) return this.#firstReady(queue, taking) !== undefined
    const { ordered, memberId } = taking.request
    return queue.firstReady(this.topic, ordered ? undefined : memberId) !== undefined
  }

  /** False when not all of it was taken: the rest is read again. */
  #takeFound(
    queue: GroupQueue,
    records: Buffer,
    offsets: readonly QueueOffset[],
    max: number,
    taking: Taking,
  ): boolean {
    let at = 0
    for (let i = 0; i < offsets.length; i++) {
      const offset = offsets[i]!
      const size = getI32(records, at)
      const record = records.subarray(at, at + size)
      at += size
      if (i === max || !taking.hasRoomFor(size)) return false
      const { filter } = taking.request
      if (filter.kind === 'sql' && this.#group.searches.isOver(i, size)) {
        taking.isOutOfTime = true
        return false
      }
      const view = new RecordView(record)
      const owner = this.#ownerOfNew(queue, view)
      if (owner !== undefined) {
        const entry = queue.add(offset, owner, size, view.reconsumeTimes)
        if (owner === this.topic) {
          if (this.#isToDeliver(queue, entry, view, taking)) {
            this.#deliver(queue, entry, record, taking)
          }
        } else {
          queue.makeReady(entry)
          this.#group.wake(owner)
        }
      }
      queue.next = queueOffset(offset + 1)
    }
    return true
  }

  /**
   * undefined: no consumer is to have it, for the hash of its tag collided or its topic is gone.
   */
  #ownerOfNew(queue: GroupQueue, record: RecordView): string | undefined {
    if (queue.isRetry) return this.#group.ownerOf(record)
    return this.#leavesRest || this.#selects(this.#filter, record) ? this.topic : undefined
  }

  #isWanted(record: RecordView, { request }: Taking): boolean {
    return this.#selects(this.#leavesRest ? request.filter : this.#filter, record)
  }

  #selects(filter: MessageFilter, record: RecordView): boolean {
    return selects(filter, record, this.#group.options.clusterName)
  }

  /**
   * Written down: to a group that had not been handed it, this filter would have stepped over it
   * for good. It waits for other consumers, or for another filter.
   */
  #passOver(queue: GroupQueue, entry: Entry, { request }: Taking): void {
    this.#group.moved(queue)
    if (!this.#leavesRest) {
      queue.passOver(entry)
      return
    }
    queue.makeReady(entry)
    queue.setSeen(request.filter.expression, request.memberId, entry)
    if (!this.#isOffering) {
      this.#isOffering = true
      queueMicrotask(() => {
        this.#isOffering = false
        this.#group.wake(this.topic)
      })
    }
  }

  #deliver(queue: GroupQueue, entry: Entry, record: Buffer, taking: Taking): boolean {
    if (!taking.hasRoomFor(entry.size)) return false
    const receipt = queue.deliver(
      entry,
      taking.holder,
      this.#group.nextSerial(),
      taking.deadlineMs,
      taking.request.ordered,
      taking.poppedAt,
    )
    this.#group.expects(queue)
    const attempt = entry.reconsumeTimes + entry.attempts + 1
    const { brokerName } = this.#group.options
    taking.add({ record, brokerName, receipt, attempt, note: entry.note }, entry.size)
    return true
  }
}

const inTurn = (sources: readonly Source[], i: number): Source => sources[i % sources.length]!

/** The priority of a message is the number of its queue; retries come last. */
function highestFirst(sources: readonly Source[], i: number): Source {
  const retries = sources.findIndex(({ queue }) => queue.isRetry)
  const queues = retries === -1 ? sources.length : retries
  return sources[i < queues ? queues - 1 - i : i]!
}

/** The messages that one receive has been given so far. */
class Taking {
  readonly request: HandoutRequest
  readonly holder: Holder
  /** The name of its deliveries when it is a POP; else 0. */
  readonly poppedAt: number
  /** Monotonic end of their invisible time. */
  readonly deadlineMs: number
  readonly messages: ReceivedMessage[] = []
  /** Entries, wanted or not. */
  lookedThrough = 0
  /** The turn's slice of searches is over. */
  isOutOfTime = false
  bytes = 0
  readonly #maxMessages: number

  constructor(
    request: HandoutRequest,
    holder: Holder,
    maxMessages: number,
    poppedAt: number,
    deadlineMs: number,
  ) {
    this.request = request
    this.holder = holder
    this.#maxMessages = maxMessages
    this.poppedAt = poppedAt
    this.deadlineMs = deadlineMs
  }

  get isSelecting(): boolean {
    return !selectsAll(this.request.filter)
  }

  get messagesLeft(): number {
    return this.#maxMessages - this.messages.length
  }

  get bytesLeft(): number {
    return this.request.maxBytes - this.bytes
  }

  get hasRoom(): boolean {
    return this.messagesLeft > 0 && (this.bytesLeft > 0 || this.messages.length === 0)
  }

  get maySearch(): boolean {
    const most = recordsInTimeOf(LOOKED_THROUGH_MAX, this.request.filter)
    return !this.isOutOfTime && this.lookedThrough < most
  }

  look(records: number, bytes: number): void {
    this.lookedThrough += records
    if (this.request.filter.kind === 'sql') this.lookedThrough += bytes / LOOKED_BYTES_PER_RECORD
  }

  /** The first message is taken whatever its size. */
  hasRoomFor(size: number): boolean {
    return this.messages.length === 0 || (this.messagesLeft > 0 && size <= this.bytesLeft)
  }

  add(message: ReceivedMessage, size: number): void {
    this.messages.push(message)
    this.bytes += size
  }
}
