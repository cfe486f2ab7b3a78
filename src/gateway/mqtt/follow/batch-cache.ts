// Recent batches of followed queues, within a budget of bytes: what is dropped is in the log still.
import type { QueueOffset } from '../../../model/positions.ts'
import type { OutgoingMessage } from '../outgoing/outgoing-message.ts'

const CACHE_BYTES_MAX = 32 * 1024 * 1024
/** Batches of one queue beyond this are dropped oldest first. */
const BATCHES_PER_QUEUE_MAX = 16

/** All that one queue has from `start` to `end`; offsets between may be without a message. */
export interface QueueBatch {
  readonly start: QueueOffset
  readonly end: QueueOffset
  readonly deliveries: readonly OutgoingMessage[]
  /** Entries that retention took before they were read. */
  readonly missed: number
  readonly bytes: number
}

/** The batches that the cache has of one queue, oldest first. */
export type QueueBatches = QueueBatch[]

export class BatchCache {
  /** Oldest first. */
  readonly #cached = new Map<QueueBatch, QueueBatches>()
  #bytes = 0

  add(batch: QueueBatch, batches: QueueBatches): void {
    if (batches.length >= BATCHES_PER_QUEUE_MAX) this.#forget(batches.shift()!)
    batches.push(batch)
    this.#cached.set(batch, batches)
    this.#bytes += batch.bytes
    for (const [oldest, owners] of this.#cached) {
      if (this.#bytes <= CACHE_BYTES_MAX) break
      owners.splice(owners.indexOf(oldest), 1)
      this.#forget(oldest)
    }
  }

  /** All of one queue. */
  drop(batches: QueueBatches): void {
    for (const batch of batches) this.#forget(batch)
    batches.length = 0
  }

  #forget(batch: QueueBatch): void {
    if (this.#cached.delete(batch)) this.#bytes -= batch.bytes
  }
}

/** Index of the first message at the offset or behind it. */
export function indexIn({ deliveries }: QueueBatch, offset: QueueOffset): number {
  let low = 0
  let high = deliveries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (deliveries[middle]!.offset < offset) low = middle + 1
    else high = middle
  }
  return low
}
