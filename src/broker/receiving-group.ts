// One group that receives per message: its queues with what is in flight on each, and its lines of waiting
// consumers, one per topic. Finds queues, routes news to lines; what becomes of a failed message is decided
// elsewhere.
import type { Clock } from '../clock.ts'
import { isLightQueue, retryTopic } from '../model/names.ts'
import { queueOffset } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import type { RecordView } from '../model/record.ts'
import { originalTopic } from '../model/routing-name.ts'
import type { TagFilter } from '../model/tag-filter.ts'
import type { MessageStore } from '../store/store.ts'
import type { CursorTable } from './cursors.ts'
import type { Expiry } from './expiry.ts'
import type { FactWriter } from './fact-writer.ts'
import { GroupQueue } from './group-queue.ts'
import type { LightQueueTable } from './light-queues.ts'
import type { BrokerOptions } from './options.ts'
import { QueueReader } from './queue-reader.ts'
import { type LineGroup, ReceiveLine, type Source } from './receive-line.ts'
import type { Serials } from './serials.ts'
import type { TopicTable } from './topics.ts'

export interface ReceivingParts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly lightQueues: LightQueueTable
  readonly cursors: CursorTable
  readonly facts: FactWriter
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly expiry: Expiry
  readonly serials: Serials
}

export class ReceivingGroup implements LineGroup {
  readonly name: string
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly #parts: ReceivingParts
  readonly #retryTopic: string
  /** By topic, then queue id; the retry topic is one of them. */
  readonly #queues = new Map<string, Source[]>()
  readonly #lines = new Map<string, ReceiveLine>()
  /** Queues of the topic and the retry topic, as a line wants them. */
  readonly #sources = new Map<string, readonly Source[]>()
  #startAt: 'first' | 'last' = 'first'

  constructor(name: string, parts: ReceivingParts) {
    this.name = name
    this.clock = parts.clock
    this.options = parts.options
    this.#parts = parts
    this.#retryTopic = retryTopic(name)
  }

  /** The line for a topic that exists. */
  line(topic: string, filter: TagFilter, startAt: 'first' | 'last'): ReceiveLine {
    let line = this.#lines.get(topic)
    if (line === undefined) {
      line = new ReceiveLine(this, topic, filter)
      this.#lines.set(topic, line)
      this.#startAt = startAt
      this.sources(topic)
    }
    return line
  }

  lines(): Iterable<ReceiveLine> {
    return this.#lines.values()
  }

  queue(topic: string, queueId: number): GroupQueue | undefined {
    return this.#queues.get(topic)?.[queueId]?.queue
  }

  sources(topic: string): readonly Source[] {
    let sources = this.#sources.get(topic)
    if (sources === undefined) {
      sources = [...this.#open(topic), ...this.#open(this.#retryTopic)]
      this.#sources.set(topic, sources)
    }
    return sources
  }

  /** Queue counts changed. */
  refresh(): void {
    this.#sources.clear()
    for (const line of this.#lines.values()) line.wake()
  }

  arrived(topic: string, queueId: number, maxOffset: number): void {
    const source = this.#queues.get(topic)?.[queueId]
    if (source === undefined) return
    source.queue.maxOffset = queueOffset(maxOffset)
    if (topic === this.#retryTopic) this.wakeAll()
    else this.wake(topic)
  }

  wake(topic: string): void {
    this.#lines.get(topic)?.wake()
  }

  wakeAll(): void {
    for (const line of this.#lines.values()) line.wake()
  }

  /** A message of this queue may be handed out again. */
  wakeFor(queue: GroupQueue): void {
    if (queue.isRetry) this.wakeAll()
    else this.wake(queue.cursor.topic)
  }

  nextSerial(): number {
    return this.#parts.serials.next()
  }

  ownerOf(record: RecordView): string | undefined {
    const owner = record.property(PROPERTY.lightQueue) ?? originalTopic(record)
    return this.#exists(owner) ? owner : undefined
  }

  moved(queue: GroupQueue): void {
    this.#parts.facts.mark(queue.cursor)
  }

  expects(queue: GroupQueue): void {
    this.#parts.expiry.expect(this, queue)
  }

  /** Is somebody consuming? */
  get isBusy(): boolean {
    for (const line of this.#lines.values()) if (line.waitingCount > 0) return true
    for (const queues of this.#queues.values()) {
      for (const { queue } of queues) if (queue.inFlight > 0) return true
    }
    return false
  }

  drop(topic: string): void {
    for (const { queue } of this.#queues.get(topic) ?? []) queue.cursor.place = undefined
    this.#queues.delete(topic)
    this.#lines.delete(topic)
    this.#sources.clear()
  }

  #exists(topic: string): boolean {
    return isLightQueue(topic)
      ? this.#parts.lightQueues.has(topic)
      : this.#parts.topics.find(topic) !== undefined
  }

  #open(topic: string): readonly Source[] {
    let queues = this.#queues.get(topic)
    if (queues === undefined) {
      queues = []
      this.#queues.set(topic, queues)
    }
    const count = isLightQueue(topic)
      ? 1
      : (this.#parts.topics.find(topic)?.definition.readQueues ?? 0)
    for (let queueId = queues.length; queueId < count; queueId++) {
      queues.push(this.#start(topic, queueId))
    }
    // What a shrunken topic has left of its former queues is still consumed.
    return queues
  }

  #start(topic: string, queueId: number): Source {
    const { store, cursors, facts } = this.#parts
    const { minOffset, maxOffset } = store.range(topic, queueId)
    const cursor = cursors.at(this.name, topic, queueId)
    const isRetry = topic === this.#retryTopic
    const isNew = cursor.stored === undefined
    const next = this.#startAt === 'first' || isRetry ? minOffset : maxOffset
    const start = cursor.stored ?? { next, unsettled: [] }
    const queue = new GroupQueue(cursor, isRetry, start, maxOffset)
    cursor.place = queue
    if (isNew) {
      // Where a new group starts must be in the log before the messages that come after.
      facts.mark(cursor)
      void facts.flush()
    }
    const onLoaded = (): void => this.wakeFor(queue)
    return { queue, reader: new QueueReader(store, topic, queueId, onLoaded) }
  }
}
