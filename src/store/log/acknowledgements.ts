// Which frames are acknowledged. One that is as durable here as `flush` asks for is acknowledged at
// once, unless a hold wants more: a replica's confirmation, say. What is held back is neither
// answered nor readable: a consumer must not get ahead of what survives the loss of this machine.
// Nor is more than one turn of the event loop has time for: making many records readable, and
// answering for them, takes far longer than their sync.
import { BrokerError } from '../../errors.ts'
import type { AcknowledgementHold } from './following.ts'
import type { SealedFrame } from './frame-stage.ts'

/** Holds of one log at a time. */
const HOLDS_MAX = 16
/** Frames that were let go and have a place all the same. */
const GONE_MAX = 4096
/** A frame with fewer than this part of what a turn delivers is small. */
const SMALL = 8

interface Condition {
  confirmedTo: number
  refusedTo: number
  refusal: BrokerError | undefined
  readonly waits: (() => void) | undefined
}

export interface AcknowledgementOptions {
  readonly deliver: Deliver
  /** Records that are delivered in one turn, or one frame that has more. */
  readonly recordsAtOnceMax: number
  /** Calls back in a later turn. */
  readonly later: (fn: () => void) => void
}

type Deliver = (frame: SealedFrame, refusal: BrokerError | undefined) => void

export class Acknowledgements {
  readonly #options: AcknowledgementOptions
  readonly #conditions = new Set<Condition>()
  /** Durable here, oldest first: from `#next` on, as a long array is slow to shift. */
  #held: (SealedFrame | undefined)[] = []
  #next = 0
  /** Everything before was confirmed for all holds there were, and acknowledged for that. */
  confirmedTo: number
  /** Why nothing waits any more. */
  #ended: BrokerError | undefined
  /** Records of large frames that were delivered in this turn. */
  #delivered = 0

  constructor(confirmedTo: number, options: AcknowledgementOptions) {
    this.confirmedTo = confirmedTo
    this.#options = options
  }

  /** A frame became durable here. In log order. */
  take(frame: SealedFrame): void {
    const isFirst = this.#conditions.size === 0 && this.#next === this.#held.length
    if (isFirst && this.#hasTime(frame)) {
      this.#options.deliver(frame, undefined)
      return
    }
    this.#held.push(frame)
    for (const { waits } of this.#conditions) waits?.()
    this.#settle()
  }

  /** `waits`: told of each frame that is durable here. @throws BrokerError QUOTA_EXCEEDED */
  hold(waits?: () => void): AcknowledgementHold {
    if (this.#conditions.size >= HOLDS_MAX) {
      const text = `${HOLDS_MAX} holds of acknowledgements are the most that a log has at a time`
      throw new BrokerError('QUOTA_EXCEEDED', text)
    }
    const condition: Condition = { confirmedTo: 0, refusedTo: 0, refusal: undefined, waits }
    this.#conditions.add(condition)
    return {
      confirm: (to) => {
        condition.confirmedTo = Math.max(condition.confirmedTo, to)
        this.#settle()
      },
      refuse: (to, error) => {
        condition.refusedTo = Math.max(condition.refusedTo, to)
        condition.refusal = error
        this.#settle()
      },
      release: () => {
        this.#conditions.delete(condition)
        this.#settle()
      },
    }
  }

  /** From here on nothing waits: what is not confirmed is answered with the error. */
  end(error: BrokerError): void {
    this.#ended = error
    this.#settle()
  }

  /**
   * Answers what is held back with the error; it stays in the log. What only waited for its turn
   * has it now.
   */
  refuseAll(error: BrokerError): void {
    this.#settle(true)
    for (let frame = this.#held[this.#next]; frame !== undefined; frame = this.#held[this.#next]) {
      this.#take()
      this.#options.deliver(frame, error)
    }
  }

  /** The oldest is held no more. */
  #take(): void {
    this.#held[this.#next++] = undefined
    if (this.#next < this.#held.length && this.#next < GONE_MAX) return
    this.#held = this.#held.slice(this.#next)
    this.#next = 0
  }

  /** `isAll`: in this turn. */
  #settle(isAll = this.#ended !== undefined): void {
    for (let frame = this.#held[this.#next]; frame !== undefined; frame = this.#held[this.#next]) {
      const end = frame.position + frame.length
      let refusal = this.#ended
      let isConfirmed = true
      for (const condition of this.#conditions) {
        if (condition.confirmedTo >= end) continue
        isConfirmed = false
        if (condition.refusedTo >= end) refusal ??= condition.refusal
      }
      if (!isConfirmed && refusal === undefined) return
      if (!isAll && !this.#hasTime(frame)) return
      if (isConfirmed && this.#conditions.size > 0) this.confirmedTo = end
      this.#take()
      this.#options.deliver(frame, isConfirmed ? undefined : refusal)
    }
  }

  /** What this turn has no time for is looked at in the next. Small frames are not counted. */
  #hasTime({ records }: SealedFrame): boolean {
    const { recordsAtOnceMax, later } = this.#options
    if (records < recordsAtOnceMax / SMALL) return true
    if (this.#delivered > 0 && this.#delivered + records > recordsAtOnceMax) return false
    if (this.#delivered === 0) {
      later(() => {
        this.#delivered = 0
        this.#settle()
      })
    }
    this.#delivered += records
    return true
  }
}
