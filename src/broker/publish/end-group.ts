// Ends of half messages that share an append.
import type { BrokerError } from '../../errors.ts'
import type { TransactionEnd } from '../../model/transaction.ts'
import type { DueEntry, StoreMessage } from '../../store/store.ts'

/** undefined: it holds. */
export type EndResult = BrokerError | undefined

/** How one half message ends. */
interface Ended {
  readonly entry: DueEntry
  /** undefined: nothing is stored for it. */
  readonly message: StoreMessage | undefined
}

export class EndGroup {
  readonly messages: StoreMessage[] = []
  readonly fired: DueEntry[] = []
  readonly ends: TransactionEnd[] = []
  hasDelayed = false
  /** Never rejects. */
  readonly settled: Promise<void>
  readonly #results: EndResult[]
  /** Of `#results`. */
  readonly #slots: number[] = []
  #resolve!: () => void

  constructor(results: EndResult[]) {
    this.#results = results
    this.settled = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  add(end: TransactionEnd, slot: number, { entry, message }: Ended): void {
    this.ends.push(end)
    this.#slots.push(slot)
    this.fired.push(entry)
    if (message === undefined) return
    this.messages.push(message)
    if (message.dueMs !== undefined) this.hasDelayed = true
  }

  /** All ended alike, or each as it says. */
  settle(results: EndResult | readonly EndResult[]): void {
    if (results !== undefined) {
      for (const [i, slot] of this.#slots.entries()) {
        this.#results[slot] = Array.isArray(results) ? results[i] : results
      }
    }
    this.#resolve()
  }
}
