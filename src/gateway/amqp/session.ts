// One session of a connection (AMQP 2.5): its links by the peer's handles, the transfer windows of
// both directions, and the deliveries we sent and have not heard of. Errors of its scope end it
// alone.
import type { Receipt } from '../../model/message.ts'
import {
  DISPOSITION_BYTES_MAX,
  type Disposition,
  STATE,
  writeDisposition,
} from './codec/disposition.ts'
import { FLOW_BYTES_MAX, type Flow, writeFlow } from './codec/flow.ts'
import { remaining, serialNext } from './codec/serial.ts'
import type { Transfer } from './codec/transfer.ts'
import type { ControlledLink, ControlledSession } from './control/control-plane.ts'
import { AmqpError, CONDITION, describeError, type ErrorDescription } from './errors.ts'
import { INCOMING_WINDOW, OUTGOING_WINDOW } from './limits.ts'
import type { Link, LinkCredit, Peer } from './links/link.ts'
import type { ReceiverSession } from './links/receiver-link.ts'
import { SenderLink, type SenderSession, type Unsettled } from './links/sender-link.ts'
import type { LocalTransactions } from './links/transactions.ts'
import { UnsettledMap } from './links/unsettled-map.ts'

export class AmqpSession implements ReceiverSession, SenderSession {
  /** As the peer numbers it. */
  readonly remoteChannel: number
  readonly handleMax: number
  isOpen = true
  readonly #peer: Peer
  readonly #transactions: LocalTransactions
  #controlled: ControlledSession | undefined
  readonly #links = new Map<number, Link>()
  readonly #unsettled: UnsettledMap
  #nextIncomingId: number
  #incomingWindow = INCOMING_WINDOW
  #nextOutgoingId = 0
  #sendWindow: number
  #nextDeliveryId = 0
  readonly #window = {
    channel: 0,
    nextIncomingId: 0,
    incomingWindow: 0,
    nextOutgoingId: 0,
    outgoingWindow: OUTGOING_WINDOW,
  }
  /** Dispositions of incoming deliveries that merge into one range. */
  readonly #range = {
    channel: 0,
    isReceiver: true,
    first: 0,
    last: -1,
    settled: true,
    state: Buffer.alloc(0) as Buffer,
  }
  #hasRange = false

  constructor(
    peer: Peer,
    remoteChannel: number,
    begin: { nextOutgoingId: number; incomingWindow: number },
    handleMax: number,
    transactions: LocalTransactions,
  ) {
    this.#peer = peer
    this.#transactions = transactions
    this.#unsettled = new UnsettledMap(peer.unsettled)
    this.remoteChannel = remoteChannel
    this.handleMax = handleMax
    this.#nextIncomingId = begin.nextOutgoingId
    this.#sendWindow = begin.incomingWindow
  }

  /** rhea has numbered it. */
  begun(controlled: ControlledSession): void {
    this.#controlled = controlled
    this.#window.channel = this.#range.channel = controlled.channel
  }

  get channel(): number {
    return this.#controlled?.channel ?? 0
  }

  get nextOutgoingId(): number {
    return this.#nextOutgoingId
  }

  get linkCount(): number {
    return this.#links.size
  }

  get links(): Iterable<Link> {
    return this.#links.values()
  }

  add(link: Link, controlled: ControlledLink): void {
    link.controlled = controlled
    this.#links.set(link.remoteHandle, link)
    link.claim?.attached((error) => this.detach(link, error))
  }

  /** Our attach for this handle of ours is out. */
  activate(handle: number): void {
    for (const link of this.#links.values()) {
      if (link.controlled?.handle === handle && link.state === 'attaching') link.attached()
    }
  }

  /** A handle that a new attach may take. @throws AmqpError that costs the session or more */
  checkHandle(handle: number): void {
    if (handle > this.handleMax) {
      // AMQP 2.7.2 asks for the connection here.
      throw new AmqpError(
        CONDITION.framingError,
        `handle ${handle}; handle-max is ${this.handleMax}`,
      )
    }
    if (this.#links.has(handle)) {
      throw sessionError(CONDITION.handleInUse, `handle ${handle} is attached already`)
    }
  }

  onTransfer(transfer: Transfer, bytes: Buffer, end: number): void {
    this.#nextIncomingId = serialNext(this.#nextIncomingId)
    this.#incomingWindow--
    const link = this.attachedLink(transfer.handle)
    try {
      link.onTransfer(transfer, bytes, end)
    } catch (error) {
      if (!(error instanceof AmqpError) || error.scope !== 'link') throw error
      this.detach(link, describeError(error))
    }
    if (this.#incomingWindow < INCOMING_WINDOW / 2) this.sendFlow(undefined)
  }

  /** @throws AmqpError that ends the session */
  attachedLink(handle: number): Link {
    const link = this.#links.get(handle)
    if (link !== undefined) return link
    throw sessionError(CONDITION.unattachedHandle, `handle ${handle} is not attached`)
  }

  onFlow(flow: Flow): void {
    this.#nextIncomingId = flow.nextOutgoingId
    const seen = Math.max(0, flow.nextIncomingId)
    const had = this.#sendWindow
    this.#sendWindow = remaining(flow.incomingWindow, this.#nextOutgoingId, seen)
    if (flow.handle >= 0) this.#onLinkFlow(this.attachedLink(flow.handle), flow)
    else if (flow.echo) this.sendFlow(undefined)
    if (had <= 0 && this.#sendWindow > 0) this.pump()
  }

  #onLinkFlow(link: Link, flow: Flow): void {
    if (flow.isTransactional) {
      const description = 'acquiring in a transaction is not offered; retire in one'
      this.detach(link, { condition: CONDITION.notImplemented, description })
    } else link.onFlow(flow)
  }

  /** Sends what the links may send: the window opened, or the peer reads again. */
  pump(): void {
    for (const link of this.#links.values()) {
      if (link instanceof SenderLink) link.pump()
    }
  }

  sendFlow(link: LinkCredit | undefined): void {
    if (!this.isOpen) return
    this.#incomingWindow = INCOMING_WINDOW
    const window = this.#window
    window.nextIncomingId = this.#nextIncomingId
    window.incomingWindow = INCOMING_WINDOW
    window.nextOutgoingId = this.#nextOutgoingId
    const { output } = this.#peer
    const block = output.reserve(FLOW_BYTES_MAX)
    output.commit(writeFlow(block, output.at, window, link))
  }

  // ---- deliveries that came

  settleIncoming(deliveryId: number, state: Buffer, settled: boolean): void {
    const range = this.#range
    const extends_ =
      this.#hasRange &&
      range.state === state &&
      range.settled === settled &&
      deliveryId === serialNext(range.last)
    if (extends_) {
      range.last = deliveryId
      return
    }
    this.sendDispositions()
    range.first = range.last = deliveryId
    range.state = state
    range.settled = settled
    this.#hasRange = true
  }

  sendDispositions(): void {
    if (!this.#hasRange) return
    this.#hasRange = false
    const { output } = this.#peer
    const block = output.reserve(DISPOSITION_BYTES_MAX + this.#range.state.length)
    output.commit(writeDisposition(block, output.at, this.#range))
  }

  // ---- deliveries that went

  get sendWindow(): number {
    return this.#sendWindow
  }

  countTransfer(): void {
    this.#sendWindow--
    this.#nextOutgoingId = serialNext(this.#nextOutgoingId)
  }

  nextDeliveryId(): number {
    const id = this.#nextDeliveryId
    this.#nextDeliveryId = serialNext(id)
    return id
  }

  keepUnsettled(delivery: Unsettled): void {
    this.#unsettled.add(delivery)
  }

  dropUnsettled(deliveries: readonly Unsettled[], state: Buffer): void {
    for (const delivery of deliveries) {
      // Its link or session may have ended since.
      if (!this.#unsettled.delete(delivery)) continue
      const { deliveryId, link } = delivery
      link.countSettled()
      this.#sendDisposition(deliveryId, deliveryId, state)
    }
  }

  /**
   * Settles deliveries of ours towards the peer, without a state of its own that is too long for
   * it.
   */
  #sendDisposition(first: number, last: number, given: Buffer): void {
    const { output, sendFrameBytesMax } = this.#peer
    const fits = DISPOSITION_BYTES_MAX + given.length <= sendFrameBytesMax
    const state = fits ? given : STATE.none
    const block = output.reserve(DISPOSITION_BYTES_MAX + state.length)
    const range = { channel: this.channel, isReceiver: false, first, last, settled: true, state }
    output.commit(writeDisposition(block, output.at, range))
  }

  /**
   * The peer settled, or asks us to: what a range means for deliveries of ours. For deliveries that
   * came there is nothing to learn, since we are done with one when we have answered it.
   * Answers how many were looked at that stay.
   */
  onDisposition(disposition: Disposition): number {
    if (disposition.isReceiver) this.#onOutcome(disposition)
    const { looks } = this.#unsettled
    this.#unsettled.looks = 0
    return looks
  }

  #onOutcome(disposition: Disposition): void {
    const { outcome, settled, first, last, txnId } = disposition
    if (txnId !== undefined) {
      this.#enlist(txnId, disposition)
      return
    }
    if (outcome === undefined && !settled) return
    const touched = new Set<SenderLink>()
    const found = this.#unsettled.take(first, last, (delivery) => {
      const { receipt, link, note, transaction } = delivery
      link.countSettled()
      touched.add(link)
      if (transaction !== undefined && outcome === undefined) {
        transaction.settle(delivery)
        return
      }
      transaction?.withdraw(delivery)
      link.settled(receipt, outcome ?? link.defaultOutcome, note)
    })
    if (found > 0 && !settled) this.#sendDisposition(first, last, disposition.state)
    for (const link of touched) link.flushSettled()
  }

  /** The outcome holds once its transaction is committed (AMQP 4.4.2). @throws AmqpError */
  #enlist(txnId: Buffer, { first, last, settled, outcome }: Disposition): void {
    const transaction = this.#transactions.find(txnId)
    const receipts: Receipt[] = []
    const deliveries: Unsettled[] = []
    const touched = new Set<SenderLink>()
    const lockedUntil = this.#peer.clock.monotonic() + this.#transactions.lockMs
    const enlist = (delivery: Unsettled): void => {
      const { link, receipt } = delivery
      if (settled) link.countSettled()
      touched.add(link)
      if (receipt !== undefined) receipts.push(receipt)
      delivery.lockedUntil = Math.max(delivery.lockedUntil, lockedUntil)
      deliveries.push(delivery)
    }
    if (settled) this.#unsettled.take(first, last, enlist)
    else if (outcome !== undefined) this.#unsettled.each(first, last, enlist)
    transaction.enlist(deliveries, outcome, settled)
    this.#transactions.hold(transaction, receipts)
    for (const link of touched) link.pump()
  }

  /** Deliveries whose lock ran out before `now` (monotonic ms). */
  expire(now: number): void {
    for (const [link, expired] of this.#unsettled.lockedUntil(now)) link.expire(expired)
  }

  // ---- life

  /** The peer detached, or answers our detach. `isLost`: because of an error of its own. */
  remove(link: Link, isLost: boolean): void {
    this.#links.delete(link.remoteHandle)
    letGo(link, 'gone', this.#unsettledOf(link), isLost)
  }

  detach(link: Link, error: ErrorDescription): void {
    if (link.state !== 'attached' && link.state !== 'attaching') return
    // Taken over as a lost link is; for every other error of ours the peer is not to blame.
    const isLost = error.condition === CONDITION.stolen
    letGo(link, 'closing', this.#unsettledOf(link), isLost)
    link.controlled?.close(error)
  }

  #unsettledOf(link: Link): Receipt[] {
    return link instanceof SenderLink ? this.#unsettled.takeOf(link) : []
  }

  end(error: ErrorDescription): void {
    if (!this.isOpen) return
    this.close(true)
    this.#controlled?.end(error)
  }

  /**
   * The session ended or its connection did. `isLost`: not in order, or for an error of the peer's.
   * Then what a link was sent first may be the cause.
   */
  close(isLost: boolean): void {
    this.isOpen = false
    const unsettled = this.#unsettled.takeAll()
    for (const link of this.#links.values()) {
      letGo(link, 'gone', link instanceof SenderLink ? (unsettled.get(link) ?? []) : [], isLost)
    }
    this.#links.clear()
  }
}

/** The link ends; messages that it sent and the peer did not settle go back to its group. */
function letGo(
  link: Link,
  state: 'closing' | 'gone',
  unsettled: readonly Receipt[],
  isLost: boolean,
): void {
  link.claim?.release()
  link.close(state, isLost)
  if (link instanceof SenderLink) link.abandon(unsettled, isLost)
}

const sessionError = (condition: AmqpError['condition'], message: string): AmqpError =>
  new AmqpError(condition, message, 'session')
