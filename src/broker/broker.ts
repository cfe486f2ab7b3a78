// The embedded broker: puts the parts together over one store and answers the Broker port with
// them. Decides nothing itself. The port is declared by its users in gateway/gateway.ts and
// satisfied by shape.
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type {
  HandBack,
  NewMessage,
  PublishResult,
  PullRequest,
  PullResult,
  Receipt,
  ReceivedMessage,
  ReceiveRequest,
  SendBack,
  SettleResult,
  StateChange,
} from '../model/message.ts'
import { isLightQueue } from '../model/names.ts'
import type { QueueOffset } from '../model/positions.ts'
import type { BrokerStatus } from '../model/status.ts'
import type { MessageStore } from '../store/store.ts'
import { Arrivals } from './arrivals.ts'
import { ClientTable } from './clients.ts'
import { CursorTable } from './cursors.ts'
import { Delays } from './delays.ts'
import { FactWriter } from './fact-writer.ts'
import { GroupModes } from './group-modes.ts'
import { GroupTable } from './groups.ts'
import { LightQueueTable } from './light-queues.ts'
import { BROKER_DEFAULTS, type BrokerOptions } from './options.ts'
import {
  clientsPort,
  cursorsPort,
  groupsPort,
  lightQueuesPort,
  lookupPort,
  queueLocksPort,
  sessionsPort,
  topicsPort,
} from './ports.ts'
import { Publisher } from './publisher.ts'
import { Puller } from './puller.ts'
import { QueueLockTable } from './queue-locks.ts'
import { Receiver } from './receiver.ts'
import { Removal } from './removal.ts'
import { Retries } from './retries.ts'
import { SessionTable } from './sessions.ts'
import { brokerStatus } from './status.ts'
import { TopicTable } from './topics.ts'

export interface OpenBrokerOptions {
  readonly store: MessageStore
  readonly clock: Clock
  readonly log: Logger
  /** The rest has the defaults of options.ts. */
  readonly options?: Partial<BrokerOptions>
}

/** Everything durable is read back. The store stays its owner's to close, after the broker. */
export function openBroker(given: OpenBrokerOptions): EmbeddedBroker {
  return new EmbeddedBroker(assemble(given))
}

export type BrokerParts = ReturnType<typeof assemble>

function assemble({ store, clock, log, options: changed }: OpenBrokerOptions) {
  const options: BrokerOptions = { ...BROKER_DEFAULTS, ...changed }
  const facts = new FactWriter(store, clock, log, options.cursorFlushMs)
  const topics = new TopicTable(store, facts, options)
  const groups = new GroupTable(store, facts, topics, options)
  const cursors = new CursorTable(store, facts, log)
  const lightQueues = new LightQueueTable(store, facts)
  // What damage took of the log, a topic's definition perhaps, may be put back.
  if (store.status().damage.length === 0) {
    const orphans = cursors.dropOrphans((topic) =>
      isLightQueue(topic) ? lightQueues.has(topic) : topics.find(topic) !== undefined,
    )
    // What the store does not take now is an orphan at the next start again.
    facts.write(orphans).catch(() => {})
  }
  const arrivals = new Arrivals(log)
  const common = {
    store,
    clock,
    log,
    options,
    facts,
    topics,
    groups,
    cursors,
    lightQueues,
    arrivals,
  }
  const delays = new Delays(store, topics, clock, log)
  const locks = new QueueLockTable(clock, options.lockLeaseMs)
  const sessions = new SessionTable(store, facts, clock)
  const publisher = new Publisher({ ...common, delays, locks, sessions })
  const puller = new Puller(common)
  const retries = new Retries({ ...common, delays })
  const modes: GroupModes = new GroupModes((group) => receiver.isBusy(group))
  const receiver: Receiver = new Receiver({ ...common, modes, retries })
  const clients = new ClientTable({ ...common, modes, locks, receiver })
  const removal = new Removal({ ...common, puller, receiver, locks })
  store.onArrival(arrivals.note)
  store.onWritable((writable) => {
    if (!writable) return
    delays.arm()
    void topics.unsavedTopics.saveAll()
    void groups.unsaved.saveAll()
  })
  topics.watch((topic) => receiver.refresh(topic))
  const startedAtMs = clock.now()
  return {
    ...common,
    ...{ delays, publisher, puller, retries, locks, modes, receiver, clients, sessions, removal },
    startedAtMs,
  }
}

export class EmbeddedBroker {
  readonly identity
  readonly topics
  readonly groups
  readonly cursors
  readonly lightQueues
  readonly lookup
  readonly clients
  readonly sessions
  readonly queueLocks
  readonly #parts: BrokerParts
  #isClosed = false

  constructor(parts: BrokerParts) {
    const { clusterName, brokerName, brokerId } = parts.options
    this.identity = { clusterName, brokerName, brokerId, storeHost: parts.store.storeHost }
    this.topics = topicsPort(parts)
    this.groups = groupsPort(parts)
    this.cursors = cursorsPort(parts)
    this.lightQueues = lightQueuesPort(parts)
    this.lookup = lookupPort(parts)
    this.clients = clientsPort(parts)
    this.sessions = sessionsPort(parts)
    this.queueLocks = queueLocksPort(parts)
    this.#parts = parts
  }

  publish(
    messages: readonly NewMessage[],
    changes?: readonly StateChange[],
  ): Promise<readonly PublishResult[]> {
    if (this.#isClosed) return Promise.reject(closed())
    return this.#parts.publisher.publish(messages, changes)
  }

  async pull(request: PullRequest): Promise<PullResult> {
    this.#checkOpen()
    return this.#parts.puller.pull(request)
  }

  async receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    this.#checkOpen()
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
    return this.#parts.retries.sendBack(request)
  }

  watch(topic: string, arrived: (queueId: number, maxOffset: QueueOffset) => void): Disposable {
    return this.#parts.arrivals.watch(topic, arrived)
  }

  async status(): Promise<BrokerStatus> {
    return brokerStatus(this.identity, this.#parts)
  }

  /** Held pulls and receives come back, cursors and sessions become durable. Idempotent. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    const { puller, receiver, clients, delays, retries, facts } = this.#parts
    puller.close()
    receiver.close()
    clients.close()
    await delays.close()
    await retries.close()
    await facts.close()
  }

  #checkOpen(): void {
    if (this.#isClosed) throw closed()
  }
}

const closed = (): BrokerError => new BrokerError('CLOSED', 'the broker is closed')
