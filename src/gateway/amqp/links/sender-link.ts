// A link that the peer receives messages on: reads its feed as far as credit reaches, writes
// transfers while the peer takes them, and keeps what was sent until it is settled.

import type { Resource } from '../../../access/auth.ts'
import type { Timer } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Receipt, Verdict } from '../../../model/message.ts'
import { RecordView } from '../../../model/record.ts'
import type { AmqpLinkState } from '../../../port/gateway.ts'
import { ACCEPTED, FAILED, type Outcome, RELEASED, STATE } from '../codec/disposition.ts'
import type { Flow } from '../codec/flow.ts'
import { mergedNote } from '../codec/note.ts'
import { remaining, serialAdd, serialNext } from '../codec/serial.ts'
import { TRANSFER_HEAD_BYTES_MAX, type TransferHead, writeTransferHead } from '../codec/transfer.ts'
import type { ControlledLink } from '../control/control-plane.ts'
import { AmqpError, CONDITION, describeError } from '../errors.ts'
import {
  NOTE_BYTES_MAX,
  PREPARED_PER_TURN_MAX,
  READ_MESSAGES_MAX,
  UNSETTLED_PER_LINK_MAX,
} from '../limits.ts'
import { OutboundMessage } from '../messages/outbound-message.ts'
import { type Feed, type FeedItem, receiptsOf } from './feed.ts'
import type { Link, LinkCredit, LinkSession, LinkState, Peer } from './link.ts'
import type { LinkClaim } from './link-claims.ts'
import { verdictOf } from './verdict.ts'

/**
 * A delivery that the peer has and we wait to hear of. Its message is not kept: it may be large.
 */
export interface Unsettled {
  readonly deliveryId: number
  /** undefined for a message that needs no settlement. */
  readonly receipt: Receipt | undefined
  readonly link: SenderLink
  /** Monotonic ms. */
  lockedUntil: number
  /** The transaction that the peer's outcome belongs to. */
  transaction: OutcomeHolder | undefined
  /** Additions of earlier consumers to the message's annotations. */
  readonly note: string | undefined
}

/** A transaction, as a delivery needs it whose outcome it holds. */
export interface OutcomeHolder {
  /** Another outcome takes the place of that one. */
  withdraw(delivery: Unsettled): void
  /** The peer let go of the delivery and said no more. */
  settle(delivery: Unsettled): void
}

/** The session, as a sender link needs it. */
export interface SenderSession extends LinkSession {
  /** Transfer frames the peer takes now. */
  readonly sendWindow: number
  /** One transfer frame goes out. */
  countTransfer(): void
  nextDeliveryId(): number
  keepUnsettled(delivery: Unsettled): void
  /** We settle deliveries of ours: a lock that ran out. */
  dropUnsettled(deliveries: readonly Unsettled[], state: Buffer): void
}

export interface SenderLinkOptions {
  readonly name: string
  readonly remoteHandle: number
  /** Of its source. */
  readonly address: string | undefined
  readonly feed: Feed
  /** Messages are sent settled and count as accepted when they are written. */
  readonly isSettled: boolean
  /** For deliveries that are settled without an outcome. */
  readonly defaultOutcome: Outcome
  /** The longest message the peer takes. */
  readonly messageBytesMax: number
}

/** Why a read ends early. One for all: each would cost its stack. */
const NOT_NEEDED = new Error('the link has no use for what it asked for')
/** A read of the feed waits this long before it asks again. */
const POLL_MS = 20_000
const RETRY_MS = 1_000
/** Of a message that is too large for the peer: it stays out of the way of those behind it. */
const TOO_LARGE: Outcome = { ...FAILED, delayMs: 10_000 }

export class SenderLink implements Link {
  readonly name: string
  readonly remoteHandle: number
  readonly defaultOutcome: Outcome
  state: LinkState = 'attaching'
  controlled: ControlledLink | undefined
  claim: LinkClaim | undefined
  subscription: string | undefined
  readonly #peer: Peer
  readonly #session: SenderSession
  readonly #feed: Feed
  readonly #address: string | undefined
  readonly #isSettled: boolean
  readonly #messageBytesMax: number
  readonly #message = new OutboundMessage()
  readonly #head: TransferHead
  readonly #credit: LinkCredit = { handle: 0, deliveryCount: 0, linkCredit: 0, drain: false }
  /** The peer asked for our view of the credit before our attach was out. */
  #owesFlow = false
  /** Read and not yet sent. */
  #ready: FeedItem[] = []
  #readyAt = 0
  /** The rest of what is at hand goes in a later turn. */
  #isYielding = false
  /** The rest of a message whose first frames are out. */
  #rest: Buffer | undefined
  #reading: AbortController | undefined
  #retry: Timer | undefined
  #unsettled = 0
  /** When the sending of this turn began, wall clock. */
  #nowMs = 0
  /** When the locks of what it sends end: whole, so that no delivery has a number object for it. */
  #lockedUntil = 0
  /** Outcomes of this turn, in runs of the same kind. */
  #settling: Receipt[] = []
  #outcome: Outcome | undefined

  constructor(peer: Peer, session: SenderSession, options: SenderLinkOptions) {
    this.#peer = peer
    this.#session = session
    this.name = options.name
    this.remoteHandle = options.remoteHandle
    this.#feed = options.feed
    this.#address = options.address
    this.#isSettled = options.isSettled
    this.defaultOutcome = options.defaultOutcome
    this.#messageBytesMax = options.messageBytesMax
    this.#head = {
      channel: 0,
      handle: 0,
      deliveryId: 0,
      messageFormat: 0,
      settled: options.isSettled,
      more: false,
      isFirst: true,
    }
  }

  attached(): void {
    if (this.state !== 'attaching') return
    this.state = 'attached'
    this.#credit.handle = this.#head.handle = this.controlled?.handle ?? 0
    this.#head.channel = this.#session.channel
    if (this.#owesFlow) this.#session.sendFlow(this.#credit)
    this.pump()
  }

  onTransfer(): void {
    throw new AmqpError(CONDITION.notAllowed, 'a transfer on a link that we send on', 'session')
  }

  /** Credit counts from the peer's view of delivery-count (AMQP 2.6.7). */
  onFlow(flow: Flow): void {
    const credit = this.#credit
    if (flow.linkCredit >= 0) {
      const seen = Math.max(0, flow.deliveryCount)
      credit.linkCredit = remaining(flow.linkCredit, credit.deliveryCount, seen)
      credit.drain = flow.drain
      this.#shed()
    }
    if (this.state !== 'attached') {
      this.#owesFlow ||= flow.echo
      return
    }
    if (flow.echo) this.#session.sendFlow(credit)
    // A poll that waits is of no use to a peer that wants to know what is there now.
    if (flow.drain) this.#reading?.abort(NOT_NEEDED)
    this.pump()
  }

  /**
   * Messages read beyond the link's credit go back to the group, whose other links may take them.
   */
  #shed(): void {
    if (this.#feed.lockMs === undefined) return
    const keep = this.#readyAt + this.#credit.linkCredit
    if (this.#ready.length <= keep) return
    this.#giveBack(receiptsOf(this.#ready.splice(keep)), false)
  }

  /** Sends what may be sent and reads what may be read. */
  pump(): void {
    if (this.state !== 'attached') return
    if (!this.#sendReady()) return
    this.#flushSettled()
    if (this.#credit.drain && (this.#credit.linkCredit === 0 || !this.#maySend)) this.#drained()
    this.#read()
  }

  /** Or does the peer have too much that it has not settled? */
  get #maySend(): boolean {
    if (this.#isSettled) return true
    return this.#unsettled < UNSETTLED_PER_LINK_MAX && this.#peer.unsettled.hasRoom
  }

  /** The other connections have their turn. */
  #yield(): void {
    this.#isYielding = true
    setImmediate(() => {
      this.#peer.inTurn(() => {
        this.#isYielding = false
        this.pump()
      })
    })
  }

  /** False when the link ended by it. */
  #sendReady(): boolean {
    if (this.#isYielding) return true
    let prepared = 0
    if (this.#readyAt < this.#ready.length) {
      const { clock } = this.#peer
      this.#nowMs = clock.now()
      this.#lockedUntil = Math.floor(clock.monotonic() + (this.#feed.lockMs ?? Infinity))
    }
    while (this.#rest !== undefined || this.#readyAt < this.#ready.length) {
      if (!this.#peer.isWritable || this.#session.sendWindow <= 0) return true
      if (this.#rest !== undefined) this.#sendRest(this.#rest)
      else if (this.#credit.linkCredit > 0 && this.#maySend) {
        if (prepared > PREPARED_PER_TURN_MAX) {
          this.#yield()
          return true
        }
        if (!this.#sendTransfer(this.#ready[this.#readyAt]!)) return false
        this.#readyAt++
        prepared += this.#message.preparedBytes
      } else return true
    }
    this.#ready = []
    this.#readyAt = 0
    return true
  }

  /** False when the peer does not take a message of this size, which costs the link. */
  #sendTransfer(item: FeedItem): boolean {
    const credit = this.#credit
    const size = this.#message.load(new RecordView(item.record), item.attempt, item.note)
    if (size > this.#messageBytesMax) {
      this.#refuseToSend(item, size)
      return false
    }
    const head = this.#head
    const deliveryId = this.#session.nextDeliveryId()
    head.deliveryId = deliveryId
    head.messageFormat = this.#message.format
    head.isFirst = true
    credit.linkCredit--
    credit.deliveryCount = serialNext(credit.deliveryCount)
    if (TRANSFER_HEAD_BYTES_MAX + size <= this.#peer.sendFrameBytesMax) {
      const { output } = this.#peer
      const block = output.reserve(TRANSFER_HEAD_BYTES_MAX + size)
      head.more = false
      const from = writeTransferHead(block, output.at, head, size)
      output.commit(this.#message.write(block, from, this.#nowMs))
      this.#session.countTransfer()
    } else {
      const whole = Buffer.allocUnsafe(size)
      this.#message.write(whole, 0, this.#nowMs)
      this.#sendRest(whole)
    }
    this.#peer.traffic.delivered(1, size, this.#nowMs - this.#message.storedMs)
    this.#sent(deliveryId, item.receipt)
    return true
  }

  /**
   * AMQP 2.7.3: more than the peer's max-message-size is an error of the link. It counts as a
   * failure of the message: a client that attaches again goes on with the next one, and this one
   * has an end.
   */
  #refuseToSend({ receipt }: FeedItem, size: number): void {
    const most = this.#messageBytesMax
    this.#ready.splice(this.#readyAt, 1)
    this.settled(receipt, TOO_LARGE)
    const description = `the next message has ${size} bytes; max-message-size is ${most}`
    this.#session.detach(this, { condition: CONDITION.messageSize, description })
  }

  /** One frame of a message that takes several. */
  #sendRest(rest: Buffer): void {
    const { output, sendFrameBytesMax } = this.#peer
    const length = Math.min(rest.length, sendFrameBytesMax - TRANSFER_HEAD_BYTES_MAX)
    this.#head.more = length < rest.length
    const block = output.reserve(TRANSFER_HEAD_BYTES_MAX + length)
    const from = writeTransferHead(block, output.at, this.#head, length)
    block.set(rest.subarray(0, length), from)
    output.commit(from + length)
    this.#session.countTransfer()
    this.#head.isFirst = false
    this.#rest = this.#head.more ? rest.subarray(length) : undefined
  }

  #sent(deliveryId: number, receipt: Receipt | undefined): void {
    if (this.#isSettled) {
      this.settled(receipt, ACCEPTED)
      return
    }
    this.#unsettled++
    this.#session.keepUnsettled({
      deliveryId,
      receipt,
      link: this,
      lockedUntil: this.#lockedUntil,
      transaction: undefined,
      note: this.#message.note,
    })
  }

  /** Asks the feed for as much as the credit reaches, unless what was read before waits itself. */
  #read(): void {
    if (this.#reading !== undefined || this.#retry !== undefined || !this.#peer.isWritable) return
    if (this.#rest !== undefined || this.#readyAt < this.#ready.length) return
    const room = Math.min(
      this.#credit.linkCredit,
      READ_MESSAGES_MAX,
      UNSETTLED_PER_LINK_MAX - this.#unsettled,
    )
    if (room <= 0 || !this.#maySend) {
      // Too much is unsettled to read more: to a peer that drains, that is all there is.
      this.#drained()
      return
    }
    const reading = new AbortController()
    this.#reading = reading
    const isDraining = this.#credit.drain
    this.#feed.read(room, isDraining ? 0 : POLL_MS, reading.signal).then(
      (items) => {
        this.#peer.inTurn(() => this.#onRead(items, isDraining && !reading.signal.aborted))
      },
      (error: unknown) => this.#onReadFailed(error, reading.signal.aborted),
    )
  }

  #onRead(items: readonly FeedItem[], isAllThereIs: boolean): void {
    this.#reading = undefined
    if (this.state !== 'attached') {
      this.#giveBack(receiptsOf(items), false)
      return
    }
    for (const item of items) this.#ready.push(item)
    this.#shed()
    if (items.length === 0 && isAllThereIs) this.#drained()
    this.pump()
  }

  /** Nothing is left to send: the credit is used up and the peer is told (AMQP 2.6.7). */
  #drained(): void {
    const credit = this.#credit
    const hasMore = credit.linkCredit > 0 && this.#readyAt < this.#ready.length && this.#maySend
    if (!credit.drain || hasMore || this.#rest !== undefined) return
    credit.deliveryCount = serialAdd(credit.deliveryCount, credit.linkCredit)
    credit.linkCredit = 0
    this.#session.sendFlow(credit)
    credit.drain = false
    this.#shed()
  }

  #onReadFailed(thrown: unknown, isAborted: boolean): void {
    this.#reading = undefined
    if (this.state !== 'attached') return
    const error = BrokerError.from(thrown)
    if (isAborted) this.pump()
    else if (error.retryable) {
      this.#retry = this.#peer.clock.after(RETRY_MS, () => {
        this.#retry = undefined
        this.pump()
      })
    } else this.#session.detach(this, describeError(error))
  }

  /**
   * The delivery is settled, by the peer or by us. `flushSettled` passes it on. `note`: what was
   * said of the message before, to which a new note is added.
   */
  settled(receipt: Receipt | undefined, given: Outcome, note?: string): void {
    if (receipt === undefined) return
    const outcome = this.#withNote(given, note)
    if (this.#outcome !== undefined && !isSameOutcome(this.#outcome, outcome)) this.#flushSettled()
    this.#outcome = outcome
    this.#settling.push(receipt)
  }

  #withNote(outcome: Outcome, earlier: string | undefined): Outcome {
    if (outcome.kind !== 'modified' || outcome.note === undefined) return outcome
    const note = mergedNote(earlier, outcome.note)
    if (note === outcome.note) return outcome
    if (note === undefined) {
      const fields = { evt: 'amqp.annotations_dropped', link: this.name, bytesMax: NOTE_BYTES_MAX }
      this.#peer.log.debug(fields, 'a modified outcome has more annotations than are kept')
    }
    return { ...outcome, note }
  }

  describe(): AmqpLinkState {
    return {
      role: 'receiver',
      address: this.#address,
      group: this.consumes.flatMap((one) => (one.kind === 'group' ? one.name : []))[0],
      credit: this.#credit.linkCredit,
      unsettled: this.#unsettled,
    }
  }

  /** What the peer needs the right to consume. */
  get consumes(): readonly Resource[] {
    return this.#feed.consumes
  }

  /** The peer's outcome in the broker's words. `note`: as for `settled`. */
  verdictOf(outcome: Outcome, note: string | undefined): Verdict {
    return verdictOf(this.#withNote(outcome, note), this.#peer.clock.now())
  }

  /** A transaction with these outcomes is committed: the deliveries end, the peer had kept them. */
  committed(deliveries: readonly (readonly [Unsettled, Outcome])[]): void {
    for (const [delivery, { kind }] of deliveries) {
      const state = kind === 'accepted' || kind === 'released' ? STATE[kind] : STATE.none
      this.#session.dropUnsettled([delivery], state)
    }
    this.pump()
  }

  /** A delivery of this link left the session's unsettled map. */
  countSettled(): void {
    this.#unsettled--
  }

  flushSettled(): void {
    this.#flushSettled()
    this.pump()
  }

  #flushSettled(): void {
    const outcome = this.#outcome
    if (outcome === undefined) return
    const receipts = this.#settling
    this.#settling = []
    this.#outcome = undefined
    this.#feed.settle(receipts, outcome).catch((error: unknown) => this.#lostSettlement(error))
  }

  /**
   * The group gets the messages again when their locks run out; AMQP has no way to tell the peer.
   */
  #lostSettlement(thrown: unknown): void {
    const { message } = BrokerError.from(thrown)
    const fields = { evt: 'amqp.settle_failed', link: this.name, error: message }
    this.#peer.log.warn(fields, 'a settlement could not be stored')
  }

  #giveBack(receipts: readonly Receipt[], isLost: boolean): void {
    if (receipts.length === 0) return
    this.#feed.giveBack(receipts, isLost).catch((error: unknown) => this.#lostSettlement(error))
  }

  /** Locks that ran out: the group may hand these out again, so the peer's hold on them ends. */
  expire(deliveries: readonly Unsettled[]): void {
    this.#session.dropUnsettled(deliveries, STATE.released)
    for (const { receipt } of deliveries) this.settled(receipt, RELEASED)
    this.flushSettled()
  }

  /** The link ends: the session has taken its unsettled deliveries out and hands them over. */
  abandon(receipts: readonly Receipt[], isLost: boolean): void {
    this.#giveBack(receipts, isLost)
  }

  close(state: 'closing' | 'gone'): void {
    const wasOpen = this.state === 'attached' || this.state === 'attaching'
    this.state = state
    if (!wasOpen) return
    this.#flushSettled()
    this.#giveBack(receiptsOf(this.#ready.splice(this.#readyAt)), false)
    this.#ready = []
    this.#readyAt = 0
    this.#rest = undefined
    this.#reading?.abort(NOT_NEEDED)
    this.#retry?.cancel()
    this.#feed.close()
  }
}

function isSameOutcome(a: Outcome, b: Outcome): boolean {
  return a === b || (a.kind === b.kind && (a.kind === 'accepted' || a.kind === 'released'))
}
