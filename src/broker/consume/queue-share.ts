// One group whose members share in both ways: native members by queue among themselves, and the
// broker on behalf of its per-message consumers as one or more virtual members. A queue that a
// native member reads is that member's; the broker hands out the messages of the queues that the
// natives leave. Natives learn of a change at different times, so what counts is what they do: a
// member owns a queue while it pulls, commits or locks it.
import { type Clock, sleep } from '../../clock.ts'
import type { ConsumerRegistration } from '../../model/client.ts'
import type { PullRequest, PullResult } from '../../model/message.ts'
import { isRetryTopic } from '../../model/names.ts'
import type { QueueOffset } from '../../model/positions.ts'
import type { Spread } from './topic-spread.ts'

/**
 * A member that was told the list and does not go on with a queue that is not its share has dropped
 * it: clients drop what they lose before they take what they gain.
 */
const DROPPED_MS = 1_000
/** The same where its share is not known: longer than between two commits (5 s). */
const SILENT_MS = 7_000
/** The same for a queue of its share. */
const STUCK_MS = 60_000
/** One that never asks for the list, longer than a rebalance (20 s) and a held pull (30 s). */
const UNTOLD_MS = 40_000
/** Held pulls from before the change end so long after it: owners of the queue pull again. */
const PROBED_MS = 1_000
/** From then on a pull shows which strategy a member follows. */
const SETTLED_MS = 3_000
/** A pull that was on its way while its queue was dropped is no claim. */
const LATE_PULL_MS = 2_000
/** A pull of a queue that the broker hands out is held so long, and then made again. */
const HELD_MS = 1_000
/** A native member waits so long at most for another one to let go of a queue. */
const NATIVE_HANDOVER_MS = 10_000

const VIRTUAL_MEMBERS_MAX = 16

/** Is the queue the share of the member at this place of the list? */
export type Strategy = (queueId: number, queues: number, at: number, members: number) => boolean

/** AllocateMessageQueueAveragely, the default of all clients: blocks, the larger ones first. */
const averagely: Strategy = (queueId, queues, at, members) => {
  const size = Math.floor(queues / members)
  const larger = queues % members
  const start = at * size + Math.min(at, larger)
  return queueId >= start && queueId < start + size + (at < larger ? 1 : 0)
}

/** AllocateMessageQueueAveragelyByCircle: in turn. */
const byCircle: Strategy = (queueId, _queues, at, members) => queueId % members === at

/**
 * How members may divide queues, as far as it can be worked out: each does so alone, from the
 * sorted client ids and the sorted queues.
 */
export const STRATEGIES: readonly Strategy[] = [averagely, byCircle]

/** A native member. */
export interface Native {
  readonly clientId: string
  readonly consumer: ConsumerRegistration
}

interface Queue {
  readonly topic: string
  readonly queueId: number
}

/** What the share asks of the parts that serve consumers. */
export interface ShareParts {
  readonly clock: Clock
  readQueues(topic: string): number
  /** Which other brokers have queues of the topic. */
  spread(topic: string): Spread
  /** Does a native member hold the lock of the queue? */
  isLocked(queue: Queue): boolean
  /** Are its messages handed out, or with consumers? */
  isOpen(queue: Queue): boolean
  /** No more of its messages are handed out; it closes when the last is settled. */
  letGo(queue: Queue): void
  /** Ends the pulls of these members that wait: they pull again what they still own. */
  endPulls(clientIds: ReadonlySet<string>): void
  /** Where the group is. */
  committed(queue: Queue): QueueOffset | undefined
  /** Members that were refused a lock may ask for it again. */
  readonly lockAgain: () => void
}

interface Claim {
  /** Pulls under way. */
  held: number
  /** Monotonic, of the latest pull, commit or lock. */
  lastMs: number
  /** Since when it waits for the one that has the queue still. */
  waitsSinceMs: number | undefined
}

export class QueueShare {
  readonly #parts: ShareParts
  #natives: ReadonlyMap<string, readonly ConsumerRegistration[]> = new Map()
  #virtualIds: readonly string[] = []
  #ids: readonly string[] = []
  /** Of each id in the list. */
  #places: ReadonlyMap<string, number> = new Map()
  /** Topics that per-message consumers receive, or say they do. */
  #received: ReadonlySet<string> = new Set()
  #changedMs = 0
  /** When each native member was told the list of members as it is now. */
  readonly #toldMs = new Map<string, number>()
  /** When its held pulls were ended. */
  readonly #probedMs = new Map<string, number>()
  /** By queue, then client id. */
  readonly #claims = new Map<string, Map<string, Claim>>()
  readonly #takenMs = new Map<string, number>()
  /** The native member that was given messages of the queue last. */
  readonly #owners = new Map<string, string>()
  /** Those that explain what the natives do. */
  #strategies = STRATEGIES
  /** Pulls and locks that wait for a queue to close. */
  readonly #closing = new Map<string, Set<() => void>>()

  constructor(parts: ShareParts) {
    this.#parts = parts
  }

  /** The client ids that share the queues, the virtual ones among them. */
  get ids(): readonly string[] {
    return this.#ids
  }

  get virtualIds(): readonly string[] {
    return this.#virtualIds
  }

  /** Native topics that no per-message consumer receives: their share would be read by none. */
  get uncovered(): readonly string[] {
    return [...this.#topics()].filter((topic) => !this.#received.has(topic))
  }

  /** @returns whether the list of members changed */
  setMembers(
    natives: readonly Native[],
    receivers: number,
    received: ReadonlySet<string>,
  ): boolean {
    const byId = new Map<string, ConsumerRegistration[]>()
    for (const { clientId, consumer } of natives) {
      byId.set(clientId, [...(byId.get(clientId) ?? []), consumer])
    }
    this.#natives = byId
    this.#received = received
    const count = receivers > 0 && this.uncovered.length === 0 ? this.#virtualCount(receivers) : 0
    this.#virtualIds = Array.from({ length: count }, (_, i) => virtualId(i))
    const ids = [...byId.keys(), ...this.#virtualIds].sort()
    if (ids.join('\n') === this.#ids.join('\n')) return false
    this.#ids = ids
    this.#places = new Map(ids.map((id, at) => [id, at]))
    this.#changedMs = this.#parts.clock.monotonic()
    this.#toldMs.clear()
    this.#probedMs.clear()
    for (const claims of this.#claims.values()) {
      for (const clientId of claims.keys()) if (!byId.has(clientId)) claims.delete(clientId)
    }
    return true
  }

  /** The member has the list of members as it is now. */
  told(clientId: string): void {
    if (!this.#natives.has(clientId) || this.#toldMs.has(clientId)) return
    this.#toldMs.set(clientId, this.#parts.clock.monotonic())
  }

  /** Do native members read this topic? */
  isShared(topic: string): boolean {
    for (const consumers of this.#natives.values()) {
      for (const { subscriptions } of consumers) {
        // Without subscriptions: of a member that is assigned queues by its application.
        if (subscriptions.length === 0 || isRetryTopic(topic)) return true
        if (subscriptions.some((subscription) => subscription.topic === topic)) return true
      }
    }
    return false
  }

  /** May the broker hand out this queue's messages, which it does not do yet? */
  mayTake(queue: Queue): boolean {
    if (this.isShared(queue.topic)) {
      if (this.#virtualIds.length === 0 || this.#parts.isLocked(queue)) return false
      if (!this.#haveLeft(queue)) return false
    }
    this.#takenMs.set(keyOf(queue), this.#parts.clock.monotonic())
    this.#owners.delete(keyOf(queue))
    return true
  }

  /** Time has passed. */
  tick(): void {
    const nowMs = this.#parts.clock.monotonic()
    const probed = new Set<string>()
    for (const [clientId, toldMs] of this.#toldMs) {
      if (nowMs - toldMs < PROBED_MS || this.#probedMs.has(clientId)) continue
      this.#probedMs.set(clientId, nowMs)
      probed.add(clientId)
    }
    if (probed.size > 0) this.#parts.endPulls(probed)
  }

  /** A native member commits or renews its lock: it goes on with the queue. */
  touch(clientId: string, queue: Queue): void {
    if (!this.#natives.has(clientId)) return
    this.#claim(clientId, queue).lastMs = this.#nowMs
    this.#learn(clientId, queue)
  }

  /**
   * A pull of a native member: served when the queue is the natives', and the one that had it
   * before has let go of it. That one commits as it does so, later than the new one asked where to
   * begin: this is sent on to there.
   */
  async pull(
    clientId: string,
    request: PullRequest,
    serve: () => Promise<PullResult>,
    unread: (nextOffset: QueueOffset) => PullResult,
  ): Promise<PullResult> {
    if (!this.#natives.has(clientId)) return serve()
    const claim = this.#claim(clientId, request)
    const isBack = claim.held === 0 && this.#nowMs - claim.lastMs >= LATE_PULL_MS
    if (isBack) claim.waitsSinceMs = undefined
    claim.held++
    claim.lastMs = this.#nowMs
    try {
      this.#learn(clientId, request)
      if (!(await this.#isFree(clientId, request))) return unread(request.offset)
      const owner = this.#owners.get(keyOf(request))
      if (owner === undefined || owner === clientId) {
        this.#owners.set(keyOf(request), clientId)
        return await serve()
      }
      const isLeft = await this.#isLeftBy(owner, claim, request)
      // Another one that waited for it may have it now, or the broker.
      const isHere = this.#owners.get(keyOf(request)) === owner
      if (!isLeft || !isHere) return unread(request.offset)
      claim.waitsSinceMs = undefined
      this.#owners.set(keyOf(request), clientId)
      const committed = this.#parts.committed(request) ?? request.offset
      return committed > request.offset ? unread(committed) : await serve()
    } finally {
      claim.held--
      claim.lastMs = this.#nowMs
    }
  }

  /** May the native member lock the queue? If not, it is to be told when it may. */
  mayLock(clientId: string, queue: Queue): boolean {
    this.touch(clientId, queue)
    if (!this.#parts.isOpen(queue)) return true
    if (!this.#isEntitled(clientId, queue)) return false
    this.#parts.letGo(queue)
    if (!this.#parts.isOpen(queue)) return true
    this.#onClosed(queue, this.#parts.lockAgain)
    return false
  }

  /** The queue's last message was settled: it is the natives'. */
  closed(queue: Queue): void {
    const waiting = this.#closing.get(keyOf(queue))
    this.#closing.delete(keyOf(queue))
    for (const go of waiting ?? []) go()
  }

  get #nowMs(): number {
    return this.#parts.clock.monotonic()
  }

  #topics(): Set<string> {
    const topics = new Set<string>()
    for (const consumers of this.#natives.values()) {
      for (const { subscriptions } of consumers) {
        for (const { topic } of subscriptions) if (!isRetryTopic(topic)) topics.add(topic)
      }
    }
    return topics
  }

  /**
   * As many as there are consumers, but that natives get queues too. One where other brokers have
   * queues of a topic: natives ask any of them for the list, so that it must be the same at each.
   */
  #virtualCount(receivers: number): number {
    const isElsewhere = (topic: string): boolean => this.#parts.spread(topic).elsewhere > 0
    const topics = [...this.#topics()]
    if (topics.some(isElsewhere) || [...this.#received].some(isElsewhere)) return 1
    const queues = topics.map((topic) => this.#parts.readQueues(topic))
    const room = Math.min(...queues, VIRTUAL_MEMBERS_MAX + this.#natives.size) - this.#natives.size
    return Math.max(1, Math.min(receivers, room))
  }

  #claim(clientId: string, queue: Queue): Claim {
    const key = keyOf(queue)
    let claims = this.#claims.get(key)
    if (claims === undefined) {
      claims = new Map()
      this.#claims.set(key, claims)
    }
    let claim = claims.get(clientId)
    if (claim === undefined) {
      claim = { held: 0, lastMs: Number.NEGATIVE_INFINITY, waitsSinceMs: undefined }
      claims.set(clientId, claim)
    }
    return claim
  }

  /** Has the native member let go of the queue that it had? */
  #hasLetGo(clientId: string, queue: Queue): boolean {
    // A lock says whose the queue is.
    if (!this.#natives.has(clientId) || this.#parts.isLocked(queue)) return true
    const claim = this.#claims.get(keyOf(queue))?.get(clientId)
    if (claim === undefined || this.#hasLeft(clientId, queue)) return true
    return claim.held === 0 && this.#nowMs - claim.lastMs >= SILENT_MS
  }

  /** Those that were seen at the queue first: of a thousand members one has it. */
  #haveLeft(queue: Queue): boolean {
    for (const clientIds of [this.#claims.get(keyOf(queue)) ?? NONE, this.#natives]) {
      for (const clientId of clientIds.keys()) {
        if (this.#natives.has(clientId) && !this.#hasLeft(clientId, queue)) return false
      }
    }
    return true
  }

  /** Has the native member no part in the queue, as far as can be told? */
  #hasLeft(clientId: string, queue: Queue): boolean {
    const claim = this.#claims.get(keyOf(queue))?.get(clientId)
    if (claim !== undefined && claim.held > 0) return false
    const isTold = this.#toldMs.has(clientId)
    const sinceMs = isTold ? this.#probedMs.get(clientId) : this.#changedMs
    if (sinceMs === undefined) return false
    const quietMs = this.#nowMs - Math.max(sinceMs, claim?.lastMs ?? sinceMs)
    return quietMs >= (isTold ? this.#patience(clientId, queue) : UNTOLD_MS)
  }

  #patience(clientId: string, queue: Queue): number {
    let shares = 0
    for (const strategy of this.#strategies) {
      if (this.#isShare(strategy, clientId, queue)) shares++
    }
    if (this.#strategies.length > 0 && shares === 0) return DROPPED_MS
    return shares > 0 && shares === this.#strategies.length ? STUCK_MS : SILENT_MS
  }

  #isShare(strategy: Strategy, clientId: string, { topic, queueId }: Queue): boolean {
    const at = this.#places.get(clientId) ?? -1
    const { before, elsewhere } = this.#parts.spread(topic)
    const queues = this.#parts.readQueues(topic) + elsewhere
    return strategy(before + queueId, queues, at, this.#ids.length)
  }

  /** A strategy by which the member would not pull this queue is not the natives'. */
  #learn(clientId: string, queue: Queue): void {
    const toldMs = this.#toldMs.get(clientId)
    if (toldMs === undefined || this.#nowMs - toldMs < SETTLED_MS) return
    if (this.#strategies.every((strategy) => this.#isShare(strategy, clientId, queue))) return
    this.#strategies = this.#strategies.filter((strategy) =>
      this.#isShare(strategy, clientId, queue),
    )
  }

  /**
   * A member that has the present list pulls what is its share, or its application's. One that has
   * an earlier list will look again.
   */
  #isEntitled(clientId: string, queue: Queue): boolean {
    const takenMs = this.#takenMs.get(keyOf(queue)) ?? Number.NEGATIVE_INFINITY
    if (this.#nowMs - takenMs < LATE_PULL_MS) return false
    return this.#toldMs.has(clientId) || this.#nowMs - this.#changedMs >= UNTOLD_MS
  }

  async #isFree(clientId: string, request: PullRequest): Promise<boolean> {
    if (!this.#parts.isOpen(request)) return true
    const isEntitled = this.#isEntitled(clientId, request)
    if (isEntitled) {
      this.#parts.letGo(request)
      if (!this.#parts.isOpen(request)) return true
    }
    if (request.waitMs <= 0) return false
    await new Promise<void>((resolve) => {
      const go = (): void => {
        timer.cancel()
        this.#closing.get(keyOf(request))?.delete(go)
        resolve()
      }
      const timer = this.#parts.clock.after(Math.min(HELD_MS, request.waitMs), go)
      this.#onClosed(request, go)
    })
    return !this.#parts.isOpen(request)
  }

  /** False: the owner may have the queue still. */
  async #isLeftBy(owner: string, claim: Claim, request: PullRequest): Promise<boolean> {
    claim.waitsSinceMs ??= this.#nowMs
    const untilMs = claim.waitsSinceMs + NATIVE_HANDOVER_MS
    const hasLetGo = (): boolean => this.#nowMs >= untilMs || this.#hasLetGo(owner, request)
    if (hasLetGo()) return true
    if (request.waitMs <= 0) return false
    await sleep(this.#parts.clock, Math.min(HELD_MS, request.waitMs))
    return hasLetGo()
  }

  #onClosed(queue: Queue, go: () => void): void {
    const key = keyOf(queue)
    const waiting = this.#closing.get(key)
    if (waiting === undefined) this.#closing.set(key, new Set([go]))
    else waiting.add(go)
  }
}

const NONE: ReadonlyMap<string, Claim> = new Map()

/**
 * Sorts before the ids of clients, which begin with their address: the first of the list has a
 * share of each topic however few queues it has. The same at each broker of a topic.
 */
const virtualId = (at: number): string => `0.0.0.0@per-message-${at}`

const keyOf = ({ topic, queueId }: Queue): string => `${queueId}/${topic}`
