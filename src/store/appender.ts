// The writing half of the store: gives messages their queue offsets, turns facts and the like into
// notes, and hands both to the log as one group. Knows what is under way, so that retention does
// not write an old value behind a newer one.
import type { Clock } from '../clock.ts'
import { BrokerError, isUnconfirmed, Unconfirmed } from '../errors.ts'
import { SCAN, scanProperties } from '../model/message-scan.ts'
import { SCHEDULE_TOPIC } from '../model/names.ts'
import { type LogPosition, queueOffset } from '../model/positions.ts'
import { editProperties, PROPERTY } from '../model/properties.ts'
import { type NewRecord, type RecordDraft, recordBytes } from '../model/record.ts'
import type { Appending, CommitLog } from './log/commit-log.ts'
import type {
  Appended,
  AppendGroup,
  DueEntry,
  Fact,
  RecordFact,
  StoreDraft,
  StoreMessage,
} from './store.ts'
import type { ConsumeQueue } from './views/consume-queue.ts'
import { dueTime } from './views/due-index.ts'
import { type FiredNote, type Note, noteDraft, noteSubject } from './views/notes.ts'
import type { ViewKeeper } from './views/view-keeper.ts'
import { WaitingTexts, waitingProperties } from './waiting.ts'

/**
 * Entries that wait to be written to the views; beyond it appends are refused: the views' disk is
 * stuck.
 */
const UNSAVED_ENTRIES_MAX = 4_000_000

export class Appender {
  readonly #commitLog: CommitLog
  readonly #keeper: ViewKeeper
  readonly #clock: Clock
  /** Subjects of notes appended and not yet in the views, with how often. */
  readonly #underWay = new Map<string | number, number>()
  /** Where retention appended parked messages again: old position to new, of its last two runs. */
  #moved = new Map<number, LogPosition>()
  #movedBefore = new Map<number, LogPosition>()
  /** Parked messages that an append under way puts off: until when, by position. */
  readonly #puttingOff = new Map<number, number>()

  constructor(commitLog: CommitLog, keeper: ViewKeeper, clock: Clock) {
    this.#commitLog = commitLog
    this.#keeper = keeper
    this.#clock = clock
    this.takeOffsetsBack()
  }

  append({ messages, facts, fired, putOff, isNew }: AppendGroup): Promise<readonly Appended[]> {
    const notes: Note[] = facts === undefined ? [] : notesOf(facts, messages)
    if (fired !== undefined) for (const entry of fired) notes.push(this.#firedNote(entry))
    for (const { entry, dueMs } of putOff ?? []) {
      notes.push({ ...this.#firedNote(entry), is: 'putOff', untilMs: dueTime(dueMs) })
    }
    return this.appendWith(messages, notes, undefined, notes.length > 0 && isNew !== true)
  }

  /** `accepted` is called at once when the log has taken the group. */
  appendWith(
    messages: readonly StoreMessage[],
    notes: readonly Note[],
    accepted?: (appending: Appending) => void,
    // Notes are what consumers need to go on while the disk is full, and what makes room in the
    // end.
    isEssential = notes.length > 0,
  ): Promise<readonly Appended[]> {
    const count = messages.length
    if (count + notes.length === 0) return Promise.resolve([])
    const offsets: number[] = []
    const under = new UnderWay(offsets, count, () => this.#count(notes, -1))
    try {
      this.#place(messages, offsets)
      const drafts = this.#drafted(messages, notes)
      if (notes.length > 0) offsets.push(0)
      under.appending = this.#commitLog.append(drafts, offsets, under.done, isEssential)
      this.#count(notes, 1)
      accepted?.(under.appending)
    } catch (thrown) {
      this.#takeBack(messages, Math.min(offsets.length, count))
      under.refuse(BrokerError.from(thrown))
    }
    return under.settled
  }

  /** Restarts the offsets of a topic with whatever is appended after it. */
  drop(topic: string, facts: readonly Fact[]): Promise<unknown> {
    return this.appendWith([], [{ is: 'drop', topic }, ...factNotes(facts)], () => {
      for (const queue of this.#keeper.views.queues.of(topic)) queue.assigned = 0
    })
  }

  /** Everything under way is void: offsets go on where entries are readable. */
  takeOffsetsBack(): void {
    for (const queue of this.#keeper.views.queues.all()) queue.assigned = queue.next
  }

  /** May an append be refused with BUSY? A small one of this turn is not while this says no. */
  get isBusy(): boolean {
    return this.#commitLog.isBusy || this.#keeper.views.unsavedEntries > UNSAVED_ENTRIES_MAX
  }

  /** Is a note of the same subject appended and not yet in the views? */
  isUnderWay(note: Note): boolean {
    return this.#underWay.has(noteSubject(note))
  }

  /**
   * A parked message was appended again: callers that still name the old position mean the new one.
   */
  move(from: number, to: LogPosition | undefined): void {
    if (to === undefined) this.#moved.delete(from)
    else this.#moved.set(from, to)
  }

  /** Retention begins a run: positions from before the previous run are no longer translated. */
  ageMoves(): void {
    this.#movedBefore = this.#moved
    this.#moved = new Map()
  }

  /** Where the newest copy stands, or will. */
  placeOf(position: LogPosition): LogPosition {
    let place = position
    for (let next = this.#movedTo(place); next !== undefined; next = this.#movedTo(place)) {
      place = next
    }
    return place
  }

  /** Where the newest copy stands that can be read: one that is under way cannot yet. */
  readablePlaceOf(position: LogPosition): LogPosition {
    let place = position
    for (let next = this.#movedTo(place); next !== undefined; next = this.#movedTo(place)) {
      if (next >= this.#commitLog.end) return place
      place = next
    }
    return place
  }

  #movedTo(position: LogPosition): LogPosition | undefined {
    return this.#moved.get(position) ?? this.#movedBefore.get(position)
  }

  /** The entry as it will be when this append is reached. */
  #firedNote({ dueMs, position }: DueEntry): FiredNote {
    const place = this.placeOf(position)
    return { is: 'fired', dueMs: this.#puttingOff.get(place) ?? dueMs, position: place }
  }

  /** Gives each message its queue offset. */
  #place(messages: readonly StoreMessage[], offsets: number[]): void {
    if (this.#keeper.views.unsavedEntries > UNSAVED_ENTRIES_MAX) throw viewsStuck()
    for (const message of messages) {
      offsets.push(message.dueMs === undefined ? this.#queueOf(message).assigned++ : 0)
    }
  }

  /** The first so many are not appended after all. */
  #takeBack(messages: readonly StoreMessage[], count: number): void {
    for (let i = 0; i < count; i++) {
      if (messages[i]!.dueMs === undefined) this.#queueOf(messages[i]!).assigned--
    }
  }

  #queueOf({ topic, queueId }: StoreMessage): ConsumeQueue {
    const { queues } = this.#keeper.views
    return queues.queue(queues.topic(topic), queueId)
  }

  /** As they are where nothing is parked or noted. */
  #drafted(messages: readonly StoreMessage[], notes: readonly Note[]): readonly NewRecord[] {
    const isPlain = notes.length === 0 && messages.every(({ dueMs }) => dueMs === undefined)
    if (isPlain) return messages
    const drafts = messages.map(drafted)
    return notes.length === 0 ? drafts : [...drafts, noteDraft(notes, this.#clock.now())]
  }

  #count(notes: readonly Note[], by: 1 | -1): void {
    for (const note of notes) {
      const subject = noteSubject(note)
      const count = (this.#underWay.get(subject) ?? 0) + by
      if (count > 0) this.#underWay.set(subject, count)
      else this.#underWay.delete(subject)
      if (note.is !== 'putOff') continue
      if (by === 1) this.#puttingOff.set(note.position, note.untilMs)
      else if (count === 0) this.#puttingOff.delete(note.position)
    }
  }
}

function appendedOf(
  { positions, storeTimestamp }: Appending,
  offsets: readonly number[],
  count: number,
): Appended[] {
  const all = new Array<Appended>(count)
  for (let i = 0; i < count; i++) {
    all[i] = { position: positions[i]!, queueOffset: queueOffset(offsets[i]!), storeTimestamp }
  }
  return all
}

/** An append that waits for its sync, and holds on to none of its messages: they are encoded. */
class UnderWay {
  readonly settled: Promise<readonly Appended[]>
  done!: (error: BrokerError | undefined) => void
  appending: Appending | undefined
  refuse!: (error: BrokerError) => void

  constructor(offsets: readonly number[], count: number, ended: () => void) {
    this.settled = new Promise((resolve, reject) => {
      this.refuse = reject
      this.done = (error) => {
        ended()
        if (error === undefined) resolve(appendedOf(this.appending!, offsets, count))
        else if (!isUnconfirmed(error)) reject(error)
        else reject(new Unconfirmed(error, appendedOf(this.appending!, offsets, count)))
      }
    })
  }
}

export const factNotes = (facts: readonly Fact[]): Note[] =>
  facts.map((fact) => ({ is: 'fact', ...fact }))

function notesOf(facts: readonly (Fact | RecordFact)[], messages: readonly StoreMessage[]): Note[] {
  let distances: readonly number[] | undefined
  return facts.map((fact) => {
    if (!('message' in fact)) return { is: 'fact', ...fact }
    distances ??= distancesOf(messages)
    return { is: 'record', kind: fact.kind, key: fact.key, back: distances[fact.message]! }
  })
}

/** From each message to the notes behind the last one: known before it is written. */
function distancesOf(messages: readonly StoreMessage[]): readonly number[] {
  const distances = new Array<number>(messages.length)
  let distance = 0
  for (let i = messages.length - 1; i >= 0; i--) {
    distance += recordBytes(drafted(messages[i]!))
    distances[i] = distance
  }
  return distances
}

const drafted = (message: StoreMessage): NewRecord =>
  message.dueMs === undefined ? message : parked(message, message.dueMs)

const waitingTexts = new WaitingTexts()

/** A parked message says in its own properties where it goes and when, so that replay finds out. */
function parked(draft: StoreDraft, timeMs: number): RecordDraft {
  const dueMs = dueTime(timeMs)
  const { properties: given, brokerProperties } = draft
  // Nearly every new one has none of these yet.
  if (draft.topic !== SCHEDULE_TOPIC && (scanProperties(given) & SCAN.waiting) === 0) {
    return {
      topic: SCHEDULE_TOPIC,
      queueId: 0,
      flag: draft.flag,
      sysFlag: draft.sysFlag,
      bornTimestamp: draft.bornTimestamp,
      bornHost: draft.bornHost,
      reconsumeTimes: draft.reconsumeTimes,
      preparedPosition: draft.preparedPosition,
      body: draft.body,
      properties: given,
      uniqueKey: draft.uniqueKey,
      brokerProperties,
      waiting: waitingTexts.of(draft, dueMs),
    }
  }
  const all = brokerProperties === undefined ? given : Buffer.concat([given, brokerProperties])
  const added: [string, string][] = [[PROPERTY.dueMs, String(dueMs)], ...waitingProperties(draft)]
  const properties = editProperties(all, added)
  return { ...draft, topic: SCHEDULE_TOPIC, queueId: 0, properties, brokerProperties: undefined }
}

const viewsStuck = (): BrokerError =>
  new BrokerError(
    'BUSY',
    `${UNSAVED_ENTRIES_MAX} entries wait to be written to the views: look at the disk and the log, then try again`,
  )
