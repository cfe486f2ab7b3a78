// The commit log as its user, the store, needs it: records in frames, frames in segments, one group
// commit per event-loop turn. It assigns positions, makes frames durable in order and tells one
// listener; it knows no topics and no queues. segmented-log.ts implements it.
import type { Clock } from '../../clock.ts'
import type { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import type { Host } from '../../model/host.ts'
import { BODY_BYTES_MAX } from '../../model/limits.ts'
import type { LogPosition } from '../../model/positions.ts'
import type { NewRecord } from '../../model/record.ts'
import type { Histogram } from '../../numbers/histogram.ts'
import type { Disk, DiskState } from '../disk/disk.ts'
import type { LogHistory } from './epochs/history.ts'
import type { AcknowledgementHold, Followed, FrameFeed } from './following.ts'

export type FlushMode = 'sync' | 'async'

/**
 * The largest append, header of its frame included: the largest body that can be allowed, and 4 MiB
 * for the rest of its group. It does not follow `broker.bodyBytesMax`: a message that was taken
 * while that was larger is read, retried and moved all the same.
 */
export const FRAME_BYTES_MAX: number = BODY_BYTES_MAX + 4 * 1024 * 1024

export interface CommitLogOptions {
  /** Holds the segments and nothing else; created when missing. */
  readonly directory: string
  /** Opens a passive log: it takes the frames of another one, and appends nothing of its own. */
  readonly follows?: Followed | undefined
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Logger
  /** Told how long each sync took. */
  readonly syncSeconds?: Histogram
  /** Written into every record. */
  readonly storeHost: Host
  readonly flush: FlushMode
  /** Size of a segment file. Default 128 MiB. */
  readonly segmentBytes?: number
  /**
   * flush: async only: an acknowledged record is synced this much later at most. Default 100, at
   * most 200.
   */
  readonly asyncWindowMs?: number
  /**
   * Appended and not yet synced; beyond it an append is refused with BUSY, unless it is alone.
   * Default 32 MiB.
   */
  readonly unsyncedBytesMax?: number
  /** Memory of the tail cache at most. Default 64 MiB. */
  readonly tailBytesMax?: number
  /** Zeros kept to be given back when the disk is full. Default 64 MiB; 0 = none. */
  readonly reserveBytes?: number
  /** Default FRAME_BYTES_MAX; tests make it small. */
  readonly frameBytesMax?: number
  /**
   * A buffer of the tail, which a larger frame has to itself. Default 8 MiB, at most
   * `frameBytesMax`.
   */
  readonly chunkBytes?: number
  /** Zeros are written this far ahead of use at least. Default 4 MiB. */
  readonly aheadBytes?: number
  /** Zeros are written in pieces of this size. Default 1 MiB. */
  readonly fillPieceBytes?: number
  /**
   * Records that become readable in one turn of the event loop, and that a frame of several appends
   * has at most. Default 4,096.
   */
  readonly recordsAtOnceMax?: number
  /** Runs a function at the end of the event-loop turn. Default setImmediate. */
  readonly endOfTurn?: (fn: () => void) => void
}

/** Where the records of one append call stand, known at once; void when `done` brings an error. */
export interface Appending {
  /** One per draft, ascending. */
  readonly positions: readonly LogPosition[]
  /** The wall clock's time, which may be less than for an earlier append. */
  readonly storeTimestamp: number
}

/** Back-to-back records in `bytes[start, end)`, valid during the call (or iteration) only. */
export interface Frame {
  readonly firstRecord: LogPosition
  /** Position after the last record, where the next frame starts: a mark for `replay`. */
  readonly end: LogPosition
  readonly bytes: Buffer
  readonly start: number
  readonly stop: number
}

/** Bytes that were durable once and do not check any more. They are kept, skipped and reported. */
export interface DamagedRange {
  readonly from: LogPosition
  readonly to: LogPosition
  readonly segment: string
  readonly reason: string
}

export interface SegmentRange {
  readonly start: LogPosition
  /** Position after its last byte; the start of the next segment, or of what is not written yet. */
  readonly end: LogPosition
  /** Name of the file. */
  readonly name: string
}

export interface TailPart {
  readonly bytes: Buffer
  /** Log position of byte 0. */
  readonly base: number
  /** Bytes of it that are the log's. */
  readonly used: number
}

export interface CommitLog {
  /** Chosen when the log was first opened; views of another log are recognised by it. */
  readonly id: number
  /**
   * Encodes the drafts with the queue offsets of the same index; all survive a crash or none does.
   * `done` is called once, never from within this call, in the order of the calls: after the frame
   * listener saw the records, or with the error READ_ONLY or CLOSED, and then every append that is
   * not done yet gets one (`onVoid` tells first). An error from a hold comes after the listener saw
   * the records: they stand in the log. `isEssential`: what must go on while the disk is
   * full, because it is small or makes room.
   * @throws READ_ONLY, BUSY, MESSAGE_TOO_LARGE, MESSAGE_INVALID, CLOSED: nothing was written, no
   * `done`; always READ_ONLY while passive
   */
  append(
    drafts: readonly NewRecord[],
    queueOffsets: readonly number[],
    done: (error: BrokerError | undefined) => void,
    isEssential?: boolean,
  ): Appending
  /**
   * Passive only: takes a frame of the log that this one follows, as it is, from `bytes[at]` on. It
   * must be whole and exactly what comes next. `done` as for `append`. @returns its length
   * @throws PROTOCOL_ERROR, OFFSET_OUT_OF_RANGE (a gap or an overlap), ABORTED (a lower epoch),
   * CONFIG_INVALID (another log), MESSAGE_TOO_LARGE, BUSY, READ_ONLY, NOT_SUPPORTED, CLOSED:
   * nothing was written, no `done`
   */
  appendFrame(bytes: Buffer, at: number, done: (error: BrokerError | undefined) => void): number
  readonly isPassive: boolean
  /** Of the newest frame, or of the next append. */
  readonly epoch: number
  /**
   * From here on the log takes its own appends, in this epoch or the next one. Every frame must be
   * done. @throws BUSY, ARGUMENT_INVALID for an epoch that is not higher, READ_ONLY, CLOSED, and
   * errors of the disk: it is as passive as before
   */
  activate(epoch?: number): void
  /** Its epochs, and where each began, as far as it is synced. */
  readonly history: LogHistory
  /** Everything before was acknowledged because all holds were confirmed; perhaps more. */
  readonly confirmedTo: LogPosition
  /** Passive only: the master says so. */
  wasConfirmed(to: LogPosition): void
  /** Frames as they are, marks included, from the start of any of them on, once they are synced. */
  feed(from: LogPosition): FrameFeed
  /** Of the synced bytes in [from, to), which are few; undefined where they cannot be read. */
  checksum(from: LogPosition, to: LogPosition): Promise<number | undefined>
  /** One more condition for acknowledgements, of what is under way too. */
  hold(waits?: () => void): AcknowledgementHold
  /** Before a close: what is held back, now or from here on, is answered with CLOSED. */
  endHolds(): void
  /**
   * The one listener: every frame with records, in order, once durable as `flush` says, before the
   * `done`s.
   */
  onFrame(listener: (frame: Frame) => void): void
  /**
   * Every whole frame that ends after the position, up to the end as of now. Damage is skipped and
   * noted.
   */
  replay(from: LogPosition): Generator<Frame>
  /**
   * Copies `size` bytes at the position out of the tail cache; false when they are not (all) there.
   */
  copyTail(target: Uint8Array, at: number, position: LogPosition, size: number): boolean
  /** The part of the tail cache that holds those bytes; lent until the next append. */
  lendTail(position: LogPosition, size: number): TailPart | undefined
  /**
   * Fills `target[at, at + size)`, from memory or from the disk on this thread. False: beyond the
   * log, or unreadable. Nothing is checked: a caller that knows the sum of a record gets the whole
   * ones of a damaged frame.
   */
  readSync(target: Uint8Array, at: number, position: LogPosition, size: number): boolean
  /**
   * The same in the thread pool when it is not in memory; for laggards. `target` is the log's until
   * it settles.
   */
  read(target: Uint8Array, at: number, position: LogPosition, size: number): Promise<boolean>
  /**
   * The record that starts here, checked with its body's CRC; undefined when none of so many bytes
   * does, or in a damaged range. At once where that takes less than to hand the read over.
   */
  readAt(position: LogPosition, bytesMax?: number): Buffer | undefined | Promise<Buffer | undefined>
  /** Start of the oldest segment. */
  readonly start: LogPosition
  /** End of the acknowledged and readable bytes. */
  readonly end: LogPosition
  /**
   * End of what fdatasync confirmed: `end` with flush: sync, up to the window behind with async.
   */
  readonly syncedEnd: LogPosition
  /** Appended and not yet synced. */
  readonly unsyncedBytes: number
  /** An append that is not small may be refused with BUSY. */
  readonly isBusy: boolean
  /**
   * Calls back once everything appended so far is synced. A view may keep on disk what is below
   * `syncedEnd` only.
   */
  sync(done: (error: BrokerError | undefined) => void): void
  /** undefined: the disk takes what there is to write. */
  readonly disk: DiskState | undefined
  readonly writable: boolean
  readonly reason: string | undefined
  /**
   * The one listener for "appends that are not done are void": queue offsets go back to what is
   * readable.
   */
  onVoid(listener: () => void): void
  /** The one listener for read-only and back. */
  onWritable(listener: (writable: boolean, reason: string | undefined) => void): void
  readonly diskBytes: number
  segments(): readonly SegmentRange[]
  damage(): readonly DamagedRange[]
  /**
   * Passive only: writes the frames of the followed log that stood at the start of a damaged range,
   * which must be one of `damage`. Records that are readable again are not told to the listener.
   * @throws PROTOCOL_ERROR, NOT_SUPPORTED, READ_ONLY, CLOSED; errors of the disk
   */
  mend(range: DamagedRange, bytes: Buffer): Promise<void>
  /**
   * Removes the whole segments before the position, oldest first, in the background; never the
   * current one, nor what is not readable yet and may still be acknowledged.
   */
  dropBefore(position: LogPosition): void
  /** Syncs, marks the end as clean, lets the files go. Appends under way are settled. */
  close(): Promise<void>
}
