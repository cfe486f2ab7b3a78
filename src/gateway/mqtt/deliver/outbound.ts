// One connection's deliveries: what a resumed session still owes first, then retained messages,
// then the session's stream from the log. Sends while the window and the socket have room, else
// keeps only where it is; messages of QoS 0 wait in the log like the others instead of being
// dropped.
import { BrokerError } from '../../../errors.ts'
import type { Receipt } from '../../../model/message.ts'
import { filterMatches } from '../../../model/topic-filter.ts'
import { recordAt } from '../outgoing/home.ts'
import { NO_ALIAS, OutboundAliases } from '../outgoing/outbound-aliases.ts'
import { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import {
  ALIAS_GROWTH_MAX,
  emptyHeader,
  publishBytes,
  writePublish,
} from '../outgoing/publish-output.ts'
import type { Qos } from '../packets/protocol.ts'
import { RELEASED, SENT, SENT_RETAINED } from '../session/in-flight.ts'
import type { Peer } from '../session/peer.ts'
import type { Session } from '../session/session.ts'
import { type Combined, Combiner, type Subscription } from '../session/subscriptions.ts'
import { CatchUp } from './catch-up.ts'
import type { DeliverParts } from './parts.ts'
import { type DueNames, RetainedDue } from './retained-due.ts'
import type { Stream, StreamReader } from './stream.ts'

/** A turn sends so many bytes to one client before the others have theirs. */
const TURN_BYTES_MAX = 256 * 1024
/** And so many entries of its light queues are compared, for a session with very many filters. */
const TURN_COMPARED_MAX = 200_000
/** Messages that are read one by one are read together up to this many, or TURN_BYTES_MAX. */
const FETCHED_TOGETHER_MAX = 32
/** Filters that a turn holds against messages that are sent again. */
const RESENT_LOOKED_MAX = 20_000

export class Outbound implements StreamReader {
  readonly stream: Stream
  readonly retainedDue: RetainedDue
  readonly #parts: DeliverParts
  readonly #peer: Peer
  readonly #session: Session
  readonly #combiner = new Combiner()
  readonly #header = emptyHeader()
  readonly #aliases: OutboundAliases
  readonly #catchUp = new CatchUp()
  /** Packet ids of a resumed session whose messages were not sent on this connection yet. */
  #unsent: number[] = []
  /**
   * How many of what `#unsent` or `retainedDue` begins with are being read: their room is taken.
   */
  #fetching = 0
  /** When the sending of this turn began, wall clock. */
  #nowMs = 0
  #isPumping = false
  #isYielding = false
  /** It has rested for that. */
  #mayLook = false
  /** A SUBACK is to go out first. */
  #isHeld = false
  #isClosed = false
  /** Stopped because the socket is full: pump again when it has taken some. */
  isStalled = false
  /** Told whenever the window or the socket may have room again. */
  readonly roomWatchers: (() => void)[] = []

  constructor(parts: DeliverParts, peer: Peer) {
    this.#parts = parts
    this.#peer = peer
    this.#session = peer.session
    this.stream = parts.streams.open(peer.session, this)
    this.retainedDue = new RetainedDue(parts.retained, parts.retained.looks, peer.session)
    this.#aliases = new OutboundAliases(
      Math.min(peer.aliasMax, parts.options.outboundTopicAliasMax),
    )
  }

  /** As `room`, for messages that have no packet id yet; repeated ones go first. */
  get newRoom(): number {
    return this.#unsent.length > 0 ? 0 : this.room
  }

  /** Messages of QoS 1 and 2 that may be sent now. */
  get room(): number {
    if (this.#isFull || this.#isHeld) return 0
    const sent = this.#session.inFlight.count - this.#unsent.length + this.#fetching
    return Math.max(0, this.#peer.window - sent)
  }

  /** A resumed session: everything unacknowledged again, in its order (MQTT-4.4.0-1). */
  resume(): void {
    const { inFlight } = this.#session
    this.#unsent = [...inFlight.slots()].map((slot) => inFlight.entryAt(slot).packetId)
  }

  /** Reads at once, writes at the end of the turn. */
  streamMoved(): void {
    if (this.#isClosed || this.#isPumping) return
    if (this.stream.next() !== 'ready' && !this.#catchUp.isUnderWay) return
    this.#peer.wantFlush()
  }

  streamFailed(): void {
    this.#catchUp.end()
  }

  /**
   * Sends the stored messages that these filters select, as far as the window and the socket have
   * room. Shared subscriptions have no part in it: a message that they do not take is another
   * member's.
   */
  async catchUp(filters: readonly { readonly text: string }[]): Promise<void> {
    const { subscriptions } = this.#session
    const ordinary = filters.flatMap(({ text }) => {
      const subscription = subscriptions.get(text)
      return subscription === undefined || subscription.share !== undefined ? [] : [subscription]
    })
    if (ordinary.length === 0) return
    const ends = await this.stream.ends(ordinary, this.#parts.filterWork)
    await this.#catchUp.wait(ends, () => {
      if (this.#isClosed) this.#catchUp.end()
      else this.#peer.wantFlush()
    })
  }

  /** Nothing new is sent until `goOn`. */
  hold(): void {
    this.#isHeld = true
  }

  goOn(): void {
    this.#isHeld = false
    this.pump()
  }

  /** The socket or the window may have room. */
  pump(): void {
    if (this.#isPumping || this.#isYielding || this.#isClosed || this.#isHeld) return
    this.#isPumping = true
    try {
      this.#run()
    } finally {
      this.#isPumping = false
    }
    // From the last: one that leaves while it is told must not hide another.
    for (let i = this.roomWatchers.length - 1; i >= 0; i--) this.roomWatchers[i]?.()
  }

  mayRead(delivery: OutgoingMessage): boolean {
    return this.#peer.mayRead(delivery.recordTopic)
  }

  /** A message of a shared subscription. False: it need not be sent, settle it. */
  sendShared(delivery: OutgoingMessage, subscription: Subscription, receipt: Receipt): boolean {
    const combined = this.#combiner.combine([subscription], false)
    this.#nowMs = this.#parts.context.clock.now()
    if (delivery.expiresMs <= this.#nowMs) {
      this.#parts.counters.expired.value++
      return false
    }
    return this.#send(delivery, combined, receipt)
  }

  close(): void {
    this.#isClosed = true
    this.#catchUp.end()
    this.#parts.counters.missed.value += this.stream.missed
    this.stream.close()
    this.#unsent = []
  }

  get #isFull(): boolean {
    return this.#peer.output.unsentBytes >= this.#parts.options.undeliveredBytesMax
  }

  #run(): void {
    const from = this.#peer.output.pendingBytes
    this.#nowMs = this.#parts.context.clock.now()
    const comparedMax = this.stream.compared + TURN_COMPARED_MAX
    for (;;) {
      this.isStalled = this.#isFull
      if (this.isStalled || this.#fetching > 0 || !this.#step()) break
      const bytes = this.#peer.output.pendingBytes - from
      if (bytes > TURN_BYTES_MAX || this.stream.compared > comparedMax) {
        this.#catchUp.brought(bytes)
        this.#yield()
        return
      }
    }
    if (this.#catchUp.isUnderWay) this.#catchUp.look(this.#isStuck)
    this.stream.dropBatches()
  }

  /** Nothing more goes out until the client acknowledges or takes something. */
  get #isStuck(): boolean {
    if (this.isStalled) return true
    if (this.#fetching > 0 || this.#isYielding) return false
    const isOwed = this.#unsent.length > 0 || !this.retainedDue.isEmpty
    return isOwed || this.stream.next() === 'ready'
  }

  /** Deals with one message; false when there is none that could be dealt with now. */
  #step(): boolean {
    if (this.#unsent.length > 0) {
      this.#resend()
      return false
    }
    if (!this.retainedDue.isEmpty) {
      if (this.room === 0) return false
      if (!this.#mayLook && this.#parts.retained.looks.isOver) {
        this.#rest()
        return false
      }
      this.#mayLook = false
      const due = this.retainedDue.next(Math.min(this.room, FETCHED_TOGETHER_MAX))
      if (due !== undefined) {
        this.#sendRetained(due)
        return false
      }
      if (!this.retainedDue.isEmpty) {
        this.#rest()
        return false
      }
    }
    if (this.stream.next() !== 'ready') return false
    const delivery = this.stream.delivery!
    if (!this.#deliver(delivery)) return false
    this.stream.advance()
    return true
  }

  /** Until there is time to look for retained messages. */
  #rest(): void {
    this.#isYielding = true
    void this.#parts.retained.looks.rest().then(() => {
      this.#isYielding = false
      this.#mayLook = true
      this.pump()
    })
  }

  /** Lets the other connections have their turn. */
  #yield(): void {
    this.#isYielding = true
    setImmediate(() => {
      this.#isYielding = false
      this.pump()
    })
  }

  /** False when the window is full. */
  #deliver(delivery: OutgoingMessage): boolean {
    const isOwn = delivery.publisher !== undefined && delivery.publisher === this.#session.clientId
    const combined = this.#combiner.combine(this.stream.matching, isOwn)
    if (!combined.isWanted || !this.#peer.mayRead(delivery.recordTopic)) return true
    if (Math.min(delivery.qos, combined.qos) > 0 && this.room === 0) return false
    if (
      delivery.expiresMs !== Number.POSITIVE_INFINITY &&
      delivery.expiresMs <= this.#parts.context.clock.now()
    ) {
      this.#parts.counters.expired.value++
      return true
    }
    this.#send(delivery, combined, undefined)
    this.#parts.sessions.copies.touch(this.#session)
    return true
  }

  /**
   * Writes the message; false when the client does not take packets of its size (MQTT-3.1.2-24).
   */
  #send(
    delivery: OutgoingMessage,
    combined: Combined,
    receipt: Receipt | undefined,
    state = SENT,
  ): boolean {
    const { isV5, output, packetBytesMax } = this.#peer
    const qos = Math.min(delivery.qos, combined.qos) as Qos
    const header = this.#header
    header.qos = qos
    header.dup = false
    header.retain = combined.retainAsPublished && delivery.retain
    header.packetId = 0
    header.subscriptionIds = combined.subscriptionIds
    header.expirySeconds = this.#secondsLeft(delivery)
    header.alias = NO_ALIAS
    if (this.#aliases.isUsed) header.alias = this.#aliases.known(delivery.topicName)
    header.isAliasKnown = header.alias !== NO_ALIAS
    const isLimited = packetBytesMax < Number.POSITIVE_INFINITY
    const bytes = isLimited ? publishBytes(delivery, header, isV5) : 0
    if (bytes > packetBytesMax) {
      this.#parts.counters.tooLarge.value++
      return false
    }
    const hasAliasRoom = bytes + ALIAS_GROWTH_MAX <= packetBytesMax
    if (this.#aliases.isUsed && !header.isAliasKnown && hasAliasRoom) {
      header.alias = this.#aliases.give(delivery.topicName)
    }
    if (qos > 0) {
      header.packetId = this.#session.inFlight.add(delivery, qos, receipt, state)
      // A packet id of QoS 2 must mean the same message after a restart.
      if (qos === 2 && this.#session.isPersistent) this.#peer.journal()
    }
    writePublish(output, delivery, header, isV5)
    const payloadBytes = delivery.payloadEnd - delivery.payloadStart
    const ageMs = state === SENT_RETAINED ? undefined : this.#nowMs - delivery.storedMs
    this.#parts.traffic.delivered(1, payloadBytes, ageMs)
    this.#peer.wantFlush()
    return true
  }

  #secondsLeft(delivery: OutgoingMessage): number {
    if (delivery.expiresMs === Number.POSITIVE_INFINITY) return -1
    const leftMs = delivery.expiresMs - this.#parts.context.clock.now()
    return Math.max(0, Math.ceil(leftMs / 1000))
  }

  /**
   * `count`: how many messages `send` may put in flight. Other connections have their turn after
   * it.
   */
  #fetch<T>(count: number, load: () => Promise<T>, send: (loaded: T) => void): void {
    this.#fetching = count
    load()
      .then((loaded) => {
        this.#fetching = 0
        if (!this.#isClosed) send(loaded)
      })
      .then(
        () => this.#yield(),
        (error: unknown) => {
          this.#fetching = 0
          if (!this.#isClosed) this.#peer.broken(error)
        },
      )
  }

  #resend(): void {
    const { inFlight } = this.#session
    // The filters of each are looked for among all of the session.
    const filters = Math.max(1, this.#session.subscriptions.size)
    const lookedMax = Math.ceil(RESENT_LOOKED_MAX / filters)
    const count = Math.min(this.room, FETCHED_TOGETHER_MAX, lookedMax, this.#unsent.length)
    if (count === 0) return
    const ids = this.#unsent.slice(0, count)
    const { broker } = this.#parts.context
    const repeatOf = async (id: number): Promise<Repeat> => {
      const slot = inFlight.find(id)
      if (slot === -1 || inFlight.stateAt(slot) === RELEASED) return undefined
      const home = inFlight.homeAt(slot)
      const record = await recordAt(broker, home).catch(unlessUnreadable)
      return (
        record && (record === UNREADABLE ? record : new OutgoingMessage(record, 0, home.brokerName))
      )
    }
    const load = (): Promise<Repeat[]> =>
      loadSome(ids, repeatOf, (repeat) =>
        repeat instanceof OutgoingMessage ? repeat.bytes.length : 0,
      )
    this.#fetch(count, load, (repeats) => {
      this.#unsent.splice(0, repeats.length)
      repeats.forEach((repeat, i) => {
        this.#resendOne(ids[i]!, repeat)
      })
      this.#peer.wantFlush()
    })
  }

  #resendOne(packetId: number, delivery: Repeat): void {
    const { inFlight } = this.#session
    const slot = inFlight.find(packetId)
    if (slot === -1) return
    const qos = inFlight.qosAt(slot)
    if (inFlight.stateAt(slot) === RELEASED) {
      this.#peer.output.appendAck(0x62, packetId)
      return
    }
    if (delivery === UNREADABLE) return
    if (delivery === undefined) {
      inFlight.remove(slot)
      this.#parts.counters.missed.value++
      return
    }
    if (!this.mayRead(delivery)) {
      // Sent when the client was allowed to see it; it is not now.
      inFlight.remove(slot)
      return
    }
    const matching = [...this.#session.subscriptions.values()].filter(
      ({ share, filter }) => share === undefined && filterMatches(filter, delivery.topicName),
    )
    const combined = this.#combiner.combine(matching, false)
    const wasRetained = inFlight.stateAt(slot) === SENT_RETAINED
    const header = emptyHeader()
    header.qos = qos
    header.dup = true
    header.retain = wasRetained || (combined.retainAsPublished && delivery.retain)
    header.packetId = packetId
    header.subscriptionIds = combined.subscriptionIds
    header.expirySeconds = this.#secondsLeft(delivery)
    const { isV5, output, packetBytesMax } = this.#peer
    if (publishBytes(delivery, header, isV5) > packetBytesMax) {
      // The client takes less than it did before; to the server that is as if it were done
      // (3.1.2.11.4).
      inFlight.remove(slot)
      this.#parts.counters.tooLarge.value++
      return
    }
    writePublish(output, delivery, header, isV5)
  }

  #sendRetained(due: DueNames): void {
    const { retained } = this.#parts
    const load = (): Promise<(OutgoingMessage | undefined)[]> =>
      loadSome(
        due.names,
        (name) => retained.get(name),
        (delivery) => delivery?.bytes.length ?? 0,
      )
    this.#fetch(due.names.length, load, (deliveries) => {
      const subscription = this.#session.subscriptions.get(due.text)
      if (!this.retainedDue.advance(due, deliveries.length) || subscription === undefined) return
      this.#parts.sessions.copies.touch(this.#session)
      for (const delivery of deliveries) {
        if (delivery === undefined || !this.#peer.mayRead(delivery.recordTopic)) continue
        const combined = this.#combiner.combine([subscription], false)
        // To a new subscription the flag is always set (MQTT-3.3.1-8).
        combined.retainAsPublished = true
        delivery.retain = true
        this.#send(delivery, combined, undefined, SENT_RETAINED)
      }
    })
  }
}

/** A message to be sent again. undefined: there is none any more, or no need of it. */
type Repeat = OutgoingMessage | typeof UNREADABLE | undefined

/** The queue cannot be read now, as the topic was changed: it stays in flight until it can. */
const UNREADABLE = 'unreadable'

function unlessUnreadable(error: unknown): typeof UNREADABLE {
  const { code } = BrokerError.from(error)
  if (code === 'PERMISSION_DENIED' || code === 'QUEUE_NOT_FOUND') return UNREADABLE
  throw error
}

/**
 * Loads from the first on, one after the other, until there is enough for one turn; at least one.
 */
async function loadSome<Key, Loaded>(
  keys: readonly Key[],
  load: (key: Key) => Promise<Loaded>,
  bytesOf: (loaded: Loaded) => number,
): Promise<Loaded[]> {
  const all: Loaded[] = []
  let bytes = 0
  for (const key of keys) {
    if (bytes >= TURN_BYTES_MAX) break
    const loaded = await load(key)
    all.push(loaded)
    bytes += bytesOf(loaded)
  }
  return all
}
