// What a peer may still send on a link (AMQP 2.6.7): granted by us, used by its deliveries.
import type { Flow } from '../codec/flow.ts'
import { serialDiff, serialNext } from '../codec/serial.ts'
import type { Transfer } from '../codec/transfer.ts'
import { CONDITION, linkError } from '../errors.ts'
import type { LinkCredit, LinkSession } from './link.ts'

export class IncomingCredit {
  readonly #session: LinkSession
  readonly #credit: LinkCredit

  constructor(session: LinkSession, deliveryCount: number) {
    this.#session = session
    this.#credit = { handle: 0, deliveryCount, linkCredit: 0, drain: false }
  }

  get left(): number {
    return this.#credit.linkCredit
  }

  set handle(handle: number) {
    this.#credit.handle = handle
  }

  /** The sender's own count holds: it may let go of credit without sending. True where it did. */
  onFlow(flow: Flow): boolean {
    const credit = this.#credit
    const unused = flow.deliveryCount < 0 ? 0 : serialDiff(flow.deliveryCount, credit.deliveryCount)
    if (unused <= 0) return false
    credit.deliveryCount = flow.deliveryCount
    credit.linkCredit = Math.max(0, credit.linkCredit - unused)
    return true
  }

  /** The first frame of a delivery. @throws AmqpError for the link, without credit for it */
  use({ deliveryId, tagBytes }: Transfer): void {
    if (deliveryId < 0 || tagBytes < 0) {
      throw linkError(CONDITION.invalidField, 'a delivery without delivery-id or delivery-tag')
    }
    const credit = this.#credit
    if (credit.linkCredit <= 0) {
      throw linkError(CONDITION.transferLimit, 'a delivery without credit')
    }
    credit.linkCredit--
    credit.deliveryCount = serialNext(credit.deliveryCount)
  }

  grant(linkCredit: number): void {
    this.#credit.linkCredit = linkCredit
    this.send()
  }

  send(): void {
    this.#session.sendFlow(this.#credit)
  }
}
