// The writing end of the segments: the current file, and the zeros ahead of the write position in
// it and in the next one. Zeros are real blocks, so that a sync of records needs no journal commit
// and a full disk shows while there is still room for what was begun.
//
// Three descriptors on the current file, because Linux tells each descriptor once that a write-back
// failed: two for the syncs that may be under way at once and one for the zeros. With one for all,
// the sync of other bytes could consume the error of the sync that must not succeed.
import type { Logger } from '../../log.ts'
import { type Disk, type DiskFile, isShortage, writeAll } from '../disk/disk.ts'
import { ZeroFill, zerosOf } from '../disk/zero-fill.ts'
import { type Segment, type Segments, segmentName } from './segments.ts'

/** Nothing but zeros is ever in it, so that one from an earlier run can be taken. */
const PREPARED = 'prepared'
/** A segment that gets its name when it is complete. */
const DRAFT = 'draft'

export interface SegmentWriterOptions {
  readonly disk: Disk
  readonly directory: string
  readonly segments: Segments
  readonly segmentBytes: number
  /** Zeros are kept this far ahead of use at least. */
  readonly aheadBytes: number
  readonly fillPieceBytes: number
  readonly log: Logger
  /** A new segment is about to begin; everything before the position is synced. */
  readonly rolling: (position: number) => void
  /** Room was made: try again what did not fit. */
  readonly roomMade: () => void
  /** Zeros could not be written. */
  readonly fillFailed: (error: Error) => void
  /** The name of the new segment may not last: nothing can be written into it. */
  readonly rollFailed: (error: Error) => void
}

interface Current {
  readonly segment: Segment
  readonly files: readonly [DiskFile, DiskFile]
  readonly fill: ZeroFill
  /** Written up to here, within the file. */
  used: number
}

/** 'fill': not yet, `roomMade` comes. 'roll': the frame belongs into the next segment. */
export type Room = 'ready' | 'fill' | 'roll'

export class SegmentWriter {
  readonly #options: SegmentWriterOptions
  #current: Current | undefined
  #prepared: ZeroFill | undefined
  #rolling = false
  #stopped = false
  #isSparing = false
  /** A frame waits for zeros up to here, within the file. */
  #needed = 0
  /** What is written is long, and needs no zeros before it: see `bulk`. */
  #isBulk = false

  constructor(options: SegmentWriterOptions) {
    this.#options = options
  }

  /** Goes on in the last segment. */
  resume(end: number): void {
    this.abandon()
    const { segments } = this.#options
    const segment = segments.last!
    this.#current = this.#open(segment, segment.fileBytes, end - segment.start)
  }

  /**
   * Starts a new segment here and now: durable, with these bytes first and a piece of zeros behind
   * them. It takes the place of a segment of the same name. Start-up and repair only.
   */
  startAt(position: number, first: readonly Buffer[] = []): void {
    // An attempt before this one may have come so far.
    this.abandon()
    const { disk, directory, segments, fillPieceBytes, segmentBytes } = this.#options
    if (disk.list(directory).includes(DRAFT)) disk.remove(`${directory}/${DRAFT}`)
    const file = disk.create(`${directory}/${DRAFT}`)
    let used = 0
    let size = 0
    try {
      for (const bytes of first) {
        writeAll(file, bytes, 0, bytes.length, used)
        used += bytes.length
      }
      const filled = Math.min(fillPieceBytes, Math.max(segmentBytes - used, 0))
      writeAll(file, zerosOf(filled), 0, filled, used)
      size = used + filled
      file.sync()
    } finally {
      file.close()
    }
    disk.rename(`${directory}/${DRAFT}`, `${directory}/${segmentName(position)}`)
    disk.syncDirectory(directory)
    const isSame = segments.last?.start === position
    const segment = isSame ? segments.replaceLast(size) : segments.add(position, size)
    this.#current = this.#open(segment, size, used)
  }

  /**
   * A log that catches up writes megabytes for each sync, and to write as many zeros first would
   * only double that: its frames go where there are none yet. What a full disk refuses then is
   * fetched again later.
   */
  bulk(isBulk: boolean): void {
    this.#isBulk = isBulk
  }

  /** May [position, position + length) be written now? */
  room(position: number, length: number): Room {
    const current = this.#current!
    const { start } = current.segment
    const stop = position + length - start
    // A frame that is larger than a segment gets one that is as large as the frame.
    if (stop > this.#capacity(current) && position > start) return 'roll'
    if (this.#rolling) return 'fill'
    if (stop <= current.fill.filled) return 'ready'
    // Zeros under way would overwrite it.
    if (this.#isBulk && !current.fill.busy) return 'ready'
    this.#needed = stop
    return 'fill'
  }

  /** @throws what the disk says, or ENOSPC for a short write */
  write(bytes: Buffer, at: number, position: number, length: number): void {
    const current = this.#current!
    writeAll(current.files[0], bytes, at, length, position - current.segment.start)
    current.used = position + length - current.segment.start
    if (current.used <= current.fill.filled) return
    current.fill.written(current.used)
    current.segment.fileBytes = current.used
  }

  /** Syncs the bytes written so far. Two at once at most, on different slots. */
  sync(slot: 0 | 1, done: (error: Error | null) => void): void {
    this.#current!.files[slot].syncLater(done)
  }

  /** Syncs the bytes written so far on this thread. @throws the error of the disk */
  syncNow(slot: 0 | 1): void {
    this.#current!.files[slot].sync()
  }

  /** Writes zeros ahead in the background: where a frame waits for them, and for those to come. */
  makeRoom(): void {
    const needed = this.#needed
    this.#needed = 0
    if (needed > 0 || !this.#isBulk) this.#advance(needed)
  }

  /**
   * Goes over to a new segment at the position; everything before must be synced. `roomMade`
   * follows.
   */
  roll(position: number): void {
    const { disk, directory, segments, log } = this.#options
    if (this.#rolling || this.#filling()) return
    this.#options.rolling(position)
    const old = this.#current!
    const prepared = this.#prepared ?? this.#create()
    this.#prepared = undefined
    prepared.close()
    const name = segmentName(position)
    disk.rename(`${directory}/${PREPARED}`, `${directory}/${name}`)
    const segment = segments.add(position, prepared.filled)
    this.#current = this.#open(segment, prepared.filled, 0)
    this.#rolling = true
    closeAll(old)
    const current = this.#current
    disk.syncDirectoryLater(directory, (error) => {
      if (this.#stopped || current !== this.#current) return
      this.#rolling = false
      if (error !== null) return this.#options.rollFailed(error)
      log.info({ evt: 'segment.rolled', segment: name }, `The log goes on in segment ${name}.`)
      this.#options.roomMade()
    })
  }

  /** While the disk is full, zeros are written only where a frame waits for them. */
  spare(isSparing: boolean): void {
    this.#isSparing = isSparing
  }

  /** Size of the file that waits to be the next segment. */
  get preparedBytes(): number {
    return this.#prepared?.filled ?? 0
  }

  /** Leaves the current segment as it is and touches it never again. */
  abandon(): void {
    if (this.#current !== undefined) closeAll(this.#current)
    this.#current = undefined
    this.#rolling = false
  }

  close(): void {
    this.#stopped = true
    this.abandon()
    this.#prepared?.close()
  }

  /** All three descriptors, or none. */
  #open(segment: Segment, filled: number, used: number): Current {
    const { disk } = this.#options
    const files: DiskFile[] = []
    try {
      while (files.length < 3) files.push(disk.open(segment.path, 'write'))
    } catch (error) {
      // A process that is short of descriptors must not lose those that it got.
      for (const file of files) file.close()
      throw error
    }
    const [first, second, third] = files as [DiskFile, DiskFile, DiskFile]
    return { segment, files: [first, second], fill: new ZeroFill(third, filled), used }
  }

  /**
   * The next segment's file, or what an earlier run left of one: nothing but zeros was ever in it.
   */
  #create(): ZeroFill {
    const { disk, directory } = this.#options
    const path = `${directory}/${PREPARED}`
    if (disk.list(directory).includes(PREPARED)) {
      const file = disk.open(path, 'write')
      return new ZeroFill(file, file.size())
    }
    return new ZeroFill(disk.create(path), 0)
  }

  #capacity(current: Current): number {
    return Math.max(this.#options.segmentBytes, current.fill.filled)
  }

  #filling(): boolean {
    return this.#current!.fill.busy || this.#prepared?.busy === true
  }

  /**
   * Keeps the zeros at twice what is used: an idle log costs nothing, a fresh one has no 128 MiB to
   * wait for, and a full one finds the next segment complete.
   */
  #advance(needed: number): void {
    const current = this.#current
    if (current === undefined || this.#stopped || this.#rolling || this.#filling()) return
    const { aheadBytes, fillPieceBytes, segmentBytes } = this.#options
    const capacity = Math.max(this.#capacity(current), needed)
    const want = this.#isSparing ? needed : Math.max(needed, current.used * 2 + aheadBytes)
    const here = Math.min(want, capacity)
    if (needed > current.fill.filled || here - current.fill.filled >= fillPieceBytes) {
      this.#grow(current.fill, Math.min(current.fill.filled + fillPieceBytes, capacity))
      return
    }
    if (here < capacity && current.fill.filled < capacity) return
    if (want - capacity < fillPieceBytes) return
    try {
      this.#prepared ??= this.#create()
    } catch (error) {
      // Not needed yet: the next commit tries again, and a roll without it reports its own failure.
      if (!isShortage(error)) this.#options.fillFailed(error as Error)
      return
    }
    const there = Math.min(want - capacity, segmentBytes)
    const { filled } = this.#prepared
    if (there > filled) {
      this.#grow(this.#prepared, Math.min(filled + fillPieceBytes, segmentBytes))
    }
  }

  #grow(fill: ZeroFill, to: number): void {
    const current = this.#current
    fill.grow(to, (error) => {
      if (this.#stopped || this.#current === undefined) return
      // A new segment took over during the fill, and its frames may have waited for this to end.
      if (current !== this.#current) return this.#options.roomMade()
      if (error !== null) return this.#options.fillFailed(error)
      if (current !== undefined) current.segment.fileBytes = current.fill.filled
      this.#options.roomMade()
    })
  }
}

function closeAll(current: Current): void {
  for (const file of current.files) file.close()
  current.fill.close()
}
