// Every session that this gateway owns, by client id: their users, when they end, and their durable
// copies. Ownership is a claim of the state's id: a client that connects to another gateway takes
// its session there. One client id is worked on by one caller at a time.

import { type Authenticator, isOwn, ownerName, type Principal } from '../../../access/auth.ts'
import { Exclusive } from '../../../access/exclusive.ts'
import { type Clock, type SharedSlice, Slice, sleep, type Timer } from '../../../clock.ts'
import { BrokerError, type ErrorCode } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { Claim, StateChange } from '../../../model/state.ts'
import type { Broker } from '../../../port/broker.ts'
import type { AttachRequest } from './attach-request.ts'
import type { FilterCounts } from './filter-counts.ts'
import { NEVER, Session, type Will } from './session.ts'
import { type SessionChange, SessionCopies } from './session-copies.ts'

export interface SessionTableParts {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
  /** Of all work on filters. */
  readonly filterWork: SharedSlice
  readonly subscribers: FilterCounts
  readonly auth: Authenticator
  readonly sessionsMax: number
  /**
   * Publishes a session's will, and with it the state of the session that has it no more; must not
   * throw, settles when both are durable or failed. False: the log takes nothing now, and nothing
   * has changed.
   */
  readonly publishWill: (
    will: Will,
    session: Session,
    states?: readonly StateChange[],
  ) => Promise<boolean>
}

/** A client that tries again and again costs one line of the log in this time. */
const REFUSALS_LOGGED_EVERY_MS = 60_000

/** Time that passed by the clock while the broker was down is believed up to this. */
const BELIEVED_MS = 3_600_000

/** At a start, so that the time on the way to a cluster is not waited for once each. */
const TAKEN_UP_TOGETHER = 4_096
const UNREADABLE_MAX = 10_000

/** A CONNECT waits so long for a broker of the cluster that keeps its session and is away. */
const AWAY_MS = 5_000
const AWAY_PAUSE_MS = 250
const AWAY_CODES: ReadonlySet<ErrorCode> = new Set(['UNREACHABLE', 'TIMED_OUT'])

/** A will that the log does not take is tried again after this. */
const WILL_RETRY_MS = 1_000

export class SessionTable {
  readonly copies: SessionCopies
  readonly #parts: SessionTableParts
  readonly #sessions = new Map<string, Session>()
  /** The work under way, by client id. */
  readonly #exclusive = new Exclusive()
  readonly #timers = new Map<Session, Timer[]>()
  /** Saved sessions that no owner can make anything of. */
  readonly #unreadable = new Set<string>()
  #freeWatch: Disposable | undefined
  /** Wills on their way into the log. */
  readonly #wills = new Map<Session, Promise<void>>()
  #isClosed = false

  constructor(parts: SessionTableParts) {
    this.#parts = parts
    this.copies = new SessionCopies(parts.broker, parts.clock, parts.log)
  }

  find(clientId: string): Session | undefined {
    return this.#sessions.get(clientId)
  }

  all(): Iterable<Session> {
    return this.#sessions.values()
  }

  /**
   * Takes up the sessions of an earlier run, and those of other gateways as these go; what was
   * connected counts as lost now.
   */
  async open(): Promise<void> {
    const slice = new Slice(this.#parts.clock)
    this.#freeWatch = this.copies.watchFree((clientId) => {
      this.#takeUp(clientId).catch((error: unknown) => {
        const fields = { evt: 'mqtt.session_not_taken', clientId, err: error }
        this.#parts.log.warn(fields, 'the session of a gateway that has gone waits for its client')
      })
    })
    let underWay: Promise<void>[] = []
    for await (const clientId of this.copies.clientIds()) {
      if (slice.isOver) await slice.rest()
      underWay.push(this.#takeUp(clientId))
      if (underWay.length < TAKEN_UP_TOGETHER) continue
      await Promise.all(underWay)
      underWay = []
    }
    await Promise.all(underWay)
  }

  /** A gateway that claims it by now waits until it is read. */
  #takeUp(clientId: string): Promise<void> {
    return this.#exclusive.run(clientId, async () => {
      if (this.#isClosed || this.#sessions.has(clientId) || this.#unreadable.has(clientId)) return
      const claim = await this.copies.claimFree(clientId, () => this.#claimLost(clientId))
      if (claim === undefined) return
      const session = await this.#load(clientId, claim, false)
      if (session !== undefined) return this.#keep(session)
      if (this.#unreadable.size < UNREADABLE_MAX) this.#unreadable.add(clientId)
      void this.copies.release(claim)
    })
  }

  /** Until its client comes, or its time is over. */
  #keep(session: Session): void {
    this.#believe(session)
    this.#startTimers(session)
  }

  async #load(clientId: string, claim: Claim, isHere: boolean): Promise<Session | undefined> {
    const session = await this.copies.load(clientId, claim, isHere)
    if (session === undefined) return undefined
    const { filterWork: slice, subscribers } = this.#parts
    for (const { filter } of session.subscriptions.values()) {
      if (slice.isOver) await slice.rest()
      subscribers.add(filter)
    }
    this.#sessions.set(clientId, session)
    return session
  }

  /**
   * A session is not ended for what the clock says at a start alone, for it may have been wrong
   * then or be wrong now: one that was disconnected for more than an hour by it has an hour left,
   * or all its time when that is less.
   */
  #believe(session: Session): void {
    const nowMs = this.#parts.clock.now()
    const { disconnectedMs = nowMs, expiryMs } = session
    const saidMs = nowMs - disconnectedMs
    const isDoubted = saidMs < 0 || saidMs > BELIEVED_MS
    const believedMs = Math.max(0, Math.min(saidMs, expiryMs - BELIEVED_MS))
    session.disconnectedMs = isDoubted ? nowMs - believedMs : disconnectedMs
  }

  /**
   * The session of the client id for a new connection: the old one, or with `clean` (or without an
   * old one) a new one. The connection that held it is told first, here or at another gateway. That
   * of another user is left alone. Rejects with PERMISSION_DENIED, CLAIM_LOST.
   */
  attach(request: AttachRequest): Promise<{ session: Session; present: boolean }> {
    const { clientId, signal } = request
    return this.#exclusive.run(clientId, () => this.#attach(request), signal)
  }

  async #attach(request: AttachRequest): Promise<{ session: Session; present: boolean }> {
    const { clientId, signal } = request
    const claim = this.#sessions.get(clientId)?.claim ?? (await this.#claimInTime(request))
    try {
      if (claim !== undefined && !this.#sessions.has(clientId)) {
        await this.#load(clientId, claim, true)
        signal.throwIfAborted()
      }
      return await this.#attachTo(this.#sessions.get(clientId), claim, request)
    } finally {
      const session = this.#sessions.get(clientId)
      // Nothing came of it, but a session that came with the claim stays.
      if (session === undefined) void this.copies.release(claim)
      else if (session.holder === undefined && !this.#timers.has(session)) this.#keep(session)
    }
  }

  /**
   * The user is known before the owner is told. Once that is told the session is on its way here,
   * also for a client that does not wait for it.
   */
  async #claim({ clientId, principal }: AttachRequest): Promise<Claim> {
    const saved = await this.copies.peek(clientId)
    if (saved !== undefined) this.#checkOwner(saved, principal)
    return this.copies.claim(clientId, () => this.#claimLost(clientId))
  }

  /**
   * Without a claim goes on what leaves nothing behind, where the id can be claimed by none. Of two
   * such connections of one client at two gateways both live until then.
   */
  async #claimInTime(request: AttachRequest): Promise<Claim | undefined> {
    const { clock } = this.#parts
    const endMs = clock.monotonic() + AWAY_MS
    for (;;) {
      try {
        return await this.#claim(request)
      } catch (error) {
        if (!AWAY_CODES.has(BrokerError.from(error).code)) throw error
        if (request.clean && request.expiryMs === 0) return undefined
        if (clock.monotonic() >= endMs) throw error
      }
      await sleep(clock, AWAY_PAUSE_MS, request.signal)
    }
  }

  #claimLost(clientId: string): void {
    void this.#exclusive.run(clientId, () => this.#handOver(clientId))
  }

  /** To another gateway, which loads what is saved here. */
  async #handOver(clientId: string): Promise<void> {
    const session = this.#sessions.get(clientId)
    if (session?.claim === undefined) return
    session.holder?.takenOver()
    session.holder = undefined
    await session.work
    if (session.isPersistent) {
      await Promise.allSettled([session.storing, this.#wills.get(session)])
      this.#cancelTimers(session)
      if (session.isDirty) this.copies.saveLater(session)
      this.copies.forget(session)
      this.#sessions.delete(clientId)
      const { filterWork: slice, subscribers } = this.#parts
      for (const { filter } of session.subscriptions.values()) {
        if (slice.isOver) await slice.rest()
        subscribers.remove(filter)
      }
    } else await this.#end(session, true)
    void this.copies.release(session.claim)
  }

  async #attachTo(
    known: Session | undefined,
    claim: Claim | undefined,
    request: AttachRequest,
  ): Promise<{ session: Session; present: boolean }> {
    let session = known
    if (session !== undefined) this.#checkOwner(session, request.principal)
    session?.holder?.takenOver()
    await session?.work
    // Taking over ends a session that lives no longer than its connection.
    if (session !== undefined && (request.clean || !session.isPersistent)) {
      await this.#end(session, true)
      session = undefined
    }
    const present = session !== undefined
    if (!present && request.expiryMs > 0) this.#checkQuota()
    session ??= new Session(request.clientId)
    this.#cancelTimers(session)
    const terms = { ...request, user: ownerName(request.principal) }
    const isKept = this.copies.has(session) && session.isSavedAs(terms, this.#parts.clock.now())
    session.claim = claim
    session.disconnectedMs = undefined
    session.user = terms.user
    session.expiryMs = terms.expiryMs
    session.will = terms.will
    session.inbound.owesNothing()
    session.holder = request.holder
    this.#sessions.set(request.clientId, session)
    // A new one has nothing yet that a crash could take: its first subscription, or message of QoS
    // 2, is durable before it is acknowledged, and the session with it. CONNACK need not wait for
    // the disk.
    if (claim === undefined || (!present && session.will === undefined)) {
      this.copies.reserve(session)
      return { session, present }
    }
    if (isKept) this.copies.touch(session)
    else await this.#saveAttached(session, present)
    return { session, present }
  }

  async #saveAttached(session: Session, present: boolean): Promise<void> {
    // One that now ends with its connection must not come back as it was saved before.
    const isSaved = session.isPersistent || this.copies.has(session)
    try {
      if (isSaved || session.will !== undefined) await this.copies.save(session)
    } catch (error) {
      // A client that returns to consume goes on while the disk is full, or away: the log has its
      // session already, and nothing else can claim it.
      const { code } = BrokerError.from(error)
      const isLater = present && (code === 'READ_ONLY' || AWAY_CODES.has(code))
      if (isLater && session.will === undefined) return this.copies.touch(session)
      session.will = undefined
      this.detach(session, true)
      throw error
    }
  }

  /**
   * Also an administrator has no part in it: what the session holds is on its way to its own
   * client.
   */
  #checkOwner(session: Session, principal: Principal): void {
    const { user, clientId } = session
    const { auth, clock, log } = this.#parts
    if (isOwn(auth, principal, user)) return
    const nowMs = clock.monotonic()
    if (nowMs - session.refusedMs >= REFUSALS_LOGGED_EVERY_MS) {
      session.refusedMs = nowMs
      log.warn(
        { evt: 'mqtt.session_of_another', clientId, owner: user, user: principal.name },
        'a client was refused: the session of its client id belongs to another user',
      )
    }
    throw new BrokerError(
      'PERMISSION_DENIED',
      `the session of the client id '${clientId}' belongs to another user; choose another client id`,
    )
  }

  #checkQuota(): void {
    const { sessionsMax } = this.#parts
    if (this.copies.count < sessionsMax) return
    throw new BrokerError(
      'QUOTA_EXCEEDED',
      `${this.copies.count} sessions are kept already; mqtt.sessionsMax is ${sessionsMax}`,
    )
  }

  /** The connection is gone. `isClean`: the client said goodbye, so that its will is void. */
  detach(session: Session, isClean: boolean): void {
    session.holder = undefined
    session.disconnectedMs = this.#parts.clock.now()
    const { will, isPersistent } = session
    const isVoid = isClean && will !== undefined
    const isDue = !isVoid && will?.delayMs === 0 && isPersistent
    if (isVoid) session.will = undefined
    if (isDue) {
      const publishing = this.#sendWill(session).finally(() => this.#wills.delete(session))
      this.#wills.set(session, publishing)
    }
    if (this.#sessions.get(session.clientId) !== session) return
    if (isPersistent) {
      // A crash right now must not send the will of a client that has said goodbye.
      if (isVoid) this.copies.saveSoon(session)
      // With a will that is on its way its state is as well.
      else if (!isDue) this.copies.touch(session)
      this.#startTimers(session)
      return
    }
    void this.#exclusive.run(session.clientId, () => this.#endIfDetached(session))
  }

  /**
   * No timer fires any more; what was begun is brought to its end. Sessions are let go, if possible
   * within the deadline.
   */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosed = true
    this.#freeWatch?.[Symbol.dispose]()
    for (const timers of this.#timers.values()) for (const timer of timers) timer.cancel()
    this.#timers.clear()
    await Promise.allSettled([...this.#wills.values(), this.#exclusive.idle()])
    await this.copies.saveDirty()
    const sessions = [...this.#sessions.values()]
    const released = Promise.all(sessions.map(({ claim }) => this.copies.release(claim)))
    const over = new AbortController()
    await Promise.race([released, sleep(this.#parts.clock, deadlineMs, over.signal)])
    over.abort()
  }

  async #endIfDetached(session: Session): Promise<void> {
    await session.work
    if (this.#isWaiting(session)) await this.#end(session, false)
  }

  /** Ends the session: its filters are let go, its will is due now (MQTT-3.1.2-8). */
  async #end(session: Session, isReplaced: boolean): Promise<void> {
    this.#cancelTimers(session)
    this.#sessions.delete(session.clientId)
    session.expiryMs = 0
    // The session goes last: one that a crash leaves without its filters binds them again or ends
    // again.
    await this.#attempt(session, () => this.#letGo(session))
    const isSent = await this.#publishWill(session)
    if (!isSent && isReplaced) this.#logReplacedWill(session)
    if (!isSent && !isReplaced) {
      this.#sessions.set(session.clientId, session)
      this.#later(session, () => this.#endIfDetached(session))
      return
    }
    if (this.copies.has(session)) {
      await this.#attempt(session, () => this.copies.delete(session))
    }
    // Its successor, or its end here, has the claim otherwise.
    if (!isReplaced) void this.copies.release(session.claim)
  }

  async #letGo(session: Session): Promise<void> {
    const { broker, filterWork: slice, subscribers } = this.#parts
    const { lightQueues } = broker
    for (const { text, filter, places, bound } of session.subscriptions.values()) {
      if (slice.isOver) await slice.rest()
      // Once each: a session whose will waits for the log ends again.
      session.subscriptions.delete(text)
      subscribers.remove(filter)
      if (places.length === 0) continue
      if (bound === 'live') await lightQueues?.unbind(filter, undefined)
      else if (bound === 'held') await lightQueues?.letGo(filter)
    }
    // Also what a crash left bound that the saved copy does not know of.
    if (this.copies.has(session)) await lightQueues?.unbindAll(session.owner)
  }

  async #attempt(session: Session, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const fields = { evt: 'mqtt.session_not_ended', clientId: session.clientId, err: error }
      this.#parts.log.warn(fields, 'a session could not be removed completely')
    }
  }

  async #sendWill(session: Session): Promise<void> {
    if (await this.#publishWill(session)) return
    this.#later(session, async () => {
      if (this.#isWaiting(session)) await this.#sendWill(session)
    })
  }

  /**
   * One append has the will and the session without it: a crash sends the will later, and once.
   * False: the log takes nothing now; the session has its will still, unless a client came back to
   * it.
   */
  async #publishWill(session: Session): Promise<boolean> {
    const { will } = session
    if (will === undefined) return true
    session.will = undefined
    const change = this.#changeAfterWill(session)
    if (await this.#parts.publishWill(will, session, change?.states)) {
      if (!session.isPersistent) this.copies.forget(session)
      return true
    }
    change?.refused()
    if (session.holder === undefined) {
      session.will = will
      this.copies.touch(session)
    } else this.#logReplacedWill(session)
    return false
  }

  #logReplacedWill({ clientId }: Session): void {
    const fields = { evt: 'mqtt.will_lost', clientId }
    this.#parts.log.warn(fields, 'a client came back before the log took the will it had left')
  }

  #changeAfterWill(session: Session): SessionChange | undefined {
    if (!this.copies.has(session)) return undefined
    return session.isPersistent ? this.copies.change(session) : this.copies.removal(session)
  }

  /** The log may take something again then. */
  #later(session: Session, work: () => Promise<void>): void {
    if (this.#isClosed || this.#sessions.get(session.clientId) !== session) return
    const timers = this.#timers.get(session) ?? []
    this.#timers.set(session, timers)
    timers.push(
      this.#parts.clock.after(WILL_RETRY_MS, () => {
        void this.#exclusive.run(session.clientId, work)
      }),
    )
  }

  #startTimers(session: Session): void {
    if (this.#isClosed) return
    const timers: Timer[] = []
    const { clock } = this.#parts
    const elapsedMs = Math.max(0, clock.now() - (session.disconnectedMs ?? clock.now()))
    const { will, expiryMs } = session
    if (will !== undefined && will.delayMs < expiryMs) {
      timers.push(clock.after(Math.max(0, will.delayMs - elapsedMs), () => this.#willDue(session)))
    }
    if (expiryMs !== NEVER) {
      timers.push(
        clock.after(Math.max(0, expiryMs - elapsedMs), () => {
          void this.#exclusive.run(session.clientId, () => this.#endIfDetached(session))
        }),
      )
    }
    this.#timers.set(session, timers)
  }

  #willDue(session: Session): void {
    void this.#exclusive.run(session.clientId, async () => {
      if (this.#isWaiting(session)) await this.#sendWill(session)
    })
  }

  /** Is it here, without a client? */
  #isWaiting(session: Session): boolean {
    return session.holder === undefined && this.#sessions.get(session.clientId) === session
  }

  #cancelTimers(session: Session): void {
    for (const timer of this.#timers.get(session) ?? []) timer.cancel()
    this.#timers.delete(session)
  }
}
