// Where frames are made: drafts are encoded into the open frame, in the tail, at the position they
// will have in the log. Assigns positions, sequence and store times; knows nothing of files and
// syncs.
import { BrokerError } from '../../errors.ts'
import type { Host } from '../../model/host.ts'
import { PROPERTIES_BYTES_MAX, SYSTEM_TOPIC_CHARS_MAX } from '../../model/limits.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import { type NewRecord, propertiesBytes, recordBytes, writeRecord } from '../../model/record.ts'
import type { Appending } from './commit-log.ts'
import type { EpochHistory } from './epochs/epoch-history.ts'
import type { LogEpoch } from './epochs/log-epoch.ts'
import { checkForeignFrame } from './foreign-frame.ts'
import { FRAME_HEADER_BYTES, type FrameHeader, sumOf, writeFrameHeader } from './frame.ts'
import type { Chunk, Tail } from './tail.ts'

export type Done = (error: BrokerError | undefined) => void

/** A frame in its chunk, header written. */
export interface SealedFrame {
  readonly chunk: Chunk
  readonly at: number
  readonly position: number
  readonly length: number
  readonly sequence: number
  readonly records: number
  readonly dones: readonly Done[]
}

export interface FrameStageOptions {
  readonly tail: Tail
  readonly frameBytesMax: number
  /** Of a frame with several appends. */
  readonly frameRecordsMax: number
  readonly unsyncedBytesMax: number
  readonly storeHost: Host
  readonly logId: number
  readonly epoch: LogEpoch
  readonly history: EpochHistory
  /** End of the synced bytes. */
  readonly syncedEnd: () => number
  /** End of what is synced and acknowledged: memory from there on is in use. */
  readonly settledEnd: () => number
}

/** A clock that is set back by less than this is waited for: the times of records stay in order. */
const SETBACK_MS = 1000

/** Where a log that was recovered goes on. */
export interface StageStart {
  readonly end: number
  readonly sequence: number
  readonly storeTimestamp: number
}

/** The frame that is being filled. */
interface OpenFrame {
  readonly chunk: Chunk
  readonly at: number
  readonly position: number
  sequence: number
  length: number
  records: number
  readonly dones: Done[]
}

export class FrameStage {
  readonly #options: FrameStageOptions
  readonly #place
  #open: OpenFrame | undefined
  /** Full frames not taken for a commit yet. */
  #sealed: SealedFrame[] = []
  #sequence: number
  #storeTimestamp: number
  /** `syncedTo` of the newest frame. */
  #markedTo = 0
  /** Where the next byte goes. */
  next: number

  constructor(options: FrameStageOptions, start: StageStart) {
    this.#options = options
    this.#place = { queueOffset: 0, position: 0, storeTimestamp: 0, storeHost: options.storeHost }
    this.#sequence = start.sequence
    this.#storeTimestamp = start.storeTimestamp
    this.next = start.end
  }

  /** All drafts go into one frame. @throws BrokerError MESSAGE_TOO_LARGE, MESSAGE_INVALID, BUSY */
  add(
    drafts: readonly NewRecord[],
    queueOffsets: readonly number[],
    nowMs: number,
    done: Done,
  ): Appending {
    const size = bytesOf(drafts)
    const frame = this.#frameFor(size, drafts.length)
    const place = this.#place
    const setBackMs = this.#storeTimestamp - nowMs
    place.storeTimestamp = setBackMs > 0 && setBackMs < SETBACK_MS ? this.#storeTimestamp : nowMs
    const { bytes, base } = frame.chunk
    const positions = new Array<LogPosition>(drafts.length)
    let position = this.next
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
    this.next = position
    this.#storeTimestamp = place.storeTimestamp
    return { positions, storeTimestamp: place.storeTimestamp }
  }

  /** Takes the frame at `bytes[at]`, which another log made, as it is. @throws BrokerError */
  addFrame(bytes: Buffer, at: number, done: Done): FrameHeader {
    const { tail, logId, frameBytesMax, epoch, history, settledEnd } = this.#options
    const sequence = this.#sequence === 0 ? 0 : this.#sequence + 1
    const wanted = { logId, position: this.next, epoch: epoch.number, sequence, frameBytesMax }
    const header = checkForeignFrame(bytes, at, wanted)
    const { length } = header
    this.#assertRoom(length)
    const chunk = tail.chunkFor(this.next, length, settledEnd())
    if (chunk === undefined) throw this.#busy()
    bytes.copy(chunk.bytes, chunk.used, at, at + length)
    this.#sealed.push({ ...header, chunk, at: chunk.used, dones: [done] })
    history.take(header.epoch, header.position, sumOf(bytes, at))
    chunk.used += length
    this.next += length
    this.#sequence = header.sequence
    this.#storeTimestamp = header.storeTimestamp
    return header
  }

  /**
   * On a quiet log, opens a frame without records, for the sake of the `syncedTo` in its header.
   * @returns false when the newest frame is one, or the log is not quiet. No epoch begins with one:
   * the same could be made by another writer that took the same number.
   */
  addMark(): boolean {
    const { epoch, history } = this.#options
    const syncedEnd = this.#options.syncedEnd()
    if (this.#open !== undefined || this.next !== syncedEnd) return false
    if (history.newest !== epoch.number) return false
    if (this.#markedTo + FRAME_HEADER_BYTES === syncedEnd) return false
    this.#openFrame(0)
    return true
  }

  /** Completes the open frame and hands over the complete frames, in order. */
  take(): readonly SealedFrame[] {
    this.#seal()
    const sealed = this.#sealed
    this.#sealed = []
    return sealed
  }

  /**
   * Goes back to the end of the frame of this sequence; what was staged after it must have been
   * taken.
   */
  rewind(end: number, sequence: number): void {
    this.#options.tail.rewind(end)
    this.#options.history.rewind(end)
    this.#sequence = sequence
    this.next = end
  }

  /** The open frame with room for `size` bytes of records, or a new one. */
  #frameFor(size: number, records: number): OpenFrame {
    const { frameBytesMax, frameRecordsMax } = this.#options
    const needed = FRAME_HEADER_BYTES + size
    if (needed > frameBytesMax) {
      throw new BrokerError(
        'MESSAGE_TOO_LARGE',
        `one append of ${needed} bytes; the limit is ${frameBytesMax}: send fewer or smaller messages at once`,
      )
    }
    this.#assertRoom(needed)
    const open = this.#open
    const hasRoom = open !== undefined && open.chunk.used + size <= open.chunk.bytes.length
    if (hasRoom && open.records + records <= frameRecordsMax) return open
    this.#seal()
    return this.#openFrame(size)
  }

  /** One append is always possible once everything before it is settled, however large it is. */
  #assertRoom(needed: number): void {
    const { unsyncedBytesMax, settledEnd } = this.#options
    const unsettled = this.next - settledEnd()
    if (unsettled > 0 && unsettled + needed > unsyncedBytesMax) throw this.#busy()
  }

  #openFrame(size: number): OpenFrame {
    const { tail, settledEnd } = this.#options
    const chunk = tail.chunkFor(this.next, FRAME_HEADER_BYTES + size, settledEnd())
    if (chunk === undefined) throw this.#busy()
    const position = this.next
    const at = chunk.used
    const length = FRAME_HEADER_BYTES
    this.#open = { chunk, at, position, sequence: 0, length, records: 0, dones: [] }
    chunk.used += FRAME_HEADER_BYTES
    this.next += FRAME_HEADER_BYTES
    return this.#open
  }

  #seal(): void {
    const open = this.#open
    if (open === undefined) return
    this.#open = undefined
    this.#markedTo = this.#options.syncedEnd()
    open.sequence = ++this.#sequence
    writeFrameHeader(open.chunk.bytes, open.at, {
      length: open.length,
      records: open.records,
      epoch: this.#options.epoch.number,
      logId: this.#options.logId,
      sequence: open.sequence,
      position: open.position,
      syncedTo: this.#markedTo,
      storeTimestamp: this.#storeTimestamp,
    })
    this.#sealed.push(open)
    const { epoch, history } = this.#options
    history.take(epoch.number, open.position, sumOf(open.chunk.bytes, open.at))
  }

  #busy(): BrokerError {
    const { settledEnd, unsyncedBytesMax } = this.#options
    return new BrokerError(
      'BUSY',
      `${this.next - settledEnd()} bytes wait for the disk; the limit is ${unsyncedBytesMax}: send again later`,
    )
  }
}

/** @throws BrokerError MESSAGE_INVALID for what the encoding cannot hold */
function bytesOf(drafts: readonly NewRecord[]): number {
  let size = 0
  for (const draft of drafts) {
    const { topic } = draft
    const properties = draft.encoded === undefined ? propertiesBytes(draft) : 0
    if (properties > PROPERTIES_BYTES_MAX || topic.length > SYSTEM_TOPIC_CHARS_MAX) {
      throw new BrokerError(
        'MESSAGE_INVALID',
        `${properties} bytes of properties, topic of ${topic.length} characters; ` +
          `the limits are ${PROPERTIES_BYTES_MAX} and ${SYSTEM_TOPIC_CHARS_MAX}`,
      )
    }
    size += recordBytes(draft)
  }
  return size
}
