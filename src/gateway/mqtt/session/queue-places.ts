// Offsets on many queues: of each topic of each broker one row, with an offset for each queue id.
import type { QueueName } from '../../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'

const NONE = -1
/** It is not known when the topic began. */
const UNKNOWN = 0

export interface PlaceRow extends Pick<QueueName, 'topic' | 'brokerName'> {
  /** By queue id; -1: none. */
  readonly offsets: number[]
  /**
   * Store time of the first message that the topic had at the broker, by which one that was made
   * again is told from the one before it; 0: not known.
   */
  bornMs: number
}

export class QueuePlaces {
  readonly #rows = new Map<string, PlaceRow>()

  constructor(rows: Iterable<PlaceRow> = []) {
    for (const row of rows) {
      this.#rows.set(keyOf(row.topic, row.brokerName), { ...row, offsets: [...row.offsets] })
    }
  }

  get isEmpty(): boolean {
    return this.#rows.size === 0
  }

  rows(): Iterable<PlaceRow> {
    return this.#rows.values()
  }

  get({ topic, brokerName, queueId }: QueueName): QueueOffset | undefined {
    const offset = this.#rows.get(keyOf(topic, brokerName))?.offsets[queueId] ?? NONE
    return offset === NONE ? undefined : queueOffset(offset)
  }

  set({ topic, brokerName, queueId }: QueueName, offset: QueueOffset): void {
    const key = keyOf(topic, brokerName)
    let row = this.#rows.get(key)
    if (row === undefined) {
      row = { topic, brokerName, offsets: [], bornMs: UNKNOWN }
      this.#rows.set(key, row)
    }
    while (row.offsets.length < queueId) row.offsets.push(NONE)
    row.offsets[queueId] = offset
  }

  bornAt({ topic, brokerName }: QueueName, bornMs: number): void {
    const row = this.#rows.get(keyOf(topic, brokerName))
    if (row !== undefined) row.bornMs = bornMs
  }

  /** Is the queue of another topic of the same name, which began then? */
  isOther({ topic, brokerName }: QueueName, bornMs: number): boolean {
    const known = this.#rows.get(keyOf(topic, brokerName))?.bornMs ?? UNKNOWN
    return known !== UNKNOWN && bornMs !== UNKNOWN && known !== bornMs
  }

  delete({ topic, brokerName, queueId }: QueueName): void {
    const key = keyOf(topic, brokerName)
    const row = this.#rows.get(key)
    if (row?.offsets[queueId] === undefined) return
    row.offsets[queueId] = NONE
    if (row.offsets.every((offset) => offset === NONE)) this.#rows.delete(key)
  }
}

/** A line feed is in no broker's name. */
const keyOf = (topic: string, brokerName: string): string => `${brokerName}\n${topic}`
