// The commit log over segment files: encodes drafts into the open frame of the tail, hands frames to the
// group commit, and answers reads from the tail or the segments. Recovery, zero fill and syncs have their
// own files; this one owns the state in between: what is open, what is acknowledged, and whether it writes.
import { randomInt } from 'node:crypto'
import type { Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { type LogPosition, logPosition } from '../model/positions.ts'
import {
  checkRecord,
  RECORD_FIXED_BYTES,
  type RecordDraft,
  RecordView,
  recordBytes,
  writeRecord,
} from '../model/record.ts'
import {
  type Appending,
  type CommitLog,
  type CommitLogOptions,
  type DamagedRange,
  FRAME_BYTES_MAX,
  type Frame,
  type SegmentRange,
} from './commit-log.ts'
import { errorCode } from './disk.ts'
import { writeEpochMarker } from './epoch-marker.ts'
import { FRAME_HEADER_BYTES, type FrameHeader, writeFrameHeader } from './frame.ts'
import { FrameScan } from './frame-scan.ts'
import { type Done, GroupCommit, type SealedFrame } from './group-commit.ts'
import { type Recovered, recover } from './recovery.ts'
import { SegmentWriter } from './segment-writer.ts'
import { type Segment, Segments } from './segments.ts'
import { type Chunk, Tail } from './tail.ts'

const MIB = 1024 * 1024
const LOG_ID_MAX = 2 ** 32 - 1
/** A quiet log says after this time, in a frame without records, what it had synced. */
const MARK_DELAY_MS = 1000
const ASYNC_WINDOW_MS_MAX = 200
/** async: this much unsynced starts a sync before the window is over. */
const ASYNC_BYTES = 8 * MIB

/** The frame that is being filled. */
interface OpenFrame {
  readonly chunk: Chunk
  readonly at: number
  readonly position: number
  length: number
  records: number
  readonly dones: Done[]
}

/** Recovers what is there, cuts a torn tail, and starts a new epoch. @throws BrokerError STORE_CORRUPT, READ_ONLY */
export function openCommitLog(options: CommitLogOptions): CommitLog {
  const { disk, directory, log } = options
  disk.makeDirectory(directory)
  const segments = new Segments(disk, directory)
  segments.load()
  const frameBytesMax = FRAME_BYTES_MAX
  const recovered = recover({ disk, directory, log, segments, frameBytesMax })
  return new SegmentedLog(options, segments, recovered)
}

class SegmentedLog implements CommitLog {
  readonly #options: CommitLogOptions
  readonly #segments: Segments
  readonly #tail: Tail
  readonly #writer: SegmentWriter
  readonly #commit: GroupCommit
  readonly #damage: DamagedRange[]
  readonly #frameBytesMax: number
  readonly #unsyncedBytesMax: number
  readonly #endOfTurn: (fn: () => void) => void
  readonly #logId: number
  readonly #place = {
    queueOffset: 0,
    position: 0,
    storeTimestamp: 0,
    storeHost: { ip: 0, port: 0 },
  }
  #epoch: number
  #sequence: number
  #storeTimestamp: number
  #open: OpenFrame | undefined
  /** Full frames that the commit did not fetch yet. */
  #sealed: SealedFrame[] = []
  /** Where the next byte goes. */
  #next: number
  #end: number
  #isScheduled = false
  #state: 'open' | 'read-only' | 'closed' = 'open'
  #reason: string | undefined
  #onFrame: (frame: Frame) => void = () => {}
  #onWritable: (writable: boolean, reason: string | undefined) => void = () => {}
  #markTimer: Timer | undefined
  /** `syncedTo` of the newest frame. */
  #markedTo = 0
  #closing: Promise<void> | undefined

  constructor(options: CommitLogOptions, segments: Segments, recovered: Recovered) {
    this.#options = options
    this.#segments = segments
    this.#frameBytesMax = options.frameBytesMax ?? FRAME_BYTES_MAX
    this.#unsyncedBytesMax = options.unsyncedBytesMax ?? 32 * MIB
    this.#endOfTurn = options.endOfTurn ?? ((fn) => void setImmediate(fn))
    this.#tail = new Tail(this.#frameBytesMax, options.tailBytesMax ?? 64 * MIB)
    this.#place.storeHost = options.storeHost
    this.#damage = [...recovered.damage]
    this.#logId = recovered.logId ?? randomInt(1, LOG_ID_MAX)
    this.#epoch = recovered.epoch + 1
    this.#sequence = recovered.sequence
    this.#storeTimestamp = recovered.storeTimestamp
    this.#next = recovered.end
    this.#end = recovered.end
    this.#writer = this.#openWriter()
    this.#commit = this.#openCommit()
    this.#markEpoch(undefined)
  }

  get id(): number {
    return this.#logId
  }
  get start(): LogPosition {
    return this.#segments.list[0]?.start ?? logPosition(0)
  }
  get end(): LogPosition {
    return logPosition(this.#end)
  }
  get syncedEnd(): LogPosition {
    return logPosition(this.#commit.syncedEnd)
  }
  get unsyncedBytes(): number {
    return this.#next - this.#commit.syncedEnd
  }
  get writable(): boolean {
    return this.#state === 'open'
  }
  get reason(): string | undefined {
    return this.#reason
  }
  get diskBytes(): number {
    return this.#segments.fileBytes + this.#writer.preparedBytes
  }

  onFrame(listener: (frame: Frame) => void): void {
    this.#onFrame = listener
  }

  onWritable(listener: (writable: boolean, reason: string | undefined) => void): void {
    this.#onWritable = listener
  }

  append(drafts: readonly RecordDraft[], queueOffsets: readonly number[], done: Done): Appending {
    if (this.#state !== 'open') throw this.#refusal()
    let size = 0
    for (const draft of drafts) size += recordBytes(draft)
    const frame = this.#frameFor(size)
    const storeTimestamp = Math.max(this.#storeTimestamp, this.#options.clock.now())
    this.#storeTimestamp = storeTimestamp
    const place = this.#place
    place.storeTimestamp = storeTimestamp
    const { bytes, base } = frame.chunk
    const positions = new Array<LogPosition>(drafts.length)
    let position = this.#next
    for (let i = 0; i < drafts.length; i++) {
      place.position = position
      place.queueOffset = queueOffsets[i]!
      positions[i] = logPosition(position)
      position += writeRecord(bytes, position - base, drafts[i]!, place)
    }
    frame.chunk.used += size
    frame.length += size
    frame.records += drafts.length
    frame.dones.push(done)
    this.#next = position
    this.#schedule()
    return { positions, storeTimestamp }
  }

  *replay(from: LogPosition): Generator<Frame> {
    const stop = this.#end
    for (let i = Math.max(0, this.#segments.indexOf(from)); i < this.#segments.list.length; i++) {
      const segment = this.#segments.list[i]!
      yield* this.#replaySegment(segment, from, Math.min(this.#segments.endOf(i, stop), stop))
    }
  }

  copyTail(target: Uint8Array, at: number, position: LogPosition, size: number): boolean {
    if (position + size > this.#end) return false
    return this.#tail.copy(target, at, position, size)
  }

  readSync(target: Uint8Array, at: number, position: LogPosition, size: number): boolean {
    if (!this.#holds(position, size)) return false
    if (this.#tail.copy(target, at, position, size)) return true
    try {
      for (let done = 0; done < size; ) {
        const read = this.#segments.readSync(target, at + done, position + done, size - done)
        if (read === 0) return false
        done += read
      }
      return true
    } catch (error) {
      return this.#unreadable(position, size, error)
    }
  }

  async read(
    target: Uint8Array,
    at: number,
    position: LogPosition,
    size: number,
  ): Promise<boolean> {
    if (!this.#holds(position, size)) return false
    if (this.#tail.copy(target, at, position, size)) return true
    try {
      for (let done = 0; done < size; ) {
        const read = await this.#segments.read(target, at + done, position + done, size - done)
        if (read === 0) return false
        done += read
      }
      return true
    } catch (error) {
      return this.#unreadable(position, size, error)
    }
  }

  async readAt(position: LogPosition): Promise<Buffer | undefined> {
    const head = Buffer.allocUnsafe(RECORD_FIXED_BYTES)
    if (!(await this.read(head, 0, position, head.length))) return undefined
    const size = new RecordView(head).size
    if (size < RECORD_FIXED_BYTES || size > FRAME_BYTES_MAX) return undefined
    const bytes = Buffer.allocUnsafe(size)
    const isFromTail = this.copyTail(bytes, 0, position, size)
    if (!isFromTail && !(await this.read(bytes, 0, position, size))) return undefined
    if (checkRecord(bytes, 0, size, !isFromTail) !== size) return undefined
    return new RecordView(bytes).position === position ? bytes : undefined
  }

  sync(done: Done): void {
    if (this.#next === this.#commit.syncedEnd) this.#endOfTurn(() => done(undefined))
    else this.#commit.whenSynced(this.#next, done)
  }

  segments(): readonly SegmentRange[] {
    return this.#segments.list.map(({ start, name }, index) => ({
      start,
      end: logPosition(this.#segments.endOf(index, this.#end)),
      name,
    }))
  }

  damage(): readonly DamagedRange[] {
    return this.#damage
  }

  dropBefore(position: LogPosition): void {
    let dropped = 0
    while (this.#segments.list.length > 1 && this.#segments.list[1]!.start <= position) {
      this.#segments.removeFirst()
      dropped++
    }
    if (dropped > 0) this.#options.disk.syncDirectory(this.#options.directory)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const wasOpen = this.#state === 'open'
    this.#state = 'closed'
    this.#markTimer?.cancel()
    if (wasOpen) await new Promise<void>((resolve) => this.sync(() => resolve()))
    this.#writer.close()
    this.#segments.close()
    if (wasOpen && this.#reason === undefined) this.#markEpoch(this.#end)
  }

  /** The open frame with room for `size` bytes of records, or a new one. */
  #frameFor(size: number): OpenFrame {
    const needed = FRAME_HEADER_BYTES + size
    if (needed > this.#frameBytesMax) {
      throw new BrokerError(
        'MESSAGE_TOO_LARGE',
        `one append of ${needed} bytes; the limit is ${this.#frameBytesMax}: send fewer or smaller messages at once`,
      )
    }
    if (this.unsyncedBytes + needed > this.#unsyncedBytesMax) throw this.#busy()
    const open = this.#open
    if (
      open !== undefined &&
      open.length + size <= this.#frameBytesMax &&
      open.chunk.used + size <= open.chunk.bytes.length
    ) {
      return open
    }
    this.#sealOpen()
    return this.#openFrame(size)
  }

  #openFrame(size: number): OpenFrame {
    const position = this.#next
    const needed = FRAME_HEADER_BYTES + size
    const chunk = this.#tail.chunkFor(position, needed, this.#commit.syncedEnd)
    if (chunk === undefined) throw this.#busy()
    const at = chunk.used
    chunk.used += FRAME_HEADER_BYTES
    this.#next += FRAME_HEADER_BYTES
    this.#open = { chunk, at, position, length: FRAME_HEADER_BYTES, records: 0, dones: [] }
    return this.#open
  }

  #sealOpen(): void {
    const open = this.#open
    if (open === undefined) return
    this.#open = undefined
    this.#sequence++
    this.#markedTo = this.#commit.syncedEnd
    writeFrameHeader(open.chunk.bytes, open.at, {
      length: open.length,
      records: open.records,
      epoch: this.#epoch,
      logId: this.#logId,
      sequence: this.#sequence,
      position: open.position,
      syncedTo: this.#markedTo,
      storeTimestamp: this.#storeTimestamp,
    })
    this.#sealed.push(open)
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#endOfTurn(() => {
      this.#isScheduled = false
      this.#commit.commit()
    })
  }

  #deliver(frame: SealedFrame): void {
    this.#end = frame.position + frame.length
    if (frame.records > 0) {
      this.#onFrame({
        firstRecord: logPosition(frame.position + FRAME_HEADER_BYTES),
        end: logPosition(this.#end),
        bytes: frame.chunk.bytes,
        start: frame.at + FRAME_HEADER_BYTES,
        stop: frame.at + frame.length,
      })
    }
    for (const done of frame.dones) done(undefined)
    this.#markTimer ??= this.#options.clock.after(MARK_DELAY_MS, () => this.#mark())
  }

  /** When the log went quiet: a frame without records that says what is synced, so that a hole there is seen as damage. */
  #mark(): void {
    this.#markTimer = undefined
    if (this.#state !== 'open' || this.#open !== undefined) return
    if (this.#next !== this.#commit.syncedEnd || this.#isMarked()) return
    this.#openFrame(0)
    this.#schedule()
  }

  /** The newest frame is a mark, or says of all others that they are synced. */
  #isMarked(): boolean {
    return this.#markedTo + FRAME_HEADER_BYTES === this.#commit.syncedEnd
  }

  /** Nothing more is acknowledged, what is under way is void, reads go on. */
  #failed(error: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = `the log is read-only after '${error.message}'; look at the disk, then start again`
    const dones = this.#commit.drain()
    for (const frame of this.#sealed) dones.push(...frame.dones)
    if (this.#open !== undefined) dones.push(...this.#open.dones)
    this.#sealed = []
    this.#open = undefined
    this.#next = this.#end
    this.#tail.rewind(this.#end)
    this.#writer.abandon()
    if (this.#state === 'open') this.#state = 'read-only'
    this.#options.log.error(
      { evt: 'log.read-only', code: errorCode(error), position: this.#end },
      this.#reason,
    )
    this.#onWritable(false, this.#reason)
    const refusal = this.#refusal()
    for (const done of dones) done(refusal)
  }

  #refusal(): BrokerError {
    if (this.#state === 'closed') return new BrokerError('CLOSED', 'the log is closed')
    return new BrokerError('READ_ONLY', this.#reason ?? 'the log is read-only')
  }

  #busy(): BrokerError {
    return new BrokerError(
      'BUSY',
      `${this.unsyncedBytes} bytes wait for the disk; the limit is ${this.#unsyncedBytesMax}: send again later`,
    )
  }

  #holds(position: number, size: number): boolean {
    return position >= this.start && position + size <= this.#end
  }

  #unreadable(position: number, size: number, error: unknown): false {
    this.#options.log.error(
      { evt: 'log.unreadable', position, size, code: errorCode(error) },
      `Bytes ${position} to ${position + size} of the log cannot be read: ${String(error)}.`,
    )
    return false
  }

  *#replaySegment(segment: Segment, from: number, stop: number): Generator<Frame> {
    const read = (target: Buffer, at: number, position: number, size: number): number =>
      this.#segments.readSync(target, at, position, size)
    const isOurs = (header: FrameHeader): boolean => header.logId === this.#logId
    const begin = Math.max(segment.start, from)
    let scan = new FrameScan(read, begin, stop, FRAME_BYTES_MAX)
    let header = scan.next(isOurs)
    if (header === undefined && begin > segment.start) {
      scan = new FrameScan(read, segment.start, stop, FRAME_BYTES_MAX)
      header = scan.next(isOurs)
    }
    for (; scan.position < stop || header !== undefined; header = scan.next(isOurs)) {
      if (header === undefined) {
        this.#skipDamage(scan, segment, stop, isOurs)
        continue
      }
      const end = header.position + header.length
      if (header.records === 0 || end <= from) continue
      const start = scan.offsetOf(header.position) + FRAME_HEADER_BYTES
      yield {
        firstRecord: logPosition(header.position + FRAME_HEADER_BYTES),
        end: logPosition(end),
        bytes: scan.bytes,
        start,
        stop: start + header.length - FRAME_HEADER_BYTES,
      }
    }
  }

  #skipDamage(
    scan: FrameScan,
    segment: Segment,
    stop: number,
    isOurs: (header: FrameHeader) => boolean,
  ): void {
    const from = scan.position
    if (scan.search(isOurs) === undefined) scan.position = stop
    const to = scan.position
    if (this.#damage.some((range) => range.from === from)) return
    const reason = 'no whole frame where one was durable'
    this.#damage.push({
      from: logPosition(from),
      to: logPosition(to),
      segment: segment.name,
      reason,
    })
    this.#options.log.error(
      { evt: 'log.damage', segment: segment.name, from, to },
      `Bytes ${from} to ${to} of the log do not check; they are kept and left out.`,
    )
  }

  #markEpoch(end: number | undefined): void {
    const { disk, directory } = this.#options
    const marker = { epoch: this.#epoch, logId: this.#logId, synced: this.#end, end }
    writeEpochMarker(disk, directory, marker)
  }

  #openWriter(): SegmentWriter {
    const { disk, directory, log } = this.#options
    const segmentBytes = this.#options.segmentBytes ?? 128 * MIB
    const writer = new SegmentWriter({
      disk,
      directory,
      log,
      segments: this.#segments,
      segmentBytes: Math.max(segmentBytes, this.#frameBytesMax),
      aheadBytes: this.#options.aheadBytes ?? 4 * MIB,
      fillPieceBytes: this.#options.fillPieceBytes ?? MIB,
      roomMade: () => this.#commit.commit(),
      fillFailed: (error) => this.#failed(error),
    })
    if (this.#segments.last === undefined) writer.startAt(this.#end)
    else writer.resume(this.#end)
    return writer
  }

  #openCommit(): GroupCommit {
    const { clock, flush, asyncWindowMs } = this.#options
    return new GroupCommit(
      {
        writer: this.#writer,
        clock,
        flush,
        asyncWindowMs: Math.min(asyncWindowMs ?? 100, ASYNC_WINDOW_MS_MAX),
        asyncBytes: ASYNC_BYTES,
        seal: () => {
          this.#sealOpen()
          const sealed = this.#sealed
          this.#sealed = []
          return sealed
        },
        deliver: (frame) => this.#deliver(frame),
        failed: (error) => this.#failed(error),
      },
      this.#end,
    )
  }
}
