// The deliveries of a session that the peer has not settled, by delivery id. A peer may settle any
// range of them, in any order, twice, or claim a range of four thousand million: what a range costs
// is bounded by what is there.
import type { Receipt } from '../../../model/message.ts'
import { serialDiff, serialNext } from '../codec/serial.ts'
import type { SenderLink, Unsettled } from './sender-link.ts'
import type { UnsettledBudget } from './unsettled-budget.ts'

export class UnsettledMap {
  readonly #byId = new Map<number, Unsettled>()
  readonly #budget: UnsettledBudget
  /**
   * Looks at what stays: the same range may be given again and again, and costs as much each time.
   */
  looks = 0

  constructor(budget: UnsettledBudget) {
    this.#budget = budget
  }

  get size(): number {
    return this.#byId.size
  }

  add(delivery: Unsettled): void {
    this.#byId.set(delivery.deliveryId, delivery)
    this.#budget.take()
  }

  /** False when it was taken out before. */
  delete(delivery: Unsettled): boolean {
    const { deliveryId } = delivery
    if (this.#byId.get(deliveryId) !== delivery) return false
    this.#byId.delete(deliveryId)
    this.#budget.give(1)
    return true
  }

  /** Takes out the deliveries in [first, last], oldest first; answers how many there were. */
  take(first: number, last: number, each: (delivery: Unsettled) => void): number {
    let found = 0
    this.each(first, last, (delivery) => {
      this.#byId.delete(delivery.deliveryId)
      found++
      each(delivery)
    })
    this.#budget.give(found)
    return found
  }

  /**
   * The deliveries in [first, last], oldest first. The callback may take out its
   * own, and adds none.
   */
  each(first: number, last: number, each: (delivery: Unsettled) => void): void {
    const length = serialDiff(last, first) + 1
    const { size } = this.#byId
    if (length <= size) this.#eachOfRange(first, length, each)
    else this.#eachOfAll(first, length, each)
    this.looks += Math.max(0, Math.min(length, size)) - (size - this.#byId.size)
  }

  #eachOfRange(first: number, length: number, each: (delivery: Unsettled) => void): void {
    for (let id = first, left = length; left > 0; left--, id = serialNext(id)) {
      const delivery = this.#byId.get(id)
      if (delivery !== undefined) each(delivery)
    }
  }

  #eachOfAll(first: number, length: number, each: (delivery: Unsettled) => void): void {
    for (const [id, delivery] of this.#byId) {
      const ahead = serialDiff(id, first)
      if (ahead >= 0 && ahead < length) each(delivery)
    }
  }

  /** The receipts of a link's deliveries. */
  takeOf(link: SenderLink): Receipt[] {
    const receipts: Receipt[] = []
    for (const delivery of this.#byId.values()) {
      if (delivery.link !== link) continue
      this.delete(delivery)
      if (delivery.receipt !== undefined) receipts.push(delivery.receipt)
    }
    return receipts
  }

  /**
   * The receipts of all deliveries by link, in one look: a session ends with many links at once.
   */
  takeAll(): Map<SenderLink, Receipt[]> {
    const byLink = new Map<SenderLink, Receipt[]>()
    for (const { link, receipt } of this.#byId.values()) {
      if (receipt === undefined) continue
      const receipts = byLink.get(link)
      if (receipts === undefined) byLink.set(link, [receipt])
      else receipts.push(receipt)
    }
    this.#budget.give(this.#byId.size)
    this.#byId.clear()
    return byLink
  }

  /** Deliveries whose lock ended before `now`, by link. */
  lockedUntil(now: number): Map<SenderLink, Unsettled[]> {
    const ended = new Map<SenderLink, Unsettled[]>()
    for (const delivery of this.#byId.values()) {
      if (delivery.lockedUntil > now) continue
      const ofLink = ended.get(delivery.link)
      if (ofLink === undefined) ended.set(delivery.link, [delivery])
      else ofLink.push(delivery)
    }
    return ended
  }
}
