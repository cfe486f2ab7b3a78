// Until when a lease is surely ours. The time that counts is this machine's monotonic clock, from
// before the call that granted or renewed it: the coordinator counts from some later moment. A
// share of it is left for clocks that do not run at one speed.

/** Of the lease, which is not used. */
const MARGIN_SHARE = 0.1

export class LeaseTime {
  #untilMs = Number.NEGATIVE_INFINITY

  /** A call that began at this moment granted or renewed it for so long. */
  renewed(calledMs: number, ttlMs: number): void {
    this.#untilMs = Math.max(this.#untilMs, calledMs + ttlMs * (1 - MARGIN_SHARE))
  }

  lost(): void {
    this.#untilMs = Number.NEGATIVE_INFINITY
  }

  get untilMs(): number {
    return this.#untilMs
  }

  isOursAt(nowMs: number): boolean {
    return nowMs < this.#untilMs
  }
}
