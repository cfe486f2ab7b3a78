// Messages that are twice in a queue: a send whose answer was lost, by a broker that died for
// instance, is sent again, and the first may have been stored. The second says of itself that it
// was sent again; the first is looked for among the messages before it.
import { PROPERTY } from '../model/properties.ts'
import type { RecordView } from '../model/record.ts'
import type { Broker } from '../port/broker.ts'
import type { QueueKey } from './queue-key.ts'
import { SessionReader } from './session-reader.ts'

/** So many messages of the queue may stand between the two. */
const LOOK_BACK = 1_024
/** Unique keys that are kept of a queue while it has more of them. */
const KEYS_MAX = 4 * LOOK_BACK

/** Those of one queue, which is read in its order. */
export class Repeats {
  readonly #reader: SessionReader
  readonly #key: QueueKey
  readonly #uniqueKeys = new Set<string>()
  /** `#uniqueKeys` has those of the messages right before it. */
  #seenTo = 0

  constructor(broker: Broker, key: QueueKey) {
    this.#reader = new SessionReader(broker)
    this.#key = key
  }

  /** Was the message stored in the queue before? */
  async has(record: RecordView): Promise<boolean> {
    const uniqueKey = record.property(PROPERTY.uniqueKey)
    if (uniqueKey === undefined) return false
    await this.#seeTo(record.queueOffset)
    return this.#uniqueKeys.has(uniqueKey)
  }

  async #seeTo(offset: number): Promise<void> {
    // Asked again from an earlier place, or far behind the last: what was seen is of no use.
    const isFar = offset < this.#seenTo || offset - this.#seenTo >= LOOK_BACK
    if (isFar || this.#uniqueKeys.size >= KEYS_MAX) {
      this.#uniqueKeys.clear()
      this.#seenTo = Math.max(0, offset - LOOK_BACK)
    }
    for await (const record of this.#reader.records(this.#key, this.#seenTo, offset)) {
      const uniqueKey = record.property(PROPERTY.uniqueKey)
      if (uniqueKey !== undefined) this.#uniqueKeys.add(uniqueKey)
    }
    this.#seenTo = offset
  }
}

export const wasResent = (record: RecordView): boolean =>
  record.property(PROPERTY.resent) !== undefined
