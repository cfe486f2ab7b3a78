// Whether the log writes, why not, and when it goes on. A disk without room leaves essential
// appends to the reserve; after any other error nothing is written. What can be mended while the
// process lives is tried again once a second.
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { type Disk, type DiskState, errorCode, isShortage, isSpaceError } from '../disk/disk.ts'
import type { LogSizes } from './log-sizes.ts'
import type { Reserve } from './reserve.ts'

const MIB = 1024 * 1024
/** How often a full disk is looked at again. */
const PROBE_MS = 1000

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

export interface WritingOptions {
  readonly disk: Disk
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  readonly sizes: LogSizes
  readonly reserve: Reserve
  readonly end: () => number
  /** Only essential appends are taken from here on. */
  readonly full: () => void
  /** Nothing under way is acknowledged any more. */
  readonly stopped: () => void
  /** Leaves a poisoned segment behind. @throws errors of the disk */
  readonly startSegment: () => void
  /** Writing goes on. */
  readonly resumed: () => void
}

export class Writing {
  readonly #options: WritingOptions
  #stop: Stop | undefined
  /** Why only essential appends are written. */
  #full: string | undefined
  #isClosing = false
  #probeTimer: Timer | undefined

  constructor(options: WritingOptions) {
    this.#options = options
  }

  get reason(): string | undefined {
    return this.#stop?.reason ?? this.#full
  }

  /** Of the disk, as far as it takes not everything. */
  get disk(): DiskState | undefined {
    if (this.#stop !== undefined && !this.#stop.isResumable) return 'failed'
    return this.reason === undefined ? undefined : 'full'
  }

  /** Nothing at all is written. */
  get isStopped(): boolean {
    return this.#stop !== undefined
  }

  get isFull(): boolean {
    return this.#full !== undefined
  }

  close(): void {
    this.#isClosing = true
    this.#probeTimer?.cancel()
  }

  /** Zeros could not be written. On a full disk, appends under way go into the freed reserve. */
  fillFailed(error: Error): void {
    if (this.#stop !== undefined) return
    if (!isSpaceError(error) || this.#full !== undefined) {
      this.failed(error)
      return
    }
    const { directory, reserve, log, end } = this.#options
    this.#full = `the disk of '${directory}' is full; ${this.#roomWanted}`
    reserve.giveBack()
    log.error({ evt: 'log.full', position: end() }, this.#full)
    this.#probeLater()
    this.#options.full()
  }

  /**
   * A write or sync failed: the segment is poisoned and never touched again, for a failed sync may
   * succeed when repeated although the data is gone. Reads go on.
   */
  failed(error: Error): void {
    if (this.#stop !== undefined) return
    const isResumable = isPassing(error)
    const remedy = isShortage(error)
      ? 'raise the limit of open files, writing goes on by itself'
      : isResumable
        ? this.#roomWanted
        : 'look at the disk, then start again'
    const reason = `the log is read-only after '${error.message}'; ${remedy}`
    this.#stop = { reason, isResumable, wantsRoom: isSpaceError(error) }
    const { log, end } = this.#options
    log.error({ evt: 'log.read_only', code: errorCode(error), position: end() }, reason)
    this.#options.stopped()
    if (isResumable) this.#probeLater()
  }

  #probeLater(): void {
    if (this.#isClosing) return
    this.#probeTimer?.cancel()
    this.#probeTimer = this.#options.clock.after(PROBE_MS, () => this.#probe())
  }

  #probe(): void {
    const { disk, directory, sizes, reserve } = this.#options
    const { aheadBytes, fillPieceBytes } = sizes
    const wanted = reserve.missingBytes + aheadBytes + 2 * fillPieceBytes
    try {
      const wantsRoom = this.#full !== undefined || this.#stop?.wantsRoom === true
      if (!wantsRoom) this.#resume(null)
      else if (disk.freeBytes(directory) < wanted) this.#probeLater()
      else reserve.restore((error) => this.#resume(error))
    } catch (error) {
      this.#resume(error as Error)
    }
  }

  #resume(error: Error | null): void {
    const isWriting = this.#stop === undefined && this.#full === undefined
    if (this.#isClosing || isWriting || this.#stop?.isResumable === false) return
    try {
      if (error !== null) throw error
      if (this.#stop !== undefined) this.#options.startSegment()
    } catch (failure) {
      this.#notResumed(failure as Error)
      return
    }
    this.#stop = undefined
    this.#full = undefined
    const position = this.#options.end()
    const text = `There is room again: the log goes on at ${position}.`
    this.#options.log.info({ evt: 'log.resumed', position }, text)
    this.#options.resumed()
  }

  #notResumed(error: Error): void {
    const text = `Writing could not be taken up again: ${error.message}.`
    this.#options.log.warn({ evt: 'log.not_resumed', code: errorCode(error) }, text)
    if (!isShortage(error)) this.#options.reserve.giveBack()
    if (isPassing(error)) {
      if (this.#stop !== undefined && isSpaceError(error)) this.#stop.wantsRoom = true
      this.#probeLater()
      return
    }
    // Another kind of error on the way: this disk is for a person to look at.
    this.#stop = undefined
    this.failed(error)
  }

  /** Room for the reserve too, which is gone then and is made again first. */
  get #roomWanted(): string {
    const { reserveBytes, aheadBytes, fillPieceBytes } = this.#options.sizes
    const bytes = reserveBytes + aheadBytes + 2 * fillPieceBytes
    return `free some space, ${Math.ceil(bytes / MIB)} MiB are enough; writing goes on by itself`
  }
}
