// Which queues a topic has and where its brokers are, remembered for a while. A directory that does
// not answer is no reason to stop: what was known last goes on being used.
import type { Clock } from '../../clock.ts'
import { BrokerError, type ErrorCode } from '../../errors.ts'
import { AUTO_CREATE_TOPIC } from '../../model/names.ts'
import { PERM_READ, PERM_WRITE } from '../../model/topic.ts'
import { compareQueues } from '../../remoting/allocation.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import type { TopicRoute } from '../../remoting/requests/route.ts'
import { within } from '../calls/abort.ts'
import { withRetries } from '../calls/attempts.ts'
import type { CallOptions } from '../calls/calls.ts'
import { type Directory, isConnectionFailure } from './name-servers.ts'
import type { Outages } from './outages.ts'

const MASTER_ID = 0
const FRESH_MS = 30_000
/** While no name server answers, they are asked again so soon, and not by each use of a route. */
const UNANSWERED_MS = 1_000
const NEW_MS = 1_000
/** Where a broker lacks that was there: nothing tells when it is back. */
const PARTIAL_MS = 2_000
/** A broker that lacks for longer is not expected back. */
const MISSED_MS = 600_000
const TOPICS_MAX = 10_000
/** Until the name servers know a topic that a broker has made. */
const KNOWN_MS_MAX = 10_000
/** The same of a topic that a send of this client made: a broker tells of it at once. */
const MADE_MS = 2_000
/** Queues of a topic that the first send creates. */
const AUTO_CREATE_QUEUES = 4
/** Errors that show a cached route to be out of date. */
export const ROUTE_ERRORS: ReadonlySet<ErrorCode> = new Set([
  'TOPIC_NOT_FOUND',
  'QUEUE_NOT_FOUND',
  'ARGUMENT_INVALID',
])

export interface Queues {
  readonly readable: readonly QueueRef[]
  /** Sorted, so that a key's queue depends on nothing but their number. */
  readonly writable: readonly QueueRef[]
}

interface Known {
  /** undefined: a broker has denied them. */
  readonly queues: Queues | undefined
  readonly fetchedAt: number
  /** Then it is asked for again. */
  readonly untilMs: number
  /** Brokers that had queues of it, and when that was last said. */
  readonly seen: ReadonlyMap<string, number>
  /** One of them lacks. */
  readonly isPartial: boolean
}

export class Routes {
  readonly #directory: Directory
  readonly #clock: Clock
  readonly #outages: Outages
  readonly #known = new Map<string, Known>()
  readonly #asking = new Map<string, Promise<Queues>>()
  /** Topics that a send of this client made, and until when the name servers may not know them. */
  readonly #made = new Map<string, number>()
  readonly #addresses = new Map<string, string>()

  constructor(directory: Directory, clock: Clock, outages: Outages) {
    this.#directory = directory
    this.#clock = clock
    this.#outages = outages
  }

  /**
   * For reading: of a topic that this client has just sent to, once the name servers know it.
   * Rejects with TOPIC_NOT_FOUND, NO_ROUTE, UNREACHABLE.
   */
  async queues(topic: string, options: CallOptions = {}): Promise<Queues> {
    try {
      return await this.#queues(topic, options)
    } catch (error) {
      const leftMs = (this.#made.get(topic) ?? 0) - this.#clock.monotonic()
      if (leftMs <= 0 || !isMissing(error)) throw error
      const { timeoutMs = leftMs, signal } = options
      const limits = { clock: this.#clock, timeoutMs: Math.min(timeoutMs, leftMs), signal }
      return withRetries(limits, async (left) => {
        const asked = this.#queues(topic, { timeoutMs: left(), signal })
        return asked.catch((error) => {
          throw isMissing(error) ? notYetKnown(topic) : error
        })
      })
    }
  }

  /** A broker has taken a message to the topic, so that it exists. */
  made(topic: string): void {
    if (this.#known.get(topic)?.queues !== undefined) return
    this.#made.delete(topic)
    if (this.#made.size >= TOPICS_MAX) this.#made.delete(this.#made.keys().next().value!)
    this.#made.set(topic, this.#clock.monotonic() + MADE_MS)
  }

  /** Does a broker lack that had queues of the topic a while ago? */
  isPartial(topic: string): boolean {
    return this.#known.get(topic)?.isPartial ?? false
  }

  /** For writing: when the topic does not exist, the queues in which a send would create it. */
  async writableQueues(topic: string, options: CallOptions = {}): Promise<readonly QueueRef[]> {
    try {
      const { writable } = await this.#queues(topic, options)
      if (writable.length > 0) return writable
    } catch (error) {
      if (!isMissing(error)) throw error
      const template = await this.#directory.route(AUTO_CREATE_TOPIC, options)
      if (template === undefined) throw error
      this.#learnBrokers(template)
      const queues = queuesOf(topic, template, PERM_WRITE, AUTO_CREATE_QUEUES)
      if (queues.length > 0) return queues
    }
    throw noRoute(topic, 'written to')
  }

  /**
   * A broker tells its name servers of a new topic some time after it has it, each broker for
   * itself. Rejects with NO_ROUTE.
   *
   * @param queues that all brokers together made; a broker may permit only to read or only to write
   * them
   */
  untilKnown(topic: string, queues: number, options: CallOptions = {}): Promise<void> {
    const { timeoutMs = KNOWN_MS_MAX, signal } = options
    return withRetries({ clock: this.#clock, timeoutMs, signal }, async (leftMs) => {
      const found = await this.#refresh(topic, { timeoutMs: leftMs(), signal }).catch(unlessMissing)
      if (Math.max(found.readable.length, found.writable.length) === queues) return
      this.forget(topic)
      throw notYetKnown(topic)
    })
  }

  /**
   * A queue that was there is missing, perhaps no more: the route is fetched again before the next
   * use, unless it is very new.
   */
  doubt(topic: string): void {
    const known = this.#known.get(topic)
    if (known === undefined || this.#clock.monotonic() - known.fetchedAt < NEW_MS) return
    this.invalidate(topic)
  }

  /** The cached route may be wrong: it is fetched again before the next use. */
  invalidate(topic: string): void {
    const known = this.#known.get(topic)
    if (known !== undefined) this.#known.set(topic, { ...known, untilMs: Number.NEGATIVE_INFINITY })
  }

  /**
   * A broker denies it: its queues are not used again until it is asked for. That is no reason to
   * expect fewer brokers to have it.
   */
  deny(topic: string): void {
    const known = this.#known.get(topic)
    if (known === undefined) return
    const untilMs = Number.NEGATIVE_INFINITY
    this.#known.set(topic, { ...known, queues: undefined, untilMs })
  }

  /** It is deleted, or about to be made. */
  forget(topic: string): void {
    this.#known.delete(topic)
    this.#made.delete(topic)
  }

  /** The master's. @throws BrokerError NO_ROUTE */
  addressOf(brokerName: string): string {
    const address = this.#addresses.get(brokerName)
    if (address === undefined) {
      throw new BrokerError('NO_ROUTE', `the broker '${brokerName}' has no master now`, {
        retryable: true,
      })
    }
    return address
  }

  #queues(topic: string, options: CallOptions): Promise<Queues> {
    const known = this.#known.get(topic)
    if (known?.queues !== undefined && this.#clock.monotonic() < known.untilMs) {
      return Promise.resolve(known.queues)
    }
    return this.#refresh(topic, options)
  }

  /** One request for all callers that wait; a caller that gives up leaves it to the others. */
  #refresh(topic: string, options: CallOptions): Promise<Queues> {
    let asking = this.#asking.get(topic)
    if (asking === undefined) {
      asking = this.#ask(topic).finally(() => this.#asking.delete(topic))
      this.#asking.set(topic, asking)
    }
    return within(asking, options, this.#clock, `the route of '${topic}'`)
  }

  async #ask(topic: string): Promise<Queues> {
    const known = this.#known.get(topic)
    let route: TopicRoute | undefined
    try {
      route = await this.#directory.route(topic, {})
    } catch (error) {
      if (known?.queues === undefined || !isConnectionFailure(error)) throw error
      const untilMs = this.#clock.monotonic() + UNANSWERED_MS
      this.#known.set(topic, { ...known, untilMs })
      return known.queues
    }
    if (route === undefined) throw await this.#missing(topic, known?.queues !== undefined)
    this.#learnBrokers(route)
    const queues = {
      readable: queuesOf(topic, route, PERM_READ),
      writable: queuesOf(topic, route, PERM_WRITE),
    }
    if (queues.readable.length === 0 && queues.writable.length === 0) {
      throw noRoute(topic, 'read or written')
    }
    if (this.#known.size >= TOPICS_MAX) this.#known.delete(this.#known.keys().next().value!)
    this.#known.set(topic, { queues, ...this.#told(queues, known) })
    this.#made.delete(topic)
    return queues
  }

  #told({ readable, writable }: Queues, known: Known | undefined): Omit<Known, 'queues'> {
    const fetchedAt = this.#clock.monotonic()
    const seen = new Map(known?.seen)
    for (const [name, atMs] of seen) if (fetchedAt - atMs > MISSED_MS) seen.delete(name)
    const names = new Set([...readable, ...writable].map(({ brokerName }) => brokerName))
    for (const name of names) seen.set(name, fetchedAt)
    const isPartial = seen.size > names.size
    return { fetchedAt, untilMs: fetchedAt + (isPartial ? PARTIAL_MS : FRESH_MS), seen, isPartial }
  }

  /**
   * A directory forgets the topics of a broker that is away: that is no reason to say they never
   * were.
   */
  async #missing(topic: string, wasKnown: boolean): Promise<BrokerError> {
    const brokers = await this.#directory.brokers({})
    if (brokers.length === 0) {
      return new BrokerError(
        'NO_ROUTE',
        `the name servers know no broker, so none has the topic '${topic}'; start one with: ` +
          'trivet broker',
        { retryable: true },
      )
    }
    if (wasKnown) {
      return new BrokerError(
        'NO_ROUTE',
        `the topic '${topic}' is not known any more: its brokers are away, or it was deleted`,
        { retryable: true },
      )
    }
    return new BrokerError(
      'TOPIC_NOT_FOUND',
      `the topic '${topic}' does not exist; create it with: trivet topic create ${topic}`,
    )
  }

  #learnBrokers(route: TopicRoute): void {
    for (const { brokerName, addresses } of route.brokers) {
      const master = addresses.get(MASTER_ID)
      if (master === undefined) {
        this.#addresses.delete(brokerName)
        continue
      }
      this.#addresses.set(brokerName, master)
      this.#outages.expect(brokerName, master)
    }
  }
}

const NO_QUEUES: Queues = { readable: [], writable: [] }

function unlessMissing(error: unknown): Queues {
  if (isMissing(error)) return NO_QUEUES
  throw error
}

const isMissing = (error: unknown): boolean =>
  error instanceof BrokerError && error.code === 'TOPIC_NOT_FOUND'

const notYetKnown = (topic: string): BrokerError =>
  new BrokerError(
    'NO_ROUTE',
    `the topic '${topic}' is created, but the name servers do not know it yet`,
    { retryable: true },
  )

function queuesOf(topic: string, route: TopicRoute, perm: number, most?: number): QueueRef[] {
  const masters = new Set(
    route.brokers
      .filter((broker) => broker.addresses.has(MASTER_ID))
      .map((broker) => broker.brokerName),
  )
  const queues: QueueRef[] = []
  for (const { brokerName, readQueues, writeQueues, perm: granted } of route.queues) {
    if ((granted & perm) === 0 || !masters.has(brokerName)) continue
    const all = perm === PERM_READ ? readQueues : writeQueues
    const count = Math.min(all, most ?? all)
    for (let queueId = 0; queueId < count; queueId++) queues.push({ topic, brokerName, queueId })
  }
  return queues.sort(compareQueues)
}

const noRoute = (topic: string, use: string): BrokerError =>
  new BrokerError(
    'NO_ROUTE',
    `the topic '${topic}' has no queue that can be ${use} now: its brokers are away, ` +
      "or the topic does not permit it; see 'trivet topic describe'",
    { retryable: true },
  )
