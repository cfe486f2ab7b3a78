// SUBSCRIBE and UNSUBSCRIBE: checks each filter, binds its light queue, and starts or stops its
// delivery.
import { BrokerError } from '../../errors.ts'
import type { QueueOffset } from '../../model/positions.ts'
import type { Outbound } from './deliver/outbound.ts'
import type { ShareMember } from './deliver/share-member.ts'
import type { Binding } from './deliver/stream.ts'
import { reasonOf } from './errors.ts'
import { authorizeFilter, shareSource } from './filter-rights.ts'
import { FILTER_BYTES_PER_SESSION_MAX } from './limits.ts'
import { Memberships } from './memberships.ts'
import { PACKET, REASON, type ReasonCode } from './packets/protocol.ts'
import type {
  FilterRequest,
  SubscribePacket,
  UnsubscribePacket,
} from './packets/subscribe-packet.ts'
import type { FilterName } from './packets/topic-name.ts'
import type { MqttParts } from './parts.ts'
import type { Peer } from './session/peer.ts'
import type { Session } from './session/session.ts'
import { isSame, type ShareSource, type Subscription } from './session/subscriptions.ts'

/** Filters of one packet that wait for the log together. */
const TOGETHER_MAX = 256
/** Filters that one line of the log names. */
const FILTERS_LOGGED_MAX = 10

/** One filter's outcome, which holds once the session is saved. */
interface Granted {
  readonly subscription: Subscription
  /** What the filter had before. */
  readonly old: Subscription | undefined
  /** Its place is new, also where a withheld one begins anew. */
  readonly isNew: boolean
  readonly request: FilterRequest
  /** Which of the packet's filters it is. */
  readonly index: number
}

export class Subscribing {
  readonly #parts: MqttParts
  readonly #peer: Peer
  readonly #outbound: Outbound
  readonly #session: Session
  readonly #memberships: Memberships
  /**
   * Subscriptions, by text, that the session has and the client may not have any more: nothing is
   * read for them.
   */
  readonly #withheld = new Set<string>()
  /** Of all filters of the session, and of those that are being bound. */
  #filterBytes = 0
  /** New filters that are being bound. */
  #binding = 0
  /** The connection is gone: work under way must leave nothing open behind it. */
  #isClosed = false

  constructor(parts: MqttParts, peer: Peer, outbound: Outbound) {
    this.#parts = parts
    this.#peer = peer
    this.#outbound = outbound
    this.#session = peer.session
    this.#memberships = new Memberships(parts, peer, outbound, {
      withheld: this.#withheld,
      denied: (subscription, topic) => this.#deny(subscription, topic),
    })
    for (const text of this.#session.subscriptions.keys()) {
      this.#filterBytes += Buffer.byteLength(text)
    }
  }

  /** A live view of the shared subscriptions' members. */
  get members(): Iterable<ShareMember> {
    return this.#memberships.members
  }

  /**
   * Takes up the subscriptions of a resumed session where they are, those that the client may have
   * now.
   */
  async resume(): Promise<void> {
    const subscriptions: Subscription[] = []
    const slice = this.#parts.filterWork
    for (const one of this.#granted()) {
      if (slice.isOver) await slice.rest()
      if (await this.#bindAgain(one)) subscriptions.push(one)
    }
    await this.refresh()
    const ordinary = subscriptions.filter(({ share }) => share === undefined)
    for (const subscription of ordinary) {
      if (slice.isOver) await slice.rest()
      await this.#parts.streams.pass(this.#session, subscription)
    }
    if (this.#isClosed) return
    // A message could pass by a filter that is not there yet.
    this.#outbound.hold()
    await this.#outbound.stream.resume(ordinary, slice)
    for (const subscription of subscriptions) {
      if (subscription.share === undefined) continue
      if (slice.isOver) await slice.rest()
      if (this.#isClosed) return
      this.#memberships.join(subscription)
    }
    this.#outbound.goOn()
  }

  /**
   * A log that takes nothing costs that one subscription, not the connection, or its client would
   * come back at once, for ever. False: it cannot be read now.
   */
  async #bindAgain(subscription: Subscription): Promise<boolean> {
    try {
      await this.#parts.streams.rebind(this.#session, subscription)
      return true
    } catch (error) {
      if (BrokerError.from(error).code !== 'READ_ONLY') throw error
      this.#withheld.add(subscription.text)
      this.#report([subscription.text], error)
      return false
    }
  }

  /** Restored subscriptions are authorized as if they were asked for now. */
  #granted(): Subscription[] {
    const granted: Subscription[] = []
    let reason: unknown
    for (const subscription of this.#session.subscriptions.values()) {
      try {
        this.#authorize(subscription.filter, subscription.share)
        granted.push(subscription)
      } catch (error) {
        this.#withheld.add(subscription.text)
        reason ??= error
      }
    }
    if (this.#withheld.size > 0) this.#report([...this.#withheld], reason)
    return granted
  }

  /** One line, however many there are. */
  #report(filters: readonly string[], err: unknown): void {
    const { principal, session } = this.#peer
    const named = filters.slice(0, FILTERS_LOGGED_MAX)
    const fields = { clientId: session.clientId, user: principal.name, count: filters.length }
    this.#parts.context.log.warn(
      { evt: 'mqtt.filters_withheld', ...fields, filters: named, err },
      'subscriptions of a session bring nothing: the reason stands with them',
    )
  }

  /** Registers the client with the broker, again now and then, or it is forgotten. */
  refresh(): Promise<void> {
    return this.#memberships.refresh()
  }

  /**
   * Answers one reason a filter. What is granted is durable then; nothing of it is sent before
   * `outbound` may send again, which is the caller's to say.
   */
  async subscribe(packet: SubscribePacket): Promise<Uint8Array> {
    const { requests, excess } = packet
    const codes = new Uint8Array(requests.length + excess)
    codes.fill(REASON.quotaExceeded, requests.length)
    const results = new Array<Granted | undefined>(requests.length)
    await this.#parts.addresses.look(requests.flatMap(({ name }) => name?.filter ?? []))
    await this.#together(requests, async (request, index) => {
      try {
        const one = await this.#subscribeOne(request, packet.subscriptionId, index)
        results[index] = one
        codes[index] = one === undefined ? REASON.topicFilterInvalid : request.qos
      } catch (error) {
        codes[index] = this.#refusal(request.text, error)
      }
    })
    const granted = results.filter((one) => one !== undefined)
    if (this.#isClosed || granted.length === 0) return codes
    this.#outbound.hold()
    const slice = this.#parts.filterWork
    for (const one of granted) {
      if (slice.isOver) await slice.rest()
      if (this.#isClosed) return codes
      this.#start(one)
    }
    await this.#saveGranted(granted, codes)
    return codes
  }

  /**
   * Filters of one packet, begun in their order. Several wait for the log together; one that is
   * shared, or stands there twice, comes behind those before it and ahead of those after it.
   */
  async #together<T extends { readonly text: string; readonly name: FilterName | undefined }>(
    filters: readonly T[],
    work: (filter: T, index: number) => Promise<void>,
  ): Promise<void> {
    const slice = this.#parts.filterWork
    let underWay = new Map<string, Promise<void>>()
    const ended = async (): Promise<void> => {
      await Promise.all(underWay.values())
      underWay = new Map()
    }
    for (const [index, filter] of filters.entries()) {
      if (slice.isOver) await slice.rest()
      const isShared = filter.name?.share !== undefined
      if (isShared || underWay.has(filter.text) || underWay.size >= TOGETHER_MAX) await ended()
      if (this.#isClosed) break
      const working = work(filter, index)
      // What fails is told below, perhaps some turns later.
      working.catch(() => {})
      underWay.set(filter.text, working)
      if (isShared) await ended()
    }
    await ended()
  }

  /**
   * What the log does not take now is refused filter by filter: an end of the connection would have
   * the client connect and subscribe again, for ever.
   */
  async #saveGranted(granted: readonly Granted[], codes: Uint8Array): Promise<void> {
    if (!this.#session.isPersistent) return
    try {
      await this.#parts.sessions.copies.save(this.#session)
    } catch (error) {
      // From the last: of several for one filter the first knows what was there before.
      const slice = this.#parts.filterWork
      for (const one of granted.toReversed()) {
        if (slice.isOver) await slice.rest()
        if (isSame(one.subscription, one.old)) continue
        codes[one.index] = this.#refusal(one.subscription.text, error)
        await this.#takeBack(one)
      }
      this.#parts.sessions.copies.touch(this.#session)
    }
  }

  #refusal(filter: string, err: unknown): ReasonCode {
    const fields = { evt: 'mqtt.subscribe_refused', filter, err }
    this.#parts.context.log.debug(fields, 'a subscription was refused')
    return reasonOf(err, PACKET.suback)
  }

  /**
   * A queue that was bound a moment ago and cannot be let go now is the session's still, and ends
   * with it.
   */
  async #takeBack({ subscription, old, isNew }: Granted): Promise<void> {
    const { text, filter } = subscription
    if (old === undefined) {
      this.#remove(subscription)
      await this.#unbind(filter, subscription).catch(() => {})
      return
    }
    this.#session.subscriptions.set(old)
    if (this.#isClosed) return
    if (isNew) {
      this.#withheld.add(text)
      this.#outbound.stream.remove(subscription)
      this.#memberships.leave(text)
    } else if (old.share !== undefined) this.#memberships.join(old)
    else this.#outbound.stream.replace(old)
  }

  async unsubscribe({ filters, excess }: UnsubscribePacket): Promise<Uint8Array> {
    const codes = new Uint8Array(filters.length + excess)
    codes.fill(REASON.implementationSpecific, filters.length)
    const removed: number[] = []
    await this.#together(filters, async ({ text, name }, i) => {
      const subscription = this.#session.subscriptions.get(text)
      if (name === undefined) codes[i] = REASON.topicFilterInvalid
      else if (subscription === undefined) codes[i] = REASON.noSubscriptionExisted
      else {
        codes[i] = await this.#unsubscribeOne(subscription)
        if (codes[i] === REASON.success) removed.push(i)
      }
    })
    await this.#saveRemoved(removed, codes)
    return codes
  }

  /**
   * What is removed and not saved is gone for now; a restart before the log takes it would bring it
   * back.
   */
  async #saveRemoved(removed: readonly number[], codes: Uint8Array): Promise<void> {
    if (removed.length === 0 || this.#isClosed || !this.#session.isPersistent) return
    try {
      await this.#parts.sessions.copies.save(this.#session)
    } catch (error) {
      const reason = reasonOf(error, PACKET.unsuback)
      for (const i of removed) codes[i] = reason
    }
  }

  close(): void {
    this.#isClosed = true
    this.#memberships.close()
  }

  async #subscribeOne(
    request: FilterRequest,
    id: number | undefined,
    index: number,
  ): Promise<Granted | undefined> {
    const { name, text, qos, noLocal, retainAsPublished, retainHandling } = request
    if (name === undefined) return undefined
    const share =
      name.share === undefined ? undefined : await shareSource(this.#parts, name.share, name.filter)
    this.#authorize(name.filter, share)
    const old = this.#session.subscriptions.get(text)
    // One that was withheld begins anew.
    const known = this.#withheld.has(text) ? undefined : old
    const binding = known ?? (await this.#bindWithin(text, name.filter, share, old === undefined))
    const { places, bound, starts } = binding
    const source = share && { ...share, topic: places[0]?.topic ?? share.topic }
    if (source !== undefined && known === undefined) {
      await this.#memberships.enter(source, places).catch(async (error: unknown) => {
        await this.#unbind(name.filter, binding)
        throw error
      })
    }
    if (this.#isClosed) {
      if (known === undefined) await this.#unbind(name.filter, binding)
      throw new BrokerError('CLOSED', 'the client went before it could be subscribed')
    }
    const subscription: Subscription = {
      ...{ text, filter: name.filter, id, qos, noLocal, retainAsPublished, retainHandling },
      share: source,
      ...{ places, bound, starts },
    }
    this.#session.subscriptions.set(subscription)
    this.#memberships.entered()
    this.#withheld.delete(text)
    // Bound once more, where bindings are counted.
    if (old !== undefined && known === undefined && old.bound !== 'owned') {
      await this.#unbind(old.filter, old)
    }
    if (old === undefined) {
      this.#filterBytes += Buffer.byteLength(text)
      this.#parts.subscribers.add(name.filter)
    }
    return { subscription, old, isNew: known === undefined, request, index }
  }

  #authorize(filter: string, share: ShareSource | undefined): void {
    authorizeFilter(this.#parts, this.#peer.principal, filter, share)
  }

  /** A new one counts from now on, as several are bound at one time. */
  async #bindWithin(
    text: string,
    filter: string,
    share: ShareSource | undefined,
    isNew: boolean,
  ): Promise<Binding> {
    if (!isNew) return this.#bind(filter, share)
    this.#checkQuota(text)
    const bytes = Buffer.byteLength(text)
    this.#binding++
    this.#filterBytes += bytes
    try {
      return await this.#bind(filter, share)
    } finally {
      this.#binding--
      this.#filterBytes -= bytes
    }
  }

  #checkQuota(text: string): void {
    const { filtersMax } = this.#parts.options
    const { subscriptions } = this.#session
    if (subscriptions.size + this.#binding >= filtersMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `the session has ${filtersMax} filters; mqtt.filtersMax is ${filtersMax}`,
      )
    }
    if (this.#filterBytes + Buffer.byteLength(text) <= FILTER_BYTES_PER_SESSION_MAX) return
    throw new BrokerError(
      'QUOTA_EXCEEDED',
      `a session's filters may have ${FILTER_BYTES_PER_SESSION_MAX} bytes in all`,
    )
  }

  async #bind(filter: string, share: ShareSource | undefined): Promise<Binding> {
    if (share !== undefined && share.topic !== '') {
      const bound = this.#session.isPersistent ? 'owned' : 'live'
      return { places: [], bound, starts: undefined }
    }
    return this.#parts.streams.bind(this.#session, filter, share !== undefined)
  }

  /** A queue of the session's own is bound once, however many of its subscriptions read it. */
  async #unbind(filter: string, binding: Binding, reader?: Subscription): Promise<void> {
    const { places, bound } = binding
    if (places.length === 0) return
    if (bound === 'owned' && this.#session.subscriptions.isRead(filter, reader)) return
    await this.#parts.streams.unbind(this.#session, filter, binding)
  }

  #start({ subscription, isNew, request }: Granted): void {
    if (subscription.share !== undefined) {
      this.#memberships.join(subscription)
      return
    }
    if (isNew) this.#outbound.stream.add(subscription)
    else this.#outbound.stream.replace(subscription)
    const wantsRetained = request.retainHandling === 0 || (request.retainHandling === 1 && isNew)
    if (wantsRetained) this.#outbound.retainedDue.add(subscription.text)
  }

  /**
   * The member met a message that the client may not see: its topic was made after the
   * subscription. What the group has is for members that may, so this one takes no part in it any
   * more.
   */
  #deny(subscription: Subscription, topic: string): void {
    this.#withheld.add(subscription.text)
    const reason = `the filter selects messages of '${topic}', which the user may not consume`
    this.#report([subscription.text], new BrokerError('PERMISSION_DENIED', reason))
    this.#memberships.leave(subscription.text)
    this.refresh().catch((thrown: unknown) => {
      const fields = { evt: 'mqtt.register_failed', err: thrown }
      this.#parts.context.log.warn(fields, 'registering a client failed')
    })
  }

  /** What the log does not take leaves the subscription as it was, and the client is told why. */
  async #unsubscribeOne(subscription: Subscription): Promise<ReasonCode> {
    const { text, filter, share } = subscription
    this.#memberships.leave(text)
    const offset = await this.#committed(subscription)
    try {
      await this.#unbind(filter, subscription, subscription)
    } catch (error) {
      if (share !== undefined) await this.#rejoin(subscription, offset)
      return reasonOf(error, PACKET.unsuback)
    }
    this.#remove(subscription)
    return REASON.success
  }

  /** Where the group is on a light queue. */
  async #committed({ share, places }: Subscription): Promise<QueueOffset | undefined> {
    const [queue] = places
    if (share === undefined || queue === undefined) return undefined
    return this.#parts.context.broker.cursors.committed(share.group, queue)
  }

  /** The group's offset on the queue may have been forgotten already. */
  async #rejoin(subscription: Subscription, offset: QueueOffset | undefined): Promise<void> {
    const { share, places } = subscription
    if (offset !== undefined && (await this.#committed(subscription)) === undefined) {
      await this.#parts.context.broker.cursors.commit(share!.group, places[0]!, offset)
    }
    if (!this.#isClosed) this.#memberships.join(subscription)
  }

  #remove(subscription: Subscription): void {
    const { text, filter } = subscription
    this.#session.subscriptions.delete(text)
    this.#filterBytes -= Buffer.byteLength(text)
    this.#session.retainedDue.delete(text)
    this.#withheld.delete(text)
    this.#parts.subscribers.remove(filter)
    this.#outbound.stream.remove(subscription)
    this.#memberships.leave(text)
  }
}
