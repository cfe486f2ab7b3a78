// One log that follows another, frame by frame: what the two give each other.
import type { BrokerError } from '../../errors.ts'
import type { LogPosition } from '../../model/positions.ts'

/** The log that a passive one is a copy of. */
export interface Followed {
  /** `CommitLog.id` of both. */
  readonly logId: number
  /** Where the copy begins when its directory is empty: the start of a frame. */
  readonly start: LogPosition
  /** Where a log that is longer is cut before it follows. */
  readonly cut?: TailCut
}

export interface TailCut {
  /** The last position that both logs have in common (`lastCommon`). */
  readonly to: LogPosition
  /** Also what replicas have confirmed may go, which was acknowledged therefore. */
  readonly losesConfirmed?: boolean
}

/** Of one batch, unless a single frame is larger. */
export const BATCH_BYTES_MAX: number = 4 * 1024 * 1024

export interface FrameBatch {
  /** Whole frames, back to back; the caller's own, or a part of what it gave for them. */
  readonly bytes: Buffer
  readonly from: LogPosition
  readonly to: LogPosition
  /**
   * Where the log started and how far it was synced when this was read. What a log that starts
   * there needs of what went before stands before `logEnd`.
   */
  readonly logStart: LogPosition
  readonly logEnd: LogPosition
  /** Everything before was confirmed by replicas, and acknowledged, by then. */
  readonly confirmed?: LogPosition
}

export interface FrameFeed {
  /**
   * The frames that follow, as soon as there is one: BATCH_BYTES_MAX at most, or one frame. The
   * first answer, and that of a log that starts later than it did, comes even without one.
   * undefined once the feed or the log is closed. One call at a time. Only of the first answer the
   * checksums are looked at: a follower looks at all, and one that finds a wrong one asks by a new
   * feed. They are read into `target` where that is large enough.
   * @throws BrokerError OFFSET_OUT_OF_RANGE: the log does not have the position, or not any more;
   * STORE_CORRUPT: no whole frame starts there; BUSY: it cannot be read just now, ask again
   */
  next(target?: Buffer): Promise<FrameBatch | undefined>
  /** Idempotent. */
  close(): void
}

/** One more condition for acknowledgements, from the moment that it is taken. */
export interface AcknowledgementHold {
  /** What ends at or before the position is confirmed. */
  confirm(to: LogPosition): void
  /**
   * Appends that end at or before the position and are not confirmed are answered with the error.
   * They stand in the log all the same, and become readable: nothing behind them can take their
   * place.
   */
  refuse(to: LogPosition, error: BrokerError): void
  /** Holds nothing back any more. Idempotent. */
  release(): void
}
