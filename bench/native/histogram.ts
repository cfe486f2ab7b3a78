// Latencies in microseconds, in buckets of 1/32 of their size: exact enough to print, cheap to
// count.
const SUB_BITS = 5
const SUB = 1 << SUB_BITS
const BUCKETS = 32 * SUB

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS)
  #total = 0
  #max = 0

  add(us: number, times = 1): void {
    this.#counts[bucketOf(us)]! += times
    this.#total += times
    if (us > this.#max) this.#max = us
  }

  reset(): void {
    this.#counts.fill(0)
    this.#total = 0
    this.#max = 0
  }

  /** In milliseconds. */
  summary(): Record<string, number> {
    return { p50: this.#at(0.5), p99: this.#at(0.99), p999: this.#at(0.999), max: ms(this.#max) }
  }

  #at(quantile: number): number {
    let left = this.#total * quantile
    for (let i = 0; i < BUCKETS; i++) {
      left -= this.#counts[i]!
      if (left <= 0) return ms(lowerEnd(i))
    }
    return 0
  }
}

const ms = (us: number): number => Math.round(us) / 1000

function bucketOf(us: number): number {
  const value = Math.max(0, Math.round(us))
  if (value < SUB) return value
  const shift = 31 - Math.clz32(value) - SUB_BITS
  return Math.min(BUCKETS - 1, (shift + 1) * SUB + ((value >>> shift) - SUB))
}

function lowerEnd(bucket: number): number {
  if (bucket < SUB) return bucket
  const shift = Math.floor(bucket / SUB) - 1
  return (SUB + (bucket % SUB)) * 2 ** shift
}
