// One timer for every invisible time: armed for the soonest deadline there may be, it looks through
// the queues that have one, in slices, as everything that is in flight may be over at once.
// Monotonic time, so a jump of the wall clock moves nothing.
import { type Clock, Slice, type Timer } from '../../../clock.ts'
import type { GroupQueue } from './group-queue.ts'
import { type Entry, isDue } from './unsettled.ts'

export type Expired<Group> = (group: Group, queue: GroupQueue, entry: Entry) => void

/** The group that the queues belong to. */
export interface ExpiringGroup {
  /** The look is over: forgets the consumers' first messages, which hold for one look. */
  forgetFirsts(): void
}

export class Expiry<Group extends ExpiringGroup> {
  readonly #clock: Clock
  readonly #expired: Expired<Group>
  readonly #queues = new Map<GroupQueue, Group>()
  #timer: Timer | undefined
  #armedForMs = Number.POSITIVE_INFINITY
  #isLooking = false
  /** The timer fired while `#look` was running: it looks once more. */
  #isDueAgain = false
  #isClosed = false

  constructor(clock: Clock, expired: Expired<Group>) {
    this.#clock = clock
    this.#expired = expired
  }

  /** The queue has a deadline that may be sooner than any other. */
  expect(group: Group, queue: GroupQueue): void {
    if (queue.soonestMs >= this.#armedForMs && this.#queues.has(queue)) return
    this.#queues.set(queue, group)
    this.#arm(queue.soonestMs)
  }

  forget(queue: GroupQueue): void {
    this.#queues.delete(queue)
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  #arm(deadlineMs: number): void {
    if (deadlineMs >= this.#armedForMs || this.#isClosed) return
    this.#timer?.cancel()
    this.#armedForMs = deadlineMs
    const delayMs = Math.max(0, deadlineMs - this.#clock.monotonic())
    this.#timer = this.#clock.after(delayMs, () => this.#due())
  }

  #due(): void {
    this.#armedForMs = Number.POSITIVE_INFINITY
    if (this.#isLooking) this.#isDueAgain = true
    else void this.#look()
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    do {
      this.#isDueAgain = false
      await this.#lookOnce()
    } while (this.#isDueAgain)
    this.#isLooking = false
  }

  async #lookOnce(): Promise<void> {
    const slice = new Slice(this.#clock)
    const groups = new Set<Group>()
    let soonestMs = Number.POSITIVE_INFINITY
    for (const [queue, group] of this.#queues) {
      if (slice.isOver) await slice.rest()
      if (this.#isClosed) return
      groups.add(group)
      const nowMs = this.#clock.monotonic()
      for (const entry of queue.due(nowMs)) {
        if (slice.isOver) await slice.rest()
        if (this.#isClosed) return
        // By now something else may have seen to it.
        if (this.#queues.has(queue) && isDue(entry, nowMs)) this.#expired(group, queue, entry)
      }
      if (queue.soonestMs === Number.POSITIVE_INFINITY) this.#queues.delete(queue)
      else soonestMs = Math.min(soonestMs, queue.soonestMs)
    }
    for (const group of groups) group.forgetFirsts()
    if (soonestMs !== Number.POSITIVE_INFINITY) this.#arm(soonestMs)
  }
}
