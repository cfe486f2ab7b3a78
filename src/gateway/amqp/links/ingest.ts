// Messages of one connection on their way into the broker: everything that one chunk of the socket
// held is one publish, and its dispositions go out when that is durable. Counts the bytes under
// way, here and for the whole front-end, and says when to grant no more.

import type { Clock } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { NewMessage, PublishResult } from '../../../model/message.ts'
import type { Broker } from '../../../port/broker.ts'
import { rejectedState, STATE } from '../codec/disposition.ts'
import { describeError } from '../errors.ts'

/** Bytes that came and are not yet durable, over all connections. */
export class IngestBudget {
  readonly #bytesMax: number
  #bytes = 0
  #waiting: (() => void)[] = []

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get isOpen(): boolean {
    return this.#bytes < this.#bytesMax
  }

  take(bytes: number): void {
    this.#bytes += bytes
  }

  give(bytes: number): void {
    this.#bytes -= bytes
    if (this.#waiting.length === 0 || this.#bytes > this.#bytesMax / 2) return
    for (const goOn of this.#waiting.splice(0)) goOn()
  }

  /** Once half of the budget is free again. */
  whenOpen(goOn: () => void): void {
    this.#waiting.push(goOn)
  }
}

/** A link that messages come by, as far as they are concerned. */
export interface IngestLink {
  /**
   * The message with this delivery id is durable or refused; below zero it was sent settled, and is
   * durable.
   */
  settle(deliveryId: number, state: Buffer): void
  /** The message with this tag was sent settled and could not be stored. */
  lose(tag: Uint8Array, error: BrokerError): void
  /** A batch with messages of this link is through: dispositions and credit may go out. */
  flush(): void
}

export interface IngestPeer {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
}

export class Ingest {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #budget: IngestBudget
  readonly #log: Logger
  /** Told after every change of `bytes`. */
  readonly #changed: () => void
  #messages: NewMessage[] = []
  #links: IngestLink[] = []
  #ids: number[] = []
  #chunkBytes = 0
  #bytes = 0
  #batches = 0
  #nowMs = 0

  constructor(peer: IngestPeer, budget: IngestBudget, changed: () => void) {
    this.#broker = peer.broker
    this.#clock = peer.clock
    this.#log = peer.log
    this.#budget = budget
    this.#changed = changed
  }

  /** Bytes that came and are not yet durable. */
  get bytes(): number {
    return this.#bytes
  }

  /** When the messages of this chunk came; one look at the clock for all of them. */
  get nowMs(): number {
    if (this.#messages.length === 0) this.#nowMs = this.#clock.now()
    return this.#nowMs
  }

  get isIdle(): boolean {
    return this.#batches === 0
  }

  add(message: NewMessage, link: IngestLink, deliveryId: number): void {
    this.#messages.push(message)
    this.#links.push(link)
    this.#ids.push(deliveryId)
    this.#chunkBytes += message.body.length + message.properties.length
  }

  /** The end of a chunk: everything added since the last one is one publish. */
  flush(): void {
    if (this.#messages.length === 0) return
    const messages = this.#messages
    const batch = new Batch(messages, this.#links, this.#ids, this.#chunkBytes)
    this.#messages = []
    this.#links = []
    this.#ids = []
    this.#chunkBytes = 0
    this.#batches++
    this.#bytes += batch.bytes
    this.#budget.take(batch.bytes)
    this.#broker.publish(messages).then(
      (results) => this.#done(batch, results),
      (error: unknown) => this.#done(batch, batch.failed(error)),
    )
    this.#changed()
  }

  #done(batch: Batch, results: readonly PublishResult[]): void {
    this.#batches--
    this.#bytes -= batch.bytes
    this.#budget.give(batch.bytes)
    const unanswered = batch.settle(
      results.length === batch.count ? results : batch.failed(new Error('a result is missing')),
    )
    if (unanswered > 0) {
      const fields = { evt: 'amqp.settled_lost', messages: unanswered }
      this.#log.warn(fields, 'messages that were sent settled could not be stored')
    }
    this.#changed()
  }
}

class Batch {
  readonly bytes: number
  readonly #messages: readonly NewMessage[]
  readonly #links: readonly IngestLink[]
  readonly #ids: readonly number[]

  constructor(
    messages: readonly NewMessage[],
    links: readonly IngestLink[],
    ids: readonly number[],
    bytes: number,
  ) {
    this.#messages = messages
    this.#links = links
    this.#ids = ids
    this.bytes = bytes
  }

  get count(): number {
    return this.#ids.length
  }

  failed(thrown: unknown): BrokerError[] {
    const error = BrokerError.from(thrown)
    return this.#ids.map(() => error)
  }

  /** Answers how many refused messages could not be told. */
  settle(results: readonly PublishResult[]): number {
    let unanswered = 0
    let last: IngestLink | undefined
    const touched = new Set<IngestLink>()
    for (let i = 0; i < this.#ids.length; i++) {
      const link = this.#links[i]!
      const id = this.#ids[i]!
      const result = results[i]!
      if (link !== last) touched.add(link)
      last = link
      if (!(result instanceof BrokerError)) link.settle(id, STATE.accepted)
      else if (id < 0) {
        unanswered++
        link.lose(tagOf(this.#messages[i]!.body, id), result)
      } else link.settle(id, rejectedState(describeError(result)))
    }
    for (const link of touched) link.flush()
    return unanswered
  }
}

/** A delivery-tag has at most 32 bytes. */
const TAG_SLOTS = 64

/**
 * Stands for the delivery id of a message that was sent settled: it says where in the message's
 * memory its delivery-tag stands, which is asked for only when the message is refused. Below zero.
 */
export const settledId = (tagAt: number, tagBytes: number): number =>
  -1 - (tagAt * TAG_SLOTS + tagBytes)

export function tagOf(body: Uint8Array, id: number): Uint8Array {
  const place = -1 - id
  return Buffer.from(body.buffer, Math.floor(place / TAG_SLOTS), place % TAG_SLOTS)
}
