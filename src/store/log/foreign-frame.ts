// A frame that another log made, as it may be taken into this one: whole, of the same log, and
// exactly what comes next, or what stood where this one is damaged. Anything else is refused before
// a byte of it is kept.
import { BrokerError } from '../../errors.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import { checkRecord } from '../../model/record.ts'
import { type Disk, type DiskFile, writeAll } from '../disk/disk.ts'
import { type DamagedRange, FRAME_BYTES_MAX } from './commit-log.ts'
import {
  checkFrame,
  claimedLength,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  headerAt,
} from './frame.ts'
import { type Segment, type Segments, segmentName } from './segments.ts'

/** What the next frame must be. */
export interface FrameWanted {
  readonly logId: number
  readonly position: number
  /** At least. */
  readonly epoch: number
  /** 0: any, for nothing went before. */
  readonly sequence: number
  readonly frameBytesMax: number
}

/**
 * @throws BrokerError PROTOCOL_ERROR, OFFSET_OUT_OF_RANGE, ABORTED, CONFIG_INVALID,
 * MESSAGE_TOO_LARGE
 */
export function checkForeignFrame(bytes: Buffer, at: number, wanted: FrameWanted): FrameHeader {
  const claimed = headerAt(bytes, at)
  if (claimed === undefined) throw broken(wanted, 'there is no frame')
  const { length, logId, position, epoch, sequence } = claimed
  if (logId !== wanted.logId) {
    const text = `the frame is of log ${logId}, and this one is log ${wanted.logId}`
    throw new BrokerError('CONFIG_INVALID', `${text}: follow the master of the same log`)
  }
  if (length < FRAME_HEADER_BYTES || length > FRAME_BYTES_MAX || at + length > bytes.length) {
    throw broken(wanted, `it is not whole (${bytes.length - at} of ${length} bytes)`)
  }
  if (!isWholeFrame(bytes, at, claimed)) {
    throw broken(wanted, 'its checksum is wrong, or its records do not add up')
  }
  if (epoch < wanted.epoch) {
    const text = `the frame at ${position} is of epoch ${epoch}, and this log is in epoch ${wanted.epoch}`
    throw new BrokerError('ABORTED', `${text}: its master has been replaced`)
  }
  if (position !== wanted.position || (wanted.sequence > 0 && sequence !== wanted.sequence)) {
    const noun = position < wanted.position ? 'an overlap' : 'a gap'
    const text = `${noun}: frame ${sequence} at ${position} comes where frame ${wanted.sequence} at ${wanted.position} is due`
    throw new BrokerError('OFFSET_OUT_OF_RANGE', text)
  }
  if (length > wanted.frameBytesMax) {
    const text = `a frame of ${length} bytes; the limit of this log is ${wanted.frameBytesMax}`
    throw new BrokerError('MESSAGE_TOO_LARGE', text)
  }
  return claimed
}

/** Is what its header claims there? */
export const isWholeFrame = (bytes: Buffer, at: number, claimed: FrameHeader): boolean =>
  checkFrame(bytes, at, claimed.length) !== undefined && hasRecords(bytes, at, claimed)

/** Do whole records fill the frame? The views read them unchecked. */
function hasRecords(bytes: Buffer, at: number, { length, records }: FrameHeader): boolean {
  let count = 0
  let next = at + FRAME_HEADER_BYTES
  for (const end = at + length; next < end; count++) {
    const size = checkRecord(bytes, next, end, false)
    if (size === 0) return false
    next += size
  }
  return next === at + length && count === records
}

const broken = ({ position }: FrameWanted, why: string): BrokerError =>
  new BrokerError('PROTOCOL_ERROR', `what was sent for position ${position} is no frame: ${why}`)

// Where frames are missing

export interface MendingOptions {
  readonly disk: Disk
  readonly directory: string
  readonly segments: Segments
  readonly segmentBytes: number
  readonly logId: number
  /** What is damaged begins there now; at its end, nothing is. */
  readonly mended: (range: DamagedRange, from: LogPosition) => void
}

/**
 * Writes the frames at the start of `bytes` that belong into the range, from its start on, and
 * makes them durable: where they stood, or in a new segment where that is missing. @returns the
 * last of them
 * @throws BrokerError PROTOCOL_ERROR; errors of the disk
 */
export async function mend(
  options: MendingOptions,
  range: DamagedRange,
  bytes: Buffer,
): Promise<FrameHeader> {
  const { disk, directory, segments, logId, mended } = options
  const { length, last } = framesWithin(range, bytes, logId)
  const to = range.from + length
  const there = segmentFor(options, range.from, to)
  const start = there?.start ?? range.from
  const file = there === undefined ? begin(options, start) : disk.open(there.path, 'write')
  try {
    writeAll(file, bytes, 0, length, range.from - start)
    await settled((done) => file.syncLater(done))
  } finally {
    file.close()
  }
  if (there === undefined) await settled((done) => disk.syncDirectoryLater(directory, done))
  const segment = there ?? segments.add(start, 0)
  segment.fileBytes = Math.max(segment.fileBytes, to - start)
  mended(range, logPosition(to))
  return last
}

const settled = (call: (done: (error: Error | null) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => call((error) => (error === null ? resolve() : reject(error))))

/** The one that [from, to) is to be in; undefined: a new one. The last one is being written to. */
function segmentFor(
  { segments, segmentBytes }: MendingOptions,
  from: number,
  to: number,
): Segment | undefined {
  const segment = segments.list[segments.indexOf(from)]
  if (segment === undefined || segment === segments.last) return segment
  return to - segment.start <= Math.max(segmentBytes, segment.fileBytes) ? segment : undefined
}

/** An attempt before this one may have come so far. */
function begin({ disk, directory }: MendingOptions, start: number): DiskFile {
  const name = segmentName(start)
  const path = `${directory}/${name}`
  return disk.list(directory).includes(name) ? disk.open(path, 'write') : disk.create(path)
}

function framesWithin(
  { from, to }: DamagedRange,
  bytes: Buffer,
  logId: number,
): { readonly length: number; readonly last: FrameHeader } {
  let length = 0
  let last: FrameHeader | undefined
  while (from + length < to && length + FRAME_HEADER_BYTES <= bytes.length) {
    const size = claimedLength(bytes, length, from + length, logId)
    if (size === 0 || length + size > bytes.length) break
    const isInside = from + length + size <= to
    const header = headerAt(bytes, length)
    if (!isInside || header === undefined || !isWholeFrame(bytes, length, header)) break
    last = header
    length += size
  }
  if (last !== undefined) return { length, last }
  const text = `what was sent to mend the log at ${from} is no frame that was there`
  throw new BrokerError('PROTOCOL_ERROR', text)
}
