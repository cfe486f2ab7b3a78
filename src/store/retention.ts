// Lets the oldest segments go: by age, by the size of the log, and when the disk runs low. Before
// one goes, whatever in it is still alive is appended again (facts, parked messages, the ends of
// quiet queues, the bindings of light queues), so that the log from its new start rebuilds every
// view.
import { type Clock, Slice, type Timer } from '../clock.ts'
import { BrokerError, ifNotStored, isUnconfirmed } from '../errors.ts'
import type { Logger } from '../log.ts'
import { roundsOfCopy } from '../model/due-rounds.ts'
import { SCHEDULE_TOPIC } from '../model/names.ts'
import type { LogPosition } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import { draftOf, RecordView } from '../model/record.ts'
import { originalTopic } from '../model/routing-name.ts'
import type { Appender } from './appender.ts'
import type { Disk } from './disk/disk.ts'
import type { CommitLog, SegmentRange } from './log/commit-log.ts'
import { recordsIn } from './log/frame-records.ts'
import { entryOf } from './parked.ts'
import { PatientClock } from './patient-clock.ts'
import type { DueEntry, StoreDraft } from './store.ts'
import type { ConsumeQueue } from './views/consume-queue.ts'
import { DROP_KIND } from './views/dropped-topics.ts'
import type { Note } from './views/notes.ts'
import type { ViewKeeper } from './views/view-keeper.ts'
import type { Views } from './views/views.ts'

export interface RetentionLimits {
  /** A message is kept at least this long. Default 72 hours. */
  readonly retentionMs?: number
  /** The log is cut to this size from its old end. Default: no limit but the disk. */
  readonly retentionBytes?: number
  /**
   * While the disk has less free than this, the oldest segment goes before its time. Default:
   * never.
   */
  readonly diskFreeBytesMin?: number
}

export interface RetentionParts {
  readonly commitLog: CommitLog
  readonly keeper: ViewKeeper
  readonly appender: Appender
  readonly disk: Disk
  /** Of the log. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  readonly limits: RetentionLimits
}

const RETENTION_MS_DEFAULT = 72 * 3_600_000
const CHECK_PERIOD_MS = 60_000
/** Records are appended again in groups of about this size. */
const GROUP_BYTES = 256 * 1024
const NOTE_BYTES = 128
const LOW_DISK = 'too little free disk'
/** Rounds over a segment before it may go: other writers may move its live records in between. */
const ROUNDS_MAX = 3

export class Retention {
  readonly #parts: RetentionParts
  readonly #present: PatientClock
  readonly #timer: Timer
  #running: Promise<void> | undefined
  #isClosed = false
  /** Store time of a segment's first record, by the segment's start. */
  readonly #times = new Map<number, number>()

  constructor(parts: RetentionParts) {
    this.#parts = parts
    this.#present = new PatientClock(parts.clock, this.#newestMs())
    this.#timer = parts.clock.every(CHECK_PERIOD_MS, () => this.#start())
  }

  /** The store time of the newest record. */
  #newestMs(): number | undefined {
    return this.#parts.keeper.views.times.runs.at(-1)?.lastMs
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer.cancel()
    await this.#running
  }

  #start(): void {
    if (this.#running !== undefined) return
    this.#running = this.#run()
      .catch((error: unknown) => {
        if (this.#isClosed) return
        const fields = { evt: 'retention.failed', err: error }
        this.#parts.log.warn(fields, 'an old segment could not go; trying again later')
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  async #run(): Promise<void> {
    const { commitLog, keeper, log, appender } = this.#parts
    appender.ageMoves()
    const segments = commitLog.segments()
    for (const [i, oldest] of segments.entries()) {
      const next = segments[i + 1]
      // What waits for other copies, or for its turn, is still to be acknowledged.
      if (next === undefined || next.start > commitLog.end) return
      if (!keeper.mayTrim || this.#isClosed) return
      const reason = this.#reasonToDrop(oldest, next)
      if (reason === undefined) return
      // Else it was let go before, and its file could not.
      const isNew = next.start > keeper.views.trimmedTo
      if (isNew && !(await this.#letGo(oldest, next.start))) return
      commitLog.dropBefore(next.start)
      if (isNew) {
        const fields = { segment: oldest.name, reason, logStart: next.start }
        log.info({ evt: 'segment.dropped', ...fields }, `let the oldest segment go: ${reason}`)
      }
      // How much that brings shows when the file is gone.
      if (reason === LOW_DISK) return
    }
  }

  /** False when it must stay for now. */
  async #letGo(segment: SegmentRange, newStart: LogPosition): Promise<boolean> {
    const { keeper } = this.#parts
    if (!(await this.#saveWhatLives(segment, newStart))) return false
    // Acknowledged is not synced with flush: async, and a power cut must find one copy or the
    // other.
    await this.#settled()
    await keeper.trimBefore(newStart)
    if (!keeper.mayTrim || this.#isClosed) return false
    this.#times.delete(segment.start)
    return true
  }

  #reasonToDrop(oldest: SegmentRange, next: SegmentRange): string | undefined {
    const { commitLog, disk, directory, limits } = this.#parts
    const { retentionMs = RETENTION_MS_DEFAULT, retentionBytes, diskFreeBytesMin = 0 } = limits
    const newestMs = this.#newestIn(oldest, next)
    if (newestMs !== undefined && newestMs < this.#present.now() - retentionMs) return 'its age'
    if (retentionBytes !== undefined && commitLog.end - oldest.start > retentionBytes) {
      return 'the size of the log'
    }
    return disk.freeBytes(directory) < diskFreeBytesMin ? LOW_DISK : undefined
  }

  /**
   * When the newest record of the segment was stored at the latest: its times go up to that of the
   * first record after it, as far as they are believed.
   */
  #newestIn(segment: SegmentRange, next: SegmentRange): number | undefined {
    const { keeper, clock } = this.#parts
    const nextMs = this.#timeOf(next)
    if (nextMs === undefined) return undefined
    return keeper.views.times.believedAt(clock.now()).newestIn(segment.start, next.start, nextMs)
  }

  /** Store time of a segment's first record. */
  #timeOf(segment: SegmentRange): number | undefined {
    const known = this.#times.get(segment.start)
    if (known !== undefined) return known
    for (const frame of this.#parts.commitLog.replay(segment.start)) {
      const time = new RecordView(frame.bytes, frame.start).storeTimestamp
      this.#times.set(segment.start, time)
      return time
    }
    return undefined
  }

  /** False when something alive is still only there. */
  async #saveWhatLives(segment: SegmentRange, newStart: number): Promise<boolean> {
    const { keeper } = this.#parts
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const count = (await this.#saveNotes(newStart)) + (await this.#saveParked(segment, newStart))
      if (!keeper.mayTrim || this.#isClosed) return false
      if (count === 0) return true
    }
    return false
  }

  /** Facts, ends of queues and bindings. @returns how many were found */
  async #saveNotes(newStart: number): Promise<number> {
    const { appender, keeper, clock } = this.#parts
    const slice = new Slice(clock)
    let count = 0
    let group: Note[] = []
    let bytes = 0
    for (const noteOf of this.#notesBefore(newStart)) {
      count++
      // As it is now: the views may be others by now than those that are looked through.
      const note = noteOf(keeper.views)
      // A note under way stands further on in the log and says the same anew.
      if (note !== undefined && !appender.isUnderWay(note)) {
        group.push(note)
        bytes += NOTE_BYTES + (note.is === 'fact' ? (note.value?.length ?? 0) : 0)
      }
      const { isOver } = slice
      // Notes that were read go into the log before other writes, or they would stand behind newer
      // ones.
      if (isOver || bytes >= GROUP_BYTES) {
        await this.#appendNotes(group)
        group = []
        bytes = 0
      }
      if (isOver) await slice.rest()
      if (!keeper.mayTrim || this.#isClosed) return count
    }
    if (group.length > 0) await this.#appendNotes(group)
    else if (count > 0) await this.#settled()
    return count
  }

  *#notesBefore(newStart: number): Generator<NoteOf> {
    const { facts, queues, light } = this.#parts.keeper.views
    for (const { kind, key } of facts.before(newStart)) {
      // A drop goes with the records that it is about.
      if (kind === DROP_KIND) continue
      yield (views) => {
        const value = views.facts.get(kind, key)
        return value && { is: 'fact', kind, key, value }
      }
    }
    for (const { topic, queueId, next, lastPosition, notePosition } of queues.all()) {
      if (next > 0 && lastPosition < newStart && notePosition < newStart) {
        yield (views) => endOf(views, views.queues.find(topic, queueId))
      }
    }
    for (const { topic, notePosition } of light.durable()) {
      if (notePosition < newStart) yield (views) => endOf(views, views.light.find(topic))
    }
  }

  /** Messages that wait in the segment for their time. @returns how many were found */
  async #saveParked(segment: SegmentRange, newStart: number): Promise<number> {
    const { commitLog, keeper, clock } = this.#parts
    const slice = new Slice(clock)
    let count = 0
    let group: RecordView[] = []
    let bytes = 0
    if (keeper.views.due.size === 0) return 0
    for (const frame of commitLog.replay(segment.start)) {
      if (frame.firstRecord >= newStart) break
      for (const record of recordsIn(frame)) {
        if (record.topic !== SCHEDULE_TOPIC || this.#entryOf(record) === undefined) continue
        count++
        const copy = Buffer.from(frame.bytes.subarray(record.start, record.start + record.size))
        group.push(new RecordView(copy))
        bytes += record.size
      }
      if (bytes >= GROUP_BYTES) {
        await this.#park(group)
        group = []
        bytes = 0
      }
      if (slice.isOver) await slice.rest()
      if (!keeper.mayTrim || this.#isClosed) return count
    }
    await this.#park(group)
    return count
  }

  #entryOf(record: RecordView): DueEntry | undefined {
    return entryOf(this.#parts.keeper.views, record)
  }

  /**
   * Appends parked messages again, the old ones fired in the same group. Those of dropped topics
   * end here.
   */
  async #park(records: readonly RecordView[]): Promise<void> {
    const { appender, keeper } = this.#parts
    const drafts: StoreDraft[] = []
    const moved: Fired[] = []
    const ended: Fired[] = []
    for (const record of records) {
      const entry = this.#entryOf(record)
      if (entry === undefined) continue
      const fired: Fired = { is: 'fired', ...entry }
      if (appender.isUnderWay(fired)) continue
      // Behind a drop that is under way its copy would pass for a message of the topic made again.
      if (topicsOf(record).some((topic) => appender.isUnderWay({ is: 'drop', topic }))) continue
      if (keeper.views.dropped.holds(record)) ended.push(fired)
      else {
        const { dueMs } = entry
        drafts.push({ ...draftOf(record), dueMs, rounds: roundsOfCopy(record, dueMs) })
        moved.push(fired)
      }
    }
    if (moved.length + ended.length === 0) return this.#settled()
    const move = (positions: readonly (LogPosition | undefined)[]): void => {
      for (const [i, { position }] of moved.entries()) appender.move(position, positions[i])
    }
    try {
      await appender.appendWith(drafts, [...moved, ...ended], ({ positions }) => move(positions))
    } catch (error) {
      // The copies stand in the log, and what was fired has an end there.
      if (isUnconfirmed(BrokerError.from(error))) return
      move([])
      throw error
    }
  }

  /** A copy that lacks them has the segment still, and keeps that until it has them. */
  async #appendNotes(notes: readonly Note[]): Promise<void> {
    await this.#parts.appender.appendWith([], notes).catch(ifNotStored)
  }

  /** Settles when the appends under way are on the disk and in the views, or void. */
  #settled(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#parts.commitLog.sync((error) => (error === undefined ? resolve() : reject(error)))
    })
  }
}

/** The note that says something anew, from what the views hold when it is asked for. */
type NoteOf = (views: Views) => Note | undefined

function endOf(views: Views, queue: ConsumeQueue | undefined): Note | undefined {
  if (queue === undefined) return undefined
  const { topic, queueId, next } = queue
  return { is: 'queueEnd', topic, queueId, nextOffset: next, position: views.mark }
}

type Fired = Extract<Note, { readonly is: 'fired' }>

/** Those whose drop ends a parked message. */
const topicsOf = (record: RecordView): readonly string[] => [
  record.property(PROPERTY.realTopic) ?? record.topic,
  originalTopic(record),
]
