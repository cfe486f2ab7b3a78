// Takes new messages for the cluster: checks what can be checked here, so that one that every
// broker would refuse spoils no batch, and hands each to the lanes of its topic.
import { Buffer } from 'node:buffer'
import { type SendAnswer, sendMessages } from '../../client/calls/calls.ts'
import { ROUTE_ERRORS } from '../../client/routes/routes.ts'
import { UniqueIds } from '../../client/routes/unique-id.ts'
import type { Clock, Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import type { NewMessage, PublishReceipt, PublishResult } from '../../model/message.ts'
import { checkTopicName, isLightQueue, isSendForbidden, STATE_TOPIC } from '../../model/names.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { atTurnEnd } from '../../turn-end.ts'
import { type Links, PRODUCER_GROUP } from '../links.ts'
import type { AcceptStatus, ClusterOptions } from '../options.ts'
import type { Parcel, ParcelItem } from './parcel.ts'
import { completed } from './properties.ts'
import { receiptsOf } from './receipt.ts'
import { TopicLanes } from './topic-lanes.ts'

const ITEM_FIXED_BYTES = 22
/** Of all messages that wait for a broker: beyond it publishers are told to wait. */
const WAITING_BYTES_MAX = 256 * 1024 * 1024
/** RocketMQ's default for a whole batch. */
const TOGETHER_BYTES_MAX = 4 * 1024 * 1024
/** Topics without a message on its way are forgotten so often. */
const SWEEP_MS = 60_000

interface Parts {
  readonly links: Links
  readonly clock: Clock
  readonly options: ClusterOptions
  /** A half message is stored. */
  prepared?(half: PublishReceipt, item: ParcelItem): void
}

export class ClusterPublisher {
  readonly #parts: Parts
  readonly #ids: UniqueIds
  readonly #topics = new Map<string, TopicLanes>()
  /** With parcels that go out at the end of the turn. */
  readonly #touched = new Set<TopicLanes>()
  readonly #sweeps: Timer
  #waitingBytes = 0

  constructor(parts: Parts) {
    this.#parts = parts
    this.#ids = new UniqueIds(parts.clock)
    this.#sweeps = parts.clock.every(SWEEP_MS, () => this.#sweep())
  }

  /**
   * As `Broker.publish`. The order of the calls is the order of the messages of a key. `isOwn`: the
   * gateway's, which alone may write where states are kept.
   */
  publish(messages: readonly NewMessage[], isOwn = false): Promise<readonly PublishResult[]> {
    return new Promise((resolve) => {
      const results = new Array<PublishResult>(messages.length)
      let left = messages.length
      if (left === 0) resolve(results)
      const settle = (at: number, result: PublishResult): void => {
        results[at] = result
        if (--left === 0) resolve(results)
      }
      for (const [at, message] of messages.entries()) {
        try {
          const item = this.#item(message, isOwn)
          this.#add(message.topic, [item], ([result]) => settle(at, result!))
        } catch (thrown) {
          settle(at, BrokerError.from(thrown))
        }
      }
    })
  }

  /** As `Broker.publishTogether`. */
  async publishTogether(messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]> {
    const items = messages.map((message) => this.#item(message, false))
    const { topic } = messages[0]!
    if (items.length > 1 && items.some(({ isAlone }) => isAlone)) throw notTogether()
    const results = await new Promise<readonly PublishResult[]>((resolve) =>
      this.#add(topic, items, resolve),
    )
    const [first] = results
    if (first instanceof BrokerError) throw first
    return results as readonly PublishReceipt[]
  }

  close(): void {
    this.#sweeps.cancel()
  }

  /** @throws NAME_INVALID, PERMISSION_DENIED, MESSAGE_TOO_LARGE, MESSAGE_INVALID, NOT_SUPPORTED */
  #item(message: NewMessage, isOwn: boolean): ParcelItem {
    const { topic, body } = message
    const { clock, options } = this.#parts
    checkTopicName(topic)
    if (isLightQueue(topic)) {
      throw new BrokerError('NAME_INVALID', `'${topic}' is a name of a light queue, and no topic`)
    }
    if (isSendForbidden(topic) || (topic === STATE_TOPIC && !isOwn)) {
      const text = `'${topic}' is a system topic: clients may not send to it`
      throw new BrokerError('PERMISSION_DENIED', text)
    }
    if (body.length > options.bodyBytesMax) throw tooLarge('body', body, options.bodyBytesMax)
    const { properties, isAlone, isHalf } = completed(message, this.#ids, clock.now())
    if (properties.length > PROPERTIES_BYTES_MAX) {
      throw tooLarge('properties', properties, PROPERTIES_BYTES_MAX)
    }
    return { message, body: Buffer.from(body), properties, isAlone, isHalf }
  }

  /** @throws BUSY, MESSAGE_TOO_LARGE */
  #add(topic: string, items: readonly ParcelItem[], settle: Parcel['settle']): void {
    const { clock, options } = this.#parts
    let bytes = 0
    for (const { body, properties } of items) {
      bytes += ITEM_FIXED_BYTES + body.length + properties.length
    }
    if (items.length > 1 && bytes > TOGETHER_BYTES_MAX) throw batchTooLarge(bytes)
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) throw busy(this.#waitingBytes)
    this.#waitingBytes += bytes
    const lanes = this.#lanes(topic)
    lanes.add({
      items,
      bytes,
      isAlone: items.length > 1 || items[0]!.isAlone,
      deadlineMs: clock.monotonic() + options.publishTimeoutMs,
      settle: (results) => {
        this.#waitingBytes -= bytes
        settle(results)
      },
    })
    if (this.#touched.size === 0) atTurnEnd(() => this.#flush())
    this.#touched.add(lanes)
  }

  #flush(): void {
    const touched = [...this.#touched]
    this.#touched.clear()
    for (const lanes of touched) lanes.flush()
  }

  #lanes(topic: string): TopicLanes {
    let lanes = this.#topics.get(topic)
    if (lanes === undefined) {
      const { routes } = this.#parts.links
      lanes = new TopicLanes({
        topic,
        clock: this.#parts.clock,
        route: async (mayCreate) =>
          mayCreate ? routes.writableQueues(topic) : (await routes.queues(topic)).writable,
        invalidate: () => routes.invalidate(topic),
        send: (queue, items) => this.#send(queue, items),
      })
      this.#topics.set(topic, lanes)
    }
    return lanes
  }

  async #send(queue: QueueRef, items: readonly ParcelItem[]): Promise<readonly PublishReceipt[]> {
    const { links, options } = this.#parts
    const limits = { timeoutMs: options.requestTimeoutMs }
    const connection = await links.brokers.connection(queue.brokerName, limits)
    const request = {
      producerGroup: PRODUCER_GROUP,
      queue,
      bornTimestamp: items[0]!.message.bornTimestamp,
      messages: items.map(({ body, properties, isHalf }) => ({ body, properties, isHalf })),
    }
    try {
      const answer = await sendMessages(connection, request, limits)
      checkAccepted(answer.status, queue, options.acceptStatus)
      const receipts = receiptsOf(queue.brokerName, answer, items)
      if (items[0]!.isHalf) this.#parts.prepared?.(receipts[0]!, items[0]!)
      return receipts
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (ROUTE_ERRORS.has(error.code)) links.routes.deny(queue.topic)
      throw error
    }
  }

  #sweep(): void {
    for (const [name, lanes] of this.#topics) if (lanes.isIdle) this.#topics.delete(name)
  }
}

/** @throws BrokerError where less was done than is asked for; the message may be stored */
function checkAccepted(status: SendAnswer['status'], queue: QueueRef, wanted: AcceptStatus): void {
  if (wanted === 'any' || status === 'stored') return
  if (wanted === 'flushed' && status !== 'not-flushed') return
  const lacks = status === 'not-flushed' ? 'its disk has it not yet' : 'no slave has it yet'
  throw new BrokerError(
    'TIMED_OUT',
    `the broker '${queue.brokerName}' took messages of '${queue.topic}', but ${lacks}`,
  )
}

const tooLarge = (what: string, bytes: Uint8Array, bytesMax: number): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `a message's ${what} of ${bytes.length} bytes is too large; ${bytesMax} is the most`,
  )

const batchTooLarge = (bytes: number): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `a batch of ${bytes} bytes is too large; ${TOGETHER_BYTES_MAX} is the most`,
  )

const notTogether = (): BrokerError =>
  new BrokerError(
    'NOT_SUPPORTED',
    'a message with a delay or a priority, or a half message, goes to a cluster by itself: in a ' +
      'batch it would lose that',
  )

const busy = (bytes: number): BrokerError =>
  new BrokerError('BUSY', `${bytes} bytes wait for brokers that do not take them; send fewer`)
