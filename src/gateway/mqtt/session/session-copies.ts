// The durable copies of sessions, and the claims of their states by which this gateway owns them.
import { type Clock, SharedSlice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { Claim, StateChange } from '../../../model/state.ts'
import type { Broker } from '../../../port/broker.ts'
import type { Session } from './session.ts'
import { decodeSession, encodeSession } from './session-record.ts'
import { upgraded } from './session-upgrade.ts'

const ID_PREFIX = 'mqtt/session/'

const idOf = (clientId: string): string => ID_PREFIX + clientId

export class SessionCopies {
  readonly #broker: Broker
  readonly #log: Logger
  readonly #dirty = new Set<Session>()
  /** Sessions with a durable copy. */
  readonly #saved = new Set<Session>()

  /** Of all that is read, and that is written without a client that waits for it. */
  readonly #slice: SharedSlice

  constructor(broker: Broker, clock: Clock, log: Logger) {
    this.#slice = new SharedSlice(clock)
    this.#broker = broker
    this.#log = log
  }

  get count(): number {
    return this.#saved.size
  }

  has(session: Session): boolean {
    return this.#saved.has(session)
  }

  /** Client ids, of all gateways; page by page. */
  async *clientIds(): AsyncGenerator<string> {
    for await (const page of this.#broker.states.list(ID_PREFIX)) {
      for (const { id } of page) yield id.slice(ID_PREFIX.length)
    }
  }

  claim(clientId: string, lost: () => void): Promise<Claim> {
    return this.#broker.states.claim(idOf(clientId), lost)
  }

  claimFree(clientId: string, lost: () => void): Promise<Claim | undefined> {
    return this.#broker.states.claimFree(idOf(clientId), lost)
  }

  /** Told client ids whose sessions wait for an owner. */
  watchFree(freed: (clientId: string) => void): Disposable {
    return this.#broker.states.watchFree(ID_PREFIX, (id) => freed(id.slice(ID_PREFIX.length)))
  }

  release(claim: Claim | undefined): void {
    if (claim === undefined) return
    this.#broker.states.release(claim).catch((error: unknown) => {
      const fields = { evt: 'mqtt.claim_not_released', id: claim.id, err: error }
      this.#log.warn(fields, 'a session could not be let go for another gateway')
    })
  }

  /** The session as its last owner saved it, owned by the claim from now on. */
  async load(clientId: string, claim: Claim): Promise<Session | undefined> {
    const session = await this.peek(clientId)
    if (session === undefined) return undefined
    session.claim = claim
    this.#saved.add(session)
    return session
  }

  /** The same, to be looked at. */
  async peek(clientId: string): Promise<Session | undefined> {
    const state = await this.#broker.states.load(idOf(clientId))
    return state && this.#decoded(clientId, state.value)
  }

  async #decoded(clientId: string, value: Buffer): Promise<Session | undefined> {
    const bytes = await upgraded(value, this.#broker)
    const { brokerName } = this.#broker.identity
    const session = await decodeSession(clientId, bytes, brokerName, this.#slice)
    if (session === undefined) {
      this.#log.warn({ evt: 'mqtt.session_unreadable', clientId }, 'a saved session cannot be read')
    }
    return session
  }

  /** Counts among the sessions that are kept from now on, and is saved soon. */
  reserve(session: Session): void {
    if (!session.isPersistent) return
    this.#saved.add(session)
    this.touch(session)
  }

  /** Changed in a way that need not be durable at once. */
  touch(session: Session): void {
    if (session.isDirty || !session.isPersistent) return
    session.isDirty = true
    this.#dirty.add(session)
  }

  /** Durable when it settles. */
  async save(session: Session): Promise<void> {
    this.#isBeingSaved(session)
    const { claim } = session
    await this.#broker.states.save(idOf(session.clientId), this.#encoded(session), { claim })
  }

  /** Its state now, for the caller to publish with messages. */
  change(session: Session): StateChange {
    this.#isBeingSaved(session)
    return { id: idOf(session.clientId), state: this.#encoded(session), claim: session.claim }
  }

  /** Handed to the broker at once; no client waits for it. */
  saveSoon(session: Session): void {
    this.save(session).catch((error: unknown) => this.#notSaved(session, error))
  }

  /** Hands what has changed to the broker; called a few times a second and at the end. */
  async saveDirty(): Promise<void> {
    for (const session of [...this.#dirty]) {
      if (this.#slice.isOver) await this.#slice.rest()
      if (this.#dirty.has(session)) this.saveLater(session)
    }
  }

  /** Kept within the call. */
  saveLater(session: Session): void {
    this.#isBeingSaved(session)
    const { states } = this.#broker
    states
      .saveSoon(idOf(session.clientId), this.#encoded(session), session.claim)
      .catch((error: unknown) => {
        // Another gateway has it; this one is about to hear of it.
        if (BrokerError.from(error).code === 'CLAIM_LOST') return
        this.touch(session)
        this.#notSaved(session, error)
      })
  }

  #notSaved({ clientId }: Session, err: unknown): void {
    const fields = { evt: 'mqtt.session_not_saved', clientId, err }
    this.#log.warn(fields, 'a session could not be saved; trying again')
  }

  #encoded(session: Session): Buffer {
    return encodeSession(session, this.#broker.identity.brokerName)
  }

  #isBeingSaved(session: Session): void {
    session.isDirty = false
    this.#dirty.delete(session)
    this.#saved.add(session)
  }

  /** That there is no session any more, for the caller to publish with messages. */
  removal({ clientId, claim }: Session): StateChange {
    return { id: idOf(clientId), state: null, claim }
  }

  /** Not to be saved any more: it belongs to another gateway, or ends. */
  forget(session: Session): void {
    this.#dirty.delete(session)
    this.#saved.delete(session)
  }

  async delete(session: Session): Promise<void> {
    this.forget(session)
    const { clientId, claim } = session
    await this.#broker.states.delete(idOf(clientId), { claim })
  }
}
