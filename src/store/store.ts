// The MessageStore port: one log, everything else a view derived from it. Knows bytes and
// positions; no protocols, no consumers. The broker is its only user.

import type { DueRounds } from '../model/due-rounds.ts'
import type { Host } from '../model/host.ts'
import type { LogPosition, QueueOffset } from '../model/positions.ts'
import type { EncodedRecord, RecordCopy, RecordDraft, RecordView } from '../model/record.ts'
import type { DamagedRange, FlushMode } from './log/commit-log.ts'
import type { Replication } from './replication.ts'

export const FACT_KIND_BYTES_MAX = 32
export const FACT_KEY_BYTES_MAX = 65_535

/** A durable fact that is no message; the newest value of (kind, key) holds, null forgets. */
export interface Fact {
  /** Short ASCII, chosen by the broker. */
  readonly kind: string
  readonly key: string
  readonly value: Uint8Array | null
}

/**
 * A fact whose value is a message of the same group: its whole record, as the log has it. The
 * record is not written twice, so the group takes no more room for it.
 */
export interface RecordFact {
  readonly kind: string
  readonly key: string
  /** Index of the message in its group. */
  readonly message: number
}

/** A parked record that waits for its time: a delayed message, or of another kind. */
export interface DueEntry {
  readonly dueMs: number
  readonly position: LogPosition
}

/** A parked message waits on, at the same place, by whole periods of its rounds. */
export interface PutOff {
  readonly entry: DueEntry
  readonly dueMs: number
}

/** One append: all of it survives a crash or nothing does. At most FRAME_BYTES_MAX. */
export interface AppendGroup {
  readonly messages: readonly StoreMessage[]
  /** Of two with one key the later holds. */
  readonly facts?: readonly (Fact | RecordFact)[]
  /** Parked messages that are done: they leave the due index. */
  readonly fired?: readonly DueEntry[]
  readonly putOff?: readonly PutOff[]
  /**
   * The messages are producers' new ones: while the disk is full they are refused, whatever facts
   * come with them. Without this a group with facts goes into the room that is kept for it.
   */
  readonly isNew?: boolean
}

export interface StoreDraft extends RecordDraft {
  /**
   * Park until this wall time (epoch ms): indexed as due, in no consume queue. The record is of
   * SCHEDULE_TOPIC and says TIMER_OUT_MS, and REAL_TOPIC and REAL_QID when the draft is of another
   * topic.
   */
  readonly dueMs?: number | undefined
  /**
   * With `dueMs`: what the record waits for, kept in its property `dueKind`; absent: a delayed
   * message. Kinds are the broker's: the store looks at the time alone.
   */
  readonly dueKind?: string | undefined
  /** With `dueMs`: the record may be put off; kept in its property `dueRounds`. */
  readonly rounds?: DueRounds | undefined
}

export type StoreMessage = StoreDraft | RecordCopy | EncodedRecord

export interface Appended {
  readonly position: LogPosition
  /** 0 for a parked message. */
  readonly queueOffset: QueueOffset
  readonly storeTimestamp: number
}

/** A parked record as it can be read. */
export interface Parked {
  readonly record: RecordView
  /** undefined: it is done. */
  readonly entry: DueEntry | undefined
}

export interface ReadRequest {
  readonly topic: string
  readonly queueId: number
  readonly offset: QueueOffset
  readonly maxMessages: number
  readonly maxBytes: number
  /** Tag hashes wanted; undefined = all. */
  readonly hashes: ReadonlySet<number> | undefined
  /** Where it is given, only what it takes is copied; 'no-match' when that is nothing. */
  readonly choose?: Choose
}

/**
 * Asked about the record that starts there, each in turn; 'stop' reads on there the next time. The
 * bytes are lent for the call, which must not use the store. A later read may ask about a record
 * again.
 */
export type Choose = (
  bytes: Buffer,
  start: number,
  size: number,
  propertiesStart: number,
) => 'take' | 'leave' | 'stop'

export interface ReadResult {
  /** 'moved' = the offset is outside [min, max]; nextOffset is where to go on. */
  readonly status: 'found' | 'at-end' | 'no-match' | 'moved'
  /** Back-to-back records; a copy that the caller owns. */
  readonly records: Buffer
  /** Queue offset of each record, in order (a light queue's own offsets, not the record's). */
  readonly offsets: readonly QueueOffset[]
  readonly nextOffset: QueueOffset
  readonly minOffset: QueueOffset
  readonly maxOffset: QueueOffset
}

export interface StoreStatus {
  readonly flush: FlushMode
  readonly writable: boolean
  readonly reason: string | undefined
  /** It follows a master, and appends nothing. */
  readonly isPassive: boolean
  /**
   * So much waits for the disk that an append may be refused with BUSY: one of up to 4 MiB in this
   * turn is not while false.
   */
  readonly isBusy: boolean
  readonly logStart: LogPosition
  /** End of the durable and readable bytes. */
  readonly logEnd: LogPosition
  readonly diskBytes: number
  /** Bytes of the log that were durable and do not check any more: kept, reported, not served. */
  readonly damage: readonly DamagedRange[]
  readonly pendingDue: number
  /** Records that did not check when they were to be served; each was skipped and logged. */
  readonly damagedRecords: number
  /** The views are being built again from the log; reads that need what was lost wait for it. */
  readonly isRebuilding: boolean
}

export interface MessageStore {
  readonly storeHost: Host
  readonly replication: Replication
  /**
   * Settles in order of the calls, after the group's durability is reached and its entries are
   * readable. @throws READ_ONLY (nothing written, retry after space is back), MESSAGE_TOO_LARGE,
   * CLOSED; `Unconfirmed` with the answer where a hold was not confirmed in time: it is stored
   */
  append(group: AppendGroup): Promise<readonly Appended[]>
  /** At once from memory, later from disk. */
  read(request: ReadRequest): ReadResult | Promise<ReadResult>
  /**
   * The record that starts at the position, or undefined when none of so many bytes does. At once
   * where that takes less than to hand the read over.
   */
  readAt(position: LogPosition, bytesMax?: number): Buffer | undefined | Promise<Buffer | undefined>
  /**
   * min = first retained, max = next to be assigned among the readable; 0, 0 for an unknown queue.
   */
  range(topic: string, queueId: number): { minOffset: QueueOffset; maxOffset: QueueOffset }
  /** First offset stored at or after the time; max beyond the end. */
  offsetByTime(topic: string, queueId: number, timestampMs: number): Promise<QueueOffset>
  /**
   * Newest first, one at least whatever its size. Keys and unique ids (KEYS, UNIQ_KEY) share one
   * index, exact by topic and key. Of SCHEDULE_TOPIC: parked messages by their unique ids, also
   * those that wait no longer, but none that waits in rounds.
   */
  findByKey(
    topic: string,
    key: string,
    options: { max: number; maxBytes?: number; fromMs?: number; toMs?: number },
  ): Promise<readonly Buffer[]>
  /**
   * Was the topic that the record is for dropped since, or did retention let go of it? Reads by
   * offset and by key leave such a record out.
   */
  isDropped(record: RecordView): boolean
  fact(kind: string, key: string): Buffer | undefined
  /** In no order. Messages appended during the reading may be among them or not. */
  facts(kind: string): Iterable<readonly [key: string, value: Buffer]>
  /**
   * Keys by kind of what was set or forgotten since the last call, for one caller. undefined: it
   * may be any, for this is the first call or the views were built again.
   */
  takeChangedFacts(): ReadonlyMap<string, ReadonlySet<string>> | undefined
  /** That caller takes no more of them, so none are kept for it. */
  endChangedFacts(): void
  /** Oldest due first, `max` at most, due at or before `untilMs`, behind `after`. */
  due(untilMs: number, max: number, after?: DueEntry): readonly DueEntry[]
  /**
   * Does it wait for its time, where it is or where retention moved it? While an append with its
   * end is under way, it does.
   * @throws BUSY while views that were lost are built again
   */
  waits(entry: DueEntry): boolean
  /** Where retention moved or is moving what was parked at the position; the same if nowhere. */
  placeOf(position: LogPosition): LogPosition
  /** When the next parked message is due. Cheap: no disk. */
  nextDueMs(): number | undefined
  /**
   * What was parked at the position, or the newest copy of it; undefined: nothing, or it is gone.
   */
  parked(position: LogPosition): Promise<Parked | undefined>
  /**
   * Copies what waits at the position from memory to `target[at...]`.
   * @returns its entry; undefined: it is not in memory, there is no room for it, or it waits no
   * longer: `parked` says which
   */
  copyParked(position: LogPosition, target: Buffer, at: number): DueEntry | undefined
  /**
   * Entries for matching records exist from the next append on, in queue 0 of
   * `lightQueueTopic(filter, durable)`: a durable and a live queue of one filter are two queues.
   * Idempotent for a durable filter; a live one counts its binders and keeps a bounded number of
   * entries. `facts`: written in the same append, also when the filter is bound already.
   */
  bindLightQueue(filter: string, durable: boolean, facts?: readonly Fact[]): Promise<void>
  unbindLightQueue(filter: string, durable: boolean, facts?: readonly Fact[]): Promise<void>
  /**
   * Forgets the queues of a topic (its records stay in the log until retention); offsets restart at
   * 0. `facts`: written in the same append.
   */
  dropQueues(topic: string, facts?: readonly Fact[]): Promise<void>
  /** Topics with at least one entry. */
  topics(): Iterable<string>
  /**
   * The one listener for "entries up to maxOffset are readable"; light queues by their topic name.
   */
  onArrival(listener: (topic: string, queueId: number, maxOffset: QueueOffset) => void): void
  /** The one listener for read-only and back. */
  onWritable(listener: (writable: boolean, reason: string | undefined) => void): void
  status(): StoreStatus
  close(): Promise<void>
}
