// The log as a follower reads it: whole frames, those without records too, byte for byte and in
// order, from any frame's position on, up to what is synced here. A feed is a position and nothing
// else: no frame waits for its reader in memory, and no segment stays for it. A reader that is so
// slow that retention overtakes it is told so, and starts anew where the log starts.
import { BrokerError } from '../../errors.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import { BATCH_BYTES_MAX, type FrameBatch, type FrameFeed } from './following.ts'
import type { FrameReading } from './log-reader.ts'

/** Feeds of one log at a time. */
const FEEDS_MAX = 64
const NO_BYTES = Buffer.alloc(0)

export interface FrameFeedOptions {
  readonly start: () => number
  readonly syncedEnd: () => number
  readonly confirmedTo: () => number
  /** Whole frames in [from, to), as many as fit or the first one. @throws BrokerError */
  readonly read: (from: number, to: number, reading: FrameReading) => Promise<Buffer>
}

export class FrameFeeds {
  readonly #options: FrameFeedOptions
  readonly #open = new Set<Feed>()
  #isClosed = false

  constructor(options: FrameFeedOptions) {
    this.#options = options
  }

  /** @throws BrokerError OFFSET_OUT_OF_RANGE, QUOTA_EXCEEDED, CLOSED */
  open(from: LogPosition): FrameFeed {
    if (this.#isClosed) throw new BrokerError('CLOSED', 'the log is closed')
    if (this.#open.size >= FEEDS_MAX) {
      throw new BrokerError('QUOTA_EXCEEDED', `${FEEDS_MAX} feeds are the most of one log`)
    }
    const { start, syncedEnd } = this.#options
    if (from < start() || from > syncedEnd()) throw outside(from, start(), syncedEnd())
    const feed = new Feed(this.#options, from, () => this.#open.delete(feed))
    this.#open.add(feed)
    return feed
  }

  /** More is synced, or the log starts later. */
  wake(): void {
    for (const feed of this.#open) feed.wake()
  }

  close(): void {
    this.#isClosed = true
    for (const feed of this.#open) feed.close()
  }
}

class Feed implements FrameFeed {
  readonly #options: FrameFeedOptions
  readonly #ended: () => void
  #position: number
  #waiting: (() => void) | undefined
  #toldStart: number | undefined
  #hasChecked = false
  #isReading = false
  #isClosed = false

  constructor(options: FrameFeedOptions, from: number, ended: () => void) {
    this.#options = options
    this.#position = from
    this.#ended = ended
  }

  async next(target?: Buffer): Promise<FrameBatch | undefined> {
    if (this.#isReading) throw new Error('a feed is asked for one batch at a time')
    this.#isReading = true
    try {
      const { start, syncedEnd } = this.#options
      while (!this.#isClosed && this.#position >= syncedEnd() && start() === this.#toldStart) {
        await new Promise<void>((resolve) => {
          this.#waiting = resolve
        })
      }
      return this.#isClosed ? undefined : await this.#read(target)
    } finally {
      this.#isReading = false
    }
  }

  wake(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.()
  }

  close(): void {
    this.#isClosed = true
    this.#ended()
    this.wake()
  }

  async #read(target?: Buffer): Promise<FrameBatch | undefined> {
    const { start, syncedEnd, confirmedTo, read } = this.#options
    const from = this.#position
    const logStart = logPosition(start())
    const logEnd = logPosition(syncedEnd())
    const confirmed = logPosition(confirmedTo())
    if (from < logStart) throw outside(from, logStart, logEnd)
    try {
      const reading = { bytesMax: BATCH_BYTES_MAX, isChecked: !this.#hasChecked, target }
      const bytes = from < logEnd ? await read(from, logEnd, reading) : NO_BYTES
      if (this.#isClosed) return undefined
      this.#hasChecked ||= bytes.length > 0
      this.#toldStart = logStart
      this.#position = from + bytes.length
      const to = logPosition(this.#position)
      return { bytes, from: logPosition(from), to, logStart, logEnd, confirmed }
    } catch (error) {
      // Retention took the segment during the read.
      if (from < start()) throw outside(from, start(), logEnd)
      throw error
    }
  }
}

function outside(position: number, start: number, end: number): BrokerError {
  const text = `the log has positions ${start} to ${end}, and ${position} is asked for`
  const remedy = position < start ? 'follow it anew from its start' : 'this is another history'
  return new BrokerError('OFFSET_OUT_OF_RANGE', `${text}: ${remedy}`)
}
