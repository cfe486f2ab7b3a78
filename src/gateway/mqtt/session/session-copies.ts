// The durable copies of sessions, and the claims of their states by which this gateway owns them.
import { type Clock, SharedSlice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { Claim, StateChange } from '../../../model/state.ts'
import type { Broker } from '../../../port/broker.ts'
import type { Session } from './session.ts'
import {
  decodeHead,
  decodeSession,
  encodePart,
  encodePartAhead,
  encodeSession,
} from './session-record.ts'
import { upgraded } from './session-upgrade.ts'
import type { SubscriptionParts } from './subscription-parts.ts'

const ID_PREFIX = 'mqtt/session/'
/** Of further parts of the subscriptions of sessions. */
const PART_PREFIX = 'mqtt/filters/'

const idOf = (clientId: string): string => ID_PREFIX + clientId
const partIdOf = (clientId: string, number: number): string => `${PART_PREFIX}${number}/${clientId}`

/** Parts that are encoded within one call. */
const PARTS_AT_ONCE_MAX = 64

/**
 * States that are to change in one append. What the log refuses goes there later, in their order
 * and in several appends: the session's own comes behind those that it names, and goes before them.
 */
export interface SessionChange {
  readonly states: readonly StateChange[]
  /** They did not. */
  refused(): void
}

export class SessionCopies {
  readonly #broker: Broker
  readonly #log: Logger
  readonly #dirty = new Set<Session>()
  /** Sessions with a durable copy. */
  readonly #saved = new Set<Session>()

  /** Of all that is read, and of what is written ahead or without a client that waits for it. */
  readonly #slice: SharedSlice

  /**
   * Are sessions of many subscriptions kept whole? Before a cluster, which has no append of several
   * states.
   */
  readonly #areWhole: boolean

  constructor(broker: Broker, clock: Clock, log: Logger) {
    this.#slice = new SharedSlice(clock)
    this.#areWhole = broker.lightQueues === undefined
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

  /** Never rejects. */
  async release(claim: Claim | undefined): Promise<void> {
    if (claim === undefined) return
    try {
      await this.#broker.states.release(claim)
    } catch (error) {
      const fields = { evt: 'mqtt.claim_not_released', id: claim.id, err: error }
      this.#log.warn(fields, 'a session could not be let go for another gateway')
    }
  }

  /**
   * The session as its last owner saved it, owned by the claim from now on. Of one that cannot be
   * read nothing is left beside it where its client `isHere`, whose new session takes its place.
   */
  async load(clientId: string, claim: Claim, isHere = false): Promise<Session | undefined> {
    const bytes = await this.#bytesOf(clientId)
    if (bytes === undefined) return undefined
    const session = await decodeSession(clientId, bytes, {
      ownBroker: this.#broker.identity.brokerName,
      slice: this.#slice,
      loadPart: async (number) =>
        (await this.#broker.states.load(partIdOf(clientId, number)))?.value,
    })
    if (session === undefined) {
      this.#log.warn({ evt: 'mqtt.session_unreadable', clientId }, 'a saved session cannot be read')
      if (isHere) await this.#deleteParts(clientId)
      return undefined
    }
    session.claim = claim
    this.#saved.add(session)
    return session
  }

  /** How many there are nothing tells: their numbers have no gaps. */
  async #deleteParts(clientId: string): Promise<void> {
    const { states } = this.#broker
    const changes: StateChange[] = []
    for (let number = 1; ; number++) {
      const id = partIdOf(clientId, number)
      if ((await states.load(id)) === undefined) break
      changes.push({ id, state: null })
    }
    if (changes.length === 0) return
    // They harm no session: those that are left now are written over, or stay.
    await this.#broker.publish([], changes).catch((error: unknown) => {
      const fields = { evt: 'mqtt.session_not_ended', clientId, err: error }
      this.#log.warn(fields, 'a session could not be removed completely')
    })
  }

  /** The same without its subscriptions, to be looked at. */
  async peek(clientId: string): Promise<Session | undefined> {
    const bytes = await this.#bytesOf(clientId)
    return bytes && decodeHead(clientId, bytes, this.#broker.identity.brokerName)
  }

  async #bytesOf(clientId: string): Promise<Buffer | undefined> {
    const state = await this.#broker.states.load(idOf(clientId))
    return state && upgraded(state.value, this.#broker)
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
    const { isPersistent } = session
    if (this.#isMuch(session)) {
      await this.#encodeAhead(session)
      if (isPersistent && !session.isPersistent) throw ended(session)
    }
    const change = this.change(session)
    try {
      await this.#write(change)
    } catch (error) {
      change.refused()
      throw error
    }
  }

  #write({ states }: SessionChange): Promise<unknown> {
    if (states.length > 1) return this.#broker.publish([], states)
    const { id, state, claim } = states[0]!
    return this.#broker.states.save(id, state as Buffer, { claim })
  }

  /** What there is to be saved of it now, for the caller to publish with messages. */
  change(session: Session): SessionChange {
    session.isDirty = false
    this.#dirty.delete(session)
    this.#saved.add(session)
    const { clientId, claim } = session
    const { brokerName } = this.#broker.identity
    const state = encodeSession(session, brokerName, this.#areWhole)
    const parts = this.#partsOf(session)
    const changed = parts?.takeChanged() ?? []
    const others = changed
      .filter((number) => number > 0)
      .map((number): StateChange => {
        const isThere = number < parts!.count
        const part = isThere ? encodePart(session, number, brokerName) : null
        return { id: partIdOf(clientId, number), state: part }
      })
    return {
      states: [...others, { id: idOf(clientId), state, claim }],
      refused: () => parts?.notSaved(changed),
    }
  }

  /** undefined: all of its subscriptions are saved with it. */
  #partsOf({ subscriptions }: Session): SubscriptionParts | undefined {
    return this.#areWhole ? undefined : subscriptions.parts
  }

  #isMuch(session: Session): boolean {
    return (this.#partsOf(session)?.changed.size ?? 0) > PARTS_AT_ONCE_MAX
  }

  /** So that to save it takes no longer than that of few. */
  async #encodeAhead(session: Session): Promise<void> {
    const { brokerName } = this.#broker.identity
    for (const number of [...session.subscriptions.parts!.changed]) {
      if (this.#slice.isOver) await this.#slice.rest()
      encodePartAhead(session, number, brokerName)
    }
  }

  /** Handed to the broker at once; no client waits for it, and what fails is tried again. */
  saveSoon(session: Session): void {
    this.save(session).catch((error: unknown) => {
      this.touch(session)
      this.#notSaved(session, error)
    })
  }

  /** Hands what has changed to the broker; called a few times a second and at the end. */
  async saveDirty(): Promise<void> {
    for (const session of [...this.#dirty]) {
      if (this.#slice.isOver) await this.#slice.rest()
      if (this.#dirty.has(session) && this.#isMuch(session)) await this.#encodeAhead(session)
      if (this.#dirty.has(session)) this.saveLater(session)
    }
  }

  /** Kept within the call. */
  saveLater(session: Session): void {
    const change = this.change(session)
    const { id, state, claim } = change.states[0]!
    const kept: Promise<unknown> =
      change.states.length > 1
        ? this.#broker.publish([], change.states)
        : this.#broker.states.saveSoon(id, state as Buffer, claim)
    kept.catch((error: unknown) => {
      const { code } = BrokerError.from(error)
      const isReadOnly = code === 'READ_ONLY'
      // Another gateway has it, of which this one is about to hear; or the log takes it later.
      if (code === 'CLAIM_LOST' || (isReadOnly && change.states.length === 1)) return
      change.refused()
      this.touch(session)
      if (!isReadOnly) this.#notSaved(session, error)
    })
  }

  #notSaved({ clientId }: Session, err: unknown): void {
    const fields = { evt: 'mqtt.session_not_saved', clientId, err }
    this.#log.warn(fields, 'a session could not be saved; trying again')
  }

  /** That there is no session any more, for the caller to publish with messages. */
  removal(session: Session): SessionChange {
    const { clientId, claim } = session
    const parts = this.#partsOf(session)
    const numbers = new Set(parts?.changed)
    for (let number = 1; number < (parts?.count ?? 0); number++) numbers.add(number)
    numbers.delete(0)
    const others = [...numbers].map((number) => ({ id: partIdOf(clientId, number), state: null }))
    return { states: [{ id: idOf(clientId), state: null, claim }, ...others], refused() {} }
  }

  /** Not to be saved any more: it belongs to another gateway, or ends. */
  forget(session: Session): void {
    this.#dirty.delete(session)
    this.#saved.delete(session)
  }

  async delete(session: Session): Promise<void> {
    this.forget(session)
    const { states } = this.removal(session)
    const { id, claim } = states[0]!
    if (states.length > 1) await this.#broker.publish([], states)
    else await this.#broker.states.delete(id, { claim })
  }
}

const ended = ({ clientId }: Session): BrokerError =>
  new BrokerError('CLOSED', `the session of '${clientId}' has ended`)
