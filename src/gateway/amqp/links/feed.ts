// The source of a sender link's messages, which is also told how they were settled: one interface
// for a consumer group and for reading by position.

import type { Resource } from '../../../access/auth.ts'
import type { Receipt } from '../../../model/message.ts'
import type { Outcome } from '../codec/disposition.ts'

export interface FeedItem {
  readonly record: Buffer
  /** 1 for the first delivery. */
  readonly attempt: number
  /** undefined for a message that needs no settlement. */
  readonly receipt: Receipt | undefined
  /** Additions of earlier consumers to its annotations. */
  readonly note: string | undefined
}

export interface Feed {
  /** What its peer needs the right to consume; nothing where there is nothing to settle. */
  readonly consumes: readonly Resource[]
  /**
   * How long an item stays with the link; undefined when items are not locked and cannot be given
   * back.
   */
  readonly lockMs: number | undefined
  /** Up to `max` messages; none after `waitMs` without one, or when the signal says so. */
  read(max: number, waitMs: number, signal: AbortSignal): Promise<readonly FeedItem[]>
  /** The peer's outcome for items it was sent; settles when that is durable. */
  settle(receipts: readonly Receipt[], outcome: Outcome): Promise<void>
  /**
   * Items go back as they came. `isLost`: with a peer that was lost, which may be because of the
   * first.
   */
  giveBack(receipts: readonly Receipt[], isLost: boolean): Promise<void>
  close(): void
}

/** The receipts of the items that have one. */
export function receiptsOf(items: readonly FeedItem[]): Receipt[] {
  const receipts: Receipt[] = []
  for (const { receipt } of items) if (receipt !== undefined) receipts.push(receipt)
  return receipts
}
