// The commit log over segment files. Making frames, committing, reading, recovery have their own
// files; this one puts them together and owns what lies between: the end, whether it writes, and
// why not.

import { randomInt } from 'node:crypto'
import type { Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import type { RecordDraft } from '../../model/record.ts'
import { atTurnEnd } from '../../turn-end.ts'
import { errorCode, isShortage, isSpaceError } from '../disk/disk.ts'
import { Acknowledgements } from './acknowledgements.ts'
import type {
  Appending,
  CommitLog,
  CommitLogOptions,
  DamagedRange,
  Frame,
  SegmentRange,
} from './commit-log.ts'
import type { AcknowledgementHold, FrameFeed } from './following.ts'
import { type FoundLog, findLog } from './found-log.ts'
import { FRAME_HEADER_BYTES } from './frame.ts'
import { FrameFeeds } from './frame-feed.ts'
import { type Done, FrameStage, type SealedFrame } from './frame-stage.ts'
import { GroupCommit } from './group-commit.ts'
import { LogEpoch } from './log-epoch.ts'
import { LogReader } from './log-reader.ts'
import { type LogSizes, sizesOf } from './log-sizes.ts'
import type { LogStart } from './log-start.ts'
import type { Recovered } from './recovery.ts'
import { Reserve } from './reserve.ts'
import { SegmentRemoval } from './segment-removal.ts'
import { SegmentWriter } from './segment-writer.ts'
import type { Segments } from './segments.ts'
import { Tail } from './tail.ts'

const MIB = 1024 * 1024
const LOG_ID_MAX = 2 ** 32 - 1
/** A quiet log says after this time, in a frame without records, what it had synced. */
const MARK_DELAY_MS = 1000
const ASYNC_WINDOW_MS_MAX = 200
/** async: this much unsynced starts a sync before the window is over. */
const ASYNC_BYTES = 8 * MIB
/** A log that is not busy has room for an append of this size. */
const SMALL_APPEND_BYTES = 4 * MIB
/** How often a full disk is looked at again. */
const PROBE_MS = 1000
const PASSIVE = 'this log follows the log of a master: send to the master'

/** Why nothing at all is written. */
interface Stop {
  readonly reason: string
  /** Space or descriptors may come back; from any other error only opening the log anew does. */
  readonly isResumable: boolean
  /** Only when the disk has room again, the reserve's included. */
  wantsRoom: boolean
}

/** Errors that an operator, or time, can mend while the process lives. */
const isPassing = (error: unknown): boolean => isSpaceError(error) || isShortage(error)

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
  readonly #removal: SegmentRemoval
  readonly #acknowledgements = new Acknowledgements((frame, refusal) =>
    this.#deliver(frame, refusal),
  )
  readonly #feeds = this.#makeFeeds()
  readonly #sizes: LogSizes
  readonly #endOfTurn: (fn: () => void) => void
  readonly #logId: number
  readonly #epoch: LogEpoch
  #end: number
  /** Of the newest acknowledged frame. */
  #sequence: number
  #isScheduled = false
  #stop: Stop | undefined
  /** Why only essential appends are written. */
  #full: string | undefined
  #isClosing = false
  #closed: Promise<void> | undefined
  #markTimer: Timer | undefined
  #probeTimer: Timer | undefined
  #onFrame: (frame: Frame) => void = () => {}
  #onVoid: () => void = () => {}
  #onWritable: (writable: boolean, reason: string | undefined) => void = () => {}

  constructor(options: CommitLogOptions, found: FoundLog) {
    const { segments, logStart, leftovers, recovered } = found
    const { disk, directory, clock, log, follows } = options
    this.#options = options
    this.#sizes = sizesOf(options)
    this.#segments = segments
    this.#logStart = logStart
    this.#endOfTurn = options.endOfTurn ?? atTurnEnd
    this.#tail = new Tail(this.#sizes.chunkBytes, this.#sizes.tailBytesMax)
    this.#logId = recovered.logId ?? randomInt(1, LOG_ID_MAX)
    const state = { epoch: recovered.epoch, isPassive: follows !== undefined }
    this.#epoch = new LogEpoch({ disk, directory, log, logId: this.#logId, ...state })
    this.#sequence = recovered.sequence
    this.#end = recovered.end
    const { damage } = recovered
    const end = (): number => this.#end
    const reading = { segments, tail: this.#tail, clock, log, logId: this.#logId, damage, logStart }
    this.#reader = new LogReader({ ...reading, end })
    this.#stage = this.#makeStage(recovered)
    this.#reserve = this.#makeReserve()
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
    return this.#stop?.reason ?? this.#full ?? (this.isPassive ? PASSIVE : undefined)
  }
  /** Does the disk take what there is to write? */
  get #isWriting(): boolean {
    return this.#stop === undefined && this.#full === undefined
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
    drafts: readonly RecordDraft[],
    queueOffsets: readonly number[],
    done: Done,
    isEssential = false,
  ): Appending {
    if (this.#isClosing || this.#stop !== undefined || this.isPassive) throw this.#refusal()
    if (this.#full !== undefined && !isEssential) throw this.#refusal()
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
    this.#epoch.activate(epoch, this.#end)
    this.#onWritable(true, undefined)
  }

  feed(from: LogPosition): FrameFeed {
    return this.#feeds.open(from)
  }
  hold(): AcknowledgementHold {
    return this.#acknowledgements.hold()
  }
  endHolds(): void {
    this.#acknowledgements.end(new BrokerError('CLOSED', 'the log is about to close'))
  }

  replay(from: LogPosition): Generator<Frame> {
    return this.#reader.replay(from)
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
  readAt(position: LogPosition): Promise<Buffer | undefined> {
    return this.#reader.readAt(position)
  }
  damage(): readonly DamagedRange[] {
    return this.#reader.damage()
  }

  sync(done: Done): void {
    if (this.unsyncedBytes === 0) this.#endOfTurn(() => done(undefined))
    else if (this.#stop !== undefined) this.#endOfTurn(() => done(this.#refusal()))
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
    if (!this.#isClosing) this.#removal.removeBefore(position)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    this.#markTimer?.cancel()
    this.#probeTimer?.cancel()
    this.#removal.close()
    this.#feeds.close()
    this.endHolds()
    await new Promise<void>((resolve) => this.sync(() => resolve()))
    this.#writer.close()
    this.#segments.close()
    this.#reserve.close()
    if (this.#stop === undefined) this.#markEnd()
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
    if (!this.#isClosing) {
      this.#markTimer ??= this.#options.clock.after(MARK_DELAY_MS, () => this.#mark())
    }
  }

  /**
   * When the log went quiet: a frame without records that says what is synced. Without it, damage
   * to the newest records could not be told from a write that never finished.
   */
  #mark(): void {
    this.#markTimer = undefined
    if (this.isPassive && this.#isWriting) this.#epoch.note(this.#commit.syncedEnd)
    else if (this.writable && this.#stage.addMark()) this.#schedule()
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
        else this.#failed(error as Error)
      } catch (again) {
        this.#failed(again as Error)
      }
    }
  }

  #startWriting(): void {
    if (this.#segments.last === undefined) this.#writer.startAt(this.#end)
    else this.#writer.resume(this.#end)
    this.#markEpoch()
  }

  /** Zeros could not be written. On a full disk, appends under way go into the freed reserve. */
  #fillFailed(error: Error): void {
    if (this.#stop !== undefined) return
    if (!isSpaceError(error) || this.#full !== undefined) {
      this.#failed(error)
      return
    }
    this.#full = `the disk of '${this.#options.directory}' is full; ${this.#roomWanted}`
    this.#writer.spare(true)
    this.#reserve.giveBack()
    this.#options.log.error({ evt: 'log.full', position: this.#end }, this.#full)
    this.#onWritable(false, this.#full)
    this.#probeLater()
    this.#commit.commit()
  }

  /**
   * A write or sync failed: the segment is poisoned and never touched again, for a failed sync may
   * succeed when repeated although the data is gone. Nothing under way is acknowledged any more;
   * reads go on.
   */
  #failed(error: Error): void {
    if (this.#stop !== undefined) return
    const isResumable = isPassing(error)
    const remedy = isShortage(error)
      ? 'raise the limit of open files, writing goes on by itself'
      : isResumable
        ? this.#roomWanted
        : 'look at the disk, then start again'
    const reason = `the log is read-only after '${error.message}'; ${remedy}`
    this.#stop = { reason, isResumable, wantsRoom: isSpaceError(error) }
    this.#acknowledgements.refuseAll(this.#refusal())
    const dones = this.#commit.drain()
    for (const frame of this.#stage.take()) dones.push(...frame.dones)
    this.#stage.rewind(this.#end, this.#sequence)
    this.#writer.abandon()
    const fields = { evt: 'log.read_only', code: errorCode(error), position: this.#end }
    this.#options.log.error(fields, reason)
    this.#markEnd()
    this.#onVoid()
    this.#onWritable(false, reason)
    const refusal = this.#refusal()
    for (const done of dones) done(refusal)
    if (isResumable) this.#probeLater()
  }

  #probeLater(): void {
    if (this.#isClosing) return
    this.#probeTimer?.cancel()
    this.#probeTimer = this.#options.clock.after(PROBE_MS, () => this.#probe())
  }

  #probe(): void {
    const { disk, directory } = this.#options
    const { aheadBytes, fillPieceBytes } = this.#sizes
    const wanted = this.#reserve.missingBytes + aheadBytes + 2 * fillPieceBytes
    try {
      const wantsRoom = this.#full !== undefined || this.#stop?.wantsRoom === true
      if (!wantsRoom) this.#resume(null)
      else if (disk.freeBytes(directory) < wanted) this.#probeLater()
      else this.#reserve.restore((error) => this.#resume(error))
    } catch (error) {
      this.#resume(error as Error)
    }
  }

  #resume(error: Error | null): void {
    if (this.#isClosing || this.#isWriting || this.#stop?.isResumable === false) return
    try {
      if (error !== null) throw error
      if (this.#stop !== undefined) this.#startSegment()
    } catch (failure) {
      this.#notResumed(failure as Error)
      return
    }
    this.#stop = undefined
    this.#full = undefined
    this.#writer.spare(false)
    const fields = { evt: 'log.resumed', position: this.#end }
    this.#options.log.info(fields, `There is room again: the log goes on at ${this.#end}.`)
    this.#onWritable(this.writable, this.reason)
    this.#commit.commit()
  }

  #notResumed(error: Error): void {
    const text = `Writing could not be taken up again: ${error.message}.`
    this.#options.log.warn({ evt: 'log.not_resumed', code: errorCode(error) }, text)
    if (!isShortage(error)) this.#reserve.giveBack()
    if (isPassing(error)) {
      if (this.#stop !== undefined && isSpaceError(error)) this.#stop.wantsRoom = true
      this.#probeLater()
      return
    }
    // Another kind of error on the way: this disk is for a person to look at.
    this.#stop = undefined
    this.#failed(error)
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
      unsyncedBytesMax: this.#sizes.unsyncedBytesMax,
      logId: this.#logId,
      epoch: this.#epoch,
      syncedEnd: () => this.#commit.syncedEnd,
      settledEnd: () => this.#settledEnd,
    }
    return new FrameStage(options, recovered)
  }

  #makeFeeds(): FrameFeeds {
    return new FrameFeeds({
      start: () => this.start,
      syncedEnd: () => this.#commit.syncedEnd,
      read: (from, to, bytesMax) => this.#reader.readFrames(from, to, bytesMax),
    })
  }

  /** Room for the reserve too, which is gone then and is made again first. */
  get #roomWanted(): string {
    const { reserveBytes, aheadBytes, fillPieceBytes } = this.#sizes
    const bytes = reserveBytes + aheadBytes + 2 * fillPieceBytes
    return `free some space, ${Math.ceil(bytes / MIB)} MiB are enough; writing goes on by itself`
  }

  #makeReserve(): Reserve {
    const { disk, directory, clock, log } = this.#options
    const { reserveBytes: bytes, fillPieceBytes: pieceBytes } = this.#sizes
    return new Reserve({ disk, directory, clock, log, bytes, pieceBytes })
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
      roomMade: () => this.#commit.commit(),
      fillFailed: (error) => this.#fillFailed(error),
      rollFailed: (error) => this.#failed(error),
    })
  }

  #makeCommit(): GroupCommit {
    const { clock, flush, asyncWindowMs, syncSeconds } = this.#options
    const options = {
      ...{ writer: this.#writer, clock, flush, syncSeconds },
      asyncWindowMs: Math.min(asyncWindowMs ?? 100, ASYNC_WINDOW_MS_MAX),
      asyncBytes: ASYNC_BYTES,
      seal: () => this.#stage.take(),
      deliver: (frame: SealedFrame) => this.#acknowledgements.take(frame),
      synced: () => this.#feeds.wake(),
      failed: (error: Error) => this.#failed(error),
    }
    return new GroupCommit(options, this.#end)
  }
}
