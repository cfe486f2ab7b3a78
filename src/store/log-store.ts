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
import { Dispatcher } from './dispatcher.ts'
import { keyHash } from './key-index.ts'
import { type Note, noteDraft } from './notes.ts'
import { Reader } from './reader.ts'
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
import type { Views } from './views.ts'

type ArrivalListener = (topic: string, queueId: number, maxOffset: QueueOffset) => void
type WritableListener = (writable: boolean, reason: string | undefined) => void

export interface LogStoreParts {
  readonly commitLog: CommitLog
  readonly views: Views
  readonly clock: Clock
  readonly log: Logger
  readonly storeHost: Host
  readonly flush: FlushMode
}

export class LogStore implements MessageStore {
  readonly storeHost: Host
  readonly #commitLog: CommitLog
  readonly #views: Views
  readonly #dispatcher: Dispatcher
  readonly #reader: Reader
  readonly #clock: Clock
  readonly #flush: FlushMode
  #arrived: ArrivalListener = () => {}
  #writableChanged: WritableListener = () => {}

  /** Replays what the views lack, then takes over the log's listeners. */
  constructor({ commitLog, views, clock, log, storeHost, flush }: LogStoreParts) {
    this.storeHost = storeHost
    this.#commitLog = commitLog
    this.#views = views
    this.#clock = clock
    this.#flush = flush
    this.#dispatcher = new Dispatcher(views, log)
    this.#reader = new Reader(commitLog, log)
    for (const frame of commitLog.replay(logPosition(views.mark))) this.#dispatcher.apply(frame)
    this.#dispatcher.tellTouched(() => {})
    for (const queue of views.queues.all()) queue.assigned = queue.next
    commitLog.onFrame((frame) => {
      this.#dispatcher.apply(frame)
      this.#dispatcher.tellTouched((queue) => {
        this.#arrived(queue.topic, queue.queueId, queueOffset(queue.next))
      })
    })
    commitLog.onWritable((writable, reason) => {
      if (!writable) this.#takeOffsetsBack()
      this.#writableChanged(writable, reason)
    })
  }

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
        const { positions, storeTimestamp } = this.#commitLog.append(drafts, offsets, (error) => {
          if (error !== undefined) return reject(error)
          resolve(
            messages.map((_, i) => ({
              position: positions[i]!,
              queueOffset: queueOffset(offsets[i]!),
              storeTimestamp,
            })),
          )
        })
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

  read(request: ReadRequest): ReadResult | Promise<ReadResult> {
    return this.#reader.read(this.#find(request.topic, request.queueId), request)
  }

  readAt(position: LogPosition): Promise<Buffer | undefined> {
    return this.#commitLog.readAt(position)
  }

  range(topic: string, queueId: number): { minOffset: QueueOffset; maxOffset: QueueOffset } {
    const queue = this.#find(topic, queueId)
    return { minOffset: queueOffset(queue?.min ?? 0), maxOffset: queueOffset(queue?.next ?? 0) }
  }

  async offsetByTime(topic: string, queueId: number, timestampMs: number): Promise<QueueOffset> {
    const queue = this.#find(topic, queueId)
    if (queue === undefined) return queueOffset(0)
    let low = queue.min
    let high = queue.next
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const position = queue.positionOf(middle)
      const record =
        position === undefined ? undefined : await this.#commitLog.readAt(logPosition(position))
      if (record === undefined || new RecordView(record).storeTimestamp < timestampMs) {
        low = middle + 1
      } else high = middle
    }
    return queueOffset(low)
  }

  offsetByPosition(topic: string, queueId: number, position: LogPosition): QueueOffset {
    const queue = this.#find(topic, queueId)
    if (queue === undefined) return queueOffset(0)
    let low = queue.min
    let high = queue.next
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((queue.positionOf(middle) ?? -1) < position) low = middle + 1
      else high = middle
    }
    return queueOffset(low)
  }

  async findByKey(
    topic: string,
    key: string,
    {
      max,
      fromMs = 0,
      toMs = Number.MAX_SAFE_INTEGER,
    }: { max: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]> {
    const found: Buffer[] = []
    const bytes = Buffer.from(key, 'utf8')
    const hash = keyHash(bytes, 0, bytes.length, this.#views.queues.topic(topic).hash)
    for (const position of this.#views.keys.candidates(hash)) {
      if (found.length >= max || position < this.#commitLog.start) break
      const record = await this.#commitLog.readAt(logPosition(position))
      if (record === undefined) continue
      const view = new RecordView(record)
      const time = view.storeTimestamp
      if (time < fromMs) break
      if (time <= toMs && view.topic === topic && carriesKey(view, key)) found.push(record)
    }
    return found
  }

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

  async bindLightQueue(filter: string, durable: boolean): Promise<void> {
    checkTopicFilter(filter)
    if (!durable) this.#views.light.bindLive(filter, this.#commitLog.end)
    else if (!this.#views.light.hasDurable(filter)) await this.#append([], [{ is: 'bind', filter }])
  }

  async unbindLightQueue(filter: string, durable: boolean): Promise<void> {
    if (!durable) this.#views.light.unbindLive(filter)
    else if (this.#views.light.hasDurable(filter)) {
      await this.#append([], [{ is: 'unbind', filter }])
    }
  }

  async dropQueues(topic: string): Promise<void> {
    await this.#append([], [{ is: 'drop', topic }], () => {
      for (const queue of this.#views.queues.topic(topic).queues) if (queue) queue.assigned = 0
    })
  }

  topics(): Iterable<string> {
    return this.#views.queues.names()
  }

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
    }
  }

  close(): Promise<void> {
    return this.#commitLog.close()
  }

  #find(topic: string, queueId: number): ConsumeQueue | undefined {
    if (isLightQueue(topic)) return queueId === 0 ? this.#views.light.find(topic) : undefined
    return this.#views.queues.find(topic, queueId)
  }
}

/** A parked message says in its own properties where it goes and when, so that replay finds out. */
function parked(draft: StoreDraft, dueMs: number): RecordDraft {
  const added: [string, string][] = [[PROPERTY.dueMs, String(dueMs)]]
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
