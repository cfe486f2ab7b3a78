// Tells every name server what this broker has: at the start, every 30 s, and at once when a topic
// changes. Name servers are independent, so one that is away costs the others nothing.
import { type Clock, Slice, type Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { splitAddress } from '../model/host.ts'
import { PERM_READ, PERM_READ_WRITE } from '../model/topic.ts'
import type { Broker } from '../port/broker.ts'
import type { Routes } from '../port/gateway.ts'
import { REQUEST, RESPONSE } from '../remoting/codes.ts'
import { type DialOptions, dial, type RemotingConnection } from '../remoting/connection.ts'
import { type Values, writeFields } from '../remoting/layout.ts'
import { BROKER, encodeRegistration, REGISTER_BROKER } from '../remoting/requests/registration.ts'
import {
  decodeClusterInfo,
  decodeRoute,
  GET_ROUTE,
  type RouteQueues,
} from '../remoting/requests/route.ts'
import type { WireTopicTable } from '../remoting/requests/topics.ts'
import type { Credentials } from '../remoting/signature.ts'
import { registeredAddress, UNSPECIFIED } from './reachable-address.ts'

export interface RegistrarContext {
  readonly broker: Pick<Broker, 'identity' | 'topics' | 'permission'>
  readonly clock: Clock
  readonly log: Logger
}

export interface RegistrarOptions {
  /** host:port each. */
  readonly nameServers: readonly string[]
  /**
   * For an address of `nameServers` that is dialled over TLS, how: asked for each time, because
   * certificates are renewed.
   */
  readonly tls?: (nameServer: string) => DialOptions['tls']
  /**
   * The broker's address for clients. Without a host: one of this machine's that they can reach.
   */
  readonly advertised: { readonly host?: string | undefined; readonly port: number }
  readonly periodMs?: number
  readonly timeoutMs?: number
  readonly credentials?: Credentials | undefined
  /**
   * Apache's name servers take no master of a lower one in place of the one that they know; default
   * 0.
   */
  readonly stateVersion?: number | undefined
}

const PERIOD_MS = 30_000
const TIMEOUT_MS = 24_000
const RETRY_MS_MIN = 500
/**
 * One that cannot be reached may be back at any time, and until it is told its routes lack this
 * broker: clients then leave its queues alone.
 */
const AWAY_RETRY_MS_MAX = 2_000
/** A name server that does not answer holds up no stop: it forgets the broker by itself. */
const FAREWELL_MS = 500
/**
 * Each registration brings the whole table, so many new topics would keep both sides busy with
 * nothing else: after one, the next waits for so many times as long as it took, within a bound
 * that a tool's answer has room for.
 */
const PAUSE_SHARE = 4
const PAUSE_MS_MAX = 500
/** An answer that waits for routes waits no longer: a name server that is slow holds up no tool. */
const TOLD_MS_MAX = 1_000
/** A route is asked for while a client waits. */
const ROUTE_MS_MAX = 1_000
/** Two missed rounds, and a third that is late. */
const MISSED_PERIODS = 4

export class Registrar implements Routes {
  readonly #context: RegistrarContext
  readonly #targets: readonly Target[]
  readonly #startedMs: number
  readonly #stateVersion: number
  readonly #periodMs: number
  #watches: readonly Disposable[] = []
  #timer: Timer | undefined
  #changes = 0

  constructor(context: RegistrarContext, options: RegistrarOptions) {
    this.#context = context
    this.#startedMs = context.clock.now()
    this.#stateVersion = options.stateVersion ?? 0
    const periodMs = options.periodMs ?? PERIOD_MS
    this.#periodMs = periodMs
    this.#targets = options.nameServers.map(
      (nameServer) =>
        new Target(nameServer, context, { ...options, periodMs }, () => this.#table()),
    )
  }

  /**
   * Settles when every name server has answered or failed once; failures are retried from then on.
   */
  async start(): Promise<void> {
    this.#timer = this.#context.clock.every(this.#periodMs, () => this.#registerAll())
    const { broker } = this.#context
    const changed = (): void => {
      this.#changes++
      this.#registerAll()
    }
    this.#watches = [broker.topics.watch(changed), broker.permission.watch(changed)]
    await Promise.all(this.#targets.map((target) => target.register()))
  }

  get isKnown(): boolean {
    return this.#targets.some((target) => target.isKnown)
  }

  async told(): Promise<void> {
    const telling = this.#targets.flatMap((target) => target.telling ?? [])
    if (telling.length === 0) return
    let late: Timer | undefined
    const isLate = new Promise<void>((resolve) => {
      late = this.#context.clock.after(TOLD_MS_MAX, resolve)
    })
    await Promise.race([Promise.all(telling), isLate])
    late?.cancel()
  }

  /**
   * Readable queues of the topic, by broker, as the first name server tells that knows it;
   * undefined: none does. Never rejects.
   */
  async queuesOf(topic: string): Promise<readonly RouteQueues[] | undefined> {
    // All at once: a client waits, and several name servers may not answer.
    const asked = this.#targets.map((target) => target.queuesOf(topic).catch(() => undefined))
    for (const asking of asked) {
      const queues = await asking
      if (queues !== undefined) return queues.filter(({ perm }) => (perm & PERM_READ) !== 0)
    }
    return undefined
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]()
    this.#timer?.cancel()
    await Promise.all(this.#targets.map((target) => target.unregister()))
  }

  #registerAll(): void {
    // A target never rejects: it logs and tries again.
    for (const target of this.#targets) void target.register()
  }

  async #table(): Promise<WireTopicTable> {
    const stateVersion = this.#stateVersion
    const version = { counter: this.#changes, stateVersion, timestamp: this.#startedMs }
    const { broker } = this.#context
    const topics = await broker.topics.list()
    const allowed = await broker.permission.get()
    // Clients go to other brokers of the topic.
    if (allowed === PERM_READ_WRITE) return { version, topics }
    return { version, topics: topics.map((topic) => ({ ...topic, perm: topic.perm & allowed })) }
  }
}

/** One name server: at most one registration at a time, the newest table always gets there. */
class Target {
  readonly #nameServer: string
  readonly #context: RegistrarContext
  readonly #options: RegistrarOptions & { readonly periodMs: number }
  readonly #table: () => Promise<WireTopicTable>
  #connection: RemotingConnection | undefined
  #running: Promise<void> | undefined
  #isStale = false
  /** Ends a dial: one that is not reached yet has nothing to be told at the end. */
  readonly #closing = new AbortController()
  /** Another master of this one's name. */
  #other: string | undefined
  /** When it was last looked for, monotonic ms. */
  #lookedMs = Number.NEGATIVE_INFINITY
  #failures = 0
  #hasSucceeded = false
  #retry: Timer | undefined
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #endPause: (() => void) | undefined

  constructor(
    nameServer: string,
    context: RegistrarContext,
    options: RegistrarOptions & { readonly periodMs: number },
    table: () => Promise<WireTopicTable>,
  ) {
    this.#nameServer = nameServer
    this.#context = context
    this.#options = options
    this.#table = table
  }

  /**
   * The registration under way, if the name server answered last; callers do not wait for one that
   * is away.
   */
  get telling(): Promise<void> | undefined {
    return this.#failures === 0 ? this.#running : undefined
  }

  /** It answered the last registration. */
  get isKnown(): boolean {
    return this.#hasSucceeded && this.#failures === 0
  }

  /** Never rejects. */
  register(): Promise<void> {
    if (this.#closing.signal.aborted) return Promise.resolve()
    this.#isStale = true
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async queuesOf(topic: string): Promise<readonly RouteQueues[] | undefined> {
    if (!this.#connection?.isOpen) return undefined
    const asked = { topic, acceptStandardJsonOnly: true }
    const answer = await this.#connection.request(REQUEST.getRoute, {
      fields: writeFields(GET_ROUTE, asked),
      timeoutMs: ROUTE_MS_MAX,
    })
    return answer.code === RESPONSE.success ? decodeRoute(answer.body).queues : undefined
  }

  async unregister(): Promise<void> {
    this.#closing.abort()
    this.#retry?.cancel()
    this.#endPause?.()
    let late: Timer | undefined
    const isLate = new Promise<void>((resolve) => {
      late = this.#context.clock.after(FAREWELL_MS, resolve)
    })
    await Promise.race([this.#sayGoodbye(), isLate])
    late?.cancel()
    this.#connection?.close()
  }

  async #sayGoodbye(): Promise<void> {
    await this.#running
    const connection = this.#connection
    if (!connection?.isOpen) return
    const fields = writeFields(BROKER, this.#key(connection))
    const farewell = { fields, timeoutMs: FAREWELL_MS }
    await connection.request(REQUEST.unregisterBroker, farewell).catch(() => {})
  }

  async #run(): Promise<void> {
    const { clock } = this.#context
    while (this.#isStale && !this.#closing.signal.aborted) {
      await this.#pause(this.#notBeforeMs - clock.monotonic())
      this.#isStale = false
      const startedMs = clock.monotonic()
      try {
        await this.#registerOnce()
        this.#succeeded()
      } catch (error) {
        if (!this.#closing.signal.aborted) this.#failed(BrokerError.from(error))
        return
      }
      const endedMs = clock.monotonic()
      this.#notBeforeMs = endedMs + Math.min((endedMs - startedMs) * PAUSE_SHARE, PAUSE_MS_MAX)
    }
  }

  /** Ends early at the close. */
  async #pause(ms: number): Promise<void> {
    if (ms < 1) return
    await new Promise<void>((resolve) => {
      const pause = this.#context.clock.after(ms, resolve)
      this.#endPause = () => {
        pause.cancel()
        resolve()
      }
    })
    this.#endPause = undefined
  }

  async #registerOnce(): Promise<void> {
    const { periodMs, timeoutMs } = this.#options
    const connection = await this.#connect()
    await this.#lookForOther(connection)
    const fields = writeFields(REGISTER_BROKER, {
      ...this.#key(connection),
      haServerAddr: this.#address(connection),
      heartbeatTimeoutMillis: periodMs * MISSED_PERIODS,
      enableActingMaster: false,
      compressed: false,
      bodyCrc32: 0,
    })
    const body = await encodeRegistration(await this.#table(), new Slice(this.#context.clock))
    const answer = await connection.request(REQUEST.registerBroker, {
      fields,
      body,
      timeoutMs: timeoutMs ?? TIMEOUT_MS,
    })
    if (answer.code === RESPONSE.success) return
    throw new BrokerError(
      'NOT_SUPPORTED',
      `the name server refused the broker with code ${answer.code}: ${answer.remark ?? ''}`,
    )
  }

  /**
   * A master that has taken this one's place since it registered has its name, and does not know of
   * it: two were started by hand, or this one was replaced. Once a period: news of topics are not
   * held up by it.
   */
  async #lookForOther(connection: RemotingConnection): Promise<void> {
    const { clusterName, brokerName, brokerId, brokerAddr: own } = this.#key(connection)
    const { periodMs, timeoutMs = TIMEOUT_MS } = this.#options
    const nowMs = this.#context.clock.monotonic()
    if (nowMs < this.#lookedMs + periodMs) return
    this.#lookedMs = nowMs
    if (!this.#hasSucceeded || brokerId !== 0) return
    const answer = await connection.request(REQUEST.getClusterInfo, { timeoutMs })
    if (answer.code !== RESPONSE.success) return
    const other = decodeClusterInfo(answer.body)
      .brokers.find((one) => one.brokerName === brokerName && one.cluster === clusterName)
      ?.addresses.get(0)
    if (other === undefined || isSame(own, other)) {
      this.#other = undefined
      return
    }
    if (other === this.#other) return
    this.#other = other
    const text = `two masters have the name '${brokerName}': the name server ${this.#nameServer} has one at ${other}, and this one is at ${own}; stop one of them, or give it another broker.name`
    const fields = { evt: 'registrar.two_masters', nameServer: this.#nameServer, other, own }
    this.#context.log.warn(fields, text)
  }

  async #connect(): Promise<RemotingConnection> {
    if (this.#connection?.isOpen) return this.#connection
    const { clock } = this.#context
    const { credentials } = this.#options
    const tls = this.#options.tls?.(this.#nameServer)
    const target = splitAddress(this.#nameServer)
    const { signal } = this.#closing
    this.#connection = await dial({ ...target, tls, clock, credentials, signal })
    const againMs = clock.monotonic() + RETRY_MS_MIN
    // The name server takes a lost connection for a lost broker: come back at once, but not again
    // and again to one that closes whatever it answers.
    void this.#connection.closed.then((reason) => {
      if (reason === undefined || this.#failures > 0) return
      this.#notBeforeMs = Math.max(this.#notBeforeMs, againMs)
      void this.register()
    })
    return this.#connection
  }

  #key(connection: RemotingConnection): Values<typeof BROKER> {
    const { brokerName, clusterName, brokerId } = this.#context.broker.identity
    return { brokerName, brokerAddr: this.#address(connection), clusterName, brokerId }
  }

  /**
   * This machine as the name server sees it; one on the same machine fills in what clients dial.
   */
  #address(connection: RemotingConnection): string {
    const { host, port } = this.#options.advertised
    if (host !== undefined) return `${host}:${port}`
    return registeredAddress(connection.localAddress, port)
  }

  #succeeded(): void {
    if (this.#failures > 0) {
      const fields = { evt: 'registrar.registered', nameServer: this.#nameServer }
      this.#context.log.info(fields, `registered with the name server ${this.#nameServer} again`)
    }
    this.#failures = 0
    this.#hasSucceeded = true
  }

  #failed(error: BrokerError): void {
    const { log, clock } = this.#context
    const fields = { evt: 'registrar.failed', nameServer: this.#nameServer, reason: error.message }
    if (this.#failures === 0) {
      log.warn(fields, `cannot register with the name server ${this.#nameServer}; trying again`)
    } else {
      log.debug(fields, 'still cannot register')
    }
    const { periodMs } = this.#options
    const isAway = error.code === 'UNREACHABLE'
    const mostMs = isAway ? Math.min(AWAY_RETRY_MS_MAX, periodMs) : periodMs
    const waitMs = Math.min(RETRY_MS_MIN * 2 ** this.#failures, mostMs)
    this.#failures++
    this.#retry?.cancel()
    this.#retry = clock.after(waitMs, () => void this.register())
  }
}

/** A name server on this machine names a host of its own choice. */
function isSame(own: string, other: string): boolean {
  if (own === other) return true
  const [one, two] = [splitAddress(own), splitAddress(other)]
  return one.host === UNSPECIFIED && one.port === two.port
}
