// How often which value came: one count for each bucket, bumped in place.

export class Histogram {
  readonly bounds: readonly number[]
  /** One per bound, and one for what is above the last. */
  readonly counts: number[]
  count = 0
  sum = 0
  max = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Array<number>(bounds.length + 1).fill(0)
  }

  /** `times`: so many came with the same value. */
  observe(value: number, times = 1): void {
    const { bounds } = this
    let at = 0
    while (at < bounds.length && value > bounds[at]!) at++
    this.counts[at]! += times
    this.count += times
    this.sum += value * times
    if (value > this.max) this.max = value
  }

  /** What the other one, of the same bounds, counted. */
  add(other: Histogram): void {
    other.counts.forEach((count, at) => {
      this.counts[at]! += count
    })
    this.count += other.count
    this.sum += other.sum
    this.max = Math.max(this.max, other.max)
  }

  /** How many were at most the bound. */
  upTo(bound: number): number {
    let count = 0
    for (let at = 0; at < this.bounds.length && this.bounds[at]! <= bound; at++) {
      count += this.counts[at]!
    }
    return count
  }

  /** The value that the given share does not exceed, to the width of its bucket; 0 when empty. */
  quantile(share: number): number {
    const rank = share * this.count
    let below = 0
    for (let at = 0; at < this.bounds.length; at++) {
      const inside = this.counts[at]!
      if (inside > 0 && below + inside >= rank) {
        const from = at === 0 ? 0 : this.bounds[at - 1]!
        const to = Math.min(this.bounds[at]!, this.max)
        return from + Math.max(0, to - from) * ((rank - below) / inside)
      }
      below += inside
    }
    return this.max
  }
}
