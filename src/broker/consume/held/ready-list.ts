// Offsets that wait to be handed out again, the lowest first. Added in any order, nearly always
// taken from the front: sorted only when one is read.
import type { QueueOffset } from '../../../model/positions.ts'

export class ReadyList {
  /** The lowest last once sorted, so that taking it is popping. */
  readonly #offsets: QueueOffset[] = []
  #isSorted = true

  add(offset: QueueOffset): void {
    const last = this.#offsets.at(-1)
    if (last !== undefined && last < offset) this.#isSorted = false
    this.#offsets.push(offset)
  }

  first(): QueueOffset | undefined {
    this.#sort()
    return this.#offsets.at(-1)
  }

  /** The lowest at or above `from`. */
  firstFrom(from: number): QueueOffset | undefined {
    this.#sort()
    // Descending: the last one that is not below.
    let [low, high] = [0, this.#offsets.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#offsets[middle]! >= from) low = middle + 1
      else high = middle
    }
    return this.#offsets[low - 1]
  }

  remove(offset: QueueOffset): void {
    if (this.first() === offset) {
      this.#offsets.pop()
      return
    }
    const at = this.#offsets.indexOf(offset)
    if (at !== -1) this.#offsets.splice(at, 1)
  }

  #sort(): void {
    if (this.#isSorted) return
    this.#offsets.sort((a, b) => b - a)
    this.#isSorted = true
  }
}
