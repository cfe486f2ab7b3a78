// PUBACK, PUBREC and PUBCOMP from the client: what they do to the messages in flight, and to the
// group a message was received for.
import type { Receipt } from '../../../model/message.ts'
import { ackId, ackReason } from '../packets/ack-packet.ts'
import { PACKET, type ReasonCode, violation } from '../packets/protocol.ts'
import { RELEASED } from '../session/in-flight.ts'
import type { Peer } from '../session/peer.ts'
import type { Session } from '../session/session.ts'
import type { DeliverParts } from './parts.ts'

const FAILED_FROM: ReasonCode = 0x80

export class Acknowledging {
  readonly #parts: DeliverParts
  readonly #peer: Peer
  readonly #session: Session
  /** Of the chunk that is being read. */
  #acked: Receipt[] = []
  #refused: Receipt[] = []

  constructor(parts: DeliverParts, peer: Peer) {
    this.#parts = parts
    this.#peer = peer
    this.#session = peer.session
  }

  /**
   * `ack` as decoded. Unknown ids are let be: they may be of before a reconnect.
   * @throws ProtocolError
   */
  onAck(type: number, ack: number): void {
    const id = ackId(ack)
    const { inFlight } = this.#session
    const slot = inFlight.find(id)
    if (slot === -1) {
      // Nothing is known of it any more, so the client may forget it too.
      if (type === PACKET.pubrec && ackReason(ack) < FAILED_FROM) this.#sendPubrel(id)
      return
    }
    const isReleased = inFlight.stateAt(slot) === RELEASED
    const expected = inFlight.qosAt(slot) === 1 ? PACKET.puback : PACKET.pubrec
    if (type === PACKET.pubcomp ? !isReleased : type !== expected) {
      throw violation(`the wrong acknowledgement for packet id ${id}`)
    }
    if (type === PACKET.pubrec && ackReason(ack) < FAILED_FROM) this.#onPubrec(slot, id)
    else this.#finish(slot, ackReason(ack) >= FAILED_FROM)
    this.#parts.sessions.copies.touch(this.#session)
  }

  /** Hands the chunk's settlements to the broker. */
  flush(): void {
    const { broker } = this.#parts.context
    if (this.#acked.length > 0) {
      this.#settle(broker.ack(this.#acked))
      this.#acked = []
    }
    if (this.#refused.length > 0) {
      this.#settle(broker.deadLetter(this.#refused, 'refused by an MQTT client'))
      this.#refused = []
    }
  }

  /** PUBREC: from now on only PUBREL may follow, so that is durable before it is sent. */
  #onPubrec(slot: number, id: number): void {
    const { inFlight } = this.#session
    const receipt = inFlight.receiptAt(slot)
    if (receipt !== undefined) this.#acked.push(receipt)
    inFlight.dropReceipt(slot)
    inFlight.markReceived(slot)
    if (this.#session.isPersistent) this.#peer.journal()
    this.#sendPubrel(id)
  }

  #finish(slot: number, isRefused: boolean): void {
    const { inFlight } = this.#session
    const receipt = inFlight.receiptAt(slot)
    if (receipt !== undefined) (isRefused ? this.#refused : this.#acked).push(receipt)
    inFlight.remove(slot)
  }

  #sendPubrel(id: number): void {
    this.#peer.output.appendAck(0x62, id)
    this.#peer.wantFlush()
  }

  #settle(settled: Promise<unknown>): void {
    settled.catch((error: unknown) => {
      const fields = { evt: 'mqtt.settle_failed', err: error }
      this.#parts.context.log.warn(fields, 'settling messages of a group failed')
    })
  }
}
