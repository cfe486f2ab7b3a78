// The commit log over segment files. Making frames, committing, reading, recovery have their own
// files; this one puts them together and owns what lies between: the end, whether it writes, and
// why not.

import { randomInt } from 'node:crypto'
import { BrokerError } from '../../errors.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import type { NewRecord } from '../../model/record.ts'
import { FOLLOWS_MASTER } from '../../model/status.ts'
import { atTurnEnd } from '../../turn-end.ts'
import { type DiskState, isSpaceError } from '../disk/disk.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type {
  Appending,
  CommitLog,
  CommitLogOptions,
  DamagedRange,
  Frame,
  SegmentRange,
  TailPart,
} from './commit-log.ts'
import type { EpochHistory } from './epochs/epoch-history.ts'
import type { LogHistory } from './epochs/history.ts'
import { LogEpoch } from './epochs/log-epoch.ts'
import type { AcknowledgementHold, FrameFeed } from './following.ts'
import { mend } from './foreign-frame.ts'
import { type FoundLog, findLog } from './found-log.ts'
import { FRAME_HEADER_BYTES } from './frame.ts'
import { FrameFeeds } from './frame-feed.ts'
import { type Done, FrameStage, type SealedFrame } from './frame-stage.ts'
import { GroupCommit } from './group-commit.ts'
import { LogReader } from './log-reader.ts'
import { type LogSizes, sizesOf } from './log-sizes.ts'
import type { LogStart } from './log-start.ts'
import { QuietMark } from './quiet-mark.ts'
import type { Recovered } from './recovery.ts'
import { Reserve } from './reserve.ts'
import { SegmentRemoval } from './segment-removal.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { Segments } from './segments.ts'
import { Tail } from './tail.ts'
import { Writing } from './writing.ts'

const MIB = 1024 * 1024
const LOG_ID_MAX = 2 ** 32 - 1
const ASYNC_WINDOW_MS_MAX = 200
/** async: this much unsynced starts a sync before the window is over. */
const ASYNC_BYTES = 8 * MIB
/** A log that is not busy has room for an append of this size. */
const SMALL_APPEND_BYTES = 4 * MIB

/** Recovers, cuts a torn tail, starts a new epoch. @throws BrokerError STORE_CORRUPT, READ_ONLY */
export const openCommitLog = (options: CommitLogOptions): CommitLog =>
  new SegmentedLog(options, findLog(options))

class SegmentedLog implements CommitLog {
  readonly #options: CommitLogOptions
  readonly #segments: Segments
  readonly #logStart: LogStart
  readonly #tail: Tail
  readonly #stage: FrameStage
  readonly #reader: LogReader
  readonly #writer: SegmentWriter
  readonly #commit: GroupCommit
  readonly #reserve: Reserve
  readonly #writing: Writing
  readonly #removal: SegmentRemoval
  readonly #acknowledgements: Acknowledgements
  readonly #quietMark: QuietMark
  readonly #feeds = this.#makeFeeds()
  readonly #sizes: LogSizes
  readonly #endOfTurn: (fn: () => void) => void
  readonly #logId: number
  readonly #epoch: LogEpoch
  readonly #history: EpochHistory
  #end: number
  /** Of the newest acknowledged frame. */
  #sequence: number
  #isScheduled = false
  #isClosing = false
  #closed: Promise<void> | undefined
  #onFrame: (frame: Frame) => void = () => {}
  #onVoid: () => void = () => {}
  #onWritable: (writable: boolean, reason: string | undefined) => void = () => {}

  constructor(options: CommitLogOptions, found: FoundLog) {
    const { segments, logStart, leftovers, recovered, history } = found
    const { disk, directory, clock, log, follows } = options
    this.#options = options
    this.#sizes = sizesOf(options)
    this.#segments = segments
    this.#logStart = logStart
    this.#endOfTurn = options.endOfTurn ?? atTurnEnd
    this.#tail = new Tail(this.#sizes.chunkBytes, this.#sizes.tailBytesMax)
    this.#logId = recovered.logId ?? randomInt(1, LOG_ID_MAX)
    this.#history = history
    this.#acknowledgements = new Acknowledgements(recovered.confirmed, {
      deliver: (frame, refusal) => this.#deliver(frame, refusal),
      recordsAtOnceMax: this.#sizes.recordsAtOnceMax,
      later: this.#endOfTurn,
    })
    const confirmedTo = (): number => this.#acknowledgements.confirmedTo
    this.#quietMark = new QuietMark({ clock, confirmedTo, mark: () => this.#mark() })
    const state = { epoch: recovered.epoch, isPassive: follows !== undefined, confirmedTo }
    this.#epoch = new LogEpoch({ disk, directory, log, logId: this.#logId, ...state })
    this.#sequence = recovered.sequence
    this.#end = recovered.end
    const { damage } = recovered
    const end = (): number => this.#end
    const reading = { segments, tail: this.#tail, clock, log, logId: this.#logId, damage, logStart }
    this.#reader = new LogReader({ ...reading, end })
    this.#stage = this.#makeStage(recovered)
    this.#reserve = this.#makeReserve()
    this.#writing = this.#makeWriting()
    this.#writer = this.#makeWriter()
    this.#commit = this.#makeCommit()
    const syncedEnd = (): number => this.#commit.syncedEnd
    this.#begin()
    const removal = { disk, directory, log, segments, logStart, leftovers, syncedEnd }
    this.#removal = new SegmentRemoval({ ...removal, removed: () => this.#feeds.wake() })
  }

  get id(): number {
    return this.#logId
  }
  get start(): LogPosition {
    return this.#reader.start
  }
  get end(): LogPosition {
    return logPosition(this.#end)
  }
  get syncedEnd(): LogPosition {
    return logPosition(this.#commit.syncedEnd)
  }
  get unsyncedBytes(): number {
    return this.#stage.next - this.#commit.syncedEnd
  }
  /** End of what is synced and acknowledged. */
  get #settledEnd(): number {
    return Math.min(this.#commit.syncedEnd, this.#end)
  }
  get isBusy(): boolean {
    const max = this.#sizes.unsyncedBytesMax
    return this.#stage.next - this.#settledEnd > max - Math.min(SMALL_APPEND_BYTES, max / 2)
  }
  get isPassive(): boolean {
    return this.#epoch.isPassive
  }
  get epoch(): number {
    return this.#epoch.number
  }
  get writable(): boolean {
    return !this.#isClosing && this.reason === undefined
  }
  get reason(): string | undefined {
    return this.#writing.reason ?? (this.isPassive ? FOLLOWS_MASTER : undefined)
  }
  get disk(): DiskState | undefined {
    return this.#writing.disk
  }
  get #isWriting(): boolean {
    return this.disk === undefined
  }
  get diskBytes(): number {
    return this.#segments.fileBytes + this.#writer.preparedBytes + this.#reserve.fileBytes
  }

  onFrame(listener: (frame: Frame) => void): void {
    this.#onFrame = listener
  }
  onVoid(listener: () => void): void {
    this.#onVoid = listener
  }
  onWritable(listener: (writable: boolean, reason: string | undefined) => void): void {
    this.#onWritable = listener
  }

  append(
    drafts: readonly NewRecord[],
    queueOffsets: readonly number[],
    done: Done,
    isEssential = false,
  ): Appending {
    if (this.#isClosing || this.#writing.isStopped || this.isPassive) throw this.#refusal()
    if (this.#writing.isFull && !isEssential) throw this.#refusal()
    const appending = this.#stage.add(drafts, queueOffsets, this.#options.clock.now(), done)
    this.#schedule()
    return appending
  }

  appendFrame(bytes: Buffer, at: number, done: Done): number {
    if (!this.isPassive) {
      throw new BrokerError('NOT_SUPPORTED', 'this log takes its own appends and follows no other')
    }
    if (this.#isClosing || !this.#isWriting) throw this.#refusal()
    const { length, epoch } = this.#stage.addFrame(bytes, at, done)
    this.#epoch.number = epoch
    this.#schedule()
    return length
  }

  activate(epoch = this.#epoch.number + 1): void {
    if (this.#isClosing || !this.#isWriting) throw this.#refusal()
    if (this.#stage.next !== this.#settledEnd || this.#settledEnd !== this.#commit.syncedEnd) {
      throw new BrokerError('BUSY', 'frames of the log that was followed are under way: wait')
    }
    this.#history.settle(this.#logId, this.#end)
    this.#epoch.activate(epoch, this.#end)
    this.#onWritable(true, undefined)
  }

  get history(): LogHistory {
    const end = this.syncedEnd
    return { logId: this.#logId, start: this.start, end, epochs: this.#history.before(end) }
  }
  get confirmedTo(): LogPosition {
    return logPosition(this.#acknowledgements.confirmedTo)
  }
  wasConfirmed(to: LogPosition): void {
    const { confirmedTo } = this.#acknowledgements
    this.#acknowledgements.confirmedTo = Math.max(confirmedTo, Math.min(to, this.#end))
  }

  feed(from: LogPosition): FrameFeed {
    return this.#feeds.open(from)
  }
  checksum(from: LogPosition, to: LogPosition): Promise<number | undefined> {
    return this.#reader.checksum(from, to)
  }
  hold(waits?: () => void): AcknowledgementHold {
    return this.#acknowledgements.hold(waits)
  }
  endHolds(): void {
    this.#acknowledgements.end(new BrokerError('CLOSED', 'the log is about to close'))
  }

  replay(from: LogPosition): Generator<Frame> {
    return this.#reader.replay(from)
  }
  lendTail(position: LogPosition, size: number): TailPart | undefined {
    return this.#reader.lendTail(position, size)
  }

  copyTail(target: Uint8Array, at: number, position: LogPosition, size: number): boolean {
    return this.#reader.copyTail(target, at, position, size)
  }
  readSync(target: Uint8Array, at: number, position: LogPosition, size: number): boolean {
    return this.#reader.readSync(target, at, position, size)
  }
  read(target: Uint8Array, at: number, position: LogPosition, size: number): Promise<boolean> {
    return this.#reader.read(target, at, position, size)
  }
  readAt(
    position: LogPosition,
    bytesMax?: number,
  ): Buffer | undefined | Promise<Buffer | undefined> {
    return this.#reader.readAt(position, bytesMax)
  }
  damage(): readonly DamagedRange[] {
    return this.#reader.damage()
  }

  async mend(range: DamagedRange, bytes: Buffer): Promise<void> {
    if (!this.isPassive) throw new BrokerError('NOT_SUPPORTED', 'this log follows no other')
    if (this.#isClosing || !this.#isWriting) throw this.#refusal()
    const { disk, directory } = this.#options
    const { segmentBytes } = this.#sizes
    const parts = { disk, directory, segments: this.#segments, segmentBytes, logId: this.#logId }
    const mended = (known: DamagedRange, from: LogPosition) => this.#reader.mended(known, from)
    const { position, length, sequence } = await mend({ ...parts, mended }, range, bytes)
    // Recovery could only guess the number of the last frame.
    if (position + length !== this.#end || this.#stage.next !== this.#end) return
    this.#sequence = sequence
    this.#stage.rewind(this.#end, sequence)
  }

  sync(done: Done): void {
    if (this.unsyncedBytes === 0) this.#endOfTurn(() => done(undefined))
    else if (this.#writing.isStopped) this.#endOfTurn(() => done(this.#refusal()))
    else this.#commit.whenSynced(this.#stage.next, done)
  }

  segments(): readonly SegmentRange[] {
    return this.#segments.list.map(({ start, name }, index) => ({
      start,
      end: logPosition(this.#segments.endOf(index, this.#end)),
      name,
    }))
  }

  dropBefore(position: LogPosition): void {
    if (!this.#isClosing) this.#removal.removeBefore(Math.min(position, this.#end))
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    this.#quietMark.close()
    this.#writing.close()
    this.#removal.close()
    this.#feeds.close()
    this.endHolds()
    await new Promise<void>((resolve) => this.sync(() => resolve()))
    this.#writer.close()
    this.#segments.close()
    this.#reserve.close()
    if (!this.#writing.isStopped) this.#markEnd()
  }

  // Committing

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#endOfTurn(() => {
      this.#isScheduled = false
      this.#commit.commit()
    })
  }

  #deliver(frame: SealedFrame, refusal: BrokerError | undefined): void {
    this.#end = frame.position + frame.length
    this.#sequence = frame.sequence
    if (frame.records > 0) {
      this.#onFrame({
        firstRecord: logPosition(frame.position + FRAME_HEADER_BYTES),
        end: logPosition(this.#end),
        bytes: frame.chunk.bytes,
        start: frame.at + FRAME_HEADER_BYTES,
        stop: frame.at + frame.length,
      })
    }
    for (const done of frame.dones) done(refusal)
    if (!this.#isClosing) this.#quietMark.later()
  }

  /**
   * A frame without records that says what is synced. Without it, damage to the newest records
   * could not be told from a write that never finished.
   */
  #mark(): void {
    if (!this.#isWriting) return
    this.#history.save(this.#commit.syncedEnd)
    if (this.isPassive || this.#quietMark.takeConfirmed()) {
      this.#epoch.note(this.#commit.syncedEnd)
    }
    if (this.writable && this.#stage.addMark()) this.#schedule()
  }

  // Failing and going on

  /** Takes up writing at the end of the log, in a new epoch. */
  #begin(): void {
    try {
      this.#reserve.keep()
      this.#startWriting()
    } catch (error) {
      if (!isSpaceError(error)) throw error
      try {
        if (this.#reserve.free()) this.#startWriting()
        else this.#writing.failed(error as Error)
      } catch (again) {
        this.#writing.failed(again as Error)
      }
    }
  }

  #startWriting(): void {
    if (this.#segments.last === undefined) this.#writer.startAt(this.#end)
    else this.#writer.resume(this.#end)
    this.#markEpoch()
  }

  #full(): void {
    this.#writer.spare(true)
    this.#onWritable(false, this.reason)
    this.#commit.commit()
  }

  #stopped(): void {
    const refusal = this.#refusal()
    this.#acknowledgements.refuseAll(refusal)
    const dones = this.#commit.drain()
    for (const frame of this.#stage.take()) dones.push(...frame.dones)
    this.#stage.rewind(this.#end, this.#sequence)
    this.#writer.abandon()
    this.#markEnd()
    this.#onVoid()
    this.#onWritable(false, this.reason)
    for (const done of dones) done(refusal)
  }

  /** Recovery will look for the beginnings of epochs from there on. */
  #rolling(position: number): void {
    if (this.isPassive) this.#history.saveTo(position)
    else this.#history.save(position)
  }

  #resumed(): void {
    this.#writer.spare(false)
    this.#onWritable(this.writable, this.reason)
    this.#commit.commit()
  }

  /**
   * Leaves the poisoned segment behind: its successor's name says where it ends. What was
   * acknowledged and not synced (async mode) moves over from memory.
   */
  #startSegment(): void {
    const from = this.#commit.syncedEnd
    this.#writer.startAt(from, this.#tail.piecesOf(from, this.#end))
    this.#markEpoch()
    this.#commit.restart(this.#end)
  }

  /** A new epoch begins: everything so far is durable, and the log says where it starts. */
  #markEpoch(): void {
    // Before the marker of a cut goes.
    this.#history.settle(this.#logId, this.#end)
    this.#epoch.begin(this.#end)
    this.#logStart.begin(this.start)
  }

  /** Ends the epoch: without this note a refused record could come back at the next opening. */
  #markEnd(): void {
    this.#epoch.end(this.#commit.syncedEnd, this.#end, () => this.#reserve.giveBack())
  }

  #refusal(): BrokerError {
    if (this.#isClosing) return new BrokerError('CLOSED', 'the log is closed')
    return new BrokerError('READ_ONLY', this.reason ?? 'the log is read-only')
  }

  // Parts

  #makeStage(recovered: Recovered): FrameStage {
    const { storeHost } = this.#options
    const options = {
      storeHost,
      tail: this.#tail,
      frameBytesMax: this.#sizes.frameBytesMax,
      frameRecordsMax: this.#sizes.recordsAtOnceMax,
      unsyncedBytesMax: this.#sizes.unsyncedBytesMax,
      logId: this.#logId,
      epoch: this.#epoch,
      history: this.#history,
      syncedEnd: () => this.#commit.syncedEnd,
      settledEnd: () => this.#settledEnd,
    }
    return new FrameStage(options, recovered)
  }

  #makeFeeds(): FrameFeeds {
    return new FrameFeeds({
      start: () => this.start,
      syncedEnd: () => this.#commit.syncedEnd,
      confirmedTo: () => this.#acknowledgements.confirmedTo,
      read: (from, to, reading) => this.#reader.readFrames(from, to, reading),
    })
  }

  #makeReserve(): Reserve {
    const { disk, directory, clock, log } = this.#options
    const { reserveBytes: bytes, fillPieceBytes: pieceBytes } = this.#sizes
    return new Reserve({ disk, directory, clock, log, bytes, pieceBytes })
  }

  #makeWriting(): Writing {
    const { disk, directory, clock, log } = this.#options
    return new Writing({
      ...{ disk, directory, clock, log, sizes: this.#sizes, reserve: this.#reserve },
      end: () => this.#end,
      full: () => this.#full(),
      stopped: () => this.#stopped(),
      startSegment: () => this.#startSegment(),
      resumed: () => this.#resumed(),
    })
  }

  #makeWriter(): SegmentWriter {
    const { disk, directory, log } = this.#options
    const { segmentBytes, aheadBytes, fillPieceBytes } = this.#sizes
    return new SegmentWriter({
      disk,
      directory,
      log,
      segments: this.#segments,
      segmentBytes,
      aheadBytes,
      fillPieceBytes,
      rolling: (position) => this.#rolling(position),
      roomMade: () => this.#commit.commit(),
      fillFailed: (error) => this.#writing.fillFailed(error),
      rollFailed: (error) => this.#writing.failed(error),
    })
  }

  #makeCommit(): GroupCommit {
    const { clock, flush, asyncWindowMs, syncSeconds } = this.#options
    const options = {
      ...{ writer: this.#writer, clock, flush, syncSeconds },
      asyncWindowMs: Math.min(asyncWindowMs ?? 100, ASYNC_WINDOW_MS_MAX),
      asyncBytes: ASYNC_BYTES,
      bulkBytes: () => (this.isPassive ? this.#sizes.bulkBytes : Number.POSITIVE_INFINITY),
      seal: () => this.#stage.take(),
      deliver: (frame: SealedFrame) => this.#acknowledgements.take(frame),
      synced: () => this.#feeds.wake(),
      failed: (error: Error) => this.#writing.failed(error),
    }
    return new GroupCommit(options, this.#end)
  }
}
