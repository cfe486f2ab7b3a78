// The store: one commit log and the views derived from it, behind the MessageStore port. Assigns
// queue offsets; leaves bytes to the log, entries to the views and records to the reader.
import { type Clock, SharedSlice } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Host } from '../model/host.ts'
import { isLightQueue, isRetryTopic, SCHEDULE_TOPIC } from '../model/names.ts'
import { type LogPosition, logPosition, type QueueOffset, queueOffset } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import { RecordView } from '../model/record.ts'
import { checkTopicFilter } from '../model/topic-filter.ts'
import type { Numbers } from '../numbers/numbers.ts'
import { Appender, factNotes } from './appender.ts'
import type { Disk } from './disk/disk.ts'
import { Follower } from './follower.ts'
import type { CommitLog, DamagedRange, FlushMode } from './log/commit-log.ts'
import type { FrameBatch } from './log/following.ts'
import { showStore } from './numbers.ts'
import { copyParked, findParked } from './parked.ts'
import { Reader } from './reader.ts'
import type { Replication } from './replication.ts'
import { Retention, type RetentionLimits } from './retention.ts'
import type {
  Appended,
  AppendGroup,
  DueEntry,
  Fact,
  MessageStore,
  Parked,
  ReadRequest,
  ReadResult,
  StoreStatus,
} from './store.ts'
import type { ConsumeQueue } from './views/consume-queue.ts'
import { keyHash } from './views/key-index.ts'
import type { Note } from './views/notes.ts'
import { ViewsDamaged } from './views/pairs/sealed.ts'
import { topicHash } from './views/queue-table.ts'
import type { ViewKeeper } from './views/view-keeper.ts'
import type { Views } from './views/views.ts'

/** Builds of the views that one call waits for. */
const REBUILDS_MAX = 2

type ArrivalListener = (topic: string, queueId: number, maxOffset: QueueOffset) => void
type WritableListener = (writable: boolean, reason: string | undefined) => void

export interface LogStoreParts {
  readonly commitLog: CommitLog
  readonly keeper: ViewKeeper
  readonly clock: Clock
  readonly log: Logger
  readonly storeHost: Host
  readonly flush: FlushMode
  readonly disk: Disk
  /** Of the log. */
  readonly directory: string
  readonly limits: RetentionLimits
  readonly numbers: Numbers
  /** Called after everything else is closed. */
  readonly closed: () => void | Promise<void>
}

export class LogStore implements MessageStore {
  readonly storeHost: Host
  readonly replication: Replication
  readonly #commitLog: CommitLog
  readonly #keeper: ViewKeeper
  readonly #reader: Reader
  readonly #appender: Appender
  readonly #parts: LogStoreParts
  /** Of a passive store there is none. */
  #retention: Retention | undefined
  /** Of a passive store only. */
  #follower: Follower | undefined
  readonly #clock: Clock
  /** Of all that is looked for by keys and places. */
  readonly #searches: SharedSlice
  readonly #flush: FlushMode
  readonly #closed: () => void | Promise<void>
  #arrived: ArrivalListener = () => {}
  #writableChanged: WritableListener = () => {}
  #closing: Promise<void> | undefined
  /** What is refused, and with what; undefined: nothing. */
  #refusal: { readonly error: BrokerError; readonly what: 'messages' | 'all' } | undefined

  /** Takes over the log's listeners; the keeper must be open. */
  constructor(parts: LogStoreParts) {
    const { commitLog, keeper, clock, log } = parts
    this.storeHost = parts.storeHost
    this.#commitLog = commitLog
    this.#keeper = keeper
    this.#clock = clock
    this.#searches = new SharedSlice(clock)
    this.#flush = parts.flush
    this.#closed = parts.closed
    this.#reader = new Reader(commitLog, clock, log, parts.numbers)
    this.#appender = new Appender(commitLog, keeper, clock)
    this.#parts = parts
    if (commitLog.isPassive) this.#follower = new Follower(parts)
    else this.#retention = this.#makeRetention()
    this.replication = this.#makeReplication()
    const tell = (queue: ConsumeQueue): void => {
      this.#arrived(queue.topic, queue.queueId, queueOffset(queue.next))
    }
    commitLog.onFrame((frame) => keeper.apply(frame, tell))
    showStore(parts.numbers, () => this.status(), parts.disk, parts.directory)
    commitLog.onVoid(() => this.#appender.takeOffsetsBack())
    commitLog.onWritable((writable, reason) => this.#writableChanged(writable, reason))
  }

  get views(): Views {
    return this.#keeper.views
  }

  #makeReplication(): Replication {
    const log = this.#commitLog
    return {
      logId: log.id,
      get epoch() {
        return log.epoch
      },
      get history() {
        return log.history
      },
      get confirmedTo() {
        return log.confirmedTo
      },
      get isPassive() {
        return log.isPassive
      },
      get start() {
        return log.start
      },
      get syncedEnd() {
        return log.syncedEnd
      },
      get disk() {
        return log.disk
      },
      checksum: (from, to) => log.checksum(from, to),
      refuse: (error, what) => {
        this.#refusal = error && { error, what }
      },
      feed: (from) => log.feed(from),
      hold: (waits) => log.hold(waits),
      get damage() {
        return log.damage()
      },
      mend: (range, bytes) => this.#mend(range, bytes),
      take: (batch) => this.#take(batch),
      promote: (epoch) => this.#promote(epoch),
    }
  }

  async #take(batch: FrameBatch): Promise<LogPosition> {
    if (this.#follower !== undefined) return this.#follower.take(batch)
    throw new BrokerError('NOT_SUPPORTED', 'this store is a master and takes no frames')
  }

  async #mend(range: DamagedRange, bytes: Buffer): Promise<void> {
    const log = this.#commitLog
    await log.mend(range, bytes)
    if (log.damage().some(({ to }) => to === range.to)) return
    // A build under way may be past it.
    const keeper = this.#keeper
    void keeper.whole().then(() => keeper.damaged(new ViewsDamaged('the log was mended')))
  }

  async #promote(epoch?: number): Promise<void> {
    const log = this.#commitLog
    const follower = this.#follower
    // Of a master, offsets may be under way.
    if (follower === undefined) throw isMaster('is not promoted again')
    await follower.close()
    if (this.#follower !== follower) throw isMaster('was promoted by another call')
    this.#appender.takeOffsetsBack()
    try {
      log.activate(epoch)
    } catch (error) {
      if (this.#closing === undefined) this.#follower = new Follower(this.#parts)
      throw error
    }
    this.#follower = undefined
    this.#retention = this.#makeRetention()
  }

  #makeRetention(): Retention {
    return new Retention({ ...this.#parts, appender: this.#appender })
  }

  append(group: AppendGroup): Promise<readonly Appended[]> {
    const { error, what } = this.#refusal ?? {}
    if (error && (what === 'all' || group.messages.length > 0)) return Promise.reject(error)
    return this.#appender.append(group)
  }

  async bindLightQueue(
    filter: string,
    durable: boolean,
    facts: readonly Fact[] = [],
  ): Promise<void> {
    checkTopicFilter(filter)
    const { light } = this.views
    if (!durable) return light.bindLive(filter)
    this.#checkRefused()
    const note: Note = { is: 'bind', filter }
    const isBound = light.hasDurable(filter) && !this.#appender.isUnderWay(note)
    await this.#appender.appendWith([], [...(isBound ? [] : [note]), ...factNotes(facts)])
  }

  async unbindLightQueue(
    filter: string,
    durable: boolean,
    facts: readonly Fact[] = [],
  ): Promise<void> {
    const { light } = this.views
    if (!durable) return light.unbindLive(filter)
    this.#checkRefused()
    const note: Note = { is: 'unbind', filter }
    const isBound = light.hasDurable(filter) || this.#appender.isUnderWay(note)
    await this.#appender.appendWith([], [...(isBound ? [note] : []), ...factNotes(facts)])
  }

  async dropQueues(topic: string, facts: readonly Fact[] = []): Promise<void> {
    this.#checkRefused()
    await this.#appender.drop(topic, facts)
  }

  /** @throws BrokerError why nothing at all is appended */
  #checkRefused(): void {
    if (this.#refusal?.what === 'all') throw this.#refusal.error
  }

  // Reading

  read(request: ReadRequest): ReadResult | Promise<ReadResult> {
    const views = this.views
    try {
      return this.#readNow(request)
    } catch (error) {
      return this.#afterRebuild(views, error, () => this.#readNow(request))
    }
  }

  #readNow(request: ReadRequest): ReadResult | Promise<ReadResult> {
    const { topic, queueId } = request
    const { dropped } = this.views
    const read = this.#reader.read(this.#find(topic, queueId), request)
    // The records of other queues went with their entries.
    if (dropped.isEmpty || !(isLightQueue(topic) || isRetryTopic(topic))) return read
    if (!(read instanceof Promise)) return dropped.leaveOut(read)
    return read.then((result) => dropped.leaveOut(result))
  }

  readAt(
    position: LogPosition,
    bytesMax?: number,
  ): Buffer | undefined | Promise<Buffer | undefined> {
    const place = this.#appender.readablePlaceOf(position)
    const record = this.#commitLog.readAt(place, bytesMax)
    if (!(record instanceof Promise)) return record
    // Retention may have moved it, and dropped the old place, between two steps of the read.
    const isThere = (): boolean => this.#appender.readablePlaceOf(position) === place
    return record.then((read) => (read || isThere() ? read : this.readAt(position, bytesMax)))
  }

  range(topic: string, queueId: number): { minOffset: QueueOffset; maxOffset: QueueOffset } {
    const queue = this.#find(topic, queueId)
    return { minOffset: queueOffset(queue?.min ?? 0), maxOffset: queueOffset(queue?.next ?? 0) }
  }

  async offsetByTime(topic: string, queueId: number, timestampMs: number): Promise<QueueOffset> {
    const views = this.views
    try {
      return await this.#searchTime(topic, queueId, timestampMs)
    } catch (error) {
      return this.#afterRebuild(views, error, () => this.#searchTime(topic, queueId, timestampMs))
    }
  }

  async #searchTime(topic: string, queueId: number, timestampMs: number): Promise<QueueOffset> {
    const queue = this.#find(topic, queueId)
    if (queue === undefined) return queueOffset(0)
    const { times } = this.views
    const nowMs = this.#clock.now()
    return queueOffset(await this.#reader.offsetByTime(queue, timestampMs, times, nowMs))
  }

  async findByKey(
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> {
    const views = this.views
    try {
      return await this.#searchKey(topic, key, options)
    } catch (error) {
      return this.#afterRebuild(views, error, () => this.#searchKey(topic, key, options))
    }
  }

  async #searchKey(
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> {
    const { max, maxBytes = Number.POSITIVE_INFINITY } = options
    const { fromMs = 0, toMs = Number.MAX_SAFE_INTEGER } = options
    const found: Buffer[] = []
    let foundBytes = 0
    const bytes = Buffer.from(key, 'utf8')
    const hash = keyHash(bytes, 0, bytes.length, topicHash(topic))
    const nowMs = this.#clock.now()
    const believed = this.views.times.believedAt(nowMs)
    // Nothing was stored after now, whatever the clock said then.
    const untilMs = toMs >= nowMs ? Number.POSITIVE_INFINITY : toMs
    for (const position of this.views.keys.candidates(hash)) {
      if (this.#searches.isOver) await this.#searches.rest()
      if (position === undefined) continue
      if (found.length >= max || position < this.#commitLog.start) break
      const record = await this.#commitLog.readAt(logPosition(position))
      if (record === undefined) continue
      const view = new RecordView(record)
      const time = believed.at(position, view.storeTimestamp)
      if (time !== undefined && time < fromMs) {
        if (!believed.mayHoldBefore(position, fromMs)) break
        continue
      }
      if (time !== undefined && time > untilMs) continue
      if (view.topic !== topic || !carriesKey(view, key) || this.isDropped(view)) continue
      foundBytes += record.length
      if (found.length > 0 && foundBytes > maxBytes) break
      found.push(record)
    }
    return found
  }

  /** Answers from the views as they are built again. */
  async #afterRebuild<T>(asked: Views, error: unknown, again: () => T | Promise<T>): Promise<T> {
    let views = asked
    let failure = error
    for (let n = 0; n < REBUILDS_MAX && failure instanceof ViewsDamaged; n++) {
      // Views replaced since the question are closed: their failure says nothing against the new
      // ones.
      if (views === this.views) this.#keeper.damaged(failure)
      await this.#keeper.whole()
      views = this.views
      try {
        return await again()
      } catch (next) {
        failure = next
      }
    }
    if (!(failure instanceof ViewsDamaged)) throw failure
    throw new BrokerError('STORE_CORRUPT', failure.message, { cause: failure })
  }

  // Views

  isDropped(record: RecordView): boolean {
    const { trimmedTo, dropped } = this.views
    // Before that, drops are forgotten; the file may go later.
    return record.position < trimmedTo || dropped.holds(record)
  }

  fact(kind: string, key: string): Buffer | undefined {
    return this.views.facts.get(kind, key)
  }

  facts(kind: string): Iterable<readonly [key: string, value: Buffer]> {
    return this.views.facts.entries(kind)
  }

  takeChangedFacts(): ReadonlyMap<string, ReadonlySet<string>> | undefined {
    return this.views.facts.takeChanged()
  }

  endChangedFacts(): void {
    this.views.facts.endChanged()
  }

  due(untilMs: number, max: number, after?: DueEntry): readonly DueEntry[] {
    this.#keeper.loadDue()
    return this.views.due.due(untilMs, max, after)
  }

  waits({ dueMs, position }: DueEntry): boolean {
    try {
      return this.views.due.has(dueMs, this.#appender.readablePlaceOf(position))
    } catch (error) {
      if (!(error instanceof ViewsDamaged)) throw error
      this.#keeper.damaged(error)
      throw new BrokerError('BUSY', 'the views are built again; try again', { cause: error })
    }
  }

  placeOf(position: LogPosition): LogPosition {
    return this.#appender.placeOf(position)
  }

  nextDueMs(): number | undefined {
    return this.views.due.nextDueMs
  }

  copyParked(position: LogPosition, target: Buffer, at: number): DueEntry | undefined {
    return copyParked(this.views, this.#commitLog, position, target, at)
  }

  async parked(position: LogPosition): Promise<Parked | undefined> {
    const views = this.views
    const readAt = async (at: LogPosition) => this.readAt(at)
    const find = (views: Views) => findParked(views, position, readAt, this.#searches)
    try {
      return await find(views)
    } catch (error) {
      return this.#afterRebuild(views, error, () => find(this.views))
    }
  }

  topics(): Iterable<string> {
    return this.views.queues.names()
  }

  #find(topic: string, queueId: number): ConsumeQueue | undefined {
    if (isLightQueue(topic)) return queueId === 0 ? this.views.light.find(topic) : undefined
    return this.views.queues.find(topic, queueId)
  }

  // Life

  onArrival(listener: ArrivalListener): void {
    this.#arrived = listener
  }

  onWritable(listener: WritableListener): void {
    this.#writableChanged = listener
  }

  status(): StoreStatus {
    const log = this.#commitLog
    return {
      flush: this.#flush,
      writable: log.writable,
      reason: log.reason,
      isPassive: log.isPassive,
      isBusy: this.#appender.isBusy,
      logStart: log.start,
      logEnd: log.end,
      diskBytes: log.diskBytes,
      damage: log.damage(),
      pendingDue: this.views.due.size,
      damagedRecords: this.#reader.damagedRecords,
      isRebuilding: this.#keeper.isRebuilding,
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // Retention waits for its appends.
    this.#commitLog.endHolds()
    await this.#follower?.close()
    await this.#retention?.close()
    await this.#commitLog.close()
    await this.#keeper.close()
    await this.#closed()
  }
}

const isMaster = (why: string): BrokerError =>
  new BrokerError('ARGUMENT_INVALID', `this store is a master and ${why}`)

function carriesKey(record: RecordView, key: string): boolean {
  if (record.property(PROPERTY.uniqueKey) === key) return true
  if (record.topic === SCHEDULE_TOPIC) return false
  return record.property(PROPERTY.keys)?.split(' ').includes(key) ?? false
}
