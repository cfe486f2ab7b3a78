// Offsets on many queues: of each topic of each broker one row, with an offset for each queue id.
import type { QueueName } from '../../../model/message.ts'
import { type QueueOffset, queueOffset } from '../../../model/positions.ts'

const NONE = -1

export interface PlaceRow extends Pick<QueueName, 'topic' | 'brokerName'> {
  /** By queue id; -1: none. */
  readonly offsets: number[]
}

export class QueuePlaces {
  readonly #rows = new Map<string, PlaceRow>()

  constructor(rows: Iterable<PlaceRow> = []) {
    for (const { topic, brokerName, offsets } of rows) {
      this.#rows.set(keyOf(topic, brokerName), { topic, brokerName, offsets: [...offsets] })
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
      row = { topic, brokerName, offsets: [] }
      this.#rows.set(key, row)
    }
    while (row.offsets.length < queueId) row.offsets.push(NONE)
    row.offsets[queueId] = offset
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
