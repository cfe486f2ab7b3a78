// The embedded broker: answers the Broker port with the parts over one store. Decides nothing
// itself.
import { BrokerError } from '../errors.ts'
import type {
  HandBack,
  NewMessage,
  PublishReceipt,
  PublishResult,
  PullRequest,
  PullResult,
  Receipt,
  ReceivedMessage,
  ReceiveRequest,
  SendBack,
  Settlement,
  SettleResult,
} from '../model/message.ts'
import type { StateChange } from '../model/state.ts'
import type { BrokerStatus } from '../model/status.ts'
import type { Arrived, Broker } from '../port/broker.ts'
import type { QueueDirectory } from './consume/topic-spread.ts'
import { showBroker } from './numbers.ts'
import { assemble, type BrokerParts, type OpenBrokerOptions } from './parts.ts'
import {
  clientsPort,
  cursorsPort,
  groupsPort,
  lightQueuesPort,
  lookupPort,
  permissionPort,
  popsPort,
  queueLocksPort,
  statesPort,
  topicsPort,
  transactionsPort,
} from './ports.ts'
import { CHECKED_AT_ONCE_MAX } from './publish/publisher.ts'
import { ReplyTable } from './replies.ts'
import { brokerStatus } from './status.ts'

/** Everything durable is read back. The store stays its owner's to close, after the broker. */
export function openBroker(given: OpenBrokerOptions): EmbeddedBroker {
  if (given.store.status().isPassive) {
    const text = 'the store follows a master: promote it before a broker is opened over it'
    throw new BrokerError('NOT_SUPPORTED', text)
  }
  const parts = assemble(given)
  showBroker(parts.numbers, parts)
  return new EmbeddedBroker(parts)
}

export class EmbeddedBroker implements Broker {
  readonly identity
  readonly pops
  readonly permission
  readonly topics
  readonly groups
  readonly cursors
  readonly lightQueues
  readonly lookup
  readonly clients
  readonly states
  readonly queueLocks
  readonly transactions
  readonly replies = new ReplyTable()
  readonly #parts: BrokerParts
  #isClosed = false

  constructor(parts: BrokerParts) {
    const { clusterName, brokerName, brokerId } = parts.options
    this.identity = { clusterName, brokerName, brokerId, storeHost: parts.store.storeHost }
    this.pops = popsPort(parts)
    this.permission = permissionPort(parts)
    this.topics = topicsPort(parts)
    this.groups = groupsPort(parts)
    this.cursors = cursorsPort(parts)
    this.lightQueues = lightQueuesPort(parts)
    this.lookup = lookupPort(parts)
    this.clients = clientsPort(parts)
    this.states = statesPort(parts)
    this.queueLocks = queueLocksPort(parts)
    this.transactions = transactionsPort(parts)
    this.#parts = parts
  }

  /** Where the broker learns which others have queues of its topics; else it is alone. */
  set directory(directory: QueueDirectory) {
    this.#parts.spread.directory = directory
  }

  publish(
    messages: readonly NewMessage[],
    changes?: readonly StateChange[],
  ): Promise<readonly PublishResult[]> {
    if (this.#isClosed) return Promise.reject(closed())
    return this.#parts.publisher.publish(messages, changes)
  }

  async publishTogether(messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]> {
    this.#checkOpen()
    return this.#parts.publisher.publishTogether(messages)
  }

  async publishAndSettle(
    messages: readonly NewMessage[],
    settlements: readonly Settlement[],
  ): Promise<readonly PublishReceipt[]> {
    this.#checkOpen()
    const { publisher, receiver } = this.#parts
    if (messages.length > CHECKED_AT_ONCE_MAX) {
      const drafted = await publisher.draftInTurns(messages)
      if (settlements.length === 0) return publisher.appendDrafted(drafted)
      return receiver.settleTogether(settlements, (also) => publisher.appendDrafted(drafted, also))
    }
    if (settlements.length === 0) return publisher.publishAll(messages)
    return receiver.settleTogether(settlements, (also) => publisher.publishAll(messages, also))
  }

  async recall(topic: string, handle: string): Promise<string> {
    this.#checkOpen()
    return this.#parts.recalls.recall(topic, handle)
  }

  async pull(request: PullRequest): Promise<PullResult> {
    this.#checkOpen()
    this.#parts.checkOwn(request)
    return this.#parts.puller.pull(request)
  }

  async receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    this.#checkOpen()
    this.#parts.checkOwn(request)
    return this.#parts.receiver.receive(request)
  }

  async ack(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    this.#checkOpen()
    return this.#parts.receiver.ack(receipts)
  }

  async nack(
    receipts: readonly Receipt[],
    delayMs?: number,
    handBack?: HandBack,
  ): Promise<readonly SettleResult[]> {
    this.#checkOpen()
    return this.#parts.receiver.nack(receipts, delayMs, handBack)
  }

  async release(
    receipts: readonly Receipt[],
    handBack?: HandBack,
  ): Promise<readonly SettleResult[]> {
    this.#checkOpen()
    return this.#parts.receiver.release(receipts, handBack)
  }

  async abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    this.#checkOpen()
    return this.#parts.receiver.abandon(receipts)
  }

  async extend(
    receipts: readonly Receipt[],
    invisibleMs: number,
  ): Promise<readonly SettleResult[]> {
    this.#checkOpen()
    return this.#parts.receiver.extend(receipts, invisibleMs)
  }

  async deadLetter(receipts: readonly Receipt[], reason: string): Promise<readonly SettleResult[]> {
    this.#checkOpen()
    return this.#parts.receiver.deadLetter(receipts, reason)
  }

  async sendBack(request: SendBack): Promise<void> {
    this.#checkOpen()
    this.#parts.checkOwn(request)
    return this.#parts.retries.sendBack(request)
  }

  watch(topic: string, arrived: Arrived): Disposable {
    const { brokerName } = this.identity
    return this.#parts.arrivals.watch(topic, (queueId, maxOffset) =>
      arrived(brokerName, queueId, maxOffset),
    )
  }

  async status(): Promise<BrokerStatus> {
    return brokerStatus(this.identity, this.#parts)
  }

  /** Held pulls and receives come back, cursors and states become durable. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    const { puller, receiver, clients, states, dueTimer, retries, facts, rates, givenCounts } =
      this.#parts
    rates.close()
    givenCounts.close()
    puller.close()
    receiver.close()
    clients.close()
    states.claims.close()
    await dueTimer.close()
    await retries.close()
    await facts.close()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed()
  }
}

const closed = (): BrokerError => new BrokerError('CLOSED', 'the broker is closed')
