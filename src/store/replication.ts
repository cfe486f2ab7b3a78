// What a store gives to its replicas, and takes from its master. A store is one or the other:
// a replica appends nothing by itself until it is promoted.
import type { BrokerError } from '../errors.ts'
import type { LogPosition } from '../model/positions.ts'
import type { DiskState } from './disk/disk.ts'
import type { DamagedRange } from './log/commit-log.ts'
import type { LogHistory } from './log/epochs/history.ts'
import type { AcknowledgementHold, FrameBatch, FrameFeed } from './log/following.ts'

export interface Replication {
  /** Of the log: the same in all copies of it. */
  readonly logId: number
  /** Of the newest frame, or of the next append. */
  readonly epoch: number
  /** Its epochs, and where each began: compared by `lastCommon` before one log follows another. */
  readonly history: LogHistory
  /** Everything before was confirmed for all holds, and acknowledged for that; perhaps more. */
  readonly confirmedTo: LogPosition
  /** This store follows a master. */
  readonly isPassive: boolean
  /** Where the log starts. */
  readonly start: LogPosition
  /** Everything before is on the disk, acknowledged or not. */
  readonly syncedEnd: LogPosition
  /** undefined: the disk takes what there is to write. */
  readonly disk: DiskState | undefined
  /** Of the synced bytes in [from, to), which are few; undefined where they cannot be read. */
  checksum(from: LogPosition, to: LogPosition): Promise<number | undefined>
  /**
   * From here on appends of messages, or all appends, are refused with the error and nothing of
   * them is stored; undefined: none is.
   */
  refuse(error: BrokerError | undefined, what: 'messages' | 'all'): void
  /**
   * The log's frames from the start of one of them on, as they are synced, byte for byte.
   * @throws OFFSET_OUT_OF_RANGE, QUOTA_EXCEEDED, CLOSED
   */
  feed(from: LogPosition): FrameFeed
  /**
   * One more condition for every acknowledgement. `waits` is called when a frame is on the disk and
   * waits for it; `syncedEnd` is behind the frame by then.
   * @throws QUOTA_EXCEEDED
   */
  hold(waits?: () => void): AcknowledgementHold
  /**
   * Takes what the master's feed gave, from the log's end on. Settles in order of the calls, when
   * it is durable and in the views. @returns the end of the log
   * @throws OFFSET_OUT_OF_RANGE (a gap or an overlap), ABORTED (a lower epoch), CONFIG_INVALID
   * (another log), PROTOCOL_ERROR, BUSY, READ_ONLY, NOT_SUPPORTED, CLOSED: the frames before the
   * refused one are kept
   */
  take(batch: FrameBatch): Promise<LogPosition>
  /** Parts of the log that were durable here and do not check any more. */
  readonly damage: readonly DamagedRange[]
  /**
   * Of a store that follows: writes what its master has in place of damage, from the start of one
   * of the ranges on. Once all of that is there, the views are built again with it.
   * @throws PROTOCOL_ERROR, NOT_SUPPORTED, READ_ONLY, CLOSED; errors of the disk
   */
  mend(range: DamagedRange, bytes: Buffer): Promise<void>
  /**
   * From here on this store is the master: in this epoch, which must be higher than any that its
   * log has, or in the next one. What is due, retention and all else go on from what is in the log.
   * @throws ARGUMENT_INVALID, READ_ONLY, BUSY, CLOSED: it is as passive as before, and takes frames
   */
  promote(epoch?: number): Promise<void>
}
