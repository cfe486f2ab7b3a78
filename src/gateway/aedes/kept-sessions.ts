// Whose each session is that outlives its connection, and when it was last in use: aedes keeps
// sessions without an owner, and for ever. One state for each, shared by all gateways before one
// broker.
import { type Authenticator, isOwn, type Principal } from '../../access/auth.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { StateNews } from '../../model/state.ts'
import type { States } from '../../port/states.ts'

const PREFIX = 'aedes/kept/'
/** Noted anew while its client is here, so often within the time that it is kept. */
const NOTED_IN_TIME = 4

interface Kept {
  /** undefined: of a client without a user. */
  readonly user: string | undefined
  /** Epoch ms. */
  readonly seenMs: number
}

export interface KeptParts {
  readonly auth: Authenticator
  readonly clock: Clock
  readonly states: States
  readonly sessionsMax: number
  readonly sessionExpiryMs: number
}

export class KeptSessions {
  readonly #parts: KeptParts
  readonly #all = new Map<string, Kept>()
  /** Of client ids whose session is being ended. */
  readonly #endings = new Map<string, Promise<void>>()
  #watch: Disposable | undefined

  constructor(parts: KeptParts) {
    this.#parts = parts
  }

  async open(): Promise<void> {
    const { states } = this.#parts
    const told = new Set<string>()
    this.#watch = states.watch(PREFIX, (news) => {
      told.add(news.id)
      this.#note(news)
    })
    for await (const page of states.list(PREFIX)) {
      for (const entry of page) if (!told.has(entry.id)) this.#note(entry)
    }
  }

  close(): void {
    this.#watch?.[Symbol.dispose]()
  }

  get size(): number {
    return this.#all.size
  }

  get clientIds(): Iterable<string> {
    return this.#all.keys()
  }

  find(clientId: string): Kept | undefined {
    return this.#all.get(clientId)
  }

  /**
   * May the client have the session of its id, or one more? Within the call.
   * @throws PERMISSION_DENIED, QUOTA_EXCEEDED
   */
  check(clientId: string, principal: Principal, isClean: boolean): void {
    const { auth, sessionsMax } = this.#parts
    const kept = this.#all.get(clientId)
    if (kept !== undefined) checkOwner(auth, clientId, principal, kept.user)
    else if (!isClean && this.#all.size >= sessionsMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `${this.#all.size} sessions are kept already; mqtt.sessionsMax is ${sessionsMax}`,
      )
    }
  }

  /** Its client is here, or was until now. Durable when it settles. */
  async keep(clientId: string, user: string | undefined): Promise<void> {
    const kept = { user, seenMs: this.#parts.clock.now() }
    this.#all.set(clientId, kept)
    await this.#parts.states.save(PREFIX + clientId, Buffer.from(JSON.stringify(kept)))
  }

  async drop(clientId: string): Promise<void> {
    if (!this.#all.delete(clientId)) return
    await this.#parts.states.delete(PREFIX + clientId)
  }

  /**
   * Ends the sessions that have been away for too long, by `clean`; those here are noted anew. Each
   * is looked at in its turn: it may have come back while another one was ended.
   */
  async sweep(
    isHere: (clientId: string) => boolean,
    clean: (clientId: string) => Promise<void>,
  ): Promise<void> {
    const { clock, sessionExpiryMs } = this.#parts
    for (const clientId of [...this.#all.keys()]) {
      const kept = this.#all.get(clientId)
      if (kept === undefined || this.#endings.has(clientId)) continue
      const ageMs = clock.now() - kept.seenMs
      if (!isHere(clientId)) {
        if (ageMs >= sessionExpiryMs) await this.#end(clientId, clean)
      } else if (ageMs * NOTED_IN_TIME >= sessionExpiryMs) await this.keep(clientId, kept.user)
    }
  }

  /** A client that is here from now on has its session as it was, or none, and not half of one. */
  async ended(clientId: string): Promise<void> {
    // The sweep tells of what fails.
    await this.#endings.get(clientId)?.catch(() => {})
  }

  async #end(clientId: string, clean: (clientId: string) => Promise<void>): Promise<void> {
    const ending = clean(clientId).then(() => this.drop(clientId))
    this.#endings.set(clientId, ending)
    try {
      await ending
    } finally {
      this.#endings.delete(clientId)
    }
  }

  /** One that is unreadable is of no user, and stops no other. */
  #note({ id, value }: Pick<StateNews, 'id' | 'value'>): void {
    const clientId = id.slice(PREFIX.length)
    if (value === undefined) this.#all.delete(clientId)
    else this.#all.set(clientId, decoded(value) ?? { user: undefined, seenMs: 0 })
  }
}

function decoded(value: Buffer): Kept | undefined {
  try {
    const { user, seenMs } = JSON.parse(value.toString()) as Partial<Kept>
    return { user, seenMs: seenMs ?? 0 }
  } catch {
    return undefined
  }
}

/**
 * Also an administrator has no part in it: what the session holds is on its way to its own client.
 * @throws PERMISSION_DENIED
 */
export function checkOwner(
  auth: Authenticator,
  clientId: string,
  principal: Principal,
  user: string | undefined,
): void {
  if (isOwn(auth, principal, user)) return
  throw new BrokerError(
    'PERMISSION_DENIED',
    `the session of the client id '${clientId}' belongs to another user; choose another client id`,
  )
}
