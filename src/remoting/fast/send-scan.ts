// The fields of SEND_MESSAGE_V2 straight from a scanned header: their names are single letters, so
// finding them costs one look at each. Everything unusual is left to the general way.
import { type HeaderScan, integerIn } from './header-scan.ts'

const LETTER_A = 97
const LETTERS = 14

/** Fields by their letter (requests/send.ts). */
export const SEND_SLOT = {
  producerGroup: 0,
  topic: 1,
  defaultTopic: 2,
  defaultTopicQueueNums: 3,
  queueId: 4,
  sysFlag: 5,
  bornTimestamp: 6,
  flag: 7,
  properties: 8,
  reconsumeTimes: 9,
  unitMode: 10,
  maxReconsumeTimes: 11,
  batch: 12,
} as const

export type SendSlot = (typeof SEND_SLOT)[keyof typeof SEND_SLOT]

export class SendScan {
  readonly #scan: HeaderScan
  /** Index of the field with each letter, or -1. */
  readonly #slots = new Int32Array(LETTERS)

  constructor(scan: HeaderScan) {
    this.#scan = scan
  }

  /** Reads the names of the scanned header. */
  index(): void {
    const { bytes, nameAt, nameEnd, count } = this.#scan
    const slots = this.#slots
    slots.fill(-1)
    for (let i = 0; i < count; i++) {
      const at = nameAt[i]!
      if (nameEnd[i]! - at !== 1) continue
      const slot = bytes[at]! - LETTER_A
      if (slot >= 0 && slot < LETTERS) slots[slot] = i
    }
  }

  has(slot: SendSlot): boolean {
    return this.#slots[slot] !== -1
  }

  /** NaN when it is missing or no integer. */
  integer(slot: SendSlot): number {
    const i = this.#slots[slot]!
    if (i === -1) return Number.NaN
    const { bytes, valueAt, valueEnd } = this.#scan
    return integerIn(bytes, valueAt[i]!, valueEnd[i]!)
  }

  start(slot: SendSlot): number {
    return this.#scan.valueAt[this.#slots[slot]!]!
  }

  end(slot: SendSlot): number {
    return this.#scan.valueEnd[this.#slots[slot]!]!
  }

  isEscaped(slot: SendSlot): boolean {
    return this.#scan.isEscaped[this.#slots[slot]!] === 1
  }

  /** Is the value this ASCII text? */
  is(slot: SendSlot, text: string): boolean {
    const i = this.#slots[slot]!
    if (i === -1) return false
    const { bytes, valueAt, valueEnd } = this.#scan
    const at = valueAt[i]!
    if (valueEnd[i]! - at !== text.length) return false
    for (let k = 0; k < text.length; k++) if (bytes[at + k] !== text.charCodeAt(k)) return false
    return true
  }
}
