// Transactions: a half message, the application's own work, and a commit or a rollback. What stays
// open a broker asks about, this client or another one of its group, so the answer comes from a
// function that outlives the work: the application's `checkTransaction`.
import type { Clock, Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { parseOffsetMessageId } from '../model/message-id.ts'
import { PROPERTY } from '../model/properties.ts'
import { RecordView } from '../model/record.ts'
import { REQUEST } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'
import type { RemotingConnection } from '../remoting/connection.ts'
import { readFields } from '../remoting/layout.ts'
import { CHECK_TRANSACTION, TRANSACTION_OUTCOME } from '../remoting/requests/transactions.ts'
import { type CallOptions, endTransaction } from './calls/calls.ts'
import type { OutgoingMessage } from './calls/outgoing.ts'
import type { StatusFeed } from './calls/status.ts'
import { Delivery, type Message } from './consume/delivery.ts'
import type { Producer, SendResult } from './produce/producer.ts'
import type { Directory } from './routes/name-servers.ts'
import type { Presence } from './routes/presence.ts'

/** What became of the application's work; 'unknown': the broker asks again. */
export type TransactionOutcome = 'commit' | 'rollback' | 'unknown'

/** Asked with the half message, also for transactions of other clients of the group. */
export type CheckTransaction = (
  message: Message,
) => TransactionOutcome | Promise<TransactionOutcome>

/**
 * The application's own work. Its return commits the message, but for 'rollback' and 'unknown', and
 * its exception rolls it back.
 */
export type TransactionWork = (half: SendResult) => unknown

export interface TransactionResult extends SendResult {
  /** 'open': it is not known, or the broker was not told. It asks `checkTransaction` later. */
  readonly state: 'committed' | 'rolled-back' | 'open'
}

/** Questions that are being answered; a broker repeats those beyond. */
const CHECKS_AT_ONCE_MAX = 256
/** A broker asks the clients that it knows: all are told of this one, and again in time. */
const INTRODUCE_MS = 30_000
const INTRODUCE_TIMEOUT_MS = 5_000

export interface TransactionalProducerOptions {
  readonly clock: Clock
  readonly group: string
  readonly timeoutMs: number
  readonly check: CheckTransaction | undefined
  readonly status: StatusFeed
}

export class TransactionalProducer {
  readonly #options: TransactionalProducerOptions
  readonly #producer: Producer
  readonly #presence: Presence
  readonly #directory: Directory
  readonly #open = new Set<Promise<unknown>>()
  readonly #introducing: Timer | undefined
  #checks = 0

  constructor(
    options: TransactionalProducerOptions,
    producer: Producer,
    presence: Presence,
    directory: Directory,
  ) {
    this.#options = options
    this.#producer = producer
    this.#presence = presence
    this.#directory = directory
    const introduce = () => void this.introduce()
    if (options.check) this.#introducing = options.clock.every(INTRODUCE_MS, introduce)
  }

  async run(
    message: OutgoingMessage,
    work: TransactionWork,
    options: CallOptions,
  ): Promise<TransactionResult> {
    if (this.#options.check === undefined) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        "a transaction needs the option 'checkTransaction' of connect: by it a broker asks what became of one that was left open",
      )
    }
    if (message.delayMs !== undefined) {
      const text = "a message of a transaction has no 'delayMs': RocketMQ loses its delay"
      throw new BrokerError('MESSAGE_INVALID', text)
    }
    const running = this.#run(message, work, options)
    this.#open.add(running)
    try {
      return await running
    } finally {
      this.#open.delete(running)
    }
  }

  /** Makes this client known to every broker, so that it is asked. Never rejects. */
  async introduce(): Promise<void> {
    if (this.#options.check === undefined) return
    const options = { timeoutMs: INTRODUCE_TIMEOUT_MS }
    const brokers = await this.#directory.brokers(options).catch(() => [])
    const masters = brokers.flatMap(({ addresses }) => addresses.get(0) ?? [])
    await Promise.allSettled(masters.map((address) => this.#presence.connection(address, options)))
  }

  /** A request of a broker; one that is no check is another's. */
  onPush(command: Command, address: string): void {
    const { check } = this.#options
    if (command.code !== REQUEST.checkTransactionState || check === undefined) return
    if (this.#checks >= CHECKS_AT_ONCE_MAX) return
    this.#checks++
    this.#answer(command, address, check)
      .catch((error) => this.#failed(error))
      .finally(() => this.#checks--)
  }

  /** Waits for those under way until the deadline. Never rejects. */
  async close(deadlineMs: number): Promise<void> {
    this.#introducing?.cancel()
    if (this.#open.size === 0 || deadlineMs <= 0) return
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(deadlineMs, resolve)
      void Promise.allSettled([...this.#open]).then(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  async #run(
    message: OutgoingMessage,
    work: TransactionWork,
    options: CallOptions,
  ): Promise<TransactionResult> {
    const half = await this.#producer.prepare(message, options)
    let said: unknown
    try {
      said = await work(half)
    } catch (thrown) {
      await this.#end(half, 'rollback').catch((error) => this.#failed(error))
      throw thrown
    }
    if (said === 'unknown') return { ...half, state: 'open' }
    const outcome = said === 'rollback' ? said : 'commit'
    if (!(await this.#end(half, outcome))) return { ...half, state: 'open' }
    return { ...half, state: outcome === 'commit' ? 'committed' : 'rolled-back' }
  }

  /**
   * Once only: Apache's broker would deliver again what is committed twice. Rejects with the
   * broker's refusal. @returns false when the broker may not know: it will ask
   */
  async #end(half: SendResult, outcome: 'commit' | 'rollback'): Promise<boolean> {
    const { timeoutMs } = this.#options
    try {
      const connection = await this.#producer.connectionOf(half, { timeoutMs })
      const commitLogOffset = parseOffsetMessageId(half.offsetMessageId).position
      await endTransaction(
        connection,
        {
          ...{ topic: half.topic, producerGroup: this.#options.group, msgId: half.messageId },
          ...{ tranStateTableOffset: half.queueOffset, commitLogOffset },
          commitOrRollback: TRANSACTION_OUTCOME[outcome],
          transactionId: half.messageId,
        },
        { timeoutMs },
      )
      return true
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (!error.retryable && error.code !== 'CLOSED') throw error
      this.#failed(error)
      return false
    }
  }

  #failed(thrown: unknown): void {
    this.#options.status.emit({ type: 'error', error: BrokerError.from(thrown) })
  }

  async #answer(command: Command, address: string, check: CheckTransaction): Promise<void> {
    const { tranStateTableOffset, commitLogOffset, topic, msgId, bname } = readFields(
      CHECK_TRANSACTION,
      command.fields,
    )
    const record = new RecordView(Buffer.from(command.body))
    const outcome = await check(new Delivery(record, bname ?? ''))
    if (outcome === 'unknown') return
    if (outcome !== 'commit' && outcome !== 'rollback') {
      const text = `checkTransaction said ${String(outcome)}; 'commit', 'rollback' or 'unknown' is due`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    const connection: RemotingConnection = await this.#presence.connection(address)
    const fields = {
      ...{ topic, tranStateTableOffset, commitLogOffset, fromTransactionCheck: true },
      producerGroup: record.property(PROPERTY.producerGroup) ?? this.#options.group,
      msgId: msgId ?? '',
      transactionId: msgId ?? '',
      commitOrRollback: TRANSACTION_OUTCOME[outcome],
    }
    await endTransaction(connection, fields, { timeoutMs: this.#options.timeoutMs })
  }
}
