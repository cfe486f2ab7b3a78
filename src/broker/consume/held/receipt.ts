// What the embedded broker puts into a receipt.
import type { Receipt } from '../../../model/message.ts'
import type { QueueOffset } from '../../../model/positions.ts'

export interface OpenReceipt {
  readonly group: string
  /** The topic that the record was read from: the one asked for, or the group's retry topic. */
  readonly topic: string
  readonly queueId: number
  readonly queueOffset: QueueOffset
  /** Distinguishes deliveries of the same message. */
  readonly serial: number
  /** The name of the delivery when it is a POP; else 0. */
  readonly poppedAt: number
}

export const sealReceipt = (open: OpenReceipt): Receipt => open as unknown as Receipt

/** Of a receipt that this broker made. */
export const openReceipt = (receipt: Receipt): OpenReceipt => receipt as unknown as OpenReceipt
