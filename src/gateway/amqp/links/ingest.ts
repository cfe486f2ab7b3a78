// Messages of one connection on their way into the broker, of all its links: their dispositions go
// out when they are durable. Counts the bytes under way for the whole front-end, and says when to
// grant no more.
import type { Clock } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { NewMessage, PublishResult } from '../../../model/message.ts'
import type { Broker } from '../../../port/broker.ts'
import type { Traffic } from '../../../port/traffic.ts'
import { type PublishBatch, PublishLine } from '../../shared/publish-line.ts'
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

/** The messages of one chunk: each with its link, and its delivery id or `settledId`. */
class LinkBatch implements PublishBatch {
  messages: NewMessage[] = []
  bytes = 0
  /** Of messages that were sent settled, whose tag is asked for when one is refused: by place. */
  #settled: Map<number, Uint8Array> | undefined
  readonly #links: IngestLink[] = []
  readonly #ids: number[] = []
  readonly #budget: IngestBudget
  readonly #log: Logger

  constructor(budget: IngestBudget, log: Logger) {
    this.#budget = budget
    this.#log = log
  }

  add(message: NewMessage, link: IngestLink, deliveryId: number): void {
    if (deliveryId < 0) {
      this.#settled ??= new Map()
      this.#settled.set(this.#ids.length, message.body)
    }
    this.messages.push(message)
    this.#links.push(link)
    this.#ids.push(deliveryId)
    this.bytes += message.body.length + message.properties.length
  }

  settle(results: readonly PublishResult[]): void {
    this.#budget.give(this.bytes)
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
        link.lose(tagOf(this.#settled!.get(i)!, id), result)
      } else link.settle(id, rejectedState(describeError(result)))
    }
    for (const link of touched) link.flush()
    if (unanswered === 0) return
    const fields = { evt: 'amqp.settled_lost', messages: unanswered }
    this.#log.warn(fields, 'messages that were sent settled could not be stored')
  }
}

export type Ingest = PublishLine<LinkBatch>

interface IngestPeer {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
  readonly traffic: Traffic
}

/** `changed`: `isFull` of the connection's ingest has changed. */
export function openIngest(
  { broker, clock, log, traffic }: IngestPeer,
  budget: IngestBudget,
  unstoredBytesMax: number,
  changed: () => void,
): Ingest {
  return new PublishLine({
    clock,
    traffic,
    unstoredBytesMax,
    newBatch: () => new LinkBatch(budget, log),
    publish: ({ messages, bytes }) => {
      budget.take(bytes)
      return broker.publish(messages)
    },
    changed,
  })
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
