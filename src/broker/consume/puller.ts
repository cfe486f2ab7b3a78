// Reading by position (remoting 4.2): one read, and at the end of a queue a held answer. Keeps no
// state for the reader beyond the pull itself; a held pull is woken by arrivals, its signal, its
// time or the close.
import { onAbort } from '../../abort.ts'
import { type Clock, inTurns, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { getI32 } from '../../model/bytes.ts'
import { isExpired, mayExpire } from '../../model/expiry.ts'
import type { PullRequest, PullResult, PullStatus } from '../../model/message.ts'
import {
  type MessageFilter,
  recordsInTimeOf,
  selects,
  selectsAll,
} from '../../model/message-filter.ts'
import { isLightQueue, isNamedQueue } from '../../model/names.ts'
import type { QueueOffset } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import { checkReadable } from '../../model/topic.ts'
import type { GivenCounts } from '../../numbers/given-counts.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'
import type { Choose, MessageStore, ReadResult } from '../../store/store.ts'
import type { LightQueueTable } from '../definitions/light-queues.ts'
import type { BrokerPermission } from '../definitions/permission.ts'
import { type TopicTable, topicNotFound } from '../definitions/topics.ts'
import type { BrokerOptions } from '../options.ts'
import type { Arrivals } from './arrivals.ts'
import type { CursorTable } from './cursors.ts'
import { Found } from './found.ts'
import { EXPIRED, READ, READS_EMPTY, READS_FOUND } from './numbers.ts'
import type { QueueShare } from './queue-share.ts'
import type { SearchLine } from './search-line.ts'

const NO_RECORDS = Buffer.alloc(0)
/**
 * Pulls that one arrival wakes in one turn of the event loop: each may be answered with a largest
 * message.
 */
const WOKEN_AT_ONCE_MAX = 64

/** Pulls that are refused in one turn, as their topic is gone. */
const REFUSED_AT_ONCE_MAX = 256

/** What one step of a search for a condition looks through, in checks by tags. */
const SEARCHED_AT_ONCE = 8_192
const SEARCHED_BYTES_AT_ONCE = 4 * 1024 * 1024
/** Steps of one search; then the answer is what it has found so far, which may be nothing. */
const SEARCH_STEPS_MAX = 16

interface Held {
  readonly request: PullRequest
  readonly settle: (result: PullResult | BrokerError) => void
  /** Where the next look starts: beyond what was seen and did not match. */
  offset: QueueOffset
  timer: Timer
  callOff: (() => void) | undefined
  isReading: boolean
  /** Something arrived during a read from the disk. */
  isStale: boolean
}

interface Parts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly permission: BrokerPermission
  readonly lightQueues: LightQueueTable
  readonly cursors: CursorTable
  readonly arrivals: Arrivals
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly numbers: Numbers
  readonly givenCounts: GivenCounts
  readonly searches: SearchLine
  readonly mixed: {
    pulls(request: PullRequest): void
    shareOf(request: PullRequest): QueueShare | undefined
  }
}

export class Puller {
  readonly #parts: Parts
  /** By topic, then queue. */
  readonly #held = new Map<string, Map<number, Set<Held>>>()
  /** Pulls of one queue that are being woken turn by turn, and whether something arrived since. */
  readonly #waking = new Map<ReadonlySet<Held>, boolean>()
  #heldCount = 0
  #isClosed = false
  readonly #messages: Counter
  readonly #found: Counter
  readonly #empty: Counter
  readonly #expired: Counter

  constructor(parts: Parts) {
    this.#parts = parts
    this.#messages = parts.numbers.counter(READ)
    this.#found = parts.numbers.counter(READS_FOUND)
    this.#empty = parts.numbers.counter(READS_EMPTY)
    this.#expired = parts.numbers.counter(EXPIRED)
    parts.arrivals.onAny((topic, queueId) => this.#arrived(topic, queueId))
  }

  get heldCount(): number {
    return this.#heldCount
  }

  async pull(request: PullRequest): Promise<PullResult> {
    const { topic, queueId, member } = request
    if (isNamedQueue(topic)) await this.#parts.lightQueues.ensureNamed(topic)
    else if (!this.#isThere(topic)) await this.#parts.topics.ensure(topic)
    this.#check(topic, queueId)
    this.#parts.mixed.pulls(request)
    const share = this.#parts.mixed.shareOf(request)
    if (share === undefined || member === undefined) return this.#pull(request)
    const unread = (nextOffset: QueueOffset): PullResult =>
      this.#unread(request, nextOffset > request.offset ? 'no-match' : 'at-end', nextOffset)
    return share.pull(member, request, () => this.#pull(request), unread)
  }

  async #pull(request: PullRequest): Promise<PullResult> {
    const { topic, queueId } = request
    for (let { offset } = request; ; ) {
      // Also after a read from the disk, during which the group may have been moved.
      const reset = this.#reset(request)
      if (reset !== undefined) return reset
      const wanted = this.#parts.cursors.wanted(request, offset)
      if (wanted !== undefined && wanted.from > offset) {
        return this.#unread(request, 'no-match', wanted.from)
      }
      const read = this.#search(request, offset)
      const found = read instanceof Promise ? await read : read
      const result = wanted?.until === undefined ? found : before(found, wanted.until)
      if (result.status !== 'at-end' || request.waitMs <= 0) return this.#answer(request, result)
      if (this.#isClosed || request.signal?.aborted) return this.#answer(request, result)
      // Something may have arrived while a read from the disk was under way.
      if (this.#parts.store.range(topic, queueId).maxOffset === result.maxOffset) {
        return this.#hold(request, result.nextOffset)
      }
      offset = result.nextOffset
    }
  }

  /**
   * The topic is gone: none of its held pulls reads one that is made again under the name. They are
   * refused over several turns of the event loop, for there may be thousands.
   */
  drop(topic: string): void {
    const queues = this.#held.get(topic)
    if (queues === undefined) return
    const gone = [...queues.values()].flatMap((held) => [...held])
    for (const held of gone) this.#letGo(held)
    const error = topicNotFound(topic)
    void inTurns(gone, REFUSED_AT_ONCE_MAX, (held) => held.settle(error))
  }

  /** The group was moved: a pull of it that waits at the old place is told. */
  moved(group: string, topic: string, queueId: number): void {
    for (const held of this.#held.get(topic)?.get(queueId) ?? []) {
      if (held.request.group !== group) continue
      const reset = this.#reset(held.request)
      if (reset !== undefined) this.#settle(held, reset)
    }
  }

  /** Those of these members are answered: they ask again for the queues that they still own. */
  endPulls(group: string, members: ReadonlySet<string>): void {
    for (const queues of [...this.#held.values()]) {
      for (const held of [...queues.values()]) {
        for (const pull of [...held]) {
          const { member } = pull.request
          if (pull.request.group !== group || member === undefined) continue
          if (members.has(member)) this.#expire(pull)
        }
      }
    }
  }

  /** Held pulls are answered as at their time. */
  close(): void {
    this.#isClosed = true
    for (const queues of [...this.#held.values()]) {
      for (const held of [...queues.values()]) for (const pull of [...held]) this.#expire(pull)
    }
  }

  #isThere(topic: string): boolean {
    return isLightQueue(topic) || this.#parts.topics.find(topic) !== undefined
  }

  #check(topic: string, queueId: number): void {
    this.#parts.permission.checkReadable()
    if (isLightQueue(topic)) {
      this.#parts.lightQueues.need(topic)
      if (queueId !== 0) throw noSuchQueue(topic, queueId, 1)
      return
    }
    const { definition } = this.#parts.topics.need(topic)
    checkReadable(definition)
    const { readQueues } = definition
    if (!Number.isInteger(queueId) || queueId < 0 || queueId >= readQueues) {
      throw noSuchQueue(topic, queueId, readQueues)
    }
  }

  /** Where the reader is to go on, if its group was moved since it last asked. */
  #reset(request: PullRequest): PullResult | undefined {
    const nextOffset = this.#parts.cursors.movedTo(request)
    return nextOffset === undefined ? undefined : this.#unread(request, 'reset', nextOffset)
  }

  #unread(
    { topic, queueId }: PullRequest,
    status: PullStatus,
    nextOffset: QueueOffset,
  ): PullResult {
    const { minOffset, maxOffset } = this.#parts.store.range(topic, queueId)
    return { status, records: NO_RECORDS, count: 0, offsets: [], nextOffset, minOffset, maxOffset }
  }

  #read(
    request: PullRequest,
    offset: QueueOffset,
    choose?: Choose,
  ): ReadResult | Promise<ReadResult> {
    return this.#parts.store.read({
      topic: request.topic,
      queueId: request.queueId,
      offset,
      maxMessages: request.maxMessages,
      maxBytes: request.maxBytes,
      hashes: request.filter.hashes,
      ...(choose === undefined ? {} : { choose }),
    })
  }

  /** One read; with a condition as many as it takes to fill the answer, within a limit. */
  #search(request: PullRequest, offset: QueueOffset): ReadResult | Promise<ReadResult> {
    if (request.filter.kind === 'sql') return this.#searchByCondition(request, offset)
    const read = this.#read(request, offset)
    if (!(read instanceof Promise)) return this.#matching(read, request)
    return read.then((result) => this.#matching(result, request))
  }

  #matching(read: ReadResult, request: PullRequest): ReadResult {
    const { filter } = request
    const { records, offsets } = read
    if (offsets.length === 0 || (selectsAll(filter) && !mayExpire(records))) return read
    return matching(read, (record) => this.#isWanted(filter, record))
  }

  #isWanted(filter: MessageFilter, record: RecordView): boolean {
    if (!selects(filter, record, this.#parts.options.clusterName)) return false
    const isAlive = !isExpired(record, this.#parts.clock)
    if (!isAlive) this.#expired.value++
    return isAlive
  }

  /** Until the answer is full, the queue ends, or enough was looked through. */
  async #searchByCondition(request: PullRequest, from: QueueOffset): Promise<ReadResult> {
    const { filter } = request
    const { searches } = this.#parts
    const messagesMax = recordsInTimeOf(SEARCHED_AT_ONCE, filter)
    const maxBytes = recordsInTimeOf(SEARCHED_BYTES_AT_ONCE, filter)
    const found = new Found(request, searches, (record) => this.#isWanted(filter, record))
    let maxMessages = Math.min(request.maxMessages, messagesMax)
    for (let [offset, left] = [from, SEARCH_STEPS_MAX]; ; left--) {
      const read = await searches.run(async () =>
        this.#read({ ...request, maxMessages, maxBytes }, offset, found.begin()),
      )
      found.add(read)
      const hasMore = read.status === 'found' || read.status === 'no-match'
      const isAtEnd = read.nextOffset >= read.maxOffset && found.count > 0
      const hasEnded = isAtEnd || found.isFull || this.#isClosed || request.signal?.aborted
      if (!hasMore || hasEnded || left === 0) return found.result(read, offset)
      offset = read.nextOffset
      maxMessages = Math.min(maxMessages * 4, messagesMax)
    }
  }

  #answer(request: PullRequest, result: ReadResult): PullResult {
    const { status, records, offsets, nextOffset, minOffset, maxOffset } = result
    const count = offsets.length
    if (count > 0) this.#found.value++
    else this.#empty.value++
    this.#messages.value += count
    if (count > 0 && request.group !== undefined) {
      this.#parts.givenCounts.add(request.group, request.topic, count)
    }
    this.#parts.cursors.given(request, nextOffset)
    const isNoMatch =
      (status === 'found' && count === 0) || (status === 'at-end' && nextOffset > request.offset)
    return {
      status: isNoMatch ? 'no-match' : status,
      records,
      count,
      offsets,
      nextOffset,
      minOffset,
      maxOffset,
    }
  }

  #hold(request: PullRequest, offset: QueueOffset): Promise<PullResult> {
    if (this.#heldCount >= this.#parts.options.heldPullsMax) {
      return Promise.reject(
        new BrokerError(
          'BUSY',
          `${this.#heldCount} pulls are waiting for messages already; broker.heldPullsMax is ${this.#parts.options.heldPullsMax}`,
        ),
      )
    }
    this.#empty.value++
    return new Promise((resolve, reject) => {
      const held: Held = {
        request,
        settle: (result) => (result instanceof BrokerError ? reject(result) : resolve(result)),
        offset,
        timer: this.#parts.clock.after(request.waitMs, () => this.#expire(held)),
        callOff: undefined,
        isReading: false,
        isStale: false,
      }
      if (request.signal !== undefined) {
        held.callOff = onAbort(request.signal, () => this.#settle(held, ABORTED))
      }
      this.#add(held)
    })
  }

  #arrived(topic: string, queueId: number): void {
    const waiting = this.#held.get(topic)?.get(queueId)
    if (waiting === undefined) return
    if (this.#waking.has(waiting)) this.#waking.set(waiting, true)
    else if (waiting.size > WOKEN_AT_ONCE_MAX) void this.#wakeInTurns(waiting)
    else for (const held of [...waiting]) this.#lookAgain(held)
  }

  /**
   * The pulls of one turn are answered before the next turn reads, so that memory holds the answers
   * of one.
   */
  async #wakeInTurns(waiting: ReadonlySet<Held>): Promise<void> {
    do {
      this.#waking.set(waiting, false)
      const round = [...waiting]
      for (let at = 0; at < round.length; at += WOKEN_AT_ONCE_MAX) {
        if (at > 0) await new Promise((resolve) => setImmediate(resolve))
        for (const held of round.slice(at, at + WOKEN_AT_ONCE_MAX)) {
          if (waiting.has(held)) this.#lookAgain(held)
        }
      }
    } while (this.#waking.get(waiting) === true)
    this.#waking.delete(waiting)
  }

  /** Reads only what is new; what does not match is stepped over and the pull held on. */
  #lookAgain(held: Held): void {
    if (held.isReading) {
      held.isStale = true
      return
    }
    // Not by recursion: one arrival may bring more messages than the stack has room for.
    for (let hasMore = true; hasMore; ) {
      const read = this.#search(held.request, held.offset)
      if (read instanceof Promise) {
        this.#lookWhenRead(held, read)
        return
      }
      hasMore = this.#looked(held, read)
    }
  }

  #lookWhenRead(held: Held, read: Promise<ReadResult>): void {
    held.isReading = true
    held.isStale = false
    read.then(
      (result) => {
        held.isReading = false
        if (this.#looked(held, result) || held.isStale) this.#lookAgain(held)
      },
      (error) => this.#settle(held, BrokerError.from(error)),
    )
  }

  /** @returns whether there is more to look at */
  #looked(held: Held, result: ReadResult): boolean {
    if (!this.#isHeld(held)) return false
    if (result.status === 'at-end') {
      held.offset = result.nextOffset
      return false
    }
    const answer = this.#answer(held.request, result)
    if (answer.status !== 'no-match') {
      this.#settle(held, answer)
      return false
    }
    held.offset = answer.nextOffset
    return answer.nextOffset < answer.maxOffset
  }

  #expire(held: Held): void {
    const status = held.offset > held.request.offset ? 'no-match' : 'at-end'
    this.#settle(held, this.#unread(held.request, status, held.offset))
  }

  #settle(held: Held, result: PullResult | BrokerError): void {
    if (this.#letGo(held)) held.settle(result)
  }

  /** False: it was settled, or let go, before. */
  #letGo(held: Held): boolean {
    if (!this.#remove(held)) return false
    held.timer.cancel()
    held.callOff?.()
    return true
  }

  #isHeld(held: Held): boolean {
    return this.#held.get(held.request.topic)?.get(held.request.queueId)?.has(held) === true
  }

  #add(held: Held): void {
    const { topic, queueId } = held.request
    let queues = this.#held.get(topic)
    if (queues === undefined) {
      queues = new Map()
      this.#held.set(topic, queues)
    }
    let waiting = queues.get(queueId)
    if (waiting === undefined) {
      waiting = new Set()
      queues.set(queueId, waiting)
    }
    waiting.add(held)
    this.#heldCount++
  }

  #remove(held: Held): boolean {
    const { topic, queueId } = held.request
    const queues = this.#held.get(topic)
    const waiting = queues?.get(queueId)
    if (queues === undefined || waiting === undefined || !waiting.delete(held)) return false
    this.#heldCount--
    if (waiting.size === 0) queues.delete(queueId)
    if (queues.size === 0) this.#held.delete(topic)
    return true
  }
}

/** What stands before the offset. */
function before(result: ReadResult, until: QueueOffset): ReadResult {
  const { records, offsets } = result
  if (result.nextOffset <= until) return result
  let at = 0
  let count = 0
  for (; count < offsets.length && offsets[count]! < until; count++) at += getI32(records, at)
  return {
    ...result,
    records: records.subarray(0, at),
    offsets: offsets.slice(0, count),
    nextOffset: until,
  }
}

const noSuchQueue = (topic: string, queueId: number, queues: number): BrokerError =>
  new BrokerError(
    'QUEUE_NOT_FOUND',
    `'${topic}' has no queue ${queueId}; its queues are 0 to ${queues - 1}`,
  )

/**
 * Entries are chosen by the hash of the tag; the rare tag that collides is taken out here, and what
 * has expired.
 */
function matching(result: ReadResult, isWanted: (record: RecordView) => boolean): ReadResult {
  const { records, offsets } = result
  const kept: Buffer[] = []
  const keptOffsets: QueueOffset[] = []
  for (let at = 0, i = 0; at < records.length; i++) {
    const size = getI32(records, at)
    if (isWanted(new RecordView(records, at))) {
      kept.push(records.subarray(at, at + size))
      keptOffsets.push(offsets[i]!)
    }
    at += size
  }
  if (kept.length === offsets.length) return result
  return { ...result, records: Buffer.concat(kept), offsets: keptOffsets }
}

/** One for all: a client that is gone ends thousands at once, and each would cost its stack. */
const ABORTED = new BrokerError('ABORTED', 'the pull was aborted')
