// Records of a read that are looked at together: whole ones, of one queue, in one piece of memory.
import { bodyEndOf, propertiesStartOf } from '../model/record.ts'
import { BLOCK_ENTRIES } from './views/consume-queue.ts'

/** As many as are in one block of entries. */
const RECORDS_MAX = BLOCK_ENTRIES
const NO_BYTES = Buffer.alloc(0)
/** What a processor fetches from memory at once. */
const LINE_BYTES = 64
/** Of properties that are longer, the rest is waited for when they are looked at. */
const LINES_AHEAD_MAX = 8

export class RecordRun {
  bytes: Buffer = NO_BYTES
  count = 0
  readonly offsets = new Float64Array(RECORDS_MAX)
  readonly starts = new Int32Array(RECORDS_MAX)
  readonly sizes = new Int32Array(RECORDS_MAX)
  /** Since `findProperties`. */
  readonly propertiesStarts = new Int32Array(RECORDS_MAX)
  /** Means nothing: a load that nothing uses is left out. */
  touched = 0

  begin(bytes: Buffer): void {
    this.bytes = bytes
    this.count = 0
  }

  get isFull(): boolean {
    return this.count === RECORDS_MAX
  }

  add(offset: number, start: number, size: number): void {
    this.offsets[this.count] = offset
    this.starts[this.count] = start
    this.sizes[this.count++] = size
  }

  /**
   * Records of one queue are far apart in memory: to look at one after the other is to wait for
   * each. A pass asks for a part of all of them, so that the waits are one.
   */
  findProperties(): void {
    const { bytes, starts, sizes, propertiesStarts: found, count } = this
    for (let i = 0; i < count; i++) found[i] = bodyEndOf(bytes, starts[i]!)
    let touched = 0
    for (let i = 0; i < count; i++) {
      const bodyEnd = found[i]!
      found[i] = propertiesStartOf(bytes, starts[i]!, bodyEnd)
      const end = Math.min(starts[i]! + sizes[i]!, bodyEnd + LINES_AHEAD_MAX * LINE_BYTES)
      for (let at = bodyEnd + LINE_BYTES; at < end; at += LINE_BYTES) touched ^= bytes[at]!
    }
    this.touched = touched
  }
}
