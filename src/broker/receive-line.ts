// The consumers of one group that wait on one topic, first come first served. Hands out what is ready or new
// on the topic's queues and on the group's retry topic, in turn over the queues. Everything happens at once
// from memory; a load from the disk comes back through `wake`.
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { getI32 } from '../model/bytes.ts'
import { ANY_QUEUE, type ReceivedMessage, type ReceiveRequest } from '../model/message.ts'
import { type QueueOffset, queueOffset } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import { RecordView } from '../model/record.ts'
import { type TagFilter, tagMatches } from '../model/tag-filter.ts'
import { type Entry, type GroupQueue, OWNER_UNKNOWN } from './group-queue.ts'
import type { BrokerOptions } from './options.ts'
import type { QueueReader } from './queue-reader.ts'

export interface Source {
  readonly queue: GroupQueue
  readonly reader: QueueReader
}

/** What the line asks of its group. */
export interface LineGroup {
  readonly name: string
  readonly clock: Clock
  readonly options: BrokerOptions
  nextSerial(): number
  /** The queues of a topic and of the group's retry topic. */
  sources(topic: string): readonly Source[]
  /** Where a message of the retry topic belongs; undefined = nowhere any longer. */
  ownerOf(record: RecordView): string | undefined
  /** Something is ready for the consumers of this topic. */
  wake(topic: string): void
  /** The queue's place changed and is not durable yet. */
  moved(queue: GroupQueue): void
  /** A delivery has a deadline now. */
  expects(queue: GroupQueue): void
}

interface Waiting {
  readonly request: ReceiveRequest
  readonly resolve: (messages: readonly ReceivedMessage[]) => void
  readonly reject: (error: BrokerError) => void
  readonly timer: Timer | undefined
  readonly onAbort: (() => void) | undefined
}

/** Reads of one queue in one go, when nothing matches; then the event loop has its turn. */
const LOOKS_MAX = 8

export class ReceiveLine {
  readonly topic: string
  readonly #group: LineGroup
  readonly #waiting = new Set<Waiting>()
  #filter: TagFilter
  #turn = 0
  #isWoken = false
  /** Messages handed out since the start. */
  received = 0

  constructor(group: LineGroup, topic: string, filter: TagFilter) {
    this.#group = group
    this.topic = topic
    this.#filter = filter
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    this.#agreeOn(request.filter)
    const messages = this.#collect(request, request.maxMessages)
    if (messages.length > 0) return Promise.resolve(messages)
    if (request.signal?.aborted) return Promise.reject(aborted())
    if (request.waitMs <= 0 && !this.#isLoading()) return Promise.resolve([])
    return this.#wait(request)
  }

  /** Serves the waiting ones at the end of this turn. */
  wake(): void {
    if (this.#waiting.size === 0 || this.#isWoken) return
    this.#isWoken = true
    queueMicrotask(() => {
      this.#isWoken = false
      this.#serve()
    })
  }

  /** Nobody waits any longer: empty-handed at a close, with the error when the topic is gone. */
  close(error?: BrokerError): void {
    for (const waiting of [...this.#waiting]) {
      this.#leave(waiting)
      if (error === undefined) waiting.resolve([])
      else waiting.reject(error)
    }
  }

  /** Two filters in one group would each settle what only the other one wants. */
  #agreeOn(filter: TagFilter): void {
    if (filter.expression === this.#filter.expression) return
    const isBusy =
      this.#waiting.size > 0 ||
      this.#group.sources(this.topic).some(({ queue }) => !queue.isRetry && queue.inFlight > 0)
    if (isBusy) {
      throw new BrokerError(
        'SUBSCRIPTION_CONFLICT',
        `the group '${this.#group.name}' consumes '${this.topic}' with the filter '${this.#filter.expression}'; ` +
          `'${filter.expression}' must wait until those consumers have gone, or use another group`,
      )
    }
    this.#filter = filter
  }

  #wait(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    return new Promise((resolve, reject) => {
      const { signal, waitMs } = request
      const onAbort =
        signal &&
        (() => {
          this.#leave(waiting)
          reject(aborted())
        })
      const timer =
        waitMs > 0
          ? this.#group.clock.after(waitMs, () => {
              this.#leave(waiting)
              resolve([])
            })
          : undefined
      const waiting: Waiting = { request, resolve, reject, timer, onAbort }
      if (onAbort !== undefined) signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.add(waiting)
    })
  }

  #leave(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    waiting.timer?.cancel()
    if (waiting.onAbort !== undefined) {
      waiting.request.signal?.removeEventListener('abort', waiting.onAbort)
    }
    if (this.#waiting.size > 0) return
    for (const { reader } of this.#group.sources(this.topic)) reader.drop()
  }

  #serve(): void {
    for (const waiting of [...this.#waiting]) {
      try {
        const messages = this.#collect(waiting.request, this.#share(waiting.request))
        const isOver = waiting.timer === undefined && !this.#isLoading()
        if (messages.length === 0 && !isOver) continue
        this.#leave(waiting)
        waiting.resolve(messages)
      } catch (error) {
        this.#leave(waiting)
        waiting.reject(BrokerError.from(error))
      }
    }
  }

  /** Several waiting consumers share what is there, rather than the first one taking all. */
  #share(request: ReceiveRequest): number {
    if (this.#waiting.size === 1) return request.maxMessages
    let available = 0
    for (const { queue } of this.#group.sources(this.topic)) available += queue.available
    return Math.max(1, Math.min(request.maxMessages, Math.ceil(available / this.#waiting.size)))
  }

  #isLoading(): boolean {
    return this.#group.sources(this.topic).some(({ reader }) => reader.isLoading)
  }

  #collect(request: ReceiveRequest, maxMessages: number): ReceivedMessage[] {
    const sources = this.#group.sources(this.topic)
    const taking = new Taking(request, maxMessages)
    const start = this.#turn++ % Math.max(1, sources.length)
    for (let i = 0; i < sources.length && taking.hasRoom; i++) {
      const source = sources[(start + i) % sources.length]!
      const { queue } = source
      const isAsked =
        request.queueId === ANY_QUEUE || queue.isRetry || queue.cursor.queueId === request.queueId
      if (!isAsked || !this.#isWithinBytes(sources)) continue
      this.#takeReady(source, taking)
      this.#takeNew(source, taking)
    }
    this.received += taking.messages.length
    return taking.messages
  }

  #isWithinBytes(sources: readonly Source[]): boolean {
    let bytes = 0
    for (const { queue } of sources) bytes += queue.inFlightBytes
    return bytes < this.#group.options.inFlightBytesMax
  }

  #takeReady({ queue, reader }: Source, taking: Taking): void {
    const { ordered } = taking.request
    while (taking.hasRoom && !(ordered && queue.isBlocked)) {
      const entry =
        queue.firstReady(this.topic) ??
        (queue.isRetry ? queue.firstReady(OWNER_UNKNOWN) : undefined)
      if (entry === undefined) return
      const result = reader.read(entry.offset, 1, taking.bytesLeft, undefined)
      if (result === undefined) return
      if (result.status !== 'found' || result.offsets[0] !== entry.offset) {
        // Retention took the record: there is nothing left to deliver.
        queue.forget(entry)
        this.#group.moved(queue)
        continue
      }
      const record = new RecordView(result.records)
      if (entry.size === 0) this.#meet(queue, entry, record)
      if (entry.owner === this.topic && !this.#deliver(queue, entry, result.records, taking)) return
    }
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
    const { inFlightMax } = this.#group.options
    for (let looks = 0; taking.hasRoom && queue.next < queue.maxOffset; looks++) {
      const room = inFlightMax - queue.unsettledCount
      if (room <= 0 || (taking.request.ordered && queue.isBlocked)) return
      if (looks === LOOKS_MAX) {
        setImmediate(() => this.wake())
        return
      }
      const max = taking.request.ordered ? 1 : Math.min(room, taking.messagesLeft)
      const hashes = queue.isRetry ? undefined : this.#filter.hashes
      const result = reader.read(queue.next, max, taking.bytesLeft, hashes)
      if (result === undefined) return
      if (result.status === 'at-end') return
      if (result.status === 'found') {
        if (!this.#takeFound(queue, result.records, result.offsets, taking)) return
        if (taking.request.ordered && queue.isBlocked) return
      }
      if (result.nextOffset > queue.next || result.status === 'moved') {
        queue.next = result.nextOffset
        this.#group.moved(queue)
      }
    }
  }

  /** False when there was no room for all of it: the rest is read again. */
  #takeFound(
    queue: GroupQueue,
    records: Buffer,
    offsets: readonly QueueOffset[],
    taking: Taking,
  ): boolean {
    let at = 0
    for (const offset of offsets) {
      const size = getI32(records, at)
      const record = records.subarray(at, at + size)
      at += size
      if (!taking.hasRoomFor(size)) return false
      const owner = this.#ownerOfNew(queue, record)
      if (owner !== undefined) {
        const { reconsumeTimes } = new RecordView(record)
        const entry = queue.add(offset, owner, size, reconsumeTimes)
        if (owner === this.topic) this.#deliver(queue, entry, record, taking)
        else {
          queue.makeReady(entry)
          this.#group.wake(owner)
        }
      }
      queue.next = queueOffset(offset + 1)
    }
    return true
  }

  /** undefined: nobody is to have it, the hash of its tag collided or its topic is gone. */
  #ownerOfNew(queue: GroupQueue, record: Buffer): string | undefined {
    if (queue.isRetry) return this.#group.ownerOf(new RecordView(record))
    if (this.#filter.tags === undefined) return this.topic
    const tag = new RecordView(record).property(PROPERTY.tags)
    return tagMatches(this.#filter, tag) ? this.topic : undefined
  }

  #deliver(queue: GroupQueue, entry: Entry, record: Buffer, taking: Taking): boolean {
    if (!taking.hasRoomFor(entry.size)) return false
    const { invisibleMs, ordered } = taking.request
    const deadlineMs = this.#group.clock.monotonic() + invisibleMs
    const receipt = queue.deliver(entry, this.#group.nextSerial(), deadlineMs, ordered)
    this.#group.expects(queue)
    const attempt = entry.reconsumeTimes + entry.attempts + 1
    taking.add({ record, receipt, attempt }, entry.size)
    return true
  }
}

/** What one receive has been given so far. */
class Taking {
  readonly request: ReceiveRequest
  readonly messages: ReceivedMessage[] = []
  readonly #maxMessages: number
  #bytes = 0

  constructor(request: ReceiveRequest, maxMessages: number) {
    this.request = request
    this.#maxMessages = maxMessages
  }

  get messagesLeft(): number {
    return this.#maxMessages - this.messages.length
  }

  get bytesLeft(): number {
    return this.request.maxBytes - this.#bytes
  }

  get hasRoom(): boolean {
    return this.messagesLeft > 0 && this.bytesLeft > 0
  }

  /** The first message is taken whatever its size. */
  hasRoomFor(size: number): boolean {
    return this.messages.length === 0 || (this.messagesLeft > 0 && size <= this.bytesLeft)
  }

  add(message: ReceivedMessage, size: number): void {
    this.messages.push(message)
    this.#bytes += size
  }
}

const aborted = (): BrokerError => new BrokerError('ABORTED', 'the receive was aborted')
