// Sessions and their states: one state for each, written at most four times a second while
// acknowledgements come, and at once where the protocol rests on it. A session belongs to the
// process that its client connected to last: that one claims it, and the one before writes what it
// has and lets go.
import { type Clock, sleep, type Timer } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Claim, StateNews, StateVersion } from '../model/state.ts'
import { UNCERTAIN_CODES } from '../port/broker.ts'
import type { States } from '../port/states.ts'
import { Session } from './session.ts'
import { SubscriptionTable } from './subscriptions.ts'

const PREFIX = 'aedes/session/'
const SAVE_MS = 250
const RETRY_MS = 500

interface Live {
  readonly id: string
  readonly session: Session
  claim: Claim | undefined
  /** Of the last write. */
  version: StateVersion | undefined
  isDirty: boolean
  /** Another process has it, or it is deleted. */
  isLost: boolean
  saving: Promise<void> | undefined
  timer: Timer | undefined
}

export interface SessionsParts {
  readonly states: States
  readonly clock: Clock
  readonly troubled: (error: BrokerError) => void
  readonly sessionsMax: number
}

export class Sessions {
  readonly subscriptions = new SubscriptionTable()
  readonly #parts: SessionsParts
  /** Those whose clients are or were here. */
  readonly #live = new Map<string, Promise<Live>>()
  #watch: Disposable | undefined
  #isClosed = false

  constructor(parts: SessionsParts) {
    this.#parts = parts
  }

  async open(): Promise<void> {
    const { states } = this.#parts
    const told = new Set<string>()
    let isReading = true
    this.#watch = states.watch(PREFIX, (news) => {
      if (isReading) told.add(news.id)
      this.#onNews(news)
    })
    for await (const page of states.list(PREFIX)) {
      for (const { id, value } of page) if (!told.has(id)) this.#note(id, value)
    }
    isReading = false
  }

  /** As it is kept, for a client that connects: another process may have had it since. */
  async renew(clientId: string): Promise<Session> {
    const before = await this.#live.get(clientId)?.catch(() => undefined)
    if (before === undefined) return this.get(clientId)
    await this.#flush(before)
    if (!before.isLost) return before.session
    this.#live.delete(clientId)
    return this.get(clientId)
  }

  /** @throws CLAIM_LOST when its client is at another process now */
  async get(clientId: string): Promise<Session> {
    const { session, isLost } = await this.#of(clientId)
    if (isLost) throw takenOver(clientId)
    return session
  }

  /** What was changed before is durable when it settles. */
  async saved(clientId: string): Promise<void> {
    await this.#flush(await this.#of(clientId))
  }

  /** The session was changed. Durable when it settles. */
  async save(clientId: string): Promise<void> {
    const live = await this.#of(clientId)
    live.isDirty = true
    this.#noteOwn(live)
    await this.#flush(live)
    if (live.isLost) throw takenOver(clientId)
  }

  /** The session was changed. */
  async saveSoon(clientId: string): Promise<void> {
    const live = await this.#of(clientId)
    if (live.isLost) throw takenOver(clientId)
    live.isDirty = true
    live.timer ??= this.#parts.clock.after(SAVE_MS, () => {
      live.timer = undefined
      void this.#flush(live)
    })
  }

  /** May the client subscribe? @throws QUOTA_EXCEEDED */
  checkQuota(clientId: string): void {
    const { sessionsMax } = this.#parts
    const { clientsCount } = this.subscriptions.counts
    if (clientsCount < sessionsMax || this.subscriptions.of(clientId).length > 0) return
    throw new BrokerError(
      'QUOTA_EXCEEDED',
      `${clientsCount} sessions are kept already; sessionsMax is ${sessionsMax}`,
    )
  }

  async delete(clientId: string): Promise<void> {
    const live = await this.#live.get(clientId)?.catch(() => undefined)
    this.#live.delete(clientId)
    if (live !== undefined) {
      live.isLost = true
      live.timer?.cancel()
      await live.saving
    }
    this.subscriptions.set(clientId, [])
    const { states } = this.#parts
    const id = stateId(clientId)
    if ((await states.load(id)) !== undefined) {
      // The process that its client was at lets go of it first.
      const claim = await states.claim(id, () => {})
      await states.delete(id, { claim }).finally(() => states.release(claim))
    } else if (live?.claim !== undefined) await states.release(live.claim)
  }

  /** Its client has gone; what is kept of it in memory is written and let go. */
  async letGo(clientId: string): Promise<void> {
    const promise = this.#live.get(clientId)
    const live = await promise?.catch(() => undefined)
    if (live === undefined) return
    await this.#flush(live)
    if (live.isDirty || this.#live.get(clientId) !== promise) return
    this.#live.delete(clientId)
    await this.#release(live)
  }

  async close(): Promise<void> {
    this.#watch?.[Symbol.dispose]()
    this.#isClosed = true
    for (const promise of this.#live.values()) {
      const live = await promise.catch(() => undefined)
      if (live === undefined) continue
      live.timer?.cancel()
      await live.saving
      if (live.isDirty && !live.isLost) await this.#write(live)
      await this.#release(live)
    }
  }

  #of(clientId: string): Promise<Live> {
    const known = this.#live.get(clientId)
    if (known !== undefined) return known
    const live = this.#load(clientId)
    this.#live.set(clientId, live)
    live.catch(() => {
      if (this.#live.get(clientId) === live) this.#live.delete(clientId)
    })
    return live
  }

  async #load(clientId: string): Promise<Live> {
    const { states } = this.#parts
    const id = stateId(clientId)
    let live: Live | undefined
    let isLost = false
    const claim = await states.claim(id, () => {
      isLost = true
      if (live !== undefined) void this.#lose(live)
    })
    try {
      const state = await states.load(id)
      live = {
        ...{ id, claim, isLost },
        session: new Session(state?.value),
        version: state?.version,
        ...{ isDirty: false, saving: undefined, timer: undefined },
      }
    } catch (error) {
      // What comes next would wait for it.
      await states.release(claim).catch(() => {})
      throw error
    }
    if (isLost) await this.#release(live)
    return live
  }

  /** Its client has connected to another process, which waits for this. */
  async #lose(live: Live): Promise<void> {
    await this.#flush(live)
    live.isLost = true
    await this.#release(live)
  }

  /** Never rejects. */
  async #release(live: Live): Promise<void> {
    const { claim } = live
    live.claim = undefined
    if (claim !== undefined) await this.#parts.states.release(claim).catch(() => {})
  }

  /** Never rejects; what changed while it was being saved is saved too. */
  async #flush(live: Live): Promise<void> {
    live.timer?.cancel()
    live.timer = undefined
    while (live.saving !== undefined) await live.saving
    if (!live.isDirty || live.isLost || this.#isClosed) return
    live.saving = this.#write(live).finally(() => {
      live.saving = undefined
    })
    await live.saving
    if (live.isDirty) await this.#flush(live)
  }

  async #write(live: Live): Promise<void> {
    const { states, clock, troubled } = this.#parts
    live.isDirty = false
    const { id, session, claim } = live
    try {
      if (session.isEmpty) await states.delete(id, { claim })
      else live.version = await states.save(id, session.encode(), { claim })
    } catch (thrown) {
      const error = BrokerError.from(thrown)
      if (!UNCERTAIN_CODES.has(error.code) && !error.retryable) {
        live.isLost = true
        if (error.code !== 'CLAIM_LOST') troubled(error)
        return
      }
      live.isDirty = true
      troubled(error)
      if (!this.#isClosed) await sleep(clock, RETRY_MS)
    }
  }

  #noteOwn({ id, session }: Live): void {
    this.subscriptions.set(clientOf(id), session.subscriptions)
  }

  #onNews({ id, value, version }: StateNews): void {
    const live = this.#live.get(clientOf(id))
    if (live === undefined) {
      this.#note(id, value)
      return
    }
    // Of its own writes the session knows.
    void live.then(
      (one) => {
        if (one.saving === undefined && version > (one.version ?? 0)) this.#note(id, value)
      },
      () => this.#note(id, value),
    )
  }

  /** One that is unreadable has no subscriptions, and stops no other. */
  #note(id: string, value: Buffer | undefined): void {
    try {
      const { subscriptions } = new Session(value)
      this.subscriptions.set(clientOf(id), subscriptions)
    } catch (thrown) {
      this.subscriptions.set(clientOf(id), [])
      this.#parts.troubled(BrokerError.from(thrown))
    }
  }
}

const stateId = (clientId: string): string => PREFIX + encodeURIComponent(clientId)
const clientOf = (id: string): string => decodeURIComponent(id.slice(PREFIX.length))

const takenOver = (clientId: string): BrokerError =>
  new BrokerError('CLAIM_LOST', `the session of '${clientId}' is at another process now`)
