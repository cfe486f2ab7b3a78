// Walks the frames of a range of the log by reading it in windows. It says where whole frames are
// and where they stop; what a stop means (the end, a torn tail, damage) is for its callers to
// judge.
import { FRAME_BYTES_MAX } from './commit-log.ts'
import {
  checkFrame,
  claimedLength,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC_BYTES,
  type FrameHeader,
} from './frame.ts'

/** Reads at a log position; fewer bytes than asked at the end of a file. */
export type ReadAt = (target: Buffer, at: number, position: number, size: number) => number

const WINDOW_BYTES_MIN = 1024 * 1024

export class FrameScan {
  readonly #read: ReadAt
  readonly #limit: number
  #window: Buffer
  /** Log position of the window's first byte, and how much of it is filled. */
  #base = 0
  #filled = 0
  /** Where the next frame is expected. */
  position: number
  /** Frames of other logs are no frames; undefined = not known yet. */
  logId: number | undefined

  /** Scans [from, limit), a range of one segment. */
  constructor(read: ReadAt, from: number, limit: number, logId: number | undefined) {
    this.#read = read
    this.position = from
    this.logId = logId
    this.#base = from
    this.#limit = limit
    this.#window = Buffer.allocUnsafe(Math.min(WINDOW_BYTES_MIN, Math.max(limit - from, 64)))
  }

  /** Where the last frame lies in `bytes`, valid until the next call. */
  get bytes(): Buffer {
    return this.#window
  }
  offsetOf(position: number): number {
    return position - this.#base
  }

  /**
   * The whole frame at `position`, which moves behind it; undefined and no move when there is none.
   */
  next(accept: (header: FrameHeader) => boolean = () => true): FrameHeader | undefined {
    const header = this.#frameAt(this.position)
    if (header === undefined || !accept(header)) return undefined
    this.position += header.length
    return header
  }

  /** The next whole frame beyond `position` that is accepted; `position` moves to its start. */
  search(accept: (header: FrameHeader) => boolean = () => true): FrameHeader | undefined {
    let from = this.position + 1
    while (from + FRAME_HEADER_BYTES <= this.#limit) {
      const available = this.#need(from, WINDOW_BYTES_MIN)
      if (available < FRAME_HEADER_BYTES) return undefined
      const at = this.offsetOf(from)
      const found = this.#window.subarray(0, at + available).indexOf(FRAME_MAGIC_BYTES, at)
      if (found === -1) {
        from += available - (FRAME_MAGIC_BYTES.length - 1)
        continue
      }
      const candidate = this.#base + found
      const header = this.#frameAt(candidate)
      if (header !== undefined && accept(header)) {
        this.position = candidate
        return header
      }
      from = candidate + 1
    }
    return undefined
  }

  #frameAt(position: number): FrameHeader | undefined {
    if (this.#need(position, FRAME_HEADER_BYTES) < FRAME_HEADER_BYTES) return undefined
    const length = claimedLength(this.#window, this.offsetOf(position), position, this.logId)
    if (length === 0 || length > FRAME_BYTES_MAX) return undefined
    if (this.#need(position, length) < length) return undefined
    return checkFrame(this.#window, this.offsetOf(position), length)
  }

  /** Brings [position, position + size) into the window; how much of it is there. */
  #need(position: number, size: number): number {
    const wanted = Math.min(size, this.#limit - position)
    const have = this.#base + this.#filled - position
    if (position >= this.#base && have >= wanted) return have
    if (wanted > this.#window.length) {
      const larger = Buffer.allocUnsafe(Math.max(wanted, this.#window.length * 2))
      this.#window.copy(larger, 0, 0, this.#filled)
      this.#window = larger
    }
    this.#slideTo(position)
    while (this.#filled < this.#window.length) {
      const from = this.#base + this.#filled
      const room = Math.min(this.#window.length - this.#filled, this.#limit - from)
      const read = room > 0 ? this.#read(this.#window, this.#filled, from, room) : 0
      if (read === 0) break
      this.#filled += read
    }
    return this.#filled
  }

  /** Makes the position the window's first byte and keeps what is read of it already. */
  #slideTo(position: number): void {
    const skip = position - this.#base
    if (skip >= 0 && skip < this.#filled) {
      this.#window.copyWithin(0, skip, this.#filled)
      this.#filled -= skip
    } else {
      this.#filled = 0
    }
    this.#base = position
  }
}
