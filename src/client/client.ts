// The client: one entry to producing, consuming, reading and administration over RocketMQ's
// protocol. Owns what the parts share, and closes them in order.
import { setMaxListeners } from 'node:events'
import { unlessAborted } from '../abort.ts'
import { holdProcess, type Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { checkTopicName } from '../model/names.ts'
import { REQUEST } from '../remoting/codes.ts'
import { Admin } from './admin/admin.ts'
import type { CallOptions } from './calls/calls.ts'
import { checkKind, checkNames, KIND, type Kind } from './calls/option-names.ts'
import type { OutgoingMessage } from './calls/outgoing.ts'
import { type Status, StatusFeed } from './calls/status.ts'
import { Consumer, type Handler } from './consume/consumer.ts'
import type { Delivery, Message } from './consume/delivery.ts'
import type { MemberContext } from './consume/group-member.ts'
import { type PopOptions, Popper } from './consume/popper.ts'
import {
  Positions,
  type PullRequest,
  type PullResult,
  type QueueEnds,
} from './consume/positions.ts'
import { checkCount, memberOptions, type SubscribeOptions } from './consume/subscribe-options.ts'
import { type BatchOptions, type CloseOptions, Subscription } from './consume/subscription.ts'
import { type ReadOptions, TopicReader } from './consume/topic-reader.ts'
import { DeadLetters } from './dead-letters.ts'
import { type CheckedOptions, type ConnectOptions, checkOptions } from './options.ts'
import { Producer, type SendResult } from './produce/producer.ts'
import type { Reply } from './produce/reply.ts'
import { type ReplyMessage, Requests } from './produce/requests.ts'
import { Traces } from './produce/traces.ts'
import { Brokers } from './routes/brokers.ts'
import { type Directory, NameServers } from './routes/name-servers.ts'
import { Outages } from './routes/outages.ts'
import { type PeerOptions, Peers } from './routes/peers.ts'
import { Presence } from './routes/presence.ts'
import { Routes } from './routes/routes.ts'
import { SingleBroker } from './routes/single-broker.ts'
import { UniqueIds } from './routes/unique-id.ts'
import {
  TransactionalProducer,
  type TransactionResult,
  type TransactionWork,
} from './transactional-producer.ts'

export interface SubscriptionOptions extends SubscribeOptions {
  /** Ends the iteration with its reason; messages in hand go back to the group. */
  readonly signal?: AbortSignal | undefined
}

export interface ConsumeOptions extends SubscribeOptions {
  /** Messages handled at the same time; default 1. */
  readonly concurrency?: number | undefined
  /** Gives up starting. */
  readonly signal?: AbortSignal | undefined
}

const CONCURRENCY_MAX = 10_000
const POLL_PREFETCH = 64
const CLOSE_DEADLINE_MS = 10_000

/**
 * Dials, so that a wrong address shows at once. Rejects with UNREACHABLE and what to do about it.
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const client = new Client(checkOptions(options))
  try {
    await client.admin.brokers({ signal: options.signal })
    await client.introduce()
    return client
  } catch (error) {
    await client.close({ deadlineMs: 0 })
    throw error
  }
}

/** Joined with its first call; `rest` are its other options beside group and topics. */
interface Poller {
  readonly subscription: Subscription
  readonly rest: string
}

const unlikeFirst = (group: string): BrokerError =>
  new BrokerError(
    'ARGUMENT_INVALID',
    `this client polls for group '${group}' with other options already; say the same at each call of poll`,
  )

interface Closable {
  close(options: CloseOptions): Promise<void>
}

export class Client implements AsyncDisposable {
  readonly admin: Admin
  /** The messages that groups gave up. */
  readonly deadLetters: DeadLetters
  readonly #status = new StatusFeed()
  readonly #outages: Outages
  readonly #directoryPeers: Peers
  readonly #presence: Presence
  readonly #traces: Traces | undefined
  readonly #producer: Producer
  readonly #requests: Requests
  readonly #transactions: TransactionalProducer
  readonly #positions: Positions
  readonly #popper: Popper
  readonly #context: MemberContext
  readonly #open = new Set<Closable>()
  readonly #pollers = new Map<string, Poller>()
  readonly #hold: Timer = holdProcess()
  #closing: Promise<void> | undefined
  #isDrained = false

  /** Use `connect`. */
  constructor(options: CheckedOptions) {
    const { clock, nameServers, broker, producerGroup, inOrder, bodyBytesMax, timeoutMs } = options
    const { tls, connectTimeoutMs, checkTransaction: check } = options
    const dialling = { clock, status: this.#status, tls, connectTimeoutMs }
    this.#outages = new Outages(dialling)
    const peers: PeerOptions = { ...dialling, credentials: options.auth, outages: this.#outages }
    this.#directoryPeers = new Peers(peers)
    const directory: Directory =
      broker === undefined
        ? new NameServers(this.#directoryPeers, nameServers)
        : new SingleBroker(this.#directoryPeers, broker)
    const routes = new Routes(directory, clock, this.#outages)
    const role = { consumers: [], producerGroups: [producerGroup] }
    this.#presence = new Presence(peers, role, {
      asked: (command) =>
        command.code === REQUEST.pushReply ? this.#requests.pushed(command) : undefined,
      push: (command, address) => this.#transactions.onPush(command, address),
    })
    const brokers = new Brokers(this.#presence, routes)
    const ids = new UniqueIds(clock)
    const sending = { clock, group: producerGroup, inOrder, bodyBytesMax, timeoutMs }
    if (options.trace) {
      this.#traces = new Traces(clock, new Producer(sending, brokers, routes, ids), this.#status)
    }
    const traces = this.#traces
    this.#producer = new Producer({ ...sending, traces }, brokers, routes, ids)
    const { clientId } = this.#presence
    this.#requests = new Requests({ ...sending, clientId }, this.#producer, brokers, routes, ids)
    const ending = { clock, group: producerGroup, timeoutMs, check, status: this.#status }
    this.#transactions = new TransactionalProducer(
      ending,
      this.#producer,
      this.#presence,
      directory,
    )
    this.#positions = new Positions(brokers, routes)
    this.#popper = new Popper(clock, brokers, routes, timeoutMs)
    this.deadLetters = new DeadLetters(this)
    this.admin = new Admin(directory, this.#presence, routes, this.#outages)
    this.#context = { clock, status: this.#status, routes, peers, traces }
  }

  /**
   * Settles when the broker has accepted the message, after as many attempts as the time allows.
   */
  async send(message: OutgoingMessage, options: CallOptions = {}): Promise<SendResult> {
    this.#checkSend(options)
    return this.#producer.send(message, options)
  }

  /**
   * In one request per topic and ordering key. Rejects with a BatchError when any was not accepted.
   */
  async sendBatch(
    messages: readonly OutgoingMessage[],
    options: CallOptions = {},
  ): Promise<readonly SendResult[]> {
    this.#checkSend(options)
    checkKind('messages', messages, KIND.list)
    return this.#producer.sendBatch(messages, options)
  }

  /** Settles when the message is written to the socket; the broker does not confirm it. */
  async sendOneWay(message: OutgoingMessage, options: CallOptions = {}): Promise<void> {
    this.#checkSend(options)
    return this.#producer.sendOneWay(message, options)
  }

  /**
   * Takes a delayed message back, by the handle of its send: it is never delivered then. Rejects
   * with MESSAGE_NOT_FOUND when its time has come. May be repeated before that.
   */
  async recall(recallHandle: string, options: CallOptions = {}): Promise<void> {
    this.#checkSend(options)
    checkKind('recallHandle', recallHandle, KIND.text)
    return this.#producer.recall(recallHandle, options)
  }

  /**
   * Sends a message that asks for a reply, and waits for it: within the timeout, for both together.
   * Rejects as a send does, and with TIMED_OUT when nothing replied.
   */
  async request(message: OutgoingMessage, options: CallOptions = {}): Promise<Reply> {
    this.#checkSend(options)
    checkKind('message', message, KIND.object)
    checkTopicName(message.topic)
    return this.#requests.request(message, options)
  }

  /**
   * Answers a message that asks for a reply. Settles when its sender has the reply; rejects with
   * CLIENT_NOT_FOUND when that is gone.
   */
  async reply(request: Message, answer: ReplyMessage, options: CallOptions = {}): Promise<void> {
    this.#checkSend(options)
    checkKind('request', request, KIND.object)
    checkKind('request.property', request.property, KIND.work)
    return this.#requests.reply(request, answer, options)
  }

  /**
   * Stores the message where no consumer sees it, lets the application do its own work, and commits
   * the message when that returns, or rolls it back when it throws, and rejects with its error.
   * What the broker was not told of it asks `checkTransaction` of `connect` for.
   */
  async transaction(
    message: OutgoingMessage,
    work: TransactionWork,
    options: CallOptions = {},
  ): Promise<TransactionResult> {
    this.#checkSend(options)
    checkKind('message', message, KIND.object)
    checkKind('work', work, KIND.work)
    return this.#transactions.run(message, work, options)
  }

  /** For `connect`: brokers know this client as a producer whose transactions they may check. */
  introduce(): Promise<void> {
    return this.#transactions.introduce()
  }

  /** Messages of a group as an async iterable; each is to be settled. */
  subscribe(options: SubscriptionOptions): Subscription {
    this.#check(options)
    const member = memberOptions(options)
    return this.#keep((closed) => new Subscription(member, this.#context, closed, options.signal))
  }

  /** Runs the handler for every message of a group. Settles when the consumer has its queues. */
  async consume(options: ConsumeOptions, handler: Handler): Promise<Consumer> {
    this.#check(options)
    checkKind('options', options, KIND.object)
    checkKind('handler', handler, KIND.work)
    const { concurrency = 1, signal } = options
    checkCount('concurrency', concurrency, 1, CONCURRENCY_MAX)
    const checked = { ...memberOptions(options), concurrency }
    const consumer = this.#keep((closed) => new Consumer(checked, this.#context, handler, closed))
    await consumer.start(signal)
    return consumer
  }

  /**
   * Some messages of a group now. The first call joins the group, which it stays in until the
   * close.
   */
  async poll(options: SubscribeOptions, batch: BatchOptions = {}): Promise<Delivery[]> {
    this.#check(batch)
    checkKind('options', options, KIND.object)
    const member = memberOptions({ prefetch: POLL_PREFETCH, ...options })
    const filters = [...member.topics].map(([topic, { expression }]) => `${topic}=${expression}`)
    const key = [member.group, ...filters.sort()].join('\u0000')
    const rest = JSON.stringify({ ...member, topics: undefined })
    let poller = this.#pollers.get(key)
    if (poller === undefined) {
      const subscription = this.#keep(
        (closed) =>
          new Subscription(member, this.#context, () => {
            this.#pollers.delete(key)
            closed()
          }),
      )
      poller = { subscription, rest }
      this.#pollers.set(key, poller)
    }
    if (poller.rest !== rest) throw unlikeFirst(member.group)
    await unlessAborted(poller.subscription.ready, batch.signal)
    return poller.subscription.poll(batch)
  }

  /**
   * Some messages of a group now, one by one from whichever queue: each is this caller's for a
   * time, and nothing is joined. Needs TrivetMQ or RocketMQ 5.
   */
  async pop(options: PopOptions, batch: BatchOptions = {}): Promise<Delivery[]> {
    this.#check(batch)
    checkKind('options', options, KIND.object)
    return this.#popper.pop(options, batch)
  }

  /** A topic's messages without a consumer group, from the given place on. */
  read(options: ReadOptions): TopicReader {
    this.#check(options)
    return this.#keep((closed) => new TopicReader(options, this.#context, closed))
  }

  /** The messages of one queue from an offset on. */
  async pull(request: PullRequest): Promise<PullResult> {
    this.#check(request)
    return this.#positions.pull(request)
  }

  /** The queues of a topic and how far they reach. */
  async queues(topic: string, options: CallOptions = {}): Promise<readonly QueueEnds[]> {
    this.#check(options)
    checkTopicName(topic)
    return this.#positions.queues(topic, options)
  }

  /** First offset of a queue stored at or after the time. */
  async offsetByTime(
    at: { topic: string; queueId: number; brokerName?: string | undefined; timestampMs: number },
    options: CallOptions = {},
  ): Promise<number> {
    this.#check(options)
    checkNames('field of a place', at, AT_NAMES)
    checkTopicName(at.topic)
    checkKind('queueId', at.queueId, KIND.count)
    checkKind('timestampMs', at.timestampMs, KIND.count)
    return this.#positions.offsetByTime(at, options)
  }

  /** The unreachable brokers first, then events in the background from now on. */
  status(): AsyncIterableIterator<Status> {
    return this.#status.listen(this.#outages.current)
  }

  /**
   * Consumers finish what they have in hand until the deadline, commit and sign off, sends under
   * way get their answers, then the connections go. Idempotent, never rejects, and does not wait
   * for a broker that is down.
   */
  close(options: CloseOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options.deadlineMs ?? CLOSE_DEADLINE_MS)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(deadlineMs: number): Promise<void> {
    const { clock } = this.#context
    const deadline = clock.monotonic() + deadlineMs
    await Promise.all([...this.#open].map((one) => one.close({ deadlineMs })))
    await this.#transactions.close(deadline - clock.monotonic())
    this.#isDrained = true
    await this.#producer.idle(deadline - clock.monotonic())
    await this.#traces?.close(deadline - clock.monotonic())
    this.#requests.close()
    this.#outages.close()
    await this.#presence.close()
    this.#directoryPeers.close()
    this.#status.close()
    this.#hold.cancel()
  }

  #keep<T extends Closable>(make: (closed: () => void) => T): T {
    const made: T = make(() => this.#open.delete(made))
    this.#open.add(made)
    return made
  }

  /** @throws BrokerError CLOSED, or the signal's reason */
  #check(options: { readonly signal?: AbortSignal | undefined } = {}): void {
    if (this.#closing !== undefined) throw new BrokerError('CLOSED', 'the client is closed')
    checkKind('options', options, KIND.object)
    checkSignal(options.signal)
  }

  /** A handler that finishes its last message may still send. */
  #checkSend(options: CallOptions): void {
    if (this.#isDrained) throw new BrokerError('CLOSED', 'the client is closed')
    checkNames('option of a send', options, CALL_NAMES)
    checkSignal(options.signal)
  }
}

const AT_NAMES = {
  topic: KIND.text,
  queueId: KIND.count,
  brokerName: KIND.text,
  timestampMs: KIND.count,
} as const

const CALL_NAMES: Readonly<Record<keyof CallOptions, Kind | true>> = {
  timeoutMs: KIND.ms,
  signal: KIND.signal,
}

/**
 * One signal may end any number of calls, which Node takes for a leak.
 * @throws the signal's reason
 */
function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined) return
  checkKind('signal', signal, KIND.signal)
  signal.throwIfAborted()
  setMaxListeners(0, signal)
}
