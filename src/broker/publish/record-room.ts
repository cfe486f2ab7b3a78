// Memory for parked records that become messages within one call: used again for the next, so that
// none has a buffer of its own.
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { LogPosition } from '../../model/positions.ts'
import { RecordView } from '../../model/record.ts'
import type { DueEntry, MessageStore } from '../../store/store.ts'
import { APPEND_BYTES_TARGET } from '../options.ts'

/** Of a record, beside its body and its properties. */
const REST_BYTES = 1024

interface LentRecord {
  readonly record: RecordView
  readonly entry: DueEntry
}

export class RecordRoom {
  readonly #bytesMax: number
  /** Allocated when it is first needed. */
  #bytes: Buffer | undefined
  #used = 0

  /** There is room for one more, however large, while no more is used than one append has. */
  constructor(bodyBytesMax: number) {
    this.#bytesMax = APPEND_BYTES_TARGET + bodyBytesMax + PROPERTIES_BYTES_MAX + REST_BYTES
  }

  /** Bytes of records since the last reset. */
  get used(): number {
    return this.#used
  }

  /** What they were lent for is done. */
  reset(): void {
    this.#used = 0
  }

  /** undefined: it is not in memory, or waits no longer. */
  copy(store: MessageStore, position: LogPosition): LentRecord | undefined {
    this.#bytes ??= Buffer.allocUnsafeSlow(this.#bytesMax)
    const entry = store.copyParked(position, this.#bytes, this.#used)
    if (entry === undefined) return undefined
    const record = new RecordView(this.#bytes, this.#used)
    this.#used += record.size
    return { record, entry }
  }
}
