// The history of a log: its epochs, and where each of them began. Two logs that were one up to some
// position tell by it where that is, without a look at their frames.
import { type LogPosition, logPosition } from '../../../model/positions.ts'

/** One epoch, which one writer alone wrote. */
export interface EpochStart {
  readonly epoch: number
  /** Of its first frame. */
  readonly position: LogPosition
  /**
   * Checksum of that frame, so that two writers that took the same number are told apart.
   * undefined: it is the first that is known, and the epoch may have begun sooner.
   */
  readonly sum: number | undefined
}

export interface LogHistory {
  readonly logId: number
  readonly start: LogPosition
  /** Everything before is synced. */
  readonly end: LogPosition
  /** Ascending: the newest ones, the oldest may be forgotten. */
  readonly epochs: readonly EpochStart[]
}

/**
 * Up to where the two logs are the same: what one of them has beyond that, the other has not, or
 * has something else there. undefined when nothing shows that they have anything in common. What it
 * says of before the start of either log is worth nothing: that is not there to be followed.
 */
export function lastCommon(one: LogHistory, other: LogHistory): LogPosition | undefined {
  if (one.logId !== other.logId) return undefined
  // A log that holds nothing contradicts nothing.
  if (one.start === one.end || other.start === other.end) {
    return logPosition(Math.min(one.end, other.end))
  }
  for (let i = one.epochs.length - 1; i >= 0; i--) {
    const epoch = rangeOf(one, i)
    const j = other.epochs.findIndex((candidate) => candidate.epoch === epoch.epoch)
    if (j === -1) continue
    const same = rangeOf(other, j)
    if (isSame(epoch, same)) return logPosition(Math.min(epoch.end, same.end))
  }
  return undefined
}

interface EpochRange extends EpochStart {
  /** Where the next epoch begins, or the log ends. */
  readonly end: number
}

function rangeOf({ epochs, end }: LogHistory, index: number): EpochRange {
  return { ...epochs[index]!, end: epochs[index + 1]?.position ?? end }
}

/** Are these of one writer? Of one whose beginning is not known, the number must do. */
function isSame(one: EpochRange, other: EpochRange): boolean {
  if (one.sum !== undefined && other.sum !== undefined) {
    return one.position === other.position && one.sum === other.sum
  }
  if (one.sum !== undefined && other.position < one.position) return false
  if (other.sum !== undefined && one.position < other.position) return false
  // Where one is known from the other's end on, it may well begin before.
  return one.position <= other.end && other.position <= one.end
}
