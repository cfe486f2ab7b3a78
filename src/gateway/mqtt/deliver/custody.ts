// Messages that are with one client for a consumer group: renewed while it is here, given back when
// it goes.
import type { Receipt } from '../../../model/message.ts'
import type { Session } from '../session/session.ts'
import type { DeliverParts } from './parts.ts'
import type { ShareMember } from './share-member.ts'

/** Renewed this many times within their invisible time. */
const RENEWALS = 3

export class Custody {
  readonly #parts: DeliverParts
  readonly #session: Session
  readonly #members: Iterable<ShareMember>
  #renewedMs: number

  constructor(parts: DeliverParts, session: Session, members: Iterable<ShareMember>) {
    this.#parts = parts
    this.#session = session
    this.#members = members
    this.#renewedMs = parts.context.clock.monotonic()
  }

  renew(nowMs: number): void {
    const { invisibleMs } = this.#parts.options
    if (nowMs - this.#renewedMs < invisibleMs / RENEWALS) return
    this.#renewedMs = nowMs
    const receipts = this.#receipts()
    if (receipts.length === 0) return
    this.#settle(this.#parts.context.broker.extend(receipts, invisibleMs))
  }

  /**
   * QoS 1 goes back at once; of a client that was lost the oldest counts as an attempt. QoS 2 may
   * only be finished by this session (MQTT-4.8.2-4): a session that lives on owns it from here, one
   * that ends leaves a dead letter.
   */
  giveBack(isLost: boolean): void {
    const { inFlight, isPersistent } = this.#session
    const released: Receipt[] = []
    const kept: Receipt[] = []
    for (const slot of [...inFlight.slots()]) {
      const receipt = inFlight.receiptAt(slot)
      if (receipt === undefined) continue
      const isExactlyOnce = inFlight.qosAt(slot) === 2
      ;(isExactlyOnce ? kept : released).push(receipt)
      if (isExactlyOnce && isPersistent) inFlight.dropReceipt(slot)
      else inFlight.remove(slot)
    }
    const { broker } = this.#parts.context
    if (released.length > 0) {
      this.#settle(isLost ? broker.abandon(released) : broker.release(released))
    }
    if (kept.length === 0) return
    if (isPersistent) {
      this.#settle(this.#parts.sessions.copies.save(this.#session).then(() => broker.ack(kept)))
    } else {
      this.#settle(broker.deadLetter(kept, 'the MQTT session ended before QoS 2 was complete'))
    }
  }

  #receipts(): Receipt[] {
    const { inFlight } = this.#session
    const receipts: Receipt[] = []
    for (const slot of inFlight.slots()) {
      const receipt = inFlight.receiptAt(slot)
      if (receipt !== undefined) receipts.push(receipt)
    }
    for (const { waiting } of this.#members) {
      for (const { receipt } of waiting) receipts.push(receipt)
    }
    return receipts
  }

  #settle(settled: Promise<unknown>): void {
    settled.catch((error: unknown) => {
      const fields = { evt: 'mqtt.settle_failed', err: error }
      this.#parts.context.log.warn(fields, 'settling messages of a group failed')
    })
  }
}
