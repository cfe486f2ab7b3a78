// Request-reply, as RocketMQ's clients do it: a request is a message that names the client that
// waits; the reply is pushed on the connection on which brokers know that client, and stored
// nowhere.
import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { replyTopic } from '../../model/names.ts'
import { decodeProperties, MESSAGE_TYPE, PROPERTY, TIME_TO_LIVE } from '../../model/properties.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'
import type { PushAnswer } from '../../remoting/connection.ts'
import { inflateBody } from '../../remoting/inflated-body.ts'
import { readFields } from '../../remoting/layout.ts'
import { PUSH_REPLY } from '../../remoting/requests/reply.ts'
import { within } from '../calls/abort.ts'
import { timeLeft } from '../calls/attempts.ts'
import { type CallOptions, sendReply } from '../calls/calls.ts'
import { checkNames, KIND, type Kind } from '../calls/option-names.ts'
import { encodeMessage, type OutgoingMessage } from '../calls/outgoing.ts'
import type { Brokers } from '../routes/brokers.ts'
import type { Routes } from '../routes/routes.ts'
import type { UniqueIds } from '../routes/unique-id.ts'
import type { Producer } from './producer.ts'
import { Reply } from './reply.ts'

/** What a responder says. */
export type ReplyMessage = Pick<OutgoingMessage, 'body' | 'properties'>

/** A received message that asks for a reply. */
interface RequestMessage {
  readonly messageId: string
  readonly brokerName: string
  property(name: string): string | undefined
}

const REPLY_NAMES: Readonly<Record<keyof ReplyMessage, Kind | true>> = {
  body: true,
  properties: KIND.object,
}

/** Requests that wait at the same time. */
const WAITING_MAX = 65_535
/** For a broker that is down: the request may be stored at another one. */
const INTRODUCTION_MS = 1000

interface Waiting {
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

export interface RequestsOptions {
  readonly clock: Clock
  readonly group: string
  readonly bodyBytesMax: number
  readonly timeoutMs: number
  readonly clientId: string
}

export class Requests {
  readonly #options: RequestsOptions
  readonly #producer: Producer
  readonly #brokers: Brokers
  readonly #routes: Routes
  readonly #ids: UniqueIds
  /** By correlation id. */
  readonly #waiting = new Map<string, Waiting>()

  constructor(
    options: RequestsOptions,
    producer: Producer,
    brokers: Brokers,
    routes: Routes,
    ids: UniqueIds,
  ) {
    this.#options = options
    this.#producer = producer
    this.#brokers = brokers
    this.#routes = routes
    this.#ids = ids
  }

  /** Rejects as a send does, and with TIMED_OUT without a reply. */
  async request(message: OutgoingMessage, options: CallOptions): Promise<Reply> {
    const { clock, clientId, timeoutMs = 0 } = { ...this.#options, ...definedOf(options) }
    const { signal } = options
    if (this.#waiting.size >= WAITING_MAX) {
      throw new BrokerError('BUSY', `${WAITING_MAX} requests wait for their replies already`)
    }
    const correlationId = randomUUID()
    const leftMs = timeLeft(clock, timeoutMs)
    const replied = new Promise<Reply>((resolve, reject) => {
      this.#waiting.set(correlationId, { resolve, reject })
    })
    // It may fail while the request is still being sent.
    replied.catch(() => {})
    try {
      await this.#introduce(message.topic, { timeoutMs: leftMs(), signal })
      await this.#producer.send(message, { timeoutMs: leftMs(), signal }, [
        [PROPERTY.correlationId, correlationId],
        [PROPERTY.replyTo, clientId],
        [TIME_TO_LIVE, String(timeoutMs)],
      ])
      const what = `a reply to a request to '${message.topic}'`
      return await within(replied, { timeoutMs: leftMs(), signal }, clock, what)
    } finally {
      this.#waiting.delete(correlationId)
    }
  }

  /** By the broker that has the request: the one that waits is connected there. */
  async reply(request: RequestMessage, answer: ReplyMessage, options: CallOptions): Promise<void> {
    checkNames('field of a reply', answer, REPLY_NAMES, 'MESSAGE_INVALID')
    const { group: producerGroup, bodyBytesMax, clock } = this.#options
    const cluster = request.property(PROPERTY.cluster)
    const replyTo = request.property(PROPERTY.replyTo)
    const correlationId = request.property(PROPERTY.correlationId)
    if (cluster === undefined || replyTo === undefined) {
      throw new BrokerError('ARGUMENT_INVALID', `${request.messageId} is no request`)
    }
    const topic = replyTopic(cluster)
    const message = encodeMessage({ topic, ...answer }, this.#ids.next(), bodyBytesMax, [
      [MESSAGE_TYPE, 'reply'],
      // A requester of MQTT may have none.
      [PROPERTY.correlationId, correlationId ?? ''],
      [PROPERTY.replyTo, replyTo],
      [TIME_TO_LIVE, request.property(TIME_TO_LIVE) ?? '0'],
    ])
    const leftMs = timeLeft(clock, options.timeoutMs ?? this.#options.timeoutMs)
    const { signal } = options
    const { brokerName } = request
    const connection = await this.#brokers.connection(brokerName, { timeoutMs: leftMs(), signal })
    const queue = { topic, brokerName, queueId: 0 }
    const sent = { producerGroup, queue, bornTimestamp: clock.now(), messages: [message] }
    await sendReply(connection, sent, { timeoutMs: leftMs(), signal })
  }

  /** A pushed reply. One that no request waits for is dropped. */
  pushed({ fields, body }: Command): PushAnswer {
    let waiting: Waiting | undefined
    try {
      const { properties = '', sysFlag } = readFields(PUSH_REPLY, fields)
      const named = decodeProperties(Buffer.from(properties))
      waiting = this.#waiting.get(named.get(PROPERTY.correlationId) ?? '')
      waiting?.resolve(new Reply(inflateBody(body, sysFlag), named))
      return { code: RESPONSE.success }
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      waiting?.reject(error)
      return { code: RESPONSE.systemError, remark: error.message }
    }
  }

  close(): void {
    const closed = new BrokerError('CLOSED', 'the client is closed')
    for (const { reject } of this.#waiting.values()) reject(closed)
    this.#waiting.clear()
  }

  /** A responder may answer by any broker, as Java's do: each of the topic's is to know us. */
  async #introduce(topic: string, { timeoutMs = 0, signal }: CallOptions): Promise<void> {
    const queues = await this.#routes.writableQueues(topic, { timeoutMs, signal })
    const names = new Set(queues.map(({ brokerName }) => brokerName))
    const limits = { timeoutMs: Math.min(timeoutMs, INTRODUCTION_MS), signal }
    const known = [...names].map((name) => this.#brokers.connection(name, limits))
    await Promise.allSettled(known)
  }
}

const definedOf = ({ timeoutMs }: CallOptions): { timeoutMs?: number } =>
  timeoutMs === undefined ? {} : { timeoutMs }
