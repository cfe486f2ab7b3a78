// What one search by condition has found for its answer, over the reads that it takes.
import type { QueueOffset } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import type { Choose, ReadResult } from '../../store/store.ts'
import type { SearchLine } from './search-line.ts'

interface Wanted {
  readonly maxMessages: number
  readonly maxBytes: number
}

export class Found {
  readonly #wanted: Wanted
  readonly #searches: SearchLine
  readonly #isWanted: (record: RecordView) => boolean
  readonly #records: Buffer[] = []
  readonly #offsets: QueueOffset[] = []
  /** Of `#records`, and of what the read under way has taken. */
  #count = 0
  #bytes = 0
  /** By the read under way. */
  #seen = 0
  isFull = false

  constructor(wanted: Wanted, searches: SearchLine, isWanted: (record: RecordView) => boolean) {
    this.#wanted = wanted
    this.#searches = searches
    this.#isWanted = isWanted
  }

  get count(): number {
    return this.#offsets.length
  }

  /** For the next read, none of which counts before it is added. */
  begin(): Choose {
    this.#count = this.#offsets.length
    this.#bytes = this.#records.reduce((sum, { length }) => sum + length, 0)
    this.#seen = 0
    return this.#choose
  }

  add({ records, offsets }: ReadResult): void {
    if (offsets.length === 0) return
    this.#records.push(records)
    this.#offsets.push(...offsets)
  }

  /** All of it, as the result of the last read, which began at `from`. */
  result(last: ReadResult, from: QueueOffset): ReadResult {
    if (this.#offsets.length === 0) return last
    // Where retention has overtaken it, the next pull is told.
    const nextOffset = last.status === 'moved' ? from : last.nextOffset
    const records = this.#records.length === 1 ? this.#records[0]! : Buffer.concat(this.#records)
    return { ...last, status: 'found', records, offsets: this.#offsets, nextOffset }
  }

  readonly #choose: Choose = (bytes, start, size, propertiesStart) => {
    if (this.isFull) return 'stop'
    if (this.#searches.isOver(this.#seen++, size)) return 'stop'
    if (!this.#isWanted(new RecordView(bytes, start, propertiesStart))) return 'leave'
    const { maxMessages, maxBytes } = this.#wanted
    if (this.#count > 0 && this.#bytes + size > maxBytes) {
      this.isFull = true
      return 'stop'
    }
    this.#count++
    this.#bytes += size
    this.isFull = this.#count >= maxMessages
    return 'take'
  }
}
