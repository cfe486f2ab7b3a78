// Holds back messages that very many filters select. Each enters a queue a filter in the turn in
// which it becomes readable, and is read from there again, so that a few of its bytes can keep the
// event loop busy for seconds. What is on its way into the log is bounded over all connections; the
// others wait, each in its turn.

/** Entries of messages that are not stored yet, of those that many filters select. */
export const FAN_OUT_MAX = 4_000
/** A message with so few filters is not counted: its bytes are bound elsewhere. */
const FEW = 8

export class FanOut {
  #entries = 0
  /** First come, first served. */
  #waiting: (() => void)[] = []

  /** The part of a message that counts, by how many filters select it. */
  weight(filters: number): number {
    return filters > FEW ? filters : 0
  }

  /** Must a message of this weight wait? */
  isCrowded(weight: number): boolean {
    if (weight === 0 || this.#entries === 0) return false
    return this.#waiting.length > 0 || this.#entries + weight > FAN_OUT_MAX
  }

  add(weight: number): void {
    this.#entries += weight
  }

  /** Calls `go` when there is room; what it adds is counted before the next is called. */
  wait(go: () => void): void {
    this.#waiting.push(go)
  }

  /** So much was stored, or refused. */
  remove(weight: number): void {
    if (weight === 0) return
    this.#entries -= weight
    while (this.#waiting.length > 0 && this.#entries < FAN_OUT_MAX) this.#waiting.shift()!()
  }
}
