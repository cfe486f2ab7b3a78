// The open transactions of one connection (AMQP 4): declared and discharged through its
// coordinators, and rolled back when their time is over or their coordinator is gone.
import { randomBytes } from 'node:crypto'
import type { Authenticator, Principal } from '../../../access/auth.ts'
import type { Clock, Timer } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { Receipt } from '../../../model/message.ts'
import { type Broker, UNCERTAIN_CODES } from '../../../port/broker.ts'
import type { Traffic } from '../../../port/traffic.ts'
import { AmqpError, CONDITION, conditionOf } from '../errors.ts'
import { TRANSACTIONS_PER_CONNECTION_MAX } from '../limits.ts'
import type { Ingest } from './ingest.ts'
import { Transaction, type TransactionBytes } from './transaction.ts'

/** Received messages are the peer's for so much longer than the transaction that they are in. */
const LOCK_MARGIN_MS = 10_000

export interface LocalTransactionsOptions {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
  readonly traffic: Traffic
  readonly auth: Authenticator
  readonly principal: Principal
  /** Messages outside of transactions: those that came before a discharge are stored before it. */
  readonly ingest: Ingest
  readonly bytes: TransactionBytes
  /** From the first message or outcome of a transaction to its end by itself. */
  readonly transactionMs: number
}

interface Open {
  readonly transaction: Transaction
  /** The link that declared it. */
  readonly coordinator: object
  timer: Timer | undefined
}

export class LocalTransactions {
  readonly #options: LocalTransactionsOptions
  readonly #open = new Map<string, Open>()
  /** An id of an earlier connection is none of this one. */
  readonly #prefix = randomBytes(4)
  readonly #discharging = new Set<Promise<void>>()
  #declared = 0

  constructor(options: LocalTransactionsOptions) {
    this.#options = options
  }

  /** @throws AmqpError resource-limit-exceeded */
  declare(coordinator: object): Transaction {
    if (this.#open.size >= TRANSACTIONS_PER_CONNECTION_MAX) {
      const most = TRANSACTIONS_PER_CONNECTION_MAX
      const text = `${most} transactions are open on this connection; discharge one first`
      throw new AmqpError(CONDITION.resourceLimit, text, 'link')
    }
    const id = Buffer.alloc(8)
    id.set(this.#prefix)
    id.writeUInt32BE(++this.#declared >>> 0, 4)
    const transaction = new Transaction(id, this.#options.bytes)
    this.#open.set(keyOf(id), { transaction, coordinator, timer: undefined })
    return transaction
  }

  /** @throws AmqpError unknown-id */
  find(txnId: Buffer): Transaction {
    return this.#find(txnId).transaction
  }

  #find(txnId: Buffer): Open {
    const open = this.#open.get(keyOf(txnId))
    if (open !== undefined) return open
    const text = 'no transaction with this txn-id is open on this connection'
    throw new AmqpError(CONDITION.unknownTransaction, text, 'session')
  }

  /** The transaction has its first message or outcome: its time begins. */
  start(transaction: Transaction): void {
    const open = this.#open.get(keyOf(transaction.id))
    if (open === undefined || open.timer !== undefined || transaction.failure !== undefined) return
    const { clock, transactionMs } = this.#options
    open.timer = clock.after(transactionMs, () => {
      const description = `the transaction was not discharged within ${transactionMs} ms`
      transaction.fail({ condition: CONDITION.transactionTimeout, description })
    })
  }

  /** Keeps received messages from other consumers for as long as the transaction may take. */
  hold(transaction: Transaction, receipts: readonly Receipt[]): void {
    this.start(transaction)
    if (receipts.length === 0) return
    const { broker, log, transactionMs } = this.#options
    const extending = broker.extend(receipts, transactionMs + LOCK_MARGIN_MS)
    // A receipt that is not good any more fails the discharge.
    extending.catch((error: unknown) => {
      const fields = { evt: 'amqp.hold_failed', error: String(error) }
      log.debug(fields, 'messages of a transaction keep the time that they had')
    })
  }

  get lockMs(): number {
    return this.#options.transactionMs + LOCK_MARGIN_MS
  }

  /**
   * Ends the transaction; without `fail` by committing it. Within the call everything that came
   * before is handed to the broker. @throws AmqpError when it was rolled back, or may have been
   */
  discharge(txnId: Buffer, fail: boolean): Promise<void> {
    const { transaction, timer } = this.#find(txnId)
    this.#open.delete(keyOf(txnId))
    timer?.cancel()
    const ended = fail ? this.#rollBack(transaction) : this.#commit(transaction)
    const done = ended.finally(() => this.#discharging.delete(done))
    this.#discharging.add(done)
    return done
  }

  async #rollBack(transaction: Transaction): Promise<void> {
    transaction.rollBack(false)
  }

  async #commit(transaction: Transaction): Promise<void> {
    const { broker, clock, traffic, ingest } = this.#options
    const { failure, messages } = transaction
    if (failure !== undefined) throw failed(failure)
    ingest.flush()
    const sizes = messages.map(({ body, properties }) => body.length + properties.length)
    const sinceMs = clock.monotonic()
    try {
      this.#checkGrants(transaction)
      const stored = await broker.publishAndSettle(messages, transaction.settlements())
      traffic.published(sizes, stored, clock.monotonic() - sinceMs)
      transaction.committed()
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      for (const _ of sizes) traffic.refused(error.code)
      transaction.rollBack(false)
      throw notCommitted(error)
    }
  }

  /** @throws BrokerError PERMISSION_DENIED */
  #checkGrants(transaction: Transaction): void {
    const { auth, principal } = this.#options
    for (const name of transaction.publishes) {
      auth.authorize(principal, 'publish', { kind: 'topic', name })
    }
    for (const resource of transaction.consumes) auth.authorize(principal, 'consume', resource)
  }

  /** A coordinator is gone: what it declared is rolled back (AMQP 4.3). */
  end(coordinator: object, isLost: boolean): void {
    for (const [key, open] of this.#open) {
      if (open.coordinator !== coordinator) continue
      this.#open.delete(key)
      open.timer?.cancel()
      open.transaction.rollBack(isLost)
    }
  }

  /** Settles when every discharge that came so far is done. */
  async whenIdle(): Promise<void> {
    await Promise.allSettled(this.#discharging)
  }
}

const keyOf = (id: Buffer): string => id.latin1Slice()

const failed = ({ condition, description }: NonNullable<Transaction['failure']>): AmqpError =>
  condition === CONDITION.transactionTimeout
    ? new AmqpError(condition, description, 'link')
    : new AmqpError(CONDITION.rolledBack, `${condition}: ${description}`, 'link')

/** After an error that leaves it open, the peer is not told that it was rolled back. */
function notCommitted(error: BrokerError): AmqpError {
  const { code, message } = error
  if (!UNCERTAIN_CODES.has(code)) return new AmqpError(CONDITION.rolledBack, message, 'link')
  const text = `it is not known whether the transaction was committed: ${message}`
  return new AmqpError(conditionOf(code), text, 'link')
}
