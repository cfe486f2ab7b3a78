// Reading the log: from the tail in memory, else from the segments. What does not check where it
// must is damage: it is noted once, left where it is, and left out.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { crc32 } from '../../model/crc32.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import { checkRecord, RECORD_FIXED_BYTES, RecordView } from '../../model/record.ts'
import { errorCode, isShortage } from '../disk/disk.ts'
import { QuickReads } from '../disk/quick-reads.ts'
import { type DamagedRange, FRAME_BYTES_MAX, type Frame, type TailPart } from './commit-log.ts'
import { checkFrame, claimedLength, FRAME_HEADER_BYTES, type FrameHeader } from './frame.ts'
import { FrameScan, type ReadAt } from './frame-scan.ts'
import type { LogStart } from './log-start.ts'
import type { Segment, Segments } from './segments.ts'
import type { Tail } from './tail.ts'

export interface LogReaderOptions {
  readonly segments: Segments
  readonly tail: Tail
  readonly clock: Clock
  readonly log: Logger
  readonly logId: number
  /** Found by recovery. */
  readonly damage: readonly DamagedRange[]
  readonly logStart: LogStart
  /** End of what may be read. */
  readonly end: () => number
}

/** How frames are read as they are. */
export interface FrameReading {
  readonly bytesMax: number
  /** With a look at their checksums. */
  readonly isChecked: boolean
  /** Read into, where it is large enough. */
  readonly target?: Buffer | undefined
}

/** Reads of a segment that fail for so long are believed; until then they may pass. */
const BELIEVED_AFTER_MS = 30_000
/** Failures further apart are not one trouble. */
const FORGOTTEN_AFTER_MS = 60_000

/** Of a segment whose reads fail. */
interface Trouble {
  /** The bytes that could not be read first: when they can, it has passed. */
  readonly from: number
  readonly to: number
  readonly sinceMs: number
  lastMs: number
}

/** So far behind the end a record is likely in the page cache, and read on this thread. */
export const PAGE_CACHE_BYTES = 256 * 1024 * 1024
/** A record of a usual body with its properties. */
const GUESSED_BYTES = 1024
const NO_BYTES = Buffer.alloc(0)

/** One record, checked; undefined: none of that size starts there. */
type Read = Buffer | undefined | Promise<Buffer | undefined>
type Source = 'tail' | 'disk' | 'nowhere'
type RecordSteps = Generator<Buffer, Buffer | undefined, Source>

export class LogReader {
  readonly #options: LogReaderOptions
  #damage: DamagedRange[]
  /** By the segment's start. */
  readonly #troubles = new Map<number, Trouble>()
  readonly #quick: QuickReads

  constructor(options: LogReaderOptions) {
    this.#options = options
    this.#quick = new QuickReads(options.clock)
    this.#damage = [...options.damage]
  }

  get start(): LogPosition {
    return this.#options.segments.list[0]?.start ?? logPosition(0)
  }

  damage(): readonly DamagedRange[] {
    // Damage before the oldest segment counts until retention has passed it.
    const start = Math.min(this.start, this.#options.logStart.position ?? this.start)
    this.#damage = this.#damage.filter((range) => range.to > start)
    return this.#damage
  }

  /** It begins there now; at its end, there is none. */
  mended({ from, to, ...range }: DamagedRange, rest: LogPosition): void {
    this.#damage = this.#damage.filter((known) => known.from !== from)
    if (rest < to) this.#damage.push({ ...range, from: rest, to })
  }

  lendTail(position: number, size: number): TailPart | undefined {
    return this.#holds(position, size) ? this.#options.tail.find(position, size) : undefined
  }

  copyTail(target: Uint8Array, at: number, position: number, size: number): boolean {
    return this.#holds(position, size) && this.#options.tail.copy(target, at, position, size)
  }

  readSync(target: Uint8Array, at: number, position: number, size: number): boolean {
    if (!this.#holds(position, size)) return false
    if (this.#options.tail.copy(target, at, position, size)) return true
    try {
      const read = this.#options.segments.readSync(target, at, position, size)
      this.#passed(position, size)
      return read === size
    } catch (error) {
      return this.#unreadable(position, size, error)
    }
  }

  async read(target: Uint8Array, at: number, position: number, size: number): Promise<boolean> {
    if (!this.#holds(position, size)) return false
    if (this.#options.tail.copy(target, at, position, size)) return true
    try {
      const read = await this.#options.segments.read(target, at, position, size)
      this.#passed(position, size)
      return read === size
    } catch (error) {
      return this.#unreadable(position, size, error)
    }
  }

  /** At once where that takes less than to hand the read over, else later. */
  readAt(position: LogPosition, bytesMax = FRAME_BYTES_MAX): Read {
    // Its own checksum covers the body alone.
    if (this.#damage.some(({ from, to }) => position >= from && position < to)) return undefined
    // Nearly every record fits into one read.
    const guessed = Math.min(GUESSED_BYTES, this.#options.end() - position)
    if (guessed < RECORD_FIXED_BYTES) return undefined
    // What stands behind the record may be what cannot be read.
    const again = (): Read =>
      this.#readOn(recordSteps(position, RECORD_FIXED_BYTES, bytesMax), position)
    let first: Read
    try {
      first = this.#readOn(recordSteps(position, guessed, bytesMax), position)
    } catch {
      first = undefined
    }
    if (first instanceof Promise) return first.then((bytes) => bytes ?? again(), again)
    return first ?? again()
  }

  #readOn(steps: RecordSteps, position: LogPosition, filled?: Source): Read {
    for (let step = filled ? steps.next(filled) : steps.next(); ; ) {
      if (step.done) return step.value
      const source = this.#fill(step.value, position)
      if (source instanceof Promise) {
        return source.then((from) => this.#readOn(steps, position, from))
      }
      step = steps.next(source)
    }
  }

  #fill(target: Buffer, position: LogPosition): Source | Promise<Source> {
    const size = target.length
    if (this.copyTail(target, 0, position, size)) return 'tail'
    // After a start of the machine nothing is in the page cache.
    const isLikely = size <= GUESSED_BYTES || position > this.#options.end() - PAGE_CACHE_BYTES
    if (isLikely && this.#quick.takes()) {
      const isRead = this.#quick.run(size, () => this.readSync(target, 0, position, size))
      return isRead ? 'disk' : 'nowhere'
    }
    return this.read(target, 0, position, size).then((isRead) => (isRead ? 'disk' : 'nowhere'))
  }

  /**
   * Whole frames in [from, to), as many as fit or the first one; `to` may be beyond the end that
   * records are read to. @throws BrokerError STORE_CORRUPT, BUSY
   */
  async readFrames(from: number, to: number, reading: FrameReading): Promise<Buffer> {
    const { logId } = this.#options
    const { bytesMax, isChecked, target } = reading
    const wholeOf = (bytes: Buffer): number => wholeFrames(bytes, from, logId, isChecked)
    const bytes = await this.#bytesAt(from, Math.min(bytesMax, to - from), target)
    const whole = wholeOf(bytes)
    if (whole > 0) return bytes.subarray(0, whole)
    const length = bytes.length < FRAME_HEADER_BYTES ? 0 : claimedLength(bytes, 0, from, logId)
    const isPossible = length > bytes.length && length <= Math.min(FRAME_BYTES_MAX, to - from)
    const large = isPossible ? await this.#bytesAt(from, length) : bytes
    if (isPossible && wholeOf(large) === length) return large
    throw new BrokerError('STORE_CORRUPT', `no whole frame starts at position ${from} of the log`)
  }

  /** Of [from, to), which may be beyond the end that records are read to. */
  async checksum(from: number, to: number): Promise<number | undefined> {
    const bytes = await this.#bytesAt(from, to - from)
    return bytes.length === to - from ? crc32(bytes) : undefined
  }

  /** From memory or from the disk; nothing when it cannot be read. */
  async #bytesAt(position: number, size: number, target?: Buffer): Promise<Buffer> {
    const { tail, segments } = this.#options
    const isRoomy = target !== undefined && target.length >= size
    const bytes = isRoomy ? target.subarray(0, size) : Buffer.allocUnsafe(size)
    if (tail.copy(bytes, 0, position, size)) return bytes
    try {
      const read = await segments.read(bytes, 0, position, size)
      this.#passed(position, read)
      return bytes.subarray(0, read)
    } catch (error) {
      this.#unreadable(position, size, error)
      return NO_BYTES
    }
  }

  *replay(from: LogPosition): Generator<Frame> {
    const { segments } = this.#options
    const stop = this.#options.end()
    // By position, not by place in the list: old segments may go while this is under way.
    for (let at: number = from; at < stop; ) {
      const index = Math.max(0, segments.indexOf(at))
      const segment = segments.list[index]
      if (segment === undefined) return
      at = Math.min(segments.endOf(index, stop), stop)
      yield* this.#replaySegment(segment, from, at)
    }
  }

  *#replaySegment(segment: Segment, from: number, stop: number): Generator<Frame> {
    const { logId } = this.#options
    const read: ReadAt = (target, at, position, size) =>
      this.#options.segments.readSync(target, at, position, size)
    let scan = new FrameScan(read, Math.max(segment.start, from), stop, logId)
    let header = scan.next()
    if (header === undefined && from > segment.start) {
      // Not the start of a frame: find the first one that reaches beyond it.
      scan = new FrameScan(read, segment.start, stop, logId)
      header = scan.next()
    }
    while (header !== undefined || scan.position < stop) {
      if (header === undefined) {
        const hole = scan.position
        if (scan.search() === undefined) scan.position = stop
        this.#noteDamage(segment, hole, scan.position)
      } else if (header.records > 0 && header.position + header.length > from) {
        yield frameAt(scan, header)
      }
      header = scan.next()
    }
  }

  #noteDamage(segment: Segment, from: number, to: number): void {
    if (this.#damage.some((range) => range.from === from)) return
    const reason = 'no whole frame where one was durable'
    const range = { from: logPosition(from), to: logPosition(to), segment: segment.name, reason }
    this.#damage.push(range)
    tellDamage(this.#options.log, range)
  }

  #holds(position: number, size: number): boolean {
    return position >= this.start && position + size <= this.#options.end()
  }

  /**
   * @throws BrokerError BUSY when the bytes may be fine: a caller that skipped them would lose
   * messages
   */
  #unreadable(position: number, size: number, error: unknown): false {
    const isShort = isShortage(error)
    if (isShort || this.#mayPass(position, size, error)) {
      const remedy = isShort ? 'raise the limit of open files' : 'look at the disk if that goes on'
      throw new BrokerError(
        'BUSY',
        `the log cannot be read just now (${String(error)}): try again later, or ${remedy}`,
        { cause: error },
      )
    }
    this.#options.log.error(
      { evt: 'log.unreadable', position, size, code: errorCode(error) },
      `Bytes ${position} to ${position + size} of the log cannot be read: ${String(error)}.`,
    )
    return false
  }

  /**
   * A disk that comes and goes says EIO too. One trouble per segment, so that a bad stretch is
   * waited for once and not at each record.
   */
  #mayPass(position: number, size: number, error: unknown): boolean {
    const { segments, clock, log } = this.#options
    const start = segments.list[segments.indexOf(position)]?.start ?? 0
    const nowMs = clock.monotonic()
    const known = this.#troubles.get(start)
    if (known !== undefined && nowMs - known.lastMs < FORGOTTEN_AFTER_MS) {
      known.lastMs = nowMs
      return nowMs - known.sinceMs < BELIEVED_AFTER_MS
    }
    for (const old of this.#troubles.keys()) if (old < this.start) this.#troubles.delete(old)
    const trouble = { from: position, to: position + size, sinceMs: nowMs, lastMs: nowMs }
    this.#troubles.set(start, trouble)
    log.warn(
      { evt: 'log.read_failed', position, size, code: errorCode(error) },
      `Bytes ${position} to ${trouble.to} of the log cannot be read: ${String(error)}. ` +
        `They are tried again for ${BELIEVED_AFTER_MS / 1000} s before they are given up.`,
    )
    return true
  }

  #passed(position: number, size: number): void {
    if (this.#troubles.size === 0) return
    for (const [start, { from, to }] of this.#troubles) {
      if (position <= from && to <= position + size) this.#troubles.delete(start)
    }
  }
}

export function tellDamage(log: Logger, range: DamagedRange): void {
  const { segment, from, to } = range
  log.error(
    { evt: 'log.damage', segment, from, to },
    `Bytes ${from} to ${to} of the log (segment ${segment}) were durable and do not check any more; ` +
      'they stay as they are, their records are not served. Restore the segment from a copy if there is one.',
  )
}

export function tellLoss(log: Logger, { segment, from, to }: DamagedRange): void {
  log.error(
    { evt: 'log.lost', segment, from, to },
    `Bytes ${from} to ${to} of the log (segment ${segment}) are missing, and retention did not ` +
      'remove them. Stop, put the files back if there is a copy, and remove the views.',
  )
}

/**
 * The reads of a record: each asks for bytes to be filled from its position on, first `guessed` of
 * them.
 */
function* recordSteps(position: LogPosition, guessed: number, bytesMax: number): RecordSteps {
  let bytes = Buffer.allocUnsafe(guessed)
  let source = yield bytes
  if (source === 'nowhere') return undefined
  const size = new RecordView(bytes).size
  if (size < RECORD_FIXED_BYTES || size > bytesMax) return undefined
  if (size <= guessed) bytes = bytes.subarray(0, size)
  else {
    bytes = Buffer.allocUnsafe(size)
    source = yield bytes
    if (source === 'nowhere') return undefined
  }
  if (checkRecord(bytes, 0, size, source === 'disk') !== size) return undefined
  return new RecordView(bytes).position === position ? bytes : undefined
}

/** How many of the bytes are whole frames, the first one at the start. */
function wholeFrames(bytes: Buffer, position: number, logId: number, isChecked: boolean): number {
  let at = 0
  while (at + FRAME_HEADER_BYTES <= bytes.length) {
    const length = claimedLength(bytes, at, position + at, logId)
    if (length === 0 || at + length > bytes.length) break
    if (isChecked && checkFrame(bytes, at, length) === undefined) break
    at += length
  }
  return at
}

function frameAt(scan: FrameScan, header: FrameHeader): Frame {
  const start = scan.offsetOf(header.position) + FRAME_HEADER_BYTES
  return {
    firstRecord: logPosition(header.position + FRAME_HEADER_BYTES),
    end: logPosition(header.position + header.length),
    bytes: scan.bytes,
    start,
    stop: start + header.length - FRAME_HEADER_BYTES,
  }
}
