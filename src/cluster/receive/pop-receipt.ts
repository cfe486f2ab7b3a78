// What a consumer per message of a cluster holds: a popped message with its handle, which each
// change of its time replaces.
import type { Receipt } from '../../model/message.ts'
import type { LogPosition } from '../../model/positions.ts'
import type { PopHandle } from '../../remoting/requests/pop.ts'

export class PopReceipt {
  readonly group: string
  readonly topic: string
  readonly position: LogPosition
  readonly messageId: string
  readonly attempt: number
  /** undefined: it is settled. */
  handle: PopHandle | undefined
  /** While the handle is being replaced: the one that it has holds no longer. Never rejects. */
  extending: Promise<void> | undefined
  /** Monotonic, by this gateway's clock. */
  endMs: number

  constructor(
    of: Pick<PopReceipt, 'group' | 'topic' | 'position' | 'messageId' | 'attempt'>,
    handle: PopHandle,
    endMs: number,
  ) {
    this.group = of.group
    this.topic = of.topic
    this.position = of.position
    this.messageId = of.messageId
    this.attempt = of.attempt
    this.handle = handle
    this.endMs = endMs
  }

  /** As the Broker port shows it. */
  get sealed(): Receipt {
    return this as unknown as Receipt
  }
}

export const unsealed = (receipt: Receipt): PopReceipt => receipt as unknown as PopReceipt
