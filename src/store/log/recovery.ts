// Finds the end of the log after any kind of stop, and leaves nothing behind it. A hole that may be
// a write which never finished is cut; a hole that was durable once is damage: it stays, is
// reported, and what follows it is served. The reasoning is in docs/internals/store.md. Recovery
// changes the files only by writing zeros over what it cut, by removing what was cut off on purpose
// and by writing again what it keeps: crashing in it and running it once more is harmless.
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { logPosition } from '../../model/positions.ts'
import { type Disk, type DiskFile, writeAll } from '../disk/disk.ts'
import { zerosOf } from '../disk/zero-fill.ts'
import type { DamagedRange } from './commit-log.ts'
import { type EpochMarker, readEpochMarker } from './epochs/epoch-marker.ts'
import type { EpochStart } from './epochs/history.ts'
import { FRAME_HEADER_BYTES, type FrameHeader, sumOf } from './frame.ts'
import { FrameScan } from './frame-scan.ts'
import { tellDamage, tellLoss } from './log-reader.ts'
import type { LogStart } from './log-start.ts'
import { type Segment, type Segments, segmentName } from './segments.ts'

/** The state from which the log goes on. */
export interface Recovered {
  readonly end: number
  readonly epoch: number
  readonly sequence: number
  /** undefined: there is neither marker nor frame. */
  readonly logId: number | undefined
  readonly storeTimestamp: number
  readonly damage: readonly DamagedRange[]
  /** Where the scan began, and the first frame of each epoch from there on. */
  readonly from: number
  readonly epochs: readonly EpochStart[]
  /** Replicas had confirmed it up to here, and perhaps more. */
  readonly confirmed: number
}

export interface RecoveryOptions {
  readonly disk: Disk
  readonly directory: string
  readonly log: Logger
  readonly segments: Segments
  readonly logStart: LogStart
}

/** Read or written at once. */
const PIECE_BYTES = 1024 * 1024

/** @throws BrokerError STORE_CORRUPT when segments that were there are gone altogether */
export function recover(options: RecoveryOptions): Recovered {
  const { disk, directory, segments, logStart } = options
  const marker = readEpochMarker(disk, directory)
  if (segments.last === undefined) return nothingThere(directory, marker)
  if (marker?.isCut === true) removeBeyond(options, marker.end!)
  let scans = new TailScan(options, marker)
  // A fresh segment may be empty; the one before it then knows the last sequence.
  let index = segments.list.length - 1
  while (index > 0 && !scans.hasFrames(index)) index--
  let end = scans.scanFrom(index)
  // What it has may be cut to nothing: frames behind one that was never finished.
  while (scans.sequence === 0 && index > 0) {
    scans = new TailScan(options, marker)
    end = scans.scanFrom(--index)
  }
  const from = segments.list[index]!.start
  const segment = segments.last
  const begun = logStart.missingBefore(segments)
  const lost = missingBetween(segments, index, marker?.logId ?? scans.logId)
  if (begun !== undefined) lost.unshift(begun)
  for (const range of lost) tellLoss(options.log, range)
  const cut = settle(options, segment, Math.max(segment.start, scans.syncedTo), end)
  if (cut !== undefined && marker?.isCut !== true) tellTorn(options, segment, end, cut)
  return {
    end,
    epoch: Math.max(scans.epoch, marker?.epoch ?? 0),
    sequence: scans.sequence,
    logId: marker?.logId ?? scans.logId,
    storeTimestamp: scans.storeTimestamp,
    damage: [...lost, ...scans.damage],
    from,
    epochs: scans.epochs,
    confirmed: Math.min(marker?.confirmed ?? 0, end),
  }
}

function nothingThere(directory: string, marker: EpochMarker | undefined): Recovered {
  const synced = marker?.synced ?? 0
  if (synced > 0) {
    throw new BrokerError(
      'STORE_CORRUPT',
      `'${directory}' has no segment although the log had reached position ${synced}; ` +
        'put the files back, or remove the whole data directory to start anew',
    )
  }
  const epoch = marker?.epoch ?? 0
  const nothing = { end: 0, sequence: 0, storeTimestamp: 0, from: 0, confirmed: 0 }
  return { ...nothing, epoch, logId: marker?.logId, damage: [], epochs: [] }
}

/**
 * Segments that are gone from between others, below the one of this index, whose frames are looked
 * at anyway. A segment ends where the next one starts, and retention takes the oldest only: a file
 * that ends before that had a neighbour which is lost.
 */
function missingBetween(
  segments: Segments,
  index: number,
  logId: number | undefined,
): DamagedRange[] {
  const missing: DamagedRange[] = []
  for (const [at, segment] of segments.list.slice(0, index).entries()) {
    const to = segments.list[at + 1]!.start
    if (segment.start + segment.fileBytes >= to) continue
    const from = logPosition(framesEnd(segments, segment, logId))
    const reason = 'a segment is missing, and retention did not remove it'
    missing.push({ from, to, segment: segmentName(from), reason })
  }
  return missing
}

/** Behind the last whole frame of the segment. */
function framesEnd(segments: Segments, segment: Segment, logId: number | undefined): number {
  const read = (target: Buffer, at: number, position: number, size: number): number =>
    segments.readSync(target, at, position, size)
  const limit = segment.start + segment.fileBytes
  const scan = new FrameScan(read, segment.start, limit, logId)
  let end: number = segment.start
  while (scan.next() !== undefined || scan.search() !== undefined) end = scan.position
  return end
}

/** What was cut off (tail-cut.ts) and is still there. Any of it may be back after a power cut. */
function removeBeyond({ disk, directory, segments }: RecoveryOptions, end: number): void {
  for (const path of segments.dropBeyond(end)) disk.remove(path)
  disk.syncDirectory(directory)
}

/** Walks the last segments and keeps what it learns of the log's end. */
class TailScan {
  readonly #options: RecoveryOptions
  readonly #marker: EpochMarker | undefined
  readonly damage: DamagedRange[] = []
  readonly epochs: EpochStart[] = []
  epoch = 0
  sequence = 0
  storeTimestamp = 0
  logId: number | undefined
  /** The most that any frame or the marker says was durable. */
  syncedTo: number

  constructor(options: RecoveryOptions, marker: EpochMarker | undefined) {
    this.#options = options
    this.#marker = marker
    this.logId = marker?.logId
    this.syncedTo = marker?.synced ?? 0
  }

  hasFrames(index: number): boolean {
    const scan = this.#scanOf(index)
    return scan.next() !== undefined || scan.search() !== undefined
  }

  /** Scans this segment and those behind it. @returns the position where the frames end */
  scanFrom(index: number): number {
    let end = 0
    for (let i = index; i < this.#options.segments.list.length; i++) end = this.#scan(i)
    return end
  }

  #scan(index: number): number {
    const { segments } = this.#options
    const segment = segments.list[index]!
    const next = segments.list[index + 1]
    const scan = this.#scanOf(index)
    // All of a segment is durable before the next one exists.
    const certain = next === undefined ? (this.#marker?.synced ?? 0) : next.start
    const follows = (header: FrameHeader): boolean =>
      header.epoch >= this.epoch && (this.sequence === 0 || header.sequence === this.sequence + 1)
    const isLater = (header: FrameHeader): boolean =>
      header.epoch >= this.epoch && header.sequence > this.sequence
    for (;;) {
      this.#take(scan, follows)
      const hole = scan.position
      const proof = this.#proofBeyond(scan, isLater)
      if (proof.syncedTo <= hole && certain <= hole) return hole
      const to = proof.first ?? Math.max(certain, hole)
      this.#note(segment, hole, to)
      if (proof.first === undefined) {
        // Frames were lost without a trace of their number: leave room for as many as fit.
        this.sequence += Math.ceil((to - hole) / FRAME_HEADER_BYTES)
        return to
      }
      scan.position = to
      this.sequence = proof.firstSequence - 1
    }
  }

  #scanOf(index: number): FrameScan {
    const { segments } = this.#options
    const segment = segments.list[index]!
    const fileEnd = segment.start + segment.fileBytes
    const limit = Math.min(fileEnd, segments.endOf(index, this.#marker?.end ?? fileEnd))
    const read = (target: Buffer, at: number, position: number, size: number): number =>
      segments.readSync(target, at, position, size)
    return new FrameScan(read, segment.start, Math.max(limit, segment.start), this.logId)
  }

  #take(scan: FrameScan, follows: (header: FrameHeader) => boolean): void {
    let header = scan.next(follows)
    while (header !== undefined) {
      if (header.epoch !== this.epoch) {
        const sum = sumOf(scan.bytes, scan.offsetOf(header.position))
        this.epochs.push({ epoch: header.epoch, position: logPosition(header.position), sum })
      }
      this.epoch = header.epoch
      this.sequence = header.sequence
      this.logId = header.logId
      scan.logId = header.logId
      this.syncedTo = Math.max(this.syncedTo, this.#syncedBy(header))
      this.storeTimestamp = header.storeTimestamp
      header = scan.next(follows)
    }
  }

  /**
   * Looks at every whole frame beyond the hole: the first one, and the most that one of them says
   * was durable.
   */
  #proofBeyond(scan: FrameScan, isLater: (header: FrameHeader) => boolean): Proof {
    const proof: Proof = { first: undefined, firstSequence: 0, syncedTo: 0 }
    const hole = scan.position
    let header = scan.search(isLater)
    while (header !== undefined) {
      if (proof.first === undefined) {
        proof.first = header.position
        proof.firstSequence = header.sequence
      }
      proof.syncedTo = Math.max(proof.syncedTo, this.#syncedBy(header))
      if (proof.syncedTo > hole) break
      header = scan.search(isLater)
    }
    scan.position = hole
    return proof
  }

  /** What the frame proves of this disk: one that was taken from another log proves nothing. */
  #syncedBy({ position, syncedTo }: FrameHeader): number {
    const marker = this.#marker
    return marker?.isPassive === true && position >= marker.synced ? 0 : syncedTo
  }

  #note(segment: Segment, from: number, to: number): void {
    const reason = 'no whole frame where one was durable'
    const range = { from: logPosition(from), to: logPosition(to), segment: segment.name, reason }
    this.damage.push(range)
    tellDamage(this.#options.log, range)
  }
}

interface Proof {
  first: number | undefined
  firstSequence: number
  syncedTo: number
}

/**
 * Makes [syncedTo, end) surely durable and all beyond it zero. The kept bytes are written again,
 * because after a failed sync the cache may hold, as clean, what the disk never got.
 * @returns how much was beyond it, if anything
 */
function settle(
  { disk }: RecoveryOptions,
  segment: Segment,
  syncedTo: number,
  end: number,
): number | undefined {
  const file = disk.open(segment.path, 'write')
  try {
    rewrite(file, Math.min(syncedTo, end) - segment.start, end - segment.start)
    const cut = clear(file, end - segment.start)
    file.sync()
    return cut
  } finally {
    file.close()
  }
}

function tellTorn({ log }: RecoveryOptions, segment: Segment, end: number, bytes: number): void {
  log.warn(
    { evt: 'log.torn_tail', position: end, bytes, segment: segment.name },
    `Cut ${bytes} bytes of unfinished writes after position ${end}; nothing acknowledged was in them.`,
  )
}

function rewrite(file: DiskFile, from: number, to: number): void {
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(to - from, 0)))
  for (let at = from; at < to; ) {
    const read = file.read(piece, 0, Math.min(piece.length, to - at), at)
    if (read === 0) return
    writeAll(file, piece, 0, read, at)
    at += read
  }
}

/**
 * Zeroes what is not zero from `from` to the end of the file.
 * @returns how far that reached, in bytes
 */
function clear(file: DiskFile, from: number): number | undefined {
  const size = file.size()
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, Math.max(size - from, 0)))
  const zeros = zerosOf(piece.length)
  let last: number | undefined
  for (let at = from; at < size; ) {
    const read = file.read(piece, 0, Math.min(piece.length, size - at), at)
    if (read === 0) break
    if (piece.compare(zeros, 0, read, 0, read) !== 0) {
      writeAll(file, zeros, 0, read, at)
      last = at + read
    }
    at += read
  }
  return last === undefined ? undefined : last - from
}
