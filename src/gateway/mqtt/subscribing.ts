// SUBSCRIBE and UNSUBSCRIBE: checks each filter, binds its light queue, and starts or stops its delivery.
import { Slice } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { checkGroupName, isLightQueue } from '../../model/names.ts'
import { queueOffset } from '../../model/positions.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import type { Principal } from '../access/auth.ts'
import { groupOfShare } from './address.ts'
import type { Outbound } from './deliver/outbound.ts'
import { ShareMember } from './deliver/share-member.ts'
import { reasonOf } from './errors.ts'
import { FILTER_BYTES_PER_SESSION_MAX } from './limits.ts'
import { PACKET, REASON, type ReasonCode } from './packets/protocol.ts'
import type {
  FilterRequest,
  SubscribePacket,
  UnsubscribePacket,
} from './packets/subscribe-packet.ts'
import type { Parts } from './parts.ts'
import type { Session } from './session/session.ts'
import type { ShareSource, Subscription } from './session/subscriptions.ts'

/** As a resource: granted by nothing less than a grant of everything. */
const EVERY_TOPIC = '*'
/** Filters that one line of the log names. */
const FILTERS_LOGGED_MAX = 10

export interface SubscribingPeer {
  readonly session: Session
  readonly principal: Principal
  readonly outbound: Outbound
  /** Names this connection to the groups it receives from. */
  readonly memberId: string
  /** Tells the broker which groups the client consumes. @throws GROUP_MODE_CONFLICT */
  register(groups: readonly ShareSource[]): Promise<void>
}

/** One filter's outcome, applied to the deliveries once SUBACK is written. */
interface Granted {
  readonly subscription: Subscription
  readonly isNew: boolean
  readonly request: FilterRequest
}

/** Where a subscription reads. */
type Place = Pick<Subscription, 'queue' | 'durable' | 'from'>

export interface SubscribeOutcome {
  /** One reason a filter. */
  readonly codes: Uint8Array
  /** Starts the deliveries. */
  start(): void
}

export class Subscribing {
  readonly #parts: Parts
  readonly #peer: SubscribingPeer
  readonly #session: Session
  readonly #members = new Map<string, ShareMember>()
  /** Subscriptions, by text, that the session has and the client may not have any more: nothing is read for them. */
  readonly #withheld = new Set<string>()
  /** Of all filters of the session. */
  #filterBytes = 0
  /** The group that the SUBSCRIBE under way joins, and that may refuse it. */
  #entering: ShareSource | undefined
  /** The connection is gone: what is under way must leave nothing open behind it. */
  #isClosed = false

  constructor(parts: Parts, peer: SubscribingPeer) {
    this.#parts = parts
    this.#peer = peer
    this.#session = peer.session
    for (const text of this.#session.subscriptions.keys()) {
      this.#filterBytes += Buffer.byteLength(text)
    }
  }

  /** A live view of the shared subscriptions' members. */
  get members(): Iterable<ShareMember> {
    return { [Symbol.iterator]: () => this.#members.values() }
  }

  /** Takes up the subscriptions of a resumed session where its cursor is, those that the client may have now. */
  async resume(): Promise<void> {
    const { cursors } = this.#parts.context.broker
    const { cursor } = this.#session
    const subscriptions: Subscription[] = []
    const slice = new Slice(this.#parts.context.clock)
    for (const one of this.#granted()) {
      if (slice.isOver) await slice.rest()
      subscriptions.push(await this.#bindAgain(one))
    }
    await this.refresh()
    const ordinary = subscriptions.filter(({ share }) => share === undefined)
    const offsets = await Promise.all(
      ordinary.map(({ queue }) => cursors.byPosition(queue, 0, cursor)),
    )
    if (this.#isClosed) return
    // All at once, or a message could pass by a filter that is not there yet.
    ordinary.forEach((subscription, i) => {
      const offset = queueOffset(Math.max(offsets[i]!, subscription.from))
      this.#peer.outbound.merge.add(subscription, offset)
    })
    for (const subscription of subscriptions) {
      if (subscription.share !== undefined) this.#join(subscription)
    }
  }

  /**
   * A crash in an UNSUBSCRIBE, or while the session ended, may have left a subscription without its queue.
   * Bound anew that begins at 0, so where the subscription began on the old one says nothing.
   */
  async #bindAgain(subscription: Subscription): Promise<Subscription> {
    const { text, filter, queue, durable, from } = subscription
    if (queue === '' || !durable) return subscription
    const { lightQueues } = this.#parts.context.broker
    const { offset } = await lightQueues.bind(filter, this.#session.owner)
    if (offset >= from) return subscription
    const bound = { ...subscription, from: offset }
    this.#session.subscriptions.set(text, bound)
    await this.#parts.sessions.save(this.#session)
    return bound
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
      'subscriptions of a session bring nothing: its user may not have them',
    )
  }

  /**
   * Registers the client with the broker, again now and then, or it is forgotten. A group that cannot take it
   * now ends nothing and is left out: the client's part in it begins when it can, and till then its member
   * says why.
   */
  async refresh(): Promise<void> {
    const refusing = new Set<string>()
    for (const { group } of this.#shares()) {
      if (!(await this.#isOpen(group))) refusing.add(group)
    }
    // Read again: subscriptions made since must not be undone.
    const sources = this.#shares().filter(({ group }) => !refusing.has(group))
    if (this.#entering !== undefined) sources.push(this.#entering)
    await this.#peer.register(sources)
  }

  async subscribe(packet: SubscribePacket): Promise<SubscribeOutcome> {
    const { requests, excess } = packet
    const codes = new Uint8Array(requests.length + excess)
    codes.fill(REASON.quotaExceeded, requests.length)
    const granted: Granted[] = []
    const slice = new Slice(this.#parts.context.clock)
    for (const [i, request] of requests.entries()) {
      if (slice.isOver) await slice.rest()
      if (this.#isClosed) break
      try {
        const one = await this.#subscribeOne(request, packet.subscriptionId)
        if (one !== undefined) granted.push(one)
        codes[i] = one === undefined ? REASON.topicFilterInvalid : request.qos
      } catch (error) {
        codes[i] = reasonOf(error, PACKET.suback)
        const fields = { evt: 'mqtt.subscribe_refused', filter: request.text, err: error }
        this.#parts.context.log.debug(fields, 'a subscription was refused')
      }
    }
    const start = (): void => {
      if (this.#isClosed) return
      for (const one of granted) this.#start(one)
    }
    return { codes, start }
  }

  async unsubscribe({ filters, excess }: UnsubscribePacket): Promise<Uint8Array> {
    const codes = new Uint8Array(filters.length + excess)
    codes.fill(REASON.implementationSpecific, filters.length)
    const slice = new Slice(this.#parts.context.clock)
    for (const [i, { text, name }] of filters.entries()) {
      if (slice.isOver) await slice.rest()
      if (this.#isClosed) break
      const subscription = this.#session.subscriptions.get(text)
      if (name === undefined) codes[i] = REASON.topicFilterInvalid
      else if (subscription === undefined) codes[i] = REASON.noSubscriptionExisted
      else codes[i] = await this.#unsubscribeOne(subscription)
    }
    return codes
  }

  close(): void {
    this.#isClosed = true
    for (const text of [...this.#members.keys()]) this.#leave(text)
  }

  async #subscribeOne(
    request: FilterRequest,
    id: number | undefined,
  ): Promise<Granted | undefined> {
    const { name, text, qos, noLocal, retainAsPublished, retainHandling } = request
    if (name === undefined) return undefined
    const share = name.share === undefined ? undefined : this.#shareSource(name.share, name.filter)
    this.#authorize(name.filter, share)
    const old = this.#session.subscriptions.get(text)
    if (old === undefined) this.#checkQuota(text)
    // One that was withheld begins anew.
    const known = this.#withheld.has(text) ? undefined : old
    const place = known ?? (await this.#bind(name.filter, share))
    const source = share && { ...share, topic: place.queue === '' ? share.topic : place.queue }
    if (source !== undefined && known === undefined) await this.#enter(source, name.filter, place)
    if (this.#isClosed) {
      if (known === undefined) await this.#unbind(name.filter, place)
      throw new BrokerError('CLOSED', 'the client went before it could be subscribed')
    }
    const subscription: Subscription = {
      ...{ text, filter: name.filter, id, qos, noLocal, retainAsPublished, retainHandling },
      share: source,
      queue: place.queue,
      durable: place.durable,
      from: place.from,
    }
    this.#session.subscriptions.set(text, subscription)
    this.#entering = undefined
    this.#withheld.delete(text)
    if (old === undefined) {
      this.#filterBytes += Buffer.byteLength(text)
      this.#parts.subscribers.add(name.filter)
    }
    return { subscription, isNew: known === undefined, request }
  }

  /** The group that the share means (R6): a native one, or one over the filter's own light queue. */
  #shareSource(share: string, filter: string): ShareSource {
    const group = groupOfShare(share)
    checkGroupName(group)
    const native = this.#parts.addresses.nativeShare(filter)
    return native === undefined
      ? { group, topic: '', filter: EVERY_TAG }
      : { group, topic: native.topic, filter: native.filter }
  }

  /**
   * A filter that may select several topics is checked again for each message. A group settles what its
   * member may not see, so a member of a group over all topics must be allowed to see them all.
   */
  #authorize(filter: string, share: ShareSource | undefined): void {
    const { auth } = this.#parts.context
    const { principal } = this.#peer
    const isNative = share !== undefined && share.topic !== '' && !isLightQueue(share.topic)
    const selected = isNative ? share.topic : this.#parts.addresses.topicOfFilter(filter)
    const topic = share === undefined ? selected : (selected ?? EVERY_TOPIC)
    if (topic !== undefined) auth.authorize(principal, 'consume', { kind: 'topic', name: topic })
    if (share !== undefined) {
      auth.authorize(principal, 'consume', { kind: 'group', name: share.group })
    }
  }

  #checkQuota(text: string): void {
    const { filtersMax } = this.#parts.options
    const { subscriptions } = this.#session
    if (subscriptions.size >= filtersMax) {
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

  async #bind(filter: string, share: ShareSource | undefined): Promise<Place> {
    const durable = this.#session.isPersistent
    if (share !== undefined && share.topic !== '') {
      return { queue: '', durable, from: queueOffset(0) }
    }
    const { lightQueues } = this.#parts.context.broker
    const { topic, offset } = await lightQueues.bind(filter, this.#owner(durable))
    return { queue: topic, durable, from: offset }
  }

  /** A durable queue is the session's, however many of its subscriptions read it. */
  async #unbind(filter: string, { queue, durable }: Place): Promise<void> {
    if (queue === '') return
    for (const other of this.#session.subscriptions.values()) {
      if (durable && other.queue === queue) return
    }
    await this.#parts.context.broker.lightQueues.unbind(filter, this.#owner(durable))
  }

  #owner(durable: boolean): string | undefined {
    return durable ? this.#session.owner : undefined
  }

  #shares(): ShareSource[] {
    const shares: ShareSource[] = []
    for (const { share, text } of this.#session.subscriptions.values()) {
      if (share !== undefined && !this.#withheld.has(text)) shares.push(share)
    }
    return shares
  }

  /** False: it was deleted and cannot be made again, or native members share it by queue now. */
  async #isOpen(group: string): Promise<boolean> {
    const { groups } = this.#parts.context.broker
    try {
      await groups.ensure(group)
      return (await groups.mode(group)) !== 'queue-assigned'
    } catch {
      return false
    }
  }

  /** Joins the group; one that never consumed here starts with what comes from now on. */
  async #enter(source: ShareSource, filter: string, place: Place): Promise<void> {
    const { cursors, topics } = this.#parts.context.broker
    const { group, topic } = source
    try {
      this.#parts.shareFilters.check(source)
      this.#entering = source
      await this.#registerEntering(source)
      const queues =
        place.queue === '' ? await topics.ranges(topic) : [{ queueId: 0, maxOffset: place.from }]
      for (const { queueId, maxOffset } of queues) {
        if ((await cursors.committed(group, topic, queueId)) === undefined) {
          await cursors.commit(group, topic, queueId, maxOffset)
        }
      }
    } catch (error) {
      this.#entering = undefined
      await this.#unbind(filter, place)
      throw error
    }
  }

  /** The groups that are entered already are not looked at again for each further one. */
  async #registerEntering(source: ShareSource): Promise<void> {
    try {
      await this.#peer.register([...this.#shares(), source])
    } catch {
      // Whose fault it is shows when those that refuse are left out.
      await this.refresh()
    }
  }

  #start({ subscription, isNew, request }: Granted): void {
    const { outbound } = this.#peer
    if (subscription.share !== undefined) {
      this.#join(subscription)
      return
    }
    if (isNew) outbound.merge.add(subscription, subscription.from)
    else outbound.merge.replace(subscription)
    const wantsRetained = request.retainHandling === 0 || (request.retainHandling === 1 && isNew)
    if (wantsRetained) outbound.retainedDue.add(subscription.text)
  }

  #join(subscription: Subscription): void {
    this.#leave(subscription.text)
    const { outbound, memberId } = this.#peer
    const member = new ShareMember(this.#parts, outbound, memberId, subscription, (topic) =>
      this.#deny(subscription, topic),
    )
    this.#parts.shareFilters.join(subscription.share!)
    this.#members.set(subscription.text, member)
    outbound.roomWatchers.push(member.poke)
  }

  /**
   * The member met a message that the client may not see: its topic was made after the subscription. What the
   * group has is for members that may, so this one takes no part in it any more.
   */
  #deny(subscription: Subscription, topic: string): void {
    this.#withheld.add(subscription.text)
    const reason = `the filter selects messages of '${topic}', which the user may not consume`
    this.#report([subscription.text], new BrokerError('PERMISSION_DENIED', reason))
    this.#leave(subscription.text)
    this.refresh().catch((thrown: unknown) => {
      const fields = { evt: 'mqtt.register_failed', err: thrown }
      this.#parts.context.log.warn(fields, 'registering a client failed')
    })
  }

  #leave(text: string): void {
    const member = this.#members.get(text)
    if (member === undefined) return
    this.#members.delete(text)
    const { roomWatchers } = this.#peer.outbound
    roomWatchers.splice(roomWatchers.indexOf(member.poke), 1)
    this.#parts.shareFilters.leave(member.source)
    member.close()
  }

  async #unsubscribeOne(subscription: Subscription): Promise<ReasonCode> {
    this.#session.subscriptions.delete(subscription.text)
    this.#filterBytes -= Buffer.byteLength(subscription.text)
    this.#session.retainedDue.delete(subscription.text)
    this.#withheld.delete(subscription.text)
    this.#parts.subscribers.remove(subscription.filter)
    this.#peer.outbound.merge.remove(subscription.text)
    this.#leave(subscription.text)
    try {
      await this.#unbind(subscription.filter, subscription)
      return REASON.success
    } catch (error) {
      return reasonOf(error, PACKET.unsuback)
    }
  }
}
