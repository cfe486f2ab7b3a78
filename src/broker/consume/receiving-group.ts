// One group that receives per message: its queues with what is in flight on each, and its lines of
// waiting consumers, one per topic. Opens queues, routes news to lines; what becomes of a failed
// message is decided elsewhere.
import type { Clock } from '../../clock.ts'
import type { MessageFilter } from '../../model/message-filter.ts'
import { isLightQueue, retryTopic } from '../../model/names.ts'
import { PROPERTY } from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'
import { originalTopic } from '../../model/routing-name.ts'
import type { MessageStore } from '../../store/store.ts'
import type { LightQueueTable } from '../definitions/light-queues.ts'
import { type TopicTable, topicNotFound } from '../definitions/topics.ts'
import type { FactWriter } from '../facts/fact-writer.ts'
import type { BrokerOptions } from '../options.ts'
import type { Arrivals } from './arrivals.ts'
import type { Cursor, CursorTable } from './cursors.ts'
import type { Expiry } from './expiry.ts'
import { GroupQueue } from './group-queue.ts'
import type { HandoutGroup, ReceiveCounts, Source } from './handout.ts'
import { Holders } from './holders.ts'
import { QueueReader } from './queue-reader.ts'
import { ReceiveLine } from './receive-line.ts'
import type { Retries } from './retries.ts'
import type { SearchLine } from './search-line.ts'
import type { Serials } from './serials.ts'
import { type Entry, type FirstHeld, type Holder, isStillHeld } from './unsettled.ts'

export interface ReceivingParts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly lightQueues: LightQueueTable
  readonly cursors: CursorTable
  readonly facts: FactWriter
  readonly arrivals: Arrivals
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly expiry: Expiry<ReceivingGroup>
  readonly serials: Serials
  readonly counts: ReceiveCounts
  readonly searches: SearchLine
  readonly retries: Retries
}

type StartAt = 'first' | 'last'

export class ReceivingGroup implements HandoutGroup {
  readonly name: string
  readonly clock: Clock
  readonly options: BrokerOptions
  readonly counts: ReceiveCounts
  readonly searches: SearchLine
  readonly #parts: ReceivingParts
  readonly #retryTopic: string
  readonly #holders = new Holders()
  /** By topic, then queue id; the retry topic is one of them. */
  readonly #queues = new Map<string, Source[]>()
  readonly #lines = new Map<string, ReceiveLine>()
  /** Queues of the topic and the retry topic, as a line wants them. */
  readonly #sources = new Map<string, readonly Source[]>()
  readonly #watches = new Map<string, Disposable>()
  #firsts: ReadonlyMap<Holder, FirstHeld> | undefined

  constructor(name: string, parts: ReceivingParts) {
    this.name = name
    this.clock = parts.clock
    this.options = parts.options
    this.counts = parts.counts
    this.searches = parts.searches
    this.#parts = parts
    this.#retryTopic = retryTopic(name)
  }

  /** The line for a topic that exists. */
  line(topic: string, filter: MessageFilter, startAt: StartAt): ReceiveLine {
    let line = this.#lines.get(topic)
    if (line === undefined) {
      this.#open(topic, startAt)
      line = new ReceiveLine(this, topic, filter)
      this.#lines.set(topic, line)
    }
    return line
  }

  lines(): Iterable<ReceiveLine> {
    return this.#lines.values()
  }

  /** The topic is gone. */
  closeLine(topic: string): void {
    this.#lines.get(topic)?.close(topicNotFound(topic))
  }

  queue(topic: string, queueId: number): GroupQueue | undefined {
    return this.#queues.get(topic)?.[queueId]?.queue
  }

  sources(topic: string): readonly Source[] {
    let sources = this.#sources.get(topic)
    if (sources === undefined) {
      sources = [...this.#open(topic, 'first'), ...this.#open(this.#retryTopic, 'first')]
      this.#sources.set(topic, sources)
    }
    return sources
  }

  /** The topic's count of queues may have changed. */
  refresh(topic: string): void {
    if (!this.#queues.has(topic)) return
    this.#sources.clear()
    this.wakeFor(topic)
  }

  wake(topic: string): void {
    this.#lines.get(topic)?.wake()
  }

  /** A message of this topic may be handed out; of the retry topic, to consumers of any. */
  wakeFor(topic: string): void {
    if (topic !== this.#retryTopic) this.wake(topic)
    else for (const line of this.#lines.values()) line.wake()
  }

  holder(id: string): Holder {
    return this.#holders.of(id)
  }

  /**
   * The message that a consumer was handed first, of all that it has. Found for all consumers in
   * one look, which holds until it is forgotten: many may be asked for together.
   */
  firstHeldBy(holder: Holder): Entry | undefined {
    this.#firsts ??= this.#findFirsts()
    const first = this.#firsts.get(holder)
    if (first !== undefined && isStillHeld(first, holder)) return first.entry
    // It settled that one since.
    return this.#findFirsts().get(holder)?.entry
  }

  forgetFirsts(): void {
    this.#firsts = undefined
  }

  #findFirsts(): Map<Holder, FirstHeld> {
    const firsts = new Map<Holder, FirstHeld>()
    for (const queues of this.#queues.values()) {
      for (const { queue } of queues) queue.findFirsts(firsts)
    }
    return firsts
  }

  nextSerial(): number {
    return this.#parts.serials.next()
  }

  hasPriorities(topic: string): boolean {
    return this.#parts.topics.find(topic)?.definition.attributes?.['message.type'] === 'PRIORITY'
  }

  ownerOf(record: RecordView): string | undefined {
    const owner = record.property(PROPERTY.receivedFrom) ?? originalTopic(record)
    const exists = isLightQueue(owner)
      ? this.#parts.lightQueues.has(owner)
      : this.#parts.topics.find(owner) !== undefined
    return exists ? owner : undefined
  }

  moved(queue: GroupQueue): void {
    this.#parts.facts.mark(queue.cursor)
  }

  expects(queue: GroupQueue): void {
    this.#parts.expiry.expect(this, queue)
  }

  expired(queue: GroupQueue, entry: Entry): void {
    this.#parts.counts.expired.value++
    if (this.options.expired === 'deadLetter') {
      void this.#parts.retries.move(queue, entry, { deadBecause: 'expired' }).then(() => {
        this.expects(queue)
        this.wakeFor(queue.cursor.topic)
      })
    } else {
      queue.forget(entry)
      this.moved(queue)
    }
  }

  /** Does a receive wait, or is a message in flight? */
  get isBusy(): boolean {
    for (const line of this.#lines.values()) if (line.waitingCount > 0) return true
    for (const queues of this.#queues.values()) {
      for (const { queue } of queues) if (queue.isBusy) return true
    }
    return false
  }

  /** A topic is gone, and with it what its consumers were to get from the retry topic. */
  drop(topic: string): void {
    for (const { queue } of this.#queues.get(this.#retryTopic) ?? []) {
      if (!queue.forgetOwner(topic)) continue
      this.moved(queue)
      // There may be room for the retries of other topics now.
      this.wakeFor(queue.cursor.topic)
    }
    this.#close(topic)
  }

  /** The cursors go on without this group object. */
  close(): void {
    for (const topic of [...this.#queues.keys()]) this.#close(topic)
  }

  #close(topic: string): void {
    for (const { queue } of this.#queues.get(topic) ?? []) {
      this.#parts.expiry.forget(queue)
      queue.retire()
    }
    this.#watches.get(topic)?.[Symbol.dispose]()
    this.#watches.delete(topic)
    this.#queues.delete(topic)
    this.#lines.delete(topic)
    this.#sources.clear()
  }

  /**
   * Opens what is missing. A queue that came after the group started is read from its first
   * message.
   */
  #open(topic: string, startAt: StartAt): readonly Source[] {
    let queues = this.#queues.get(topic)
    if (queues === undefined) {
      queues = []
      this.#queues.set(topic, queues)
      this.#watches.set(topic, this.#watch(topic, queues))
    }
    const count = isLightQueue(topic)
      ? 1
      : (this.#parts.topics.find(topic)?.definition.readQueues ?? 0)
    // The former queues of a shrunken topic are still consumed.
    const fresh: Cursor[] = []
    for (let queueId = queues.length; queueId < count; queueId++) {
      const cursor = this.#parts.cursors.at(this.name, topic, queueId)
      if (cursor.stored === undefined) fresh.push(cursor)
      queues.push(this.#start(cursor, startAt))
    }
    // Where a new group starts must be in the log before the messages that come after.
    if (fresh.length > 0) void this.#parts.facts.writeFirst(fresh)
    return queues
  }

  #watch(topic: string, queues: readonly Source[]): Disposable {
    return this.#parts.arrivals.watch(topic, (queueId, maxOffset) => {
      const source = queues[queueId]
      if (source === undefined) return
      source.queue.maxOffset = maxOffset
      this.wakeFor(topic)
    })
  }

  #start(cursor: Cursor, startAt: StartAt): Source {
    const { store, facts } = this.#parts
    const { topic, queueId } = cursor
    const { minOffset, maxOffset } = store.range(topic, queueId)
    const next = startAt === 'first' ? minOffset : maxOffset
    if (cursor.stored === undefined) facts.mark(cursor)
    const start = cursor.stored ?? { next, unsettled: [] }
    const queue = new GroupQueue(cursor, topic === this.#retryTopic, start, maxOffset)
    const onLoaded = (): void => this.wakeFor(queue.cursor.topic)
    return { queue, reader: new QueueReader(store, topic, queueId, onLoaded) }
  }
}
