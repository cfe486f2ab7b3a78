// Retained messages (R8): the last one of each topic, whole, so that it outlives the log's retention. The
// names are kept in memory, the messages with the broker's durable state.
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { NewMessage, PublishReceipt } from '../../model/message.ts'
import { checkRecord, recordBytes, writeRecord } from '../../model/record.ts'
import type { Broker } from '../gateway.ts'
import { Delivery } from './delivery.ts'
import { TopicTree } from './topic-tree.ts'

const ID_PREFIX = 'mqtt/retained/'

export interface RetainedLimits {
  readonly retainedMax: number
  readonly retainedBytesMax: number
}

export class Retained {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #limits: RetainedLimits
  readonly #tree = new TopicTree()
  /** Bytes of each retained message, by topic name. */
  readonly #sizes = new Map<string, number>()
  #bytes = 0

  constructor(broker: Broker, clock: Clock, limits: RetainedLimits) {
    this.#broker = broker
    this.#clock = clock
    this.#limits = limits
  }

  get count(): number {
    return this.#sizes.size
  }

  async open(): Promise<void> {
    for (const id of await this.#broker.sessions.list(ID_PREFIX)) {
      const record = await this.#broker.sessions.load(id)
      if (record !== undefined) this.#note(id.slice(ID_PREFIX.length), record.length)
    }
  }

  /** Is there room for one more? @throws QUOTA_EXCEEDED */
  check(name: string, payloadBytes: number): void {
    if (payloadBytes === 0) return
    const { retainedMax, retainedBytesMax } = this.#limits
    const before = this.#sizes.get(name)
    const isTooMany = before === undefined && this.count >= retainedMax
    // What it takes the place of makes room.
    if (isTooMany || this.#bytes - (before ?? 0) + payloadBytes > retainedBytesMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `there are ${this.count} retained messages of ${this.#bytes} bytes; mqtt.retainedMax is ` +
          `${retainedMax}, mqtt.retainedBytesMax ${retainedBytesMax}`,
      )
    }
  }

  /**
   * Keeps the message, or with an empty body forgets the topic's; durable when it settles. Room is asked
   * for here too: wills come without asking, and the messages of one chunk ask before any of them is in.
   * Rejects with QUOTA_EXCEEDED.
   */
  async put(name: string, message: NewMessage, receipt: PublishReceipt): Promise<void> {
    if (message.body.length === 0) return this.#delete(name)
    this.check(name, message.body.length)
    const record = retainedRecord(message, receipt, this.#clock.now())
    this.#note(name, record.length)
    await this.#broker.sessions.save(ID_PREFIX + name, record)
  }

  /** The first names with a retained message that the filter selects, behind `after` ('' = from the first). */
  matching(filter: string, after: string, max: number): string[] {
    return this.#tree.match(filter, after === '' ? undefined : after, max)
  }

  /** The topic's retained message; an expired one is gone. */
  async get(name: string): Promise<Delivery | undefined> {
    const record = await this.#broker.sessions.load(ID_PREFIX + name)
    if (record === undefined || checkRecord(record, 0, record.length, false) === 0) return undefined
    const delivery = new Delivery(record, 0)
    if (delivery.expiresMs > this.#clock.now()) return delivery
    await this.#delete(name)
    return undefined
  }

  async #delete(name: string): Promise<void> {
    if (!this.#sizes.has(name)) return
    this.#note(name, 0)
    this.#sizes.delete(name)
    this.#tree.delete(name)
    await this.#broker.sessions.delete(ID_PREFIX + name)
  }

  #note(name: string, bytes: number): void {
    const before = this.#sizes.get(name)
    if (before === undefined) this.#tree.add(name)
    this.#bytes += bytes - (before ?? 0)
    this.#sizes.set(name, bytes)
  }
}

/** The message as the log has it, so that it is delivered by the same code. */
function retainedRecord(message: NewMessage, receipt: PublishReceipt, nowMs: number): Buffer {
  const draft = { ...message, queueId: receipt.queueId, preparedPosition: 0 }
  const record = Buffer.allocUnsafe(recordBytes(draft))
  writeRecord(record, 0, draft, { ...receipt, storeTimestamp: nowMs })
  return record
}
