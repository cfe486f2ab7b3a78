// The Broker port over a cluster of RocketMQ's brokers, or of our own, by their native protocol:
// messages, offsets and groups are kept there, nothing is kept here. What a cluster cannot do is
// refused with NOT_SUPPORTED.
import { recallMessage, sendBack } from '../client/calls/calls.ts'
import type { Clock } from '../clock.ts'
import { BrokerError, type ErrorCode } from '../errors.ts'
import { NO_HOST } from '../model/host.ts'
import type {
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
import { decodeRecallHandle } from '../model/message-id.ts'
import { STATE_TOPIC } from '../model/names.ts'
import { logPosition } from '../model/positions.ts'
import { RecordView } from '../model/record.ts'
import type { StateChange } from '../model/state.ts'
import type { BrokerIdentity, BrokerStatus } from '../model/status.ts'
import { PERM_READ_WRITE } from '../model/topic.ts'
import { GivenCounts } from '../numbers/given-counts.ts'
import type { Arrived, Broker, Permission, QueueLocks } from '../port/broker.ts'
import type { Pops } from '../port/pops.ts'
import type { BrokerAddresses } from '../remoting/requests/route.ts'
import { ClusterClients } from './clients.ts'
import { ClusterGroups } from './definitions/groups.ts'
import { ClusterTopics } from './definitions/topics.ts'
import { Links, PRODUCER_GROUP } from './links.ts'
import { CLUSTER_DEFAULTS, type ClusterOptions } from './options.ts'
import { checkPopSupport } from './pop-support.ts'
import { ClusterPublisher } from './publish/cluster-publisher.ts'
import { ClusterCursors } from './read/cursors.ts'
import { ClusterLookup } from './read/lookup.ts'
import { ClusterPuller } from './read/puller.ts'
import { TopicWatch } from './read/topic-watch.ts'
import { ClusterReceiver } from './receive/receiver.ts'
import { ClusterReplies } from './replies.ts'
import { ChangingPublisher } from './states/changes.ts'
import { remakeStateTopic, type StateLayout, stateLayout } from './states/state-topic.ts'
import { ClusterStates } from './states/states.ts'
import { publishAndSettle } from './together.ts'
import { ClusterTransactions } from './transactions.ts'

export interface ClusterParts {
  readonly clock: Clock
  readonly options: Partial<ClusterOptions> & Pick<ClusterOptions, 'nameServers'>
  /** Of this gateway, as its clients are told. */
  readonly name: string
}

/**
 * Asks the name servers and reads where states are kept, so that what is wrong shows at once.
 * Rejects with UNREACHABLE, NO_ROUTE, PERMISSION_DENIED; NOT_SUPPORTED before RocketMQ 4.
 */
export async function openClusterBroker(parts: ClusterParts): Promise<ClusterBroker> {
  const { tls: _, ...defaults } = CLUSTER_DEFAULTS
  const options: ClusterOptions = { ...defaults, ...parts.options }
  const links = new Links(options, parts.clock)
  try {
    const brokers = await links.directory.brokers({ timeoutMs: options.requestTimeoutMs })
    checkAddresses(brokers)
    await checkPopSupport(links, options)
    const clusterName = brokers[0]?.cluster ?? 'DefaultCluster'
    const puller = new ClusterPuller({ links, clock: parts.clock, options })
    const lookup = new ClusterLookup({ links, options })
    const layout = await stateLayout({ links, options, clock: parts.clock, puller, lookup })
    const of = { clusterName, brokerName: parts.name }
    return new ClusterBroker(parts.clock, options, links, of, layout)
  } catch (thrown) {
    await links.close()
    const { code, message } = BrokerError.from(thrown)
    const of = options.nameServers.join(', ')
    throw new BrokerError(
      code,
      `the cluster of the name servers ${of} (cluster.nameServers) is not ready: ${message}` +
        (REFUSALS.has(code) ? '; the user is that of cluster.accessKey and cluster.secretKey' : ''),
      { cause: thrown },
    )
  }
}

const REFUSALS: ReadonlySet<ErrorCode> = new Set(['PERMISSION_DENIED', 'UNAUTHENTICATED'])

export class ClusterBroker implements Broker {
  readonly identity: BrokerIdentity
  readonly topics: ClusterTopics
  readonly groups: ClusterGroups
  readonly cursors: ClusterCursors
  readonly lookup: ClusterLookup
  readonly clients: ClusterClients
  readonly states: ClusterStates
  readonly replies: ClusterReplies
  readonly transactions: ClusterTransactions
  readonly lightQueues = undefined
  readonly #options: ClusterOptions
  readonly #links: Links
  readonly #publisher: ClusterPublisher
  readonly #changing: ChangingPublisher
  readonly #puller: ClusterPuller
  readonly #receiver: ClusterReceiver
  readonly #arrivals: TopicWatch
  readonly #given: GivenCounts
  readonly #startedAtMs: number

  /** Use `openClusterBroker`. */
  constructor(
    clock: Clock,
    options: ClusterOptions,
    links: Links,
    of: Pick<BrokerIdentity, 'clusterName' | 'brokerName'>,
    layout: StateLayout,
  ) {
    const parts = { clock, options, links }
    this.#options = options
    this.#links = links
    this.#startedAtMs = clock.now()
    this.identity = { ...of, brokerId: 0, storeHost: NO_HOST }
    const given = new GivenCounts(clock)
    this.#given = given
    this.topics = new ClusterTopics({
      ...parts,
      deleted: (topic) => this.#receiver.forget({ topic }),
    })
    this.groups = new ClusterGroups({
      ...parts,
      topics: this.topics,
      given: (group, topic) => given.of(group, topic),
      deleted: (group) => this.#receiver.forget({ group }),
    })
    this.cursors = new ClusterCursors({ ...parts, topics: this.topics })
    this.lookup = new ClusterLookup(parts)
    this.clients = new ClusterClients(parts)
    this.replies = new ClusterReplies({ ...parts, clusterName: of.clusterName })
    const { lookup, clients } = this
    this.transactions = new ClusterTransactions({ ...parts, lookup, clients })
    this.#publisher = new ClusterPublisher({
      ...parts,
      prepared: (half, item) => this.transactions.onPrepared(half, item),
    })
    this.#puller = new ClusterPuller(parts)
    this.states = new ClusterStates({
      clock,
      layout,
      publish: (messages) => this.#publisher.publish(messages, true),
      pull: (request) => this.#puller.pullOnce(request),
      find: (brokerName, key) => this.lookup.byKeyOn(brokerName, STATE_TOPIC, key),
      remake: (brokerName) => remakeStateTopic(parts, brokerName),
    })
    this.#changing = new ChangingPublisher({
      states: this.states,
      lookup: this.lookup,
      publish: (messages) => this.#publisher.publish(messages),
    })
    this.#arrivals = new TopicWatch({ ...parts, puller: this.#puller, topics: this.topics })
    this.#receiver = new ClusterReceiver({
      ...parts,
      groups: this.groups,
      topics: this.topics,
      cursors: this.cursors,
      given: (group, topic, messages) => given.add(group, topic, messages),
    })
  }

  publish(
    messages: readonly NewMessage[],
    changes: readonly StateChange[] = [],
  ): Promise<readonly PublishResult[]> {
    return this.#changing.publish(messages, changes)
  }

  publishTogether(messages: readonly NewMessage[]): Promise<readonly PublishReceipt[]> {
    return this.#publisher.publishTogether(messages)
  }

  publishAndSettle(
    messages: readonly NewMessage[],
    settlements: readonly Settlement[],
  ): Promise<readonly PublishReceipt[]> {
    const [publisher, receiver] = [this.#publisher, this.#receiver]
    return publishAndSettle({ publisher, receiver }, messages, settlements)
  }

  async recall(topic: string, handle: string): Promise<string> {
    const limits = this.#limits
    await this.#links.routes.queues(topic, limits)
    const named = decodeRecallHandle(handle)
    if (named === undefined || named.topic !== topic) {
      throw new BrokerError('ARGUMENT_INVALID', `what is given is no handle of '${topic}'`)
    }
    const connection = await this.#links.brokers.connection(named.brokerName, limits)
    const request = { producerGroup: PRODUCER_GROUP, topic, recallHandle: handle }
    await recallMessage(connection, request, limits)
    return named.messageId
  }

  async pull(request: PullRequest): Promise<PullResult> {
    checkReadable(request)
    const result = await this.#puller.pull(request)
    if (request.group !== undefined) this.#given.add(request.group, request.topic, result.count)
    return result
  }

  async receive(request: ReceiveRequest): Promise<readonly ReceivedMessage[]> {
    checkReadable(request)
    return this.#receiver.receive(request)
  }

  ack(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    return this.#receiver.ack(receipts)
  }

  nack(receipts: readonly Receipt[], delayMs?: number): Promise<readonly SettleResult[]> {
    return this.#receiver.nack(receipts, delayMs)
  }

  release(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    return this.#receiver.release(receipts)
  }

  abandon(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    return this.#receiver.abandon(receipts)
  }

  extend(receipts: readonly Receipt[], invisibleMs: number): Promise<readonly SettleResult[]> {
    return this.#receiver.extend(receipts, invisibleMs)
  }

  deadLetter(receipts: readonly Receipt[]): Promise<readonly SettleResult[]> {
    return this.#receiver.deadLetter(receipts)
  }

  async sendBack({ group, brokerName, position, delayLevel, retryTimesMax }: SendBack) {
    const masters = await this.#links.masters.list(this.#limits)
    if (!masters.some(({ name }) => name === brokerName)) {
      throw new BrokerError('QUEUE_NOT_FOUND', `the cluster has no broker '${brokerName}'`)
    }
    const { retryTimesMax: groupMax } = await this.groups.ensure(group)
    if (delayLevel < 0) await this.groups.ensureDeadLetters(group)
    const record = await this.lookup.byPosition(brokerName, position)
    if (record === undefined) {
      throw new BrokerError('MESSAGE_NOT_FOUND', `'${brokerName}' has no message at ${position}`)
    }
    const connection = await this.#links.brokers.connection(brokerName, this.#limits)
    const fields = {
      group,
      offset: position,
      delayLevel,
      originMsgId: '',
      originTopic: new RecordView(record).topic,
      unitMode: false,
      maxReconsumeTimes: retryTimesMax ?? groupMax,
    }
    await sendBack(connection, fields, this.#limits)
  }

  watch(topic: string, arrived: Arrived): Disposable {
    return this.#arrivals.watch(topic, arrived)
  }

  get permission(): Permission {
    return OWN_PERMISSION
  }

  get queueLocks(): QueueLocks {
    return NO_LOCKS
  }

  get pops(): Pops {
    return NO_POPS
  }

  async status(): Promise<BrokerStatus> {
    const [topics, groups] = await Promise.all([this.topics.list(), this.groups.list()])
    const { createTopics, createGroups, queuesDefault, bodyBytesMax } = this.#options
    const none = { perSecond: [0, 0, 0], thisMorning: 0, yesterdayMorning: 0 }
    return {
      identity: this.identity,
      startedAtMs: this.#startedAtMs,
      flush: 'sync',
      writable: true,
      reason: undefined,
      isRebuilding: false,
      logStart: logPosition(0),
      logEnd: logPosition(0),
      diskBytes: 0,
      topics: topics.length,
      groups: groups.length,
      clients: this.clients.size,
      messagesIn: 0,
      messagesOut: 0,
      rates: { stored: none, read: none, readsFound: none, readsEmpty: none },
      pendingDelayed: 0,
      settings: {
        autoCreateTopics: createTopics,
        autoCreateGroups: createGroups,
        queuesDefault,
        bodyBytesMax,
        delayMsMax: DELAY_MS_MAX,
      },
    }
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#arrivals.close()
    await Promise.all([this.#receiver.close(), this.states.close()])
    this.topics.close()
    this.#publisher.close()
    this.#given.close()
    await this.#links.close()
  }

  get #limits(): { timeoutMs: number } {
    return { timeoutMs: this.#options.requestTimeoutMs }
  }
}

/** @throws CONFIG_INVALID for brokers that would be given each other's messages */
function checkAddresses(brokers: readonly BrokerAddresses[]): void {
  const names = new Map<string, string>()
  for (const { brokerName, addresses } of brokers) {
    const address = addresses.get(0)
    if (address === undefined) continue
    const other = names.get(address)
    if (other !== undefined) throw sameAddress(other, brokerName, address)
    names.set(address, brokerName)
  }
}

const sameAddress = (one: string, other: string, address: string): BrokerError =>
  new BrokerError(
    'CONFIG_INVALID',
    `the brokers '${one}' and '${other}' both say that they are at ${address}; set the address of ` +
      "each that its clients reach it at (brokerIP1 of Apache's broker, remoting.advertisedHost of " +
      'ours)',
  )

/** RocketMQ's `timerMaxDelaySec`. */
const DELAY_MS_MAX = 3 * 24 * 3_600_000

const notBuilt = (what: string): BrokerError =>
  new BrokerError('NOT_SUPPORTED', `before a cluster there is no ${what}`)

const refused = (what: string) => (): Promise<never> => Promise.reject(notBuilt(what))

/** States hold what clients left to the gateways alone. @throws PERMISSION_DENIED */
function checkReadable({ topic }: Pick<PullRequest, 'topic'>): void {
  if (topic !== STATE_TOPIC) return
  throw new BrokerError('PERMISSION_DENIED', `'${topic}' is for gateways: clients may not read it`)
}

/** Brokers of the cluster have permissions of their own. */
const OWN_PERMISSION: Permission = {
  get: async () => PERM_READ_WRITE,
  set: refused('permission of a broker'),
  watch: () => ({ [Symbol.dispose]: () => {} }),
}

const NO_LOCKS: QueueLocks = { lock: refused('lock of queues'), unlock: refused('lock of queues') }

const NO_POPS: Pops = {
  pop: refused('receiving by names'),
  ack: refused('receiving by names'),
  change: refused('receiving by names'),
}
