// Which epoch the log is in and what the epoch marker says of its end. A log that takes its own
// appends begins a new epoch each time that it takes up writing; one that follows another log has
// the epoch of the frames that it was given, and begins none of its own until it is made active.
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import { type Disk, errorCode, isSpaceError } from '../../disk/disk.ts'
import { writeEpochMarker } from './epoch-marker.ts'

export interface LogEpochOptions {
  readonly disk: Disk
  readonly directory: string
  readonly log: Logger
  readonly logId: number
  readonly epoch: number
  readonly isPassive: boolean
  /** Up to where replicas have confirmed it. */
  readonly confirmedTo: () => number
}

export class LogEpoch {
  readonly #options: LogEpochOptions
  #isPassive: boolean
  /** Of the frames from now on. */
  number: number

  constructor(options: LogEpochOptions) {
    this.#options = options
    this.#isPassive = options.isPassive
    this.number = options.epoch
  }

  get isPassive(): boolean {
    return this.#isPassive
  }

  /** Writing goes on at the end, before which everything is durable. @throws errors of the disk */
  begin(end: number): void {
    if (!this.#isPassive) this.number++
    this.#write(end, undefined)
  }

  /**
   * From the end on the log takes its own appends.
   * @throws BrokerError ARGUMENT_INVALID, and errors of the disk: it is as passive as before
   */
  activate(epoch: number, end: number): void {
    const before = this.number
    if (!this.#isPassive || epoch <= before) {
      const text = `epoch ${epoch} does not follow ${before}, which the log is in`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    try {
      this.number = epoch
      this.#isPassive = false
      this.#write(end, undefined)
    } catch (error) {
      this.number = before
      this.#isPassive = true
      throw error
    }
  }

  /** Everything before the position is durable. */
  note(synced: number): void {
    try {
      this.#write(synced, undefined)
    } catch (error) {
      this.#tell(error)
    }
  }

  /** What is beyond the end is void. `makeRoom`: on a full disk, tried again where it is true. */
  end(synced: number, end: number, makeRoom: () => boolean): void {
    try {
      this.#write(synced, end)
    } catch (error) {
      if (isSpaceError(error) && makeRoom()) this.end(synced, end, makeRoom)
      else this.#tell(error)
    }
  }

  #tell(error: unknown): void {
    const text = `The end of the log could not be noted: ${String(error)}.`
    this.#options.log.warn({ evt: 'log.end_not_noted', code: errorCode(error) }, text)
  }

  #write(synced: number, end: number | undefined): void {
    const { disk, directory, logId, confirmedTo } = this.#options
    const state = { epoch: this.number, isPassive: this.#isPassive, confirmed: confirmedTo() }
    writeEpochMarker(disk, directory, { ...state, logId, synced, end })
  }
}
