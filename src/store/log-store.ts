// The store: one commit log and the views derived from it, behind the MessageStore port. Assigns queue
// offsets; leaves bytes to the log, entries to the views and records to the reader.
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Host } from '../model/host.ts'
import { isLightQueue, SCHEDULE_TOPIC } from '../model/names.ts'
import { type LogPosition, logPosition, type QueueOffset, queueOffset } from '../model/positions.ts'
import { editProperties, PROPERTY } from '../model/properties.ts'
import { type RecordDraft, RecordView } from '../model/record.ts'
import { checkTopicFilter } from '../model/topic-filter.ts'
import type { CommitLog } from './commit-log.ts'
import type { ConsumeQueue } from './consume-queue.ts'
import { dueTime } from './due-index.ts'
import { keyHash } from './key-index.ts'
import { type Note, noteDraft } from './notes.ts'
import { topicHash } from './queue-table.ts'
import { Reader } from './reader.ts'
import { ViewsDamaged } from './sealed.ts'
import type {
  Appended,
  AppendGroup,
  DueEntry,
  FlushMode,
  MessageStore,
  ReadRequest,
  ReadResult,
  StoreDraft,
  StoreStatus,
} from './store.ts'
import type { ViewKeeper } from './view-keeper.ts'
import type { Views } from './views.ts'

/** Entries that wait to be written to the views; beyond it appends are refused: the views' disk is stuck. */
const UNSAVED_ENTRIES_MAX = 4_000_000
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
  /** Called after everything else is closed. */
  readonly closed: () => void
}

export class LogStore implements MessageStore {
  readonly storeHost: Host
  readonly #commitLog: CommitLog
  readonly #keeper: ViewKeeper
  readonly #reader: Reader
  readonly #clock: Clock
  readonly #flush: FlushMode
  readonly #closed: () => void
  #arrived: ArrivalListener = () => {}
  #writableChanged: WritableListener = () => {}
  #closing: Promise<void> | undefined

  /** Takes over the log's listeners; the keeper must be open. */
  constructor({ commitLog, keeper, clock, log, storeHost, flush, closed }: LogStoreParts) {
    this.storeHost = storeHost
    this.#commitLog = commitLog
    this.#keeper = keeper
    this.#clock = clock
    this.#flush = flush
    this.#closed = closed
    this.#reader = new Reader(commitLog, log)
    this.#takeOffsetsBack()
    const tell = (queue: ConsumeQueue): void => {
      this.#arrived(queue.topic, queue.queueId, queueOffset(queue.next))
    }
    commitLog.onFrame((frame) => keeper.apply(frame, tell))
    commitLog.onVoid(() => this.#takeOffsetsBack())
    commitLog.onWritable((writable, reason) => this.#writableChanged(writable, reason))
  }

  get #views(): Views {
    return this.#keeper.views
  }

  // Writing

  append(group: AppendGroup): Promise<readonly Appended[]> {
    const notes: Note[] = []
    for (const fact of group.facts ?? []) notes.push({ is: 'fact', ...fact })
    for (const entry of group.fired ?? []) notes.push({ is: 'fired', ...entry })
    if (group.messages.length + notes.length === 0) return Promise.resolve([])
    return this.#append(group.messages, notes)
  }

  /** `accepted` is called at once when the log has taken the group. */
  #append(
    messages: readonly StoreDraft[],
    notes: readonly Note[],
    accepted: () => void = () => {},
  ): Promise<readonly Appended[]> {
    return new Promise((resolve, reject) => {
      const drafts: RecordDraft[] = []
      const offsets: number[] = []
      const queues: ConsumeQueue[] = []
      try {
        if (this.#views.unsavedEntries > UNSAVED_ENTRIES_MAX) throw viewsStuck()
        for (const message of messages) {
          if (message.dueMs !== undefined) {
            drafts.push(parked(message, message.dueMs))
            offsets.push(0)
            continue
          }
          const queue = this.#queueFor(message)
          drafts.push(message)
          offsets.push(queue.assigned++)
          queues.push(queue)
        }
        if (notes.length > 0) {
          drafts.push(noteDraft(notes, this.#clock.now()))
          offsets.push(0)
        }
        const done = (error: BrokerError | undefined) => {
          if (error !== undefined) return reject(error)
          resolve(
            messages.map((_, i) => ({
              position: positions[i]!,
              queueOffset: queueOffset(offsets[i]!),
              storeTimestamp,
            })),
          )
        }
        // Facts are what consumers need to go on while the disk is full, and what makes room in the end.
        const isEssential = notes.length > 0
        const { positions, storeTimestamp } = this.#commitLog.append(
          drafts,
          offsets,
          done,
          isEssential,
        )
        accepted()
      } catch (thrown) {
        for (const queue of queues) queue.assigned--
        reject(BrokerError.from(thrown))
      }
    })
  }

  #queueFor(draft: RecordDraft): ConsumeQueue {
    const { queues } = this.#views
    return queues.queue(queues.topic(draft.topic), draft.queueId)
  }

  /** After a refused commit everything under way is void: offsets go on where entries are readable. */
  #takeOffsetsBack(): void {
    for (const queue of this.#views.queues.all()) queue.assigned = queue.next
  }

  async bindLightQueue(filter: string, durable: boolean): Promise<void> {
    checkTopicFilter(filter)
    const { light } = this.#views
    if (!durable) light.bindLive(filter)
    else if (!light.hasDurable(filter)) await this.#append([], [{ is: 'bind', filter }])
  }

  async unbindLightQueue(filter: string, durable: boolean): Promise<void> {
    const { light } = this.#views
    if (!durable) light.unbindLive(filter)
    else if (light.hasDurable(filter)) await this.#append([], [{ is: 'unbind', filter }])
  }

  async dropQueues(topic: string): Promise<void> {
    await this.#append([], [{ is: 'drop', topic }], () => {
      for (const queue of this.#views.queues.of(topic)) queue.assigned = 0
    })
  }

  // Reading

  read(request: ReadRequest): ReadResult | Promise<ReadResult> {
    try {
      return this.#reader.read(this.#find(request.topic, request.queueId), request)
    } catch (error) {
      return this.#afterRebuild(error, () =>
        this.#reader.read(this.#find(request.topic, request.queueId), request),
      )
    }
  }

  readAt(position: LogPosition): Promise<Buffer | undefined> {
    return this.#commitLog.readAt(position)
  }

  range(topic: string, queueId: number): { minOffset: QueueOffset; maxOffset: QueueOffset } {
    const queue = this.#find(topic, queueId)
    return { minOffset: queueOffset(queue?.min ?? 0), maxOffset: queueOffset(queue?.next ?? 0) }
  }

  async offsetByTime(topic: string, queueId: number, timestampMs: number): Promise<QueueOffset> {
    try {
      return await this.#searchTime(topic, queueId, timestampMs)
    } catch (error) {
      return this.#afterRebuild(error, () => this.#searchTime(topic, queueId, timestampMs))
    }
  }

  async #searchTime(topic: string, queueId: number, timestampMs: number): Promise<QueueOffset> {
    const queue = this.#find(topic, queueId)
    if (queue === undefined) return queueOffset(0)
    return queueOffset(await this.#reader.offsetByTime(queue, timestampMs))
  }

  offsetByPosition(topic: string, queueId: number, position: LogPosition): QueueOffset {
    try {
      return queueOffset(this.#find(topic, queueId)?.offsetAt(position) ?? 0)
    } catch (error) {
      if (!(error instanceof ViewsDamaged)) throw error
      this.#keeper.damaged(error)
      const text = `the entries of '${topic}' are being built again from the log: try again soon`
      throw new BrokerError('BUSY', text, { cause: error })
    }
  }

  async findByKey(
    topic: string,
    key: string,
    options: { max: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> {
    try {
      return await this.#searchKey(topic, key, options)
    } catch (error) {
      return this.#afterRebuild(error, () => this.#searchKey(topic, key, options))
    }
  }

  async #searchKey(
    topic: string,
    key: string,
    options: { max: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> {
    const { max, fromMs = 0, toMs = Number.MAX_SAFE_INTEGER } = options
    const found: Buffer[] = []
    const bytes = Buffer.from(key, 'utf8')
    const hash = keyHash(bytes, 0, bytes.length, topicHash(topic))
    let last = -1
    for (const position of this.#views.keys.candidates(hash)) {
      if (found.length >= max || position < this.#commitLog.start) break
      if (position === last) continue
      last = position
      const record = await this.#commitLog.readAt(logPosition(position))
      if (record === undefined) continue
      const view = new RecordView(record)
      const time = view.storeTimestamp
      if (time < fromMs) break
      if (time <= toMs && view.topic === topic && carriesKey(view, key)) found.push(record)
    }
    return found
  }

  /** Answers from the views as they are built again. */
  async #afterRebuild<T>(error: unknown, again: () => T | Promise<T>): Promise<T> {
    let failure = error
    for (let n = 0; n < REBUILDS_MAX && failure instanceof ViewsDamaged; n++) {
      this.#keeper.damaged(failure)
      await this.#keeper.whole()
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

  fact(kind: string, key: string): Buffer | undefined {
    return this.#views.facts.get(kind, key)
  }

  facts(kind: string): Iterable<readonly [key: string, value: Buffer]> {
    return this.#views.facts.entries(kind)
  }

  due(untilMs: number, max: number): readonly DueEntry[] {
    return this.#views.due.due(untilMs, max)
  }

  nextDueMs(): number | undefined {
    return this.#views.due.nextDueMs
  }

  topics(): Iterable<string> {
    return this.#views.queues.names()
  }

  #find(topic: string, queueId: number): ConsumeQueue | undefined {
    if (isLightQueue(topic)) return queueId === 0 ? this.#views.light.find(topic) : undefined
    return this.#views.queues.find(topic, queueId)
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
      logStart: log.start,
      logEnd: log.end,
      diskBytes: log.diskBytes,
      pendingDue: this.#views.due.size,
      damagedRecords: this.#reader.damagedRecords,
      isRebuilding: this.#keeper.isRebuilding,
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#commitLog.close()
    await this.#keeper.close()
    this.#closed()
  }
}

/** A parked message says in its own properties where it goes and when, so that replay finds out. */
function parked(draft: StoreDraft, dueMs: number): RecordDraft {
  const added: [string, string][] = [[PROPERTY.dueMs, String(dueTime(dueMs))]]
  if (draft.topic !== SCHEDULE_TOPIC) {
    added.push([PROPERTY.realTopic, draft.topic], [PROPERTY.realQueueId, String(draft.queueId)])
  }
  const properties = editProperties(draft.properties, added)
  return { ...draft, topic: SCHEDULE_TOPIC, queueId: 0, properties }
}

function carriesKey(record: RecordView, key: string): boolean {
  if (record.property(PROPERTY.uniqueKey) === key) return true
  return record.property(PROPERTY.keys)?.split(' ').includes(key) ?? false
}

const viewsStuck = (): BrokerError =>
  new BrokerError(
    'BUSY',
    `${UNSAVED_ENTRIES_MAX} entries wait to be written to the views: look at the disk and the log, then try again`,
  )
