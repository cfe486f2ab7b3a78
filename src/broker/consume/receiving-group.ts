// One group that receives per message: its queues with what is in flight on each, and its lines of
// waiting consumers, one per topic. Opens queues, lets them go to native members, routes news to
// lines; what becomes of a failed message is decided elsewhere.
import type { Clock } from '../../clock.ts'
import type { ReceiveRequest } from '../../model/message.ts'
import type { MessageFilter } from '../../model/message-filter.ts'
import { isLightQueue, retryTopic } from '../../model/names.ts'
import type { QueueOffset } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'
import { originalTopic } from '../../model/routing-name.ts'
import type { MessageStore } from '../../store/store.ts'
import type { GroupTable } from '../definitions/groups.ts'
import type { LightQueueTable } from '../definitions/light-queues.ts'
import type { BrokerPermission } from '../definitions/permission.ts'
import { type TopicTable, topicNotFound } from '../definitions/topics.ts'
import type { FactWriter } from '../facts/fact-writer.ts'
import type { BrokerOptions } from '../options.ts'
import type { Arrivals } from './arrivals.ts'
import type { Cursor, CursorTable } from './cursors.ts'
import type { HandoutGroup, ReceiveCounts, Source } from './handout.ts'
import type { Expiry } from './held/expiry.ts'
import { GroupQueue } from './held/group-queue.ts'
import { Holders } from './held/holders.ts'
import { type Entry, type FirstHeld, type Holder, isStillHeld } from './held/unsettled.ts'
import { QueueReader } from './queue-reader.ts'
import { ReceiveLine } from './receive-line.ts'
import type { Retries } from './retries.ts'
import type { SearchLine } from './search-line.ts'
import type { Serials } from './serials.ts'

export interface ReceivingParts {
  readonly store: MessageStore
  readonly topics: TopicTable
  readonly permission: BrokerPermission
  readonly groups: GroupTable
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
  readonly mixed: NativeSharing
  /** By topic, those that are on it. */
  readonly onTopic: Map<string, Set<ReceivingGroup>>
}

/** The native members of groups, as far as consumers per message have to do with them. */
export interface NativeSharing {
  /** @throws SUBSCRIPTION_CONFLICT */
  receiving(request: ReceiveRequest): void
  /** May the queue be opened, which it is not? */
  mayTake(group: string, topic: string, queueId: number): boolean
  /** Does a native member of the group begin with the topic's first message? */
  startFirst(group: string, topic: string): boolean
  /** The queue was closed. */
  closed(group: string, topic: string, queueId: number): void
}

/** What consumers hold of a queue that native members want may take so long; they get it then. */
const HANDOVER_MS_MAX = 60_000

const FACTOR = 'priority.factor'

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
  /** By topic, then queue id, the retry topic's too; those of native members are absent. */
  readonly #queues = new Map<string, (Source | undefined)[]>()
  /** Queues that native members wait for, and since when. */
  readonly #leaving = new Map<Source, number>()
  /**
   * By topic and queue: where consumers begin on queues that the group never was on, if not at the
   * first message. They may get them later.
   */
  readonly #ends = new Map<string, readonly QueueOffset[]>()
  readonly #lines = new Map<string, ReceiveLine>()
  /** Queues of the topic and the retry topic, as a line wants them. */
  readonly #sources = new Map<string, readonly Source[]>()
  readonly #watches = new Map<string, Disposable>()
  #openCount = 0
  /** Hundredths of a hand-out by priority that are due. */
  #priorityDebt = 0
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
      if (startAt === 'last') this.#ends.set(topic, this.#endsOf(topic))
      this.#open(topic)
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
      const queues = [...this.#open(topic), ...this.#open(this.#retryTopic)]
      sources = queues.filter(
        (source) => source !== undefined && !this.#leaving.has(source),
      ) as Source[]
      this.#sources.set(topic, sources)
    }
    return sources
  }

  /** The topic's count of queues may have changed. */
  refresh(topic: string): void {
    this.#sources.clear()
    this.wakeFor(topic)
  }

  wake(topic: string): void {
    this.#lines.get(topic)?.wake()
  }

  /** There may be queues that native members have left. */
  take(): void {
    this.#sources.clear()
    for (const [topic, line] of this.#lines) {
      const before = this.#openCount
      this.sources(topic)
      if (this.#openCount > before) line.wake()
    }
  }

  /** Native members have gone: nothing is let go of any more. */
  keep(): void {
    this.#leaving.clear()
    this.take()
  }

  /** Hands out no more of the queue, and closes it when nothing of it is with a consumer. */
  letGo(topic: string, queueId: number): void {
    const source = this.#queues.get(topic)?.[queueId]
    if (source === undefined || this.#leaving.has(source)) return
    this.#leaving.set(source, this.clock.monotonic())
    this.#sources.clear()
    this.#closeLeft()
  }

  letGoAll(isWanted: (topic: string) => boolean): void {
    for (const [topic, queues] of this.#queues) {
      if (!isWanted(topic)) continue
      for (const queueId of queues.keys()) this.letGo(topic, queueId)
    }
  }

  /** Consumers that settle nothing do not keep a queue from native members for ever. */
  endOverdue(): void {
    const nowMs = this.clock.monotonic()
    for (const [source, sinceMs] of this.#leaving) {
      const isOver = nowMs - sinceMs >= HANDOVER_MS_MAX
      if (isOver && !source.queue.isMoving) this.#closeQueue(source)
    }
  }

  /** A consumer holds one message less. */
  leftSome(): void {
    if (this.#leaving.size > 0) this.#closeLeft()
  }

  /** The queues whose messages are handed out, or with consumers. */
  *openQueues(): Generator<GroupQueue> {
    for (const queues of this.#queues.values()) {
      for (const source of queues) if (source !== undefined) yield source.queue
    }
  }

  /** A message of this topic may be handed out; of the retry topic, to consumers of any. */
  wakeFor(topic: string): void {
    this.leftSome()
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
    for (const queue of this.openQueues()) queue.findFirsts(firsts)
    return firsts
  }

  nextSerial(): number {
    return this.#parts.serials.next()
  }

  /** Of a hundred hand-outs as many as the group's attribute `priority.factor` says. */
  isByPriority(topic: string): boolean {
    const type = this.#parts.topics.find(topic)?.definition.attributes?.['message.type']
    if (type !== 'PRIORITY') return false
    this.#priorityDebt += Number(this.#parts.groups.find(this.name)?.attributes?.[FACTOR] ?? 100)
    if (this.#priorityDebt < 100) return false
    this.#priorityDebt -= 100
    return true
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
    for (const queue of this.openQueues()) if (queue.isBusy) return true
    return false
  }

  /** A topic is gone, and with it what its consumers were to get from the retry topic. */
  drop(topic: string): void {
    for (const source of this.#queues.get(this.#retryTopic) ?? []) {
      if (source === undefined || !source.queue.forgetOwner(topic)) continue
      const { queue } = source
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
    for (const source of this.#queues.get(topic) ?? []) {
      if (source !== undefined) this.#closeQueue(source)
    }
    this.#ends.delete(topic)
    this.#watches.get(topic)?.[Symbol.dispose]()
    this.#watches.delete(topic)
    this.#queues.delete(topic)
    this.#leave(topic)
    this.#lines.delete(topic)
    this.#sources.clear()
  }

  #enter(topic: string): void {
    const { onTopic } = this.#parts
    const groups = onTopic.get(topic)
    if (groups === undefined) onTopic.set(topic, new Set([this]))
    else groups.add(this)
  }

  #leave(topic: string): void {
    const { onTopic } = this.#parts
    const groups = onTopic.get(topic)
    groups?.delete(this)
    if (groups?.size === 0) onTopic.delete(topic)
  }

  #closeLeft(): void {
    for (const source of this.#leaving.keys()) if (!source.queue.isBusy) this.#closeQueue(source)
  }

  #closeQueue(source: Source): void {
    const { queue } = source
    const { topic, queueId } = queue.cursor
    this.#leaving.delete(source)
    this.#parts.expiry.forget(queue)
    queue.retire()
    this.#parts.cursors.handOver(queue.cursor, queue.start)
    this.#queues.get(topic)![queueId] = undefined
    this.#openCount--
    this.#sources.clear()
    this.#parts.mixed.closed(this.name, topic, queueId)
  }

  #count(topic: string): number {
    return isLightQueue(topic) ? 1 : (this.#parts.topics.find(topic)?.definition.readQueues ?? 0)
  }

  /**
   * Opens what is missing and not with native members. A queue that came after the group started is
   * read from its first message.
   */
  #open(topic: string): readonly (Source | undefined)[] {
    let queues = this.#queues.get(topic)
    if (queues === undefined) {
      queues = []
      this.#queues.set(topic, queues)
      this.#enter(topic)
      this.#watches.set(topic, this.#watch(topic, queues))
    }
    // The former queues of a shrunken topic are still consumed.
    const count = this.#count(topic)
    const fresh: Cursor[] = []
    for (let queueId = 0; queueId < count; queueId++) {
      if (queues[queueId] !== undefined || !this.#parts.mixed.mayTake(this.name, topic, queueId)) {
        continue
      }
      const cursor = this.#parts.cursors.at(this.name, topic, queueId)
      if (cursor.stored === undefined) fresh.push(cursor)
      queues[queueId] = this.#start(cursor)
      this.#openCount++
    }
    // Where a new group starts must be in the log before the messages that come after.
    if (fresh.length > 0) void this.#parts.facts.writeFirst(fresh)
    return queues
  }

  #watch(topic: string, queues: readonly (Source | undefined)[]): Disposable {
    return this.#parts.arrivals.watch(topic, (queueId, maxOffset) => {
      const source = queues[queueId]
      if (source === undefined) return
      source.queue.maxOffset = maxOffset
      this.wakeFor(topic)
    })
  }

  #endsOf(topic: string): QueueOffset[] {
    return Array.from(
      { length: this.#count(topic) },
      (_, queueId) => this.#parts.store.range(topic, queueId).maxOffset,
    )
  }

  /** Where members began that left the queue before they committed, and else where these do. */
  #startOf({ topic, queueId, begun }: Cursor, minOffset: QueueOffset): QueueOffset {
    if (this.#parts.mixed.startFirst(this.name, topic)) return minOffset
    return begun ?? this.#ends.get(topic)?.[queueId] ?? minOffset
  }

  #start(cursor: Cursor): Source {
    const { store, facts } = this.#parts
    const { topic, queueId } = cursor
    const { minOffset, maxOffset } = store.range(topic, queueId)
    if (cursor.stored === undefined) facts.mark(cursor)
    const start = cursor.stored ?? { next: this.#startOf(cursor, minOffset), unsettled: [] }
    const queue = new GroupQueue(cursor, topic === this.#retryTopic, start, maxOffset)
    const onLoaded = (): void => this.wakeFor(queue.cursor.topic)
    return { queue, reader: new QueueReader(store, topic, queueId, onLoaded) }
  }
}
