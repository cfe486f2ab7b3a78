// Cutting the end of a log that is to follow another one: what only this one has from there on. The
// frames are kept aside first, in a file of their own; then the epoch marker says that the log ends
// at the cut, and from that moment on it does: whatever stops this, the next opening goes on with
// it (recovery.ts).
import { BrokerError } from '../../errors.ts'
import type { LogPosition } from '../../model/positions.ts'
import { type Disk, writeAll } from '../disk/disk.ts'
import type { CommitLogOptions } from './commit-log.ts'
import { writeEpochMarker } from './epochs/epoch-marker.ts'
import type { TailCut } from './following.ts'
import { FrameScan } from './frame-scan.ts'
import type { Recovered } from './recovery.ts'
import type { Segments } from './segments.ts'

/** Files with what was cut: the oldest goes when there is one more. */
const CUT_FILES_MAX = 8
/** What a cut keeps aside at most. A log that has more to lose is begun anew by hand. */
const CUT_BYTES_MAX: number = 1024 * 1024 * 1024
const NAME_PATTERN = /^cut-(\d{6})-(\d{20})-(\d{20})$/
const DRAFT = 'cut.new'
const PIECE_BYTES = 1024 * 1024

/**
 * Cuts the recovered log, which is to be recovered anew.
 * @throws BrokerError CONFIG_INVALID: it is as it was; and errors of the disk
 */
export function cutTail(
  { disk, directory, log }: CommitLogOptions,
  segments: Segments,
  { end, logId = 0, confirmed }: Recovered,
  { to, losesConfirmed = false }: TailCut,
): void {
  const segment = segments.list[segments.indexOf(to)]
  if (segment === undefined || !isFrameEnd(segments, to, end, logId)) {
    throw refusal(directory, `no frame of the log starts at position ${to}`)
  }
  if (to < confirmed && !losesConfirmed) {
    const text = `replicas have confirmed the log up to position ${confirmed}, and the log to follow has it up to ${to}`
    throw refusal(directory, `${text}, which is less than was acknowledged`)
  }
  if (end - to > CUT_BYTES_MAX) {
    throw refusal(directory, `${end - to} bytes would be cut, and ${CUT_BYTES_MAX} are kept aside`)
  }
  const path = keepAside(disk, directory, segments, to, end)
  const counts = countFrames(segments, to, end, logId)
  log.warn(
    { evt: 'log.tail_cut', from: to, to: end, bytes: end - to, ...counts, path },
    `Cut ${counts.frames} frames with ${counts.records} records from position ${to} to ${end}: the log that is followed ` +
      `has not got them. They are kept in '${path}'.`,
  )
  const left = { epoch: 0, logId, synced: to, end: to, confirmed: Math.min(confirmed, to) }
  writeEpochMarker(disk, directory, { ...left, isCut: true, isPassive: true })
}

function refusal(directory: string, why: string): BrokerError {
  const remedy = 'keep this directory, and begin the replica anew with an empty one'
  return new BrokerError('CONFIG_INVALID', `'${directory}' is not cut: ${why}; ${remedy}`)
}

function scanOf(segments: Segments, index: number, end: number, logId: number): FrameScan {
  const read = (target: Buffer, at: number, position: number, size: number): number =>
    segments.readSync(target, at, position, size)
  return new FrameScan(read, segments.list[index]!.start, segments.endOf(index, end), logId)
}

function isFrameEnd(segments: Segments, at: LogPosition, end: number, logId: number): boolean {
  const scan = scanOf(segments, segments.indexOf(at), end, logId)
  while (scan.position < at) {
    if (scan.next() === undefined && scan.search() === undefined) return false
  }
  return scan.position === at
}

function countFrames(
  segments: Segments,
  from: LogPosition,
  end: number,
  logId: number,
): { readonly frames: number; readonly records: number } {
  let frames = 0
  let records = 0
  for (let index = segments.indexOf(from); index < segments.list.length; index++) {
    const scan = scanOf(segments, index, end, logId)
    scan.position = Math.max(scan.position, from)
    let header = scan.next()
    while (header !== undefined || scan.search() !== undefined) {
      frames += header === undefined ? 0 : 1
      records += header?.records ?? 0
      header = scan.next()
    }
  }
  return { frames, records }
}

/** The bytes of the log as they are. @returns the path of their file, which is durable */
function keepAside(
  disk: Disk,
  directory: string,
  segments: Segments,
  from: LogPosition,
  end: number,
): string {
  const names = disk.list(directory)
  const cuts = names.filter((name) => NAME_PATTERN.test(name)).sort()
  const range = `-${digits(from, 20)}-${digits(end, 20)}`
  const serial = 1 + Number(cuts.at(-1)?.match(NAME_PATTERN)?.[1] ?? 0)
  // An attempt before this one may have come so far.
  const same = cuts.find((name) => name.endsWith(range))
  const name = same ?? `cut-${digits(serial, 6)}${range}`
  if (names.includes(DRAFT)) disk.remove(`${directory}/${DRAFT}`)
  const file = disk.create(`${directory}/${DRAFT}`)
  try {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, end - from))
    for (let at: number = from; at < end; ) {
      const size = segments.readSync(piece, 0, at, Math.min(piece.length, end - at))
      // Zeros where a lost segment was.
      const length = size > 0 ? size : Math.min(piece.length, end - at)
      writeAll(file, size > 0 ? piece : Buffer.alloc(length), 0, length, at - from)
      at += length
    }
    file.sync()
  } finally {
    file.close()
  }
  disk.rename(`${directory}/${DRAFT}`, `${directory}/${name}`)
  disk.syncDirectory(directory)
  const old = cuts.filter((other) => other !== name).slice(0, -(CUT_FILES_MAX - 1))
  for (const other of old) disk.remove(`${directory}/${other}`)
  return `${directory}/${name}`
}

const digits = (value: number, count: number): string => String(value).padStart(count, '0')
