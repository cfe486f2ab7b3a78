// Which records belong to a topic that was dropped since they were stored: they stay in the log
// until retention takes them, where keys, light queues, retry queues and the due index may still
// lead to them. Each drop is kept as a fact of the views, by topic: the position of its note,
// before which nothing of that name lives.
import type { Slice } from '../../clock.ts'
import { getU64, putU64 } from '../../model/bytes.ts'
import { isRetryTopic } from '../../model/names.ts'
import type { QueueOffset } from '../../model/positions.ts'
import { PROPERTY } from '../../model/properties.ts'
import { type RecordView, recordsOf } from '../../model/record.ts'
import { originalTopic } from '../../model/routing-name.ts'
import type { ReadResult } from '../store.ts'
import type { FactTable } from './fact-table.ts'

/** No kind of the broker's. */
export const DROP_KIND = 'store.drop'

export class DroppedTopics {
  readonly #facts: FactTable

  constructor(facts: FactTable) {
    this.#facts = facts
  }

  get isEmpty(): boolean {
    return !this.#facts.hasKind(DROP_KIND)
  }

  drop(topic: string, position: number): void {
    const value = Buffer.allocUnsafe(8)
    putU64(value, 0, position)
    this.#facts.set(DROP_KIND, topic, value, position)
  }

  /**
   * Is the topic gone that the record was for? For a parked one that is the topic it waits for, for
   * a retry also the one it was first sent to. Dead letters stay: a person looks at them.
   */
  holds(record: RecordView): boolean {
    if (this.isEmpty) return false
    const { position } = record
    const topic = record.property(PROPERTY.realTopic) ?? record.topic
    if (this.#isBefore(topic, position)) return true
    return isRetryTopic(topic) && this.#isBefore(originalTopic(record), position)
  }

  /** A read of a queue whose records are of many topics, without those of dropped topics. */
  leaveOut(read: ReadResult): ReadResult {
    const kept: Buffer[] = []
    const offsets: QueueOffset[] = []
    let i = 0
    for (const record of recordsOf(read.records)) {
      const offset = read.offsets[i++]!
      if (this.holds(record)) continue
      kept.push(read.records.subarray(record.start, record.start + record.size))
      offsets.push(offset)
    }
    if (kept.length === read.offsets.length) return read
    const status = kept.length === 0 ? 'no-match' : read.status
    return { ...read, status, records: Buffer.concat(kept), offsets }
  }

  /** The topics with drops before the position: what these were about ends there. */
  async before(position: number, slice: Slice): Promise<string[]> {
    const topics: string[] = []
    for (const [topic, value] of this.#facts.entries(DROP_KIND)) {
      if (getU64(value, 0) < position) topics.push(topic)
      if (slice.isOver) await slice.rest()
    }
    return topics
  }

  /** Of these topics, but for those that were dropped again since. */
  forget(topics: readonly string[], position: number): void {
    for (const topic of topics) {
      if (this.#isBefore(topic, position)) continue
      this.#facts.set(DROP_KIND, topic, null, position)
    }
  }

  #isBefore(topic: string, position: number): boolean {
    const value = this.#facts.get(DROP_KIND, topic)
    return value !== undefined && position < getU64(value, 0)
  }
}
