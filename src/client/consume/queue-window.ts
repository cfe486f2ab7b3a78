// The messages of one queue that a consumer holds: offsets that were read and are not settled yet.
// The committed offset is the smallest of them, so nothing that is unsettled is ever skipped after
// a crash.

/** Offsets are added in rising order and settled in any. */
export class QueueWindow {
  /** Rising; settled ones are dropped lazily from the front. */
  readonly #offsets: number[] = []
  readonly #open = new Set<number>()
  #front = 0
  #next: number

  /** @param next first offset that will be read */
  constructor(next: number) {
    this.#next = next
  }

  /** Read and not settled. */
  get held(): number {
    return this.#open.size
  }

  /** First offset not yet read. */
  get next(): number {
    return this.#next
  }

  /** The offset a group may commit: everything before it is settled. */
  get committable(): number {
    while (this.#front < this.#offsets.length && !this.#open.has(this.#offsets[this.#front]!)) {
      this.#front++
    }
    if (this.#front > 1024 && this.#front * 2 > this.#offsets.length) {
      this.#offsets.splice(0, this.#front)
      this.#front = 0
    }
    return this.#offsets[this.#front] ?? this.#next
  }

  /** Distance between the oldest unsettled offset and the end of what was read. */
  get span(): number {
    return this.#next - this.committable
  }

  add(offset: number): void {
    this.#offsets.push(offset)
    this.#open.add(offset)
    if (offset >= this.#next) this.#next = offset + 1
  }

  /** Entries up to here were read or do not match the filter. */
  advance(next: number): void {
    if (next > this.#next) this.#next = next
  }

  /** False when it was settled before or never added. */
  settle(offset: number): boolean {
    return this.#open.delete(offset)
  }
}
