// Reads the log again for a session: what it missed, and what it did not acknowledge.
import { queueOffset } from '../model/positions.ts'
import { type RecordView, recordsOf } from '../model/record.ts'
import { EVERY_TAG } from '../model/tag-filter.ts'
import type { Broker } from '../port/broker.ts'
import { type Place, type QueueKey, queueOf } from './queue-key.ts'

export const READ_MESSAGES = 32
export const READ_BYTES = 1024 * 1024

export class SessionReader {
  readonly #broker: Broker
  #batch: { readonly key: QueueKey; readonly records: ReadonlyMap<number, RecordView> } | undefined

  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** The records of `[from, to)`; what retention took is left out. */
  async *records(key: QueueKey, from: number, to: number): AsyncGenerator<RecordView> {
    for (let offset = from; offset < to; ) {
      const { records, nextOffset } = await this.#pull(key, offset)
      for (const record of recordsOf(records)) if (record.queueOffset < to) yield record
      if (nextOffset <= offset) return
      offset = nextOffset
    }
  }

  /** undefined: it is not there any more. Those of one queue are best asked for in their order. */
  async record({ key, offset }: Place): Promise<RecordView | undefined> {
    const before = this.#batch?.key === key ? this.#batch.records.get(offset) : undefined
    if (before !== undefined) return before
    const { records } = await this.#pull(key, offset)
    const all = [...recordsOf(records)]
    this.#batch = { key, records: new Map(all.map((record) => [record.queueOffset, record])) }
    return this.#batch.records.get(offset)
  }

  #pull(key: QueueKey, offset: number) {
    return this.#broker.pull({
      ...queueOf(key),
      offset: queueOffset(offset),
      maxMessages: READ_MESSAGES,
      maxBytes: READ_BYTES,
      filter: EVERY_TAG,
      waitMs: 0,
    })
  }
}
