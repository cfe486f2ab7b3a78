// Offsets on many queues: of each topic of each broker one row, with an offset for each queue id.
import type { QueueName } from '../../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'

const NONE = -1
/** It is not known when the queue began. */
const UNKNOWN = 0

export interface PlaceRow extends Pick<QueueName, 'topic' | 'brokerName'> {
  /** By queue id; -1: none. */
  readonly offsets: number[]
  /**
   * By queue id, the store time of the first message that the queue had, by which one of a topic
   * that was made again is told from the one before it; 0: not known.
   */
  readonly bornMs: number[]
}

export class QueuePlaces {
  readonly #rows = new Map<string, PlaceRow>()

  constructor(rows: Iterable<PlaceRow> = []) {
    for (const row of rows) {
      const { topic, brokerName, offsets, bornMs } = row
      const copy = { topic, brokerName, offsets: [...offsets], bornMs: [...bornMs] }
      this.#rows.set(keyOf(topic, brokerName), copy)
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

  set({ topic, brokerName, queueId }: QueueName, offset: QueueOffset, bornMs = UNKNOWN): void {
    const key = keyOf(topic, brokerName)
    let row = this.#rows.get(key)
    if (row === undefined) {
      row = { topic, brokerName, offsets: [], bornMs: [] }
      this.#rows.set(key, row)
    }
    while (row.offsets.length < queueId) row.offsets.push(NONE)
    while (row.bornMs.length < queueId) row.bornMs.push(UNKNOWN)
    row.offsets[queueId] = offset
    row.bornMs[queueId] = bornMs
  }

  /** When the queue began that the place is on. */
  bornMs({ topic, brokerName, queueId }: QueueName): number | undefined {
    return this.#rows.get(keyOf(topic, brokerName))?.bornMs[queueId] || undefined
  }

  /** Is the place on another queue of the same name than the one that began then? */
  isOther(queue: QueueName, bornMs: number | undefined): boolean {
    const known = this.bornMs(queue)
    return known !== undefined && bornMs !== undefined && known !== bornMs
  }

  delete({ topic, brokerName, queueId }: QueueName): void {
    const key = keyOf(topic, brokerName)
    const row = this.#rows.get(key)
    if (row?.offsets[queueId] === undefined) return
    row.offsets[queueId] = NONE
    row.bornMs[queueId] = UNKNOWN
    if (row.offsets.every((offset) => offset === NONE)) this.#rows.delete(key)
  }
}

/** A line feed is in no broker's name. */
const keyOf = (topic: string, brokerName: string): string => `${brokerName}\n${topic}`
