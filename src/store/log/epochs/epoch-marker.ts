// The epoch marker: one small file beside the segments that says which opening of the log is the
// current one and what was certain about its end then. It is replaced whole (write, sync, rename,
// sync the directory).
import { crc32 } from '../../../model/crc32.ts'
import { type Disk, readFile, replaceFile } from '../../disk/disk.ts'

const NAME = 'epoch'

export interface EpochMarker {
  readonly epoch: number
  /** Written into every frame (frame.ts). */
  readonly logId: number
  /** Everything before this position was durable when the marker was written. */
  readonly synced: number
  /**
   * Everything from this position on is void: the log was closed here, or what followed was
   * refused.
   */
  readonly end: number | undefined
  /** The end is a cut: segments that start beyond it are about to be removed. */
  readonly isCut?: boolean
  /** Everything before was confirmed by replicas, and acknowledged (`AcknowledgementHold`). */
  readonly confirmed: number
  /**
   * The frames from `synced` on are of another log than this disk's: how far they say that it was
   * synced is true of that disk alone.
   */
  readonly isPassive: boolean
}

/**
 * undefined when there is none, or none that checks: the log then finds its epoch in the frames.
 */
export function readEpochMarker(disk: Disk, directory: string): EpochMarker | undefined {
  const text = readFile(disk, directory, NAME)?.toString('latin1')
  const match = text?.match(
    /^(log (\d{1,10}) epoch (\d{1,10}) synced (\d{1,16})(?: end (\d{1,16})( cut)?)?(?: confirmed (\d{1,16}))?( passive)?) crc (\d+)\n$/,
  )
  if (!match || crc32(Buffer.from(match[1]!, 'latin1')) !== Number(match[9])) return undefined
  const [logId, epoch, synced] = match.slice(2, 5).map(Number)
  const end = match[5] === undefined ? undefined : Number(match[5])
  const isCut = match[6] !== undefined
  const confirmed = Number(match[7] ?? 0)
  const isPassive = match[8] !== undefined
  return { logId: logId!, epoch: epoch!, synced: synced!, end, isCut, confirmed, isPassive }
}

export function writeEpochMarker(disk: Disk, directory: string, marker: EpochMarker): void {
  const cut = marker.isCut ? ' cut' : ''
  const end = marker.end === undefined ? '' : ` end ${marker.end}${cut}`
  const confirmed = marker.confirmed > 0 ? ` confirmed ${marker.confirmed}` : ''
  const passive = marker.isPassive ? ' passive' : ''
  const text = `log ${marker.logId} epoch ${marker.epoch} synced ${marker.synced}${end}${confirmed}${passive}`
  const bytes = Buffer.from(`${text} crc ${crc32(Buffer.from(text, 'latin1'))}\n`, 'latin1')
  replaceFile(disk, directory, NAME, bytes)
}
