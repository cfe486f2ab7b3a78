// Ends of half messages that share an append.
import type { BrokerError } from '../../errors.ts'
import type { LogPosition } from '../../model/positions.ts'
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
  /** By which their producers know the half messages. */
  readonly places: LogPosition[] = []
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

  add(place: LogPosition, slot: number, { entry, message }: Ended): void {
    this.places.push(place)
    this.#slots.push(slot)
    this.fired.push(entry)
    if (message === undefined) return
    this.messages.push(message)
    if (message.dueMs !== undefined) this.hasDelayed = true
  }

  settle(error: EndResult): void {
    if (error !== undefined) for (const slot of this.#slots) this.#results[slot] = error
    this.#resolve()
  }
}
