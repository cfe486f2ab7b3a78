// A stored message as the user reads it, decoded on demand from the record's bytes, which it keeps;
// and for a consumer of a group the means to settle it.
import { BrokerError } from '../../errors.ts'
import { formatHost } from '../../model/host.ts'
import { offsetMessageId } from '../../model/message-id.ts'
import { isDeadLetterTopic, isRetryTopic } from '../../model/names.ts'
import { INTERNAL_PROPERTIES, orderingKeyOf, PROPERTY } from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'
import { inflateBody } from '../../remoting/inflated-body.ts'
import { jsonOf, textOf } from '../calls/body-text.ts'
import { checkKind, checkNames, KIND } from '../calls/option-names.ts'

const NACK_NAMES = { delayMs: KIND.number } as const
const EXTEND_NAMES = { ms: KIND.ms } as const

/** How a consumer's messages are settled; each refuses a message that is settled already. */
export interface Settlement {
  ack(delivery: Delivery): Promise<void>
  nack(delivery: Delivery, delayMs: number | undefined): Promise<void>
  extend(delivery: Delivery, ms: number): Promise<void>
  /** Whether it can still be settled. */
  holds(delivery: Delivery): boolean
}

/** A message that needs no settlement: read by position, or looked up. */
export type Message = Omit<Delivery, 'ack' | 'nack' | 'extend' | 'isExpired'>

export class Delivery {
  readonly #record: RecordView
  readonly #settlement: Settlement | undefined
  readonly #brokerName: string
  readonly #attempt: number
  #properties: ReadonlyMap<string, string> | undefined
  #body: Uint8Array | undefined

  /** @param retries deliveries by this client before, beyond those that the record counts */
  constructor(record: RecordView, brokerName: string, settlement?: Settlement, retries = 0) {
    this.#record = record
    this.#settlement = settlement
    this.#brokerName = brokerName
    this.#attempt = record.reconsumeTimes + 1 + retries
  }

  /** It is done: the group will not see it again. */
  ack(): Promise<void> {
    return this.#settled().ack(this)
  }

  /** It failed: the group gets it again later; without a delay, RocketMQ's ladder says when. */
  async nack(options: { delayMs?: number | undefined } = {}): Promise<void> {
    checkNames('option of nack', options, NACK_NAMES)
    return this.#settled().nack(this, options.delayMs)
  }

  /** More time before the broker gives it to another consumer, where it does that by time. */
  async extend(options: { ms: number }): Promise<void> {
    checkNames('option of extend', options, EXTEND_NAMES)
    checkKind('ms', options.ms, KIND.ms)
    return this.#settled().extend(this, options.ms)
  }

  /** It is settled, or its queue went to another member, which gets the message too. */
  get isExpired(): boolean {
    return !this.#settled().holds(this)
  }

  get brokerName(): string {
    return this.#brokerName
  }

  /** 1 for the first delivery to its group. */
  get attempt(): number {
    return this.#attempt
  }

  /** The topic it was sent to, also when it is read from a retry or dead-letter topic. */
  get topic(): string {
    const stored = this.#record.topic
    if (!isRetryTopic(stored) && !isDeadLetterTopic(stored)) return stored
    return this.#record.property(PROPERTY.retryTopic) ?? stored
  }

  /** The topic it is stored in. */
  get storedTopic(): string {
    return this.#record.topic
  }

  get queueOffset(): number {
    return this.#record.queueOffset
  }

  get queueId(): number {
    return this.#record.queueId
  }

  /** The sender's id when it made one (the same for every copy), else the broker's. */
  get messageId(): string {
    return this.#record.property(PROPERTY.uniqueKey) ?? this.offsetMessageId
  }

  /** Says where this copy is stored. */
  get offsetMessageId(): string {
    return offsetMessageId(this.#record.storeHost, this.#record.position)
  }

  get logPosition(): number {
    return this.#record.position
  }

  get tag(): string | undefined {
    return this.#record.property(PROPERTY.tags)
  }

  get keys(): readonly string[] {
    const keys = this.#record.property(PROPERTY.keys)
    return keys === undefined ? [] : keys.split(' ').filter((key) => key !== '')
  }

  get orderingKey(): string | undefined {
    return orderingKeyOf((name) => this.#record.property(name))
  }

  /** The user's own; tag, keys and the machinery's are left out. */
  get properties(): ReadonlyMap<string, string> {
    if (this.#properties === undefined) {
      const properties = this.#record.properties()
      for (const name of properties.keys()) {
        if (INTERNAL_PROPERTIES.has(name)) properties.delete(name)
      }
      this.#properties = properties
    }
    return this.#properties
  }

  /** Any property by its RocketMQ name. */
  property(name: string): string | undefined {
    checkKind('name', name, KIND.text)
    return this.#record.property(name)
  }

  /** @throws BrokerError PROTOCOL_ERROR for a compressed body that cannot be read */
  get body(): Uint8Array {
    this.#body ??= inflateBody(this.#record.body, this.#record.sysFlag)
    return this.#body
  }

  text(): string {
    return textOf(this.body)
  }

  /** @throws BrokerError MESSAGE_INVALID when the body is not JSON */
  json<T = unknown>(): T {
    return jsonOf(this.body, this.messageId)
  }

  /** Sender's clock, epoch ms. */
  get bornTimestamp(): number {
    return this.#record.bornTimestamp
  }

  get bornHost(): string {
    return formatHost(this.#record.bornHost)
  }

  /** Broker's clock, epoch ms. */
  get storeTimestamp(): number {
    return this.#record.storeTimestamp
  }

  #settled(): Settlement {
    if (this.#settlement !== undefined) return this.#settlement
    throw new BrokerError('NOT_SUPPORTED', `${this.messageId} was not delivered to a group`)
  }
}
