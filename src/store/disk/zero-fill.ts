// Writes zeros at the end of one file, piece by piece in the thread pool, each synced before it
// counts: zeros that are still in the cache would make the next sync of records pay for them.
import { type DiskFile, shortWrite } from './disk.ts'

/** Never written to: shared by all that write zeros. */
let zeros: Buffer = Buffer.alloc(0)

/** So many zeros, or more. Only to be read. */
export function zerosOf(length: number): Buffer {
  if (zeros.length < length) zeros = Buffer.alloc(length)
  return zeros
}

export class ZeroFill {
  readonly #file: DiskFile
  #filled: number
  #busy = false
  #closed = false

  constructor(file: DiskFile, filled: number) {
    this.#file = file
    this.#filled = filled
  }

  /** The file is written with zeros, or with what replaced them, up to here. */
  get filled(): number {
    return this.#filled
  }

  get busy(): boolean {
    return this.#busy
  }

  /** Others wrote up to there, while it was not busy. */
  written(to: number): void {
    this.#filled = Math.max(this.#filled, to)
  }

  /** One at a time. */
  grow(to: number, done: (error: Error | null) => void): void {
    const from = this.#filled
    const length = to - from
    this.#busy = true
    const finish = (error: Error | null): void => {
      this.#busy = false
      if (this.#closed) return
      if (error === null) this.#filled = to
      done(error)
    }
    this.#file.writeLater(zerosOf(length), 0, length, from, (error, written) => {
      if (error !== null || this.#closed) return finish(error)
      if (written !== length) return finish(shortWrite(this.#file.path, length, written))
      this.#file.syncLater(finish)
    })
  }

  /** A write under way ends without a callback. */
  close(): void {
    this.#closed = true
    this.#file.close()
  }
}
