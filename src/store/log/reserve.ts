// The reserve: a file of zeros whose only use is to be removed when the disk is full, so that what
// must still be written (acknowledgements, committed offsets, the views) has room until an operator
// frees some. Putting it back in full is also the proof that there is space again.
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { type Disk, errorCode } from '../disk/disk.ts'
import { ZeroFill } from '../disk/zero-fill.ts'

const NAME = 'reserve'
/** A process that lives shorter needs none, and start-up has better things to write. */
const FIRST_DELAY_MS = 10_000
const PACE_MS = 50

export interface ReserveOptions {
  readonly disk: Disk
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  /** 0 = none. */
  readonly bytes: number
  readonly pieceBytes: number
}

export class Reserve {
  readonly #options: ReserveOptions
  #fill: ZeroFill | undefined
  #timer: Timer | undefined
  #closed = false

  constructor(options: ReserveOptions) {
    this.#options = options
  }

  get fileBytes(): number {
    return this.#fill?.filled ?? 0
  }

  get missingBytes(): number {
    return this.#options.bytes - this.fileBytes
  }

  /** Takes over the file of an earlier run and completes it without haste. */
  keep(): void {
    const { disk, directory, clock } = this.#options
    if (disk.list(directory).includes(NAME)) {
      const file = disk.open(`${directory}/${NAME}`, 'write')
      this.#fill = new ZeroFill(file, Math.min(file.size(), this.#options.bytes))
    }
    if (this.missingBytes > 0) this.#timer = clock.after(FIRST_DELAY_MS, () => this.#growSlowly())
  }

  /** Completes it now. */
  restore(done: (error: Error | null) => void): void {
    this.#timer?.cancel()
    if (this.missingBytes <= 0 || this.#closed) {
      done(null)
      return
    }
    if (this.#fill?.busy === true) {
      // A piece that was begun without haste is under way.
      this.#options.clock.after(PACE_MS, () => this.restore(done))
      return
    }
    this.#grow((error) => {
      if (error !== null) done(error)
      else this.restore(done)
    })
  }

  /** Gives the space back. @returns false when there was none to give */
  free(): boolean {
    const { disk, directory, log } = this.#options
    this.#timer?.cancel()
    this.#fill?.close()
    this.#fill = undefined
    if (!disk.list(directory).includes(NAME)) return false
    disk.remove(`${directory}/${NAME}`)
    disk.syncDirectory(directory)
    log.info({ evt: 'reserve.freed' }, 'The reserve is freed: only what must go on is written.')
    return true
  }

  /** The same where an error is no answer. */
  giveBack(): boolean {
    try {
      return this.free()
    } catch (error) {
      const text = `The reserve could not be freed: ${String(error)}.`
      this.#options.log.warn({ evt: 'reserve.stuck', code: errorCode(error) }, text)
      return false
    }
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#fill?.close()
  }

  #growSlowly(): void {
    const { clock, log } = this.#options
    this.#grow((error) => {
      if (error === null) {
        if (this.missingBytes > 0) this.#timer = clock.after(PACE_MS, () => this.#growSlowly())
        return
      }
      log.warn({ evt: 'reserve.missing' }, `There is no room for a reserve (${error.message}).`)
      this.#freeQuietly()
    })
  }

  #grow(done: (error: Error | null) => void): void {
    const { disk, directory, bytes, pieceBytes } = this.#options
    try {
      this.#fill ??= new ZeroFill(disk.create(`${directory}/${NAME}`), 0)
    } catch (error) {
      done(error as Error)
      return
    }
    if (this.#fill.busy) return
    this.#fill.grow(Math.min(this.#fill.filled + pieceBytes, bytes), done)
  }

  #freeQuietly(): void {
    try {
      this.free()
    } catch {
      // A write that needs the space reports the disk's error itself.
    }
  }
}
