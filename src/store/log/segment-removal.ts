// Removes old segments in the background, one after the other, each gone for certain before the
// next: in any other order a crash could bring one back with a gap behind it.
import type { Logger } from '../../log.ts'
import { type Disk, errorCode } from '../disk/disk.ts'
import type { LogStart } from './log-start.ts'
import type { Segments } from './segments.ts'

export interface SegmentRemovalOptions {
  readonly disk: Disk
  readonly directory: string
  readonly log: Logger
  readonly segments: Segments
  readonly logStart: LogStart
  /** Files that an earlier process meant to remove. */
  readonly leftovers: readonly string[]
  /** End of the synced bytes. */
  readonly syncedEnd: () => number
  /** The oldest segment is no part of the log any more. */
  readonly removed: () => void
}

export class SegmentRemoval {
  readonly #options: SegmentRemovalOptions
  #isRemoving = false
  #isClosed = false
  #to = 0
  /**
   * The file that goes now. One that could not go is tried again before the next: else there is a
   * gap.
   */
  #leaving: string | undefined
  readonly #leftovers: string[]

  constructor(options: SegmentRemovalOptions) {
    this.#options = options
    this.#leftovers = [...options.leftovers]
    this.#removeNext()
  }

  /** Whole segments before the position, never the last one. */
  removeBefore(position: number): void {
    this.#to = Math.max(this.#to, position)
    if (!this.#isRemoving) this.#removeNext()
  }

  close(): void {
    this.#isClosed = true
  }

  #removeNext(): void {
    const { disk, directory, segments, logStart } = this.#options
    if (!this.#isClosed) this.#leaving ??= this.#leftovers.shift() ?? this.#takeNext()
    this.#isRemoving = this.#leaving !== undefined && !this.#isClosed
    const leaving = this.#leaving
    if (leaving === undefined || !this.#isRemoving) return
    // First it is said where the log starts: what is missing from there on was lost.
    logStart.moveTo(segments.list[0]!.start, (moveError) => {
      if (moveError !== null) this.#removed(moveError)
      if (moveError !== null || this.#isClosed) return
      disk.removeLater(leaving, (error) => {
        if (error === null || errorCode(error) === 'ENOENT') {
          disk.syncDirectoryLater(directory, (syncError) => this.#removed(syncError))
        } else this.#removed(error)
      })
    })
  }

  /** Forgets the oldest segment when it may go. @returns the path of its file */
  #takeNext(): string | undefined {
    const { segments, syncedEnd, removed } = this.#options
    const next = segments.list[1]
    // The name of the segment that stays is surely durable when something in it is.
    if (next === undefined || next.start >= syncedEnd() || next.start > this.#to) return undefined
    const path = segments.dropFirst()
    removed()
    return path
  }

  #removed(error: Error | null): void {
    if (error === null) {
      this.#leaving = undefined
      this.#removeNext()
      return
    }
    this.#isRemoving = false
    this.#options.log.error(
      { evt: 'segment.not_removed', code: errorCode(error) },
      `The oldest segment could not be removed: ${error.message}.`,
    )
  }
}
