// Sends: chooses the queue, waits for the broker's acceptance, tries again elsewhere while there is
// time. A message that was sent twice because an answer was lost has one messageId in both copies.
import { unlessAborted } from '../../abort.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { decodeRecallHandle } from '../../model/message-id.ts'
import { findProperty, PROPERTY } from '../../model/properties.ts'
import { queueOfKey } from '../../model/topic.ts'
import { BATCH_MESSAGES_MAX } from '../../remoting/batch-body.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { timeLeft, withRetries } from '../calls/attempts.ts'
import {
  type CallOptions,
  recallMessage,
  type SendAnswer,
  sendMessageOneWay,
  sendMessages,
} from '../calls/calls.ts'
import { type EncodedMessage, encodeMessage, type OutgoingMessage } from '../calls/outgoing.ts'
import { publishedEntry, type TraceSink } from '../calls/trace-entry.ts'
import type { Brokers } from '../routes/brokers.ts'
import { ROUTE_ERRORS, type Routes } from '../routes/routes.ts'
import type { UniqueIds } from '../routes/unique-id.ts'

export type SendStatus = SendAnswer['status']

export interface SendResult {
  /** Made by this client; the same for every copy of the message. */
  readonly messageId: string
  /** Says where the broker stored it. */
  readonly offsetMessageId: string
  readonly topic: string
  readonly brokerName: string
  readonly queueId: number
  readonly queueOffset: number
  /**
   * Whether the broker has it as it was set to: with the other two it may be lost with its machine.
   */
  readonly status: SendStatus
  /** Of a delayed message: for `recall`. Not from brokers older than RocketMQ 5.3.2. */
  readonly recallHandle?: string | undefined
}

/** Some messages of a batch were not accepted; `results` has an answer for each, in order. */
export class BatchError extends BrokerError {
  readonly results: readonly (SendResult | BrokerError)[]

  constructor(results: readonly (SendResult | BrokerError)[]) {
    const failures = results.filter((result) => result instanceof BrokerError)
    const first = failures[0]!
    super(
      first.code,
      `${failures.length} of ${results.length} messages were not accepted; the first: ${first.message}`,
      { cause: first, retryable: failures.every((failure) => failure.retryable) },
    )
    this.name = 'BatchError'
    this.results = results
  }
}

export interface ProducerOptions {
  readonly clock: Clock
  readonly group: string
  /** Messages without an ordering key stay in one queue of their topic, in order. */
  readonly inOrder: boolean
  /** Longest body of a message. */
  readonly bodyBytesMax: number
  /** For all attempts together. */
  readonly timeoutMs: number
  /** Hears of each message that a broker has accepted. */
  readonly traces?: TraceSink | undefined
}

/** One attempt of those that fit in the timeout, as RocketMQ's producers wait. */
const ATTEMPT_MS = 3000
/** Bytes that a connection may owe its socket before senders are told to wait. */
const UNSENT_BYTES_MAX = 64 * 1024 * 1024
/** Properties and lengths of a batch's messages count too; RocketMQ bounds the whole body. */
const BATCH_BYTES_MAX = BODY_BYTES_DEFAULT
const BATCH_ITEM_FIXED_BYTES = 22
const TOPICS_MAX = 10_000

export class Producer {
  readonly #options: ProducerOptions
  readonly #brokers: Brokers
  readonly #routes: Routes
  readonly #ids: UniqueIds
  /**
   * Per topic, from a random start so that clients do not march in step: round robin, or one queue
   * in order.
   */
  readonly #turns = new Map<string, number>()
  /** When the last send of an ordering key is over. */
  readonly #keys = new Map<string, Promise<void>>()
  #pending = 0
  #idle: (() => void) | undefined

  constructor(options: ProducerOptions, brokers: Brokers, routes: Routes, ids: UniqueIds) {
    this.#options = options
    this.#brokers = brokers
    this.#routes = routes
    this.#ids = ids
  }

  async send(
    message: OutgoingMessage,
    options: CallOptions,
    further: readonly (readonly [string, string])[] = [],
  ): Promise<SendResult> {
    const encoded = encodeMessage(message, this.#ids.next(), this.#options.bodyBytesMax, further)
    const [result] = await this.#sendTogether([encoded], options)
    return result!
  }

  /** A half message: no consumer sees it before it is committed. */
  async prepare(message: OutgoingMessage, options: CallOptions): Promise<SendResult> {
    const { bodyBytesMax, group } = this.#options
    const half: [string, string][] = [
      [PROPERTY.transactionPrepared, 'true'],
      [PROPERTY.producerGroup, group],
    ]
    const encoded = encodeMessage(message, this.#ids.next(), bodyBytesMax, half)
    const [result] = await this.#sendTogether([{ ...encoded, isHalf: true }], options)
    return result!
  }

  connectionOf({ brokerName }: SendResult, options: CallOptions): Promise<RemotingConnection> {
    return this.#brokers.connection(brokerName, options)
  }

  /** Rejects with a BatchError when any was not accepted. */
  async sendBatch(
    messages: readonly OutgoingMessage[],
    options: CallOptions,
  ): Promise<readonly SendResult[]> {
    const encoded = messages.map((message) =>
      encodeMessage(message, this.#ids.next(), this.#options.bodyBytesMax),
    )
    const results: (SendResult | BrokerError)[] = new Array(messages.length)
    const sendInTurn = async (batches: readonly number[][]): Promise<void> => {
      for (const indices of batches) {
        const batch = indices.map((index) => encoded[index]!)
        const answers = await this.#sendTogether(batch, options).catch(BrokerError.from)
        for (const [i, index] of indices.entries()) {
          results[index] = answers instanceof BrokerError ? answers : answers[i]!
        }
      }
    }
    await Promise.all(batchesOf(encoded).map(sendInTurn))
    options.signal?.throwIfAborted()
    const accepted = results.filter((result) => !(result instanceof BrokerError)) as SendResult[]
    if (accepted.length < results.length) throw new BatchError(results)
    return accepted
  }

  /**
   * Settles when the message is handed to the connection. Rejects with BUSY when that owes too
   * much.
   */
  async sendOneWay(message: OutgoingMessage, options: CallOptions): Promise<void> {
    const encoded = encodeMessage(message, this.#ids.next(), this.#options.bodyBytesMax)
    const { group: producerGroup, clock, timeoutMs } = this.#options
    const leftMs = timeLeft(clock, options.timeoutMs ?? timeoutMs)
    const { queue, connection } = await this.#place(encoded, undefined, leftMs, options.signal)
    const bornTimestamp = clock.now()
    sendMessageOneWay(connection, { producerGroup, queue, bornTimestamp, messages: [encoded] })
  }

  /** Not before the broker has it on the disk. @throws BrokerError MESSAGE_NOT_FOUND: too late */
  async recall(recallHandle: string, options: CallOptions): Promise<void> {
    const handle = decodeRecallHandle(recallHandle)
    if (handle === undefined) {
      const text = `${JSON.stringify(recallHandle)} is no 'recallHandle' of a send`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    const { topic, brokerName } = handle
    const { clock, timeoutMs, group: producerGroup } = this.#options
    const { signal } = options
    const limits = { clock, timeoutMs: options.timeoutMs ?? timeoutMs, signal }
    this.#pending++
    try {
      await withRetries(limits, async (leftMs) => {
        const timeout = { timeoutMs: Math.min(leftMs(), ATTEMPT_MS), signal }
        await this.#routes.writableQueues(topic, timeout)
        const connection = await this.#brokers.connection(brokerName, timeout)
        await recallMessage(connection, { producerGroup, topic, recallHandle }, timeout)
      })
    } finally {
      this.#sent()
    }
  }

  /** Settles when no send is under way, or the deadline has passed. */
  async idle(deadlineMs: number): Promise<void> {
    if (this.#pending === 0 || deadlineMs <= 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(deadlineMs, resolve)
      this.#idle = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  async #sendTogether(
    messages: readonly EncodedMessage[],
    options: CallOptions,
  ): Promise<readonly SendResult[]> {
    this.#pending++
    try {
      const { topic, orderingKey } = messages[0]!
      const send = () => this.#sendWithRetries(messages, options)
      return await (orderingKey === undefined && !this.#options.inOrder
        ? send()
        : this.#inTurn(`${topic}\u0000${orderingKey ?? ''}`, options.signal, send))
    } finally {
      this.#sent()
    }
  }

  #sent(): void {
    this.#pending--
    if (this.#pending === 0) this.#idle?.()
  }

  /**
   * One send of a key at a time: brokers may handle requests side by side, and retries overtake.
   */
  async #inTurn<T>(
    key: string,
    signal: AbortSignal | undefined,
    send: () => Promise<T>,
  ): Promise<T> {
    const before = this.#keys.get(key)
    const sent = before === undefined ? send() : unlessAborted(before, signal).then(send)
    // A send that is aborted in the row leaves the sends before and behind it as they are.
    const settled = Promise.allSettled([before, sent]).then(() => {
      if (this.#keys.get(key) === settled) this.#keys.delete(key)
    })
    this.#keys.set(key, settled)
    return sent
  }

  /** Messages of one topic and one ordering key, to one queue. */
  async #sendWithRetries(
    messages: readonly EncodedMessage[],
    options: CallOptions,
  ): Promise<readonly SendResult[]> {
    const { clock, timeoutMs } = this.#options
    const { signal } = options
    const first = messages[0]!
    const bornTimestamp = clock.now()
    let failedBroker: string | undefined
    const limits = { clock, timeoutMs: options.timeoutMs ?? timeoutMs, signal }
    return withRetries(limits, async (leftMs) => {
      try {
        const { queue, connection } = await this.#place(first, failedBroker, leftMs, signal)
        failedBroker = queue.brokerName
        const request = { producerGroup: this.#options.group, queue, bornTimestamp, messages }
        const timeoutMs = Math.min(leftMs(), ATTEMPT_MS)
        const answer = await sendMessages(connection, request, { timeoutMs, signal })
        this.#routes.made(first.topic)
        const results = resultsOf(messages, queue, answer)
        this.#trace(messages, results, { broker: connection.address, bornTimestamp })
        return results
      } catch (error) {
        this.#doubtRoute(first.topic, BrokerError.from(error))
        throw error
      }
    })
  }

  /** Also after the last attempt: the next send is not to begin at a broker that is gone. */
  #doubtRoute(topic: string, { code, retryable }: BrokerError): void {
    if (ROUTE_ERRORS.has(code)) this.#routes.deny(topic)
    else if (retryable) this.#routes.invalidate(topic)
  }

  #trace(
    messages: readonly EncodedMessage[],
    results: readonly SendResult[],
    { broker, bornTimestamp: atMs }: { broker: string; bornTimestamp: number },
  ): void {
    const { traces, clock, group } = this.#options
    if (traces === undefined) return
    const costMs = clock.now() - atMs
    for (const [i, { body, properties }] of messages.entries()) {
      const tag = findProperty(properties, PROPERTY.tags)
      const keys = findProperty(properties, PROPERTY.keys)?.split(' ') ?? []
      const bodyBytes = body.length
      traces.add(
        publishedEntry({ ...results[i]!, group, tag, keys, broker, bodyBytes, atMs, costMs }),
      )
    }
  }

  /** A queue for the message and a connection to its broker. */
  async #place(
    message: EncodedMessage,
    avoidedBroker: string | undefined,
    leftMs: () => number,
    signal: AbortSignal | undefined,
  ): Promise<{ queue: QueueRef; connection: RemotingConnection }> {
    const { topic, orderingKey } = message
    // The waits for a route, the template's and a connection, one after the other, share one time.
    const options: CallOptions = {
      get timeoutMs() {
        return leftMs()
      },
      signal,
    }
    const queues = await this.#routes.writableQueues(topic, options)
    const queue =
      orderingKey === undefined
        ? this.#nextQueue(topic, queues, avoidedBroker)
        : queues[queueOfKey(orderingKey, queues.length)]!
    const connection = await this.#brokers.connection(queue.brokerName, options)
    if (connection.unsentBytes > UNSENT_BYTES_MAX) {
      throw new BrokerError(
        'BUSY',
        `${connection.unsentBytes} bytes wait to be sent to ${connection.address}; send fewer at a time`,
      )
    }
    return { queue, connection }
  }

  #nextQueue(topic: string, queues: readonly QueueRef[], avoided: string | undefined): QueueRef {
    const { inOrder } = this.#options
    const turn = this.#turns.get(topic) ?? Math.floor(Math.random() * queues.length)
    if (this.#turns.size >= TOPICS_MAX) this.#turns.clear()
    let steps = 0
    while (
      steps < queues.length &&
      queues[(turn + steps) % queues.length]!.brokerName === avoided
    ) {
      steps++
    }
    const next = inOrder ? turn + steps : turn + 1
    this.#turns.set(topic, next % Number.MAX_SAFE_INTEGER)
    return queues[(turn + steps) % queues.length]!
  }
}

function resultsOf(
  messages: readonly EncodedMessage[],
  queue: QueueRef,
  answer: SendAnswer,
): SendResult[] {
  return messages.map((message, i) => ({
    messageId: message.uniqueId,
    offsetMessageId: answer.offsetMessageIds[i] ?? '',
    topic: queue.topic,
    brokerName: queue.brokerName,
    queueId: answer.queueId,
    queueOffset: answer.queueOffset + i,
    status: answer.status,
    ...(answer.recallHandle !== undefined && { recallHandle: answer.recallHandle }),
  }))
}

/**
 * Indices of messages that travel together: one topic, one key, no delay and no priority, within
 * the size. Batches of one key form a row, which is sent in turn.
 */
function batchesOf(messages: readonly EncodedMessage[]): number[][][] {
  const rows = new Map<string, { batches: number[][]; bytes: number }>()
  const alone: number[][][] = []
  for (const [index, message] of messages.entries()) {
    if (message.isAlone) {
      alone.push([[index]])
      continue
    }
    const key = `${message.topic}\u0000${message.orderingKey ?? ''}`
    const bytes = BATCH_ITEM_FIXED_BYTES + message.body.length + message.properties.length
    const row = rows.get(key)
    if (row === undefined) {
      rows.set(key, { batches: [[index]], bytes })
      continue
    }
    const last = row.batches.at(-1)!
    if (row.bytes + bytes <= BATCH_BYTES_MAX && last.length < BATCH_MESSAGES_MAX) {
      last.push(index)
      row.bytes += bytes
    } else {
      row.batches.push([index])
      row.bytes = bytes
    }
  }
  return [...alone, ...[...rows.values()].map((row) => row.batches)]
}
