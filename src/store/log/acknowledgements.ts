// Which frames are acknowledged. One that is as durable here as `flush` asks for is acknowledged at
// once, unless a hold wants more: a replica's confirmation, say. What is held back is neither
// answered nor readable: a consumer must not get ahead of what survives the loss of this machine.
import { BrokerError } from '../../errors.ts'
import type { AcknowledgementHold } from './following.ts'
import type { SealedFrame } from './frame-stage.ts'

/** Holds of one log at a time. */
const HOLDS_MAX = 16
/** Frames that were let go and have a place all the same. */
const GONE_MAX = 4096

interface Condition {
  confirmedTo: number
  refusedTo: number
  refusal: BrokerError | undefined
}

type Deliver = (frame: SealedFrame, refusal: BrokerError | undefined) => void

export class Acknowledgements {
  readonly #deliver: Deliver
  readonly #conditions = new Set<Condition>()
  /** Durable here, oldest first: from `#next` on, as a long array is slow to shift. */
  #held: (SealedFrame | undefined)[] = []
  #next = 0
  /** Everything before was confirmed for all holds there were, and acknowledged for that. */
  confirmedTo: number
  /** Why nothing waits any more. */
  #ended: BrokerError | undefined

  constructor(confirmedTo: number, deliver: Deliver) {
    this.confirmedTo = confirmedTo
    this.#deliver = deliver
  }

  /** A frame became durable here. In log order. */
  take(frame: SealedFrame): void {
    if (this.#conditions.size === 0) {
      this.#deliver(frame, undefined)
      return
    }
    this.#held.push(frame)
    this.#settle()
  }

  /** @throws BrokerError QUOTA_EXCEEDED */
  hold(): AcknowledgementHold {
    if (this.#conditions.size >= HOLDS_MAX) {
      const text = `${HOLDS_MAX} holds of acknowledgements are the most that a log has at a time`
      throw new BrokerError('QUOTA_EXCEEDED', text)
    }
    const condition: Condition = { confirmedTo: 0, refusedTo: 0, refusal: undefined }
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

  /** Answers what is held back with the error; it stays in the log. */
  refuseAll(error: BrokerError): void {
    for (let frame = this.#held[this.#next]; frame !== undefined; frame = this.#held[this.#next]) {
      this.#take()
      this.#deliver(frame, error)
    }
  }

  /** The oldest is held no more. */
  #take(): void {
    this.#held[this.#next++] = undefined
    if (this.#next < this.#held.length && this.#next < GONE_MAX) return
    this.#held = this.#held.slice(this.#next)
    this.#next = 0
  }

  #settle(): void {
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
      if (isConfirmed && this.#conditions.size > 0) this.confirmedTo = end
      this.#take()
      this.#deliver(frame, isConfirmed ? undefined : refusal)
    }
  }
}
