// A link that the peer sends messages on. Puts frames together, hands whole messages to the
// connection's ingest, and grants credit as the bytes under way allow.

import type { Authenticator } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import { type NewMessage, newMessage } from '../../../model/message.ts'
import {
  decodeProperties,
  editProperties,
  findProperty,
  PROPERTY,
} from '../../../model/properties.ts'
import { tagHash } from '../../../model/tag-filter.ts'
import type { AmqpLinkState } from '../../../port/gateway.ts'
import { sendReply } from '../../shared/replies.ts'
import type { ReplyName } from '../../shared/reply-address.ts'
import { rejectedState, STATE } from '../codec/disposition.ts'
import type { Flow } from '../codec/flow.ts'
import type { Transfer } from '../codec/transfer.ts'
import type { ControlledLink } from '../control/control-plane.ts'
import { AmqpError, CONDITION, describeError, linkError } from '../errors.ts'
import { LINK_CREDIT_MAX, PIECE_BYTES_MIN } from '../limits.ts'
import { InboundMessage } from '../messages/inbound-message.ts'
import { IncomingCredit } from './incoming-credit.ts'
import { type Ingest, type IngestBudget, type IngestLink, settledId, tagOf } from './ingest.ts'
import type { Link, LinkSession, LinkState, Peer } from './link.ts'
import type { LinkClaim } from './link-claims.ts'
import type { SendAddress, SendAddresses } from './target.ts'
import type { Transaction } from './transaction.ts'
import type { LocalTransactions } from './transactions.ts'

/** The session, as a receiver link needs it: it takes the link's dispositions. */
export interface ReceiverSession extends LinkSession {
  /** Merged with its neighbours and written by `sendDispositions`. */
  settleIncoming(deliveryId: number, state: Buffer, settled: boolean): void
  sendDispositions(): void
}

export interface ReceiverLinkOptions {
  readonly name: string
  readonly remoteHandle: number
  readonly initialDeliveryCount: number
  /** Of its target; undefined for the anonymous relay. */
  readonly address: string | undefined
  /** The sender settles first and we answer: dispositions go out unsettled (AMQP 2.7.3). */
  readonly settlesSecond: boolean
  readonly routes: SendAddresses
  readonly auth: Authenticator
}

/** Bytes of incomplete deliveries, over the links of one connection. */
export interface PartialBytes {
  bytes: number
  readonly bytesMax: number
}

/** Where the messages of a connection go. */
export interface Intake {
  readonly ingest: Ingest
  readonly budget: IngestBudget
  readonly partials: PartialBytes
  readonly transactions: LocalTransactions
}

/** A delivery whose last frame has not come. */
interface Partial {
  readonly deliveryId: number
  readonly messageFormat: number
  readonly tag: Buffer
  settled: boolean
  readonly txnId: Buffer | undefined
  readonly pieces: Buffer[]
  /** What the pieces take of `PartialBytes`. */
  held: number
  bytes: number
}

export class ReceiverLink implements Link, IngestLink {
  readonly name: string
  readonly remoteHandle: number
  state: LinkState = 'attaching'
  controlled: ControlledLink | undefined
  claim: LinkClaim | undefined
  subscription: string | undefined
  readonly #peer: Peer
  readonly #session: ReceiverSession
  readonly #ingest: Ingest
  readonly #budget: IngestBudget
  readonly #partials: PartialBytes
  readonly #transactions: LocalTransactions
  readonly #routes: SendAddresses
  readonly #address: string | undefined
  readonly #auth: Authenticator
  readonly #settlesSecond: boolean
  readonly #message: InboundMessage
  /** Keeps the messages of this link without a group-id in one queue of a topic, in their order. */
  readonly #lane: string
  readonly #credit: IncomingCredit
  #partial: Partial | undefined
  #underWay = 0
  #isWaiting = false

  constructor(peer: Peer, session: ReceiverSession, intake: Intake, options: ReceiverLinkOptions) {
    this.#peer = peer
    this.#session = session
    this.#ingest = intake.ingest
    this.#budget = intake.budget
    this.#partials = intake.partials
    this.#transactions = intake.transactions
    this.name = options.name
    this.remoteHandle = options.remoteHandle
    this.#routes = options.routes
    this.#address = options.address
    this.#auth = options.auth
    this.#settlesSecond = options.settlesSecond
    this.#message = new InboundMessage(options.routes.fixed?.tag)
    this.#lane = laneOf(peer.containerId, options.name)
    this.#credit = new IncomingCredit(session, options.initialDeliveryCount)
  }

  attached(): void {
    if (this.state !== 'attaching') return
    this.state = 'attached'
    this.#credit.handle = this.controlled?.handle ?? 0
    this.grant()
  }

  onFlow(flow: Flow): void {
    if (this.#credit.onFlow(flow)) this.grant()
    if (flow.echo && this.state === 'attached') this.#credit.send()
  }

  onTransfer(transfer: Transfer, bytes: Buffer, end: number): void {
    if (this.state !== 'attached') return
    const partial = this.#partial
    if (partial === undefined) this.#first(transfer, bytes, end)
    else this.#next(partial, transfer, bytes, end)
  }

  #first(transfer: Transfer, bytes: Buffer, end: number): void {
    const { deliveryId } = transfer
    this.#credit.use(transfer)
    if (transfer.resume) throw linkError(CONDITION.notImplemented, 'deliveries are not resumed')
    if (transfer.aborted) {
      this.grant()
      return
    }
    if (!transfer.more) {
      this.#checkSize(end - transfer.payloadAt, transfer.tagAt, transfer.tagBytes, bytes)
      const id = transfer.settled
        ? settledId(bytes.byteOffset + transfer.tagAt, transfer.tagBytes)
        : deliveryId
      const { messageFormat, txnId, payloadAt } = transfer
      this.#complete(id, messageFormat, txnId, bytes, payloadAt, end)
      return
    }
    const { messageFormat, settled } = transfer
    const txnId = transfer.txnId && Buffer.from(transfer.txnId)
    const tag = Buffer.from(bytes.subarray(transfer.tagAt, transfer.tagAt + transfer.tagBytes))
    this.#partial = {
      deliveryId,
      messageFormat,
      tag,
      settled,
      txnId,
      pieces: [],
      held: 0,
      bytes: 0,
    }
    this.#grow(this.#partial, bytes, transfer.payloadAt, end)
  }

  #next(partial: Partial, transfer: Transfer, bytes: Buffer, end: number): void {
    if (transfer.deliveryId >= 0 && transfer.deliveryId !== partial.deliveryId) {
      const message = `delivery ${transfer.deliveryId} begins before ${partial.deliveryId} is whole`
      throw linkError(CONDITION.notAllowed, message)
    }
    if (transfer.aborted) {
      this.#dropPartial()
      this.grant()
      return
    }
    partial.settled ||= transfer.settled
    this.#grow(partial, bytes, transfer.payloadAt, end)
    if (transfer.more) return
    this.#dropPartial()
    const { tag, messageFormat, txnId } = partial
    const whole = Buffer.concat([tag, ...partial.pieces], tag.length + partial.bytes)
    const id = partial.settled ? settledId(whole.byteOffset, tag.length) : partial.deliveryId
    this.#complete(id, messageFormat, txnId, whole, tag.length, whole.length)
  }

  /** Copies, so that small pieces do not hold on to whole chunks. */
  #grow(partial: Partial, bytes: Buffer, at: number, end: number): void {
    const more = end - at
    const held = Math.max(more, PIECE_BYTES_MIN)
    this.#checkSize(partial.bytes + more, 0, partial.tag.length, partial.tag)
    if (this.#partials.bytes + held > this.#partials.bytesMax) {
      // The link alone: a client that lost its connection would send all of them again, and again
      // too much.
      throw linkError(
        CONDITION.resourceLimit,
        `incomplete deliveries of more than ${this.#partials.bytesMax} bytes on one connection`,
      )
    }
    partial.pieces.push(Buffer.from(bytes.subarray(at, end)))
    partial.bytes += more
    partial.held += held
    this.#partials.bytes += held
  }

  /** The delivery-tag is `tagBytes` of `held` from `tagAt` on. */
  #checkSize(bytes: number, tagAt: number, tagBytes: number, held: Buffer): void {
    const { messageBytesMax } = this.#peer
    if (bytes <= messageBytesMax) return
    this.#dropPartial()
    const info = { 'delivery-tag': Buffer.from(held.subarray(tagAt, tagAt + tagBytes)) }
    const message = `a message beyond ${messageBytesMax} bytes`
    throw new AmqpError(CONDITION.messageSize, message, 'link', info)
  }

  #dropPartial(): void {
    if (this.#partial !== undefined) this.#partials.bytes -= this.#partial.held
    this.#partial = undefined
  }

  /**
   * A whole message: on its way to the broker, or refused by itself. `id` is a `settledId` for a
   * settled one.
   */
  #complete(
    id: number,
    format: number,
    txnId: Buffer | undefined,
    bytes: Buffer,
    at: number,
    end: number,
  ): void {
    const message = this.#message
    let route: SendAddress
    let transaction: Transaction | undefined
    try {
      transaction = txnId && this.#transactions.find(txnId)
      message.read(bytes, at, end, format)
      route = this.#routes.fixed ?? this.#routes.find(message.to)
      if (route.replyTo !== undefined && transaction !== undefined) {
        throw new BrokerError('NOT_SUPPORTED', 'a reply is part of no transaction')
      }
    } catch (error) {
      // The others of its transaction would be stored without it.
      transaction?.fail(describeError(error))
      this.#refuse(id, bytes, error, transaction !== undefined)
      return
    }
    if (route.replyTo !== undefined) {
      this.#reply(route.replyTo, id, bytes)
      return
    }
    const { properties, orderingKey = this.#lane } = message
    const tagged = this.#routes.fixed === undefined ? withTag(properties, route.tag) : properties
    const { nowMs, batch } = this.#ingest
    const { bornHost } = this.#peer
    const posted = newMessage(route, orderingKey, message.body, tagged, bornHost, nowMs)
    if (transaction !== undefined) this.#post(transaction, posted, id, bytes)
    else {
      this.#underWay++
      batch.add(posted, this, id)
    }
  }

  /** To the requester, by itself: settled when that has it. */
  #reply({ address, correlationId }: ReplyName, id: number, bytes: Buffer): void {
    const { broker, clock, principal, bornHost } = this.#peer
    const tag = id < 0 ? Buffer.from(tagOf(bytes, id)) : NO_TAG
    const body = Buffer.from(this.#message.body)
    const properties = decodeProperties(this.#message.properties)
    if (correlationId !== undefined) properties.set(PROPERTY.correlationId, correlationId)
    const context = { broker, clock, auth: this.#auth }
    this.#underWay++
    this.#budget.take(body.length)
    sendReply(context, principal, address, { body, properties, bornHost })
      .then(
        () => this.settle(id, STATE.accepted),
        (thrown: unknown) => {
          const error = BrokerError.from(thrown)
          this.#peer.traffic.refused(error.code)
          if (id < 0) this.lose(tag, error)
          else this.settle(id, rejectedState(describeError(error)))
        },
      )
      .finally(() => {
        this.#budget.give(body.length)
        this.flush()
      })
  }

  /** Kept until the transaction is discharged, and answered at once (AMQP 4.4.1). */
  #post(transaction: Transaction, message: NewMessage, id: number, bytes: Buffer): void {
    if (transaction.failure === undefined && transaction.post(message)) {
      this.#transactions.start(transaction)
      if (id >= 0) this.#session.settleIncoming(id, transaction.posted, !this.#settlesSecond)
      this.#session.sendDispositions()
      this.grant()
      return
    }
    const { condition, description } = transaction.failure!
    this.#refuse(id, bytes, new AmqpError(condition, description, 'link'), true)
  }

  /**
   * One that was sent settled has no answer: it costs the link, or it would be gone without a word.
   * `isPosted` in a transaction, which tells of it when it is discharged.
   */
  #refuse(id: number, bytes: Buffer, error: unknown, isPosted: boolean): void {
    const { condition, description } = describeError(error)
    const fields = { evt: 'amqp.refused', link: this.name, condition, description }
    this.#peer.log.debug(fields, 'a message was refused')
    this.#peer.traffic.refused(BrokerError.from(error).code)
    if (id < 0 && isPosted) {
      this.grant()
      return
    }
    if (id < 0) {
      const info = { 'delivery-tag': tagOf(bytes, id) }
      throw new AmqpError(condition, description, 'link', info)
    }
    const state = rejectedState({ condition, description })
    this.#session.settleIncoming(id, state, !this.#settlesSecond)
    this.#session.sendDispositions()
    // No batch will end for it, and a peer whose messages are all refused needs credit too.
    this.grant()
  }

  settle(deliveryId: number, state: Buffer): void {
    this.#underWay--
    if (deliveryId < 0 || !this.#session.isOpen) return
    this.#session.settleIncoming(deliveryId, state, !this.#settlesSecond)
  }

  /** As `#refuse`, for what the broker refused (anonymous terminus 1.0, 2.2.2). */
  lose(tag: Uint8Array, error: BrokerError): void {
    this.#underWay--
    const info = { 'delivery-tag': tag }
    if (this.#session.isOpen) this.#session.detach(this, { ...describeError(error), info })
  }

  describe(): AmqpLinkState {
    return {
      role: 'sender',
      address: this.#address,
      group: undefined,
      credit: this.#credit.left,
      unsettled: this.#underWay,
    }
  }

  flush(): void {
    if (!this.#session.isOpen) return
    this.#session.sendDispositions()
    this.grant()
  }

  /**
   * Tops the credit up when half of it is used. What is under way counts against it beyond one full
   * window, so that a slow disk slows its senders down.
   */
  grant(): void {
    if (this.state !== 'attached' || this.#isWaiting) return
    const wanted = Math.min(LINK_CREDIT_MAX, 2 * LINK_CREDIT_MAX - this.#underWay)
    if (wanted - this.#credit.left < LINK_CREDIT_MAX / 2) return
    if (!this.#budget.isOpen) {
      this.#isWaiting = true
      this.#budget.whenOpen(() => {
        this.#isWaiting = false
        this.grant()
      })
      return
    }
    this.#credit.grant(wanted)
  }

  close(state: 'closing' | 'gone'): void {
    this.state = state
    this.#dropPartial()
  }
}

const NO_TAG = Buffer.alloc(0)

/**
 * One key for one link of one container: a link that comes back finds its queue, and many links
 * spread. Short, because the broker hashes it for every message.
 */
const laneOf = (containerId: string, linkName: string): string =>
  tagHash(`${containerId}\n${linkName}`).toString(36)

/** A relayed message takes the tag of the address it names, unless it has its own. */
function withTag(properties: Buffer, tag: string | undefined): Buffer {
  if (tag === undefined || findProperty(properties, PROPERTY.tags) !== undefined) return properties
  return editProperties(properties, [[PROPERTY.tags, tag]])
}
