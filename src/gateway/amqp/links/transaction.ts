// One local transaction (AMQP 4.4): messages that were posted in it and outcomes of received ones,
// kept here until it is discharged. Its parts become one call of the broker, or none.

import type { Resource } from '../../../access/auth.ts'
import type { NewMessage, Receipt, Settlement } from '../../../model/message.ts'
import { withOwnBytes } from '../../../model/message.ts'
import { FAILED, type Outcome, STATE } from '../codec/disposition.ts'
import { transactionalState } from '../codec/transaction.ts'
import type { ErrorDescription } from '../errors.ts'
import { CONDITION } from '../errors.ts'
import { TRANSACTION_BYTES_MAX, TRANSACTION_PARTS_MAX } from '../limits.ts'
import type { SenderLink, Unsettled } from './sender-link.ts'

/** Bytes of messages in all open transactions. */
export interface TransactionBytes {
  bytes: number
  readonly bytesMax: number
}

interface Enlisted {
  readonly outcome: Outcome
  /** The peer has let go of the delivery: what becomes of it is ours to see to. */
  readonly isSettled: boolean
}

export class Transaction {
  readonly id: Buffer
  /** The state of a message that was posted in it. */
  readonly posted: Buffer
  /** Why it cannot be committed any more; it holds nothing then. */
  failure: ErrorDescription | undefined
  #messages: NewMessage[] = []
  readonly #topics = new Set<string>()
  readonly #enlisted = new Map<Unsettled, Enlisted>()
  readonly #total: TransactionBytes
  #bytes = 0

  constructor(id: Buffer, total: TransactionBytes) {
    this.id = id
    this.posted = transactionalState(id, STATE.accepted)
    this.#total = total
  }

  get messages(): readonly NewMessage[] {
    return this.#messages
  }

  /** A message that is good as far as its link can tell. False when it does not fit any more. */
  post(message: NewMessage): boolean {
    const bytes = message.body.length + message.properties.length
    const isTooLarge = this.#bytes + bytes > TRANSACTION_BYTES_MAX
    const isTooMuch = this.#total.bytes + bytes > this.#total.bytesMax
    if (isTooLarge || isTooMuch || !this.#hasRoom) {
      const which = isTooMuch ? 'open transactions' : 'one transaction'
      const most = isTooMuch ? this.#total.bytesMax : TRANSACTION_BYTES_MAX
      this.fail(tooMuch(`${which} may have ${most} bytes and ${TRANSACTION_PARTS_MAX} parts`))
      return false
    }
    this.#bytes += bytes
    this.#total.bytes += bytes
    this.#topics.add(message.topic)
    // The bytes of its chunk are not to be held for as long as a transaction takes.
    this.#messages.push(withOwnBytes(message))
    return true
  }

  /** Outcomes that hold once the transaction is committed; without one, the default of the link. */
  enlist(deliveries: readonly Unsettled[], given: Outcome | undefined, isSettled: boolean): void {
    for (const delivery of deliveries) {
      const outcome = given ?? delivery.link.defaultOutcome
      delivery.transaction?.withdraw(delivery)
      this.#enlisted.set(delivery, { outcome, isSettled })
      delivery.transaction = this
    }
    if (this.failure !== undefined) this.#letGo(undefined)
    else if (!this.#hasRoom) {
      this.fail(tooMuch(`one transaction may have ${TRANSACTION_PARTS_MAX} parts`))
    }
  }

  /** The delivery gets an outcome outside of the transaction. */
  withdraw(delivery: Unsettled): void {
    this.#enlisted.delete(delivery)
    delivery.transaction = undefined
  }

  /** The peer let go of the delivery without another outcome. */
  settle(delivery: Unsettled): void {
    const enlisted = this.#enlisted.get(delivery)
    if (enlisted !== undefined) this.#enlisted.set(delivery, { ...enlisted, isSettled: true })
  }

  get #hasRoom(): boolean {
    return this.#messages.length + this.#enlisted.size <= TRANSACTION_PARTS_MAX
  }

  /** What the peer needs the right to publish to, and to consume. */
  get publishes(): readonly string[] {
    return [...this.#topics]
  }

  get consumes(): ReadonlySet<Resource> {
    const resources = new Set<Resource>()
    for (const { link } of this.#links()) for (const one of link.consumes) resources.add(one)
    return resources
  }

  /** A message that needs no settlement has none. */
  settlements(): Settlement[] {
    const settlements: Settlement[] = []
    for (const [delivery, { outcome }] of this.#enlisted) {
      const { receipt, link, note } = delivery
      if (receipt === undefined) continue
      settlements.push({ receipt, verdict: link.verdictOf(outcome, note) })
    }
    return settlements
  }

  /** The broker has done all of it. */
  committed(): void {
    const ours = new Map<SenderLink, [Unsettled, Outcome][]>()
    for (const [delivery, { outcome, isSettled }] of this.#enlisted) {
      delivery.transaction = undefined
      if (isSettled) continue
      const all = ours.get(delivery.link)
      if (all === undefined) ours.set(delivery.link, [[delivery, outcome]])
      else all.push([delivery, outcome])
    }
    for (const [link, all] of ours) link.committed(all)
    this.#forget()
  }

  /** It can only be rolled back from now on, and is. */
  fail(failure: ErrorDescription): void {
    this.failure ??= failure
    this.rollBack(false)
  }

  /**
   * Nothing of it holds. Deliveries that the peer has let go of come again: as failed, or with
   * `isLost` as those of a peer that was lost. What it still has stays as it is.
   */
  rollBack(isLost: boolean): void {
    this.#letGo(isLost || undefined)
    this.#forget()
  }

  #letGo(isLost: true | undefined): void {
    for (const { link, deliveries } of this.#links()) {
      const receipts: Receipt[] = []
      for (const delivery of deliveries) {
        const { isSettled } = this.#enlisted.get(delivery)!
        this.withdraw(delivery)
        const { receipt, note } = delivery
        if (!isSettled || receipt === undefined) continue
        if (isLost) receipts.push(receipt)
        else link.settled(receipt, FAILED, note)
      }
      link.abandon(receipts, true)
      link.flushSettled()
    }
  }

  #links(): { link: SenderLink; deliveries: Unsettled[] }[] {
    const byLink = new Map<SenderLink, Unsettled[]>()
    for (const delivery of this.#enlisted.keys()) {
      const deliveries = byLink.get(delivery.link)
      if (deliveries === undefined) byLink.set(delivery.link, [delivery])
      else deliveries.push(delivery)
    }
    return [...byLink].map(([link, deliveries]) => ({ link, deliveries }))
  }

  #forget(): void {
    this.#total.bytes -= this.#bytes
    this.#bytes = 0
    this.#messages = []
    this.#enlisted.clear()
  }
}

const tooMuch = (description: string): ErrorDescription => ({
  condition: CONDITION.resourceLimit,
  description,
})
