// Pairs of numbers in order, without doubles, in chunks, so that an insert moves at most one chunk.

const CHUNK_PAIRS_MAX = 512

interface Chunk {
  readonly first: Float64Array
  readonly second: Float64Array
  count: number
}

export class SortedPairs {
  readonly #chunks: Chunk[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** First number of the smallest pair. */
  get min(): number | undefined {
    return this.#chunks[0]?.first[0]
  }

  /** False when the pair is there already. */
  add(first: number, second: number): boolean {
    const chunk = this.#chunkFor(first, second)
    const at = lowerBound(chunk, first, second)
    if (isAt(chunk, at, first, second)) return false
    chunk.first.copyWithin(at + 1, at, chunk.count)
    chunk.second.copyWithin(at + 1, at, chunk.count)
    chunk.first[at] = first
    chunk.second[at] = second
    chunk.count++
    this.#size++
    return true
  }

  has(first: number, second: number): boolean {
    const chunk = this.#chunks[this.#chunkNumber(first, second)]
    return chunk !== undefined && isAt(chunk, lowerBound(chunk, first, second), first, second)
  }

  /** False when the pair was not there. */
  delete(first: number, second: number): boolean {
    const number = this.#chunkNumber(first, second)
    const chunk = this.#chunks[number]
    if (chunk === undefined) return false
    const at = lowerBound(chunk, first, second)
    if (!isAt(chunk, at, first, second)) return false
    chunk.first.copyWithin(at, at + 1, chunk.count)
    chunk.second.copyWithin(at, at + 1, chunk.count)
    chunk.count--
    this.#size--
    if (chunk.count === 0) this.#chunks.splice(number, 1)
    return true
  }

  /** Takes over pairs that all come after its own; the other is of no use any more. */
  append(later: SortedPairs): void {
    for (const chunk of later.#chunks) this.#chunks.push(chunk)
    this.#size += later.#size
  }

  /** Removes every pair whose first number is `first` or more. */
  cutFrom(first: number): void {
    while (this.#chunks.length > 0) {
      const chunk = this.#chunks.at(-1)!
      const count = lowerBound(chunk, first, Number.NEGATIVE_INFINITY)
      this.#size -= chunk.count - count
      chunk.count = count
      if (count > 0) return
      this.#chunks.pop()
    }
  }

  /** In order from this pair on, which need not be there, while `each` answers true. */
  everyFrom(first: number, second: number, each: (first: number, second: number) => boolean): void {
    let number = this.#chunkNumber(first, second)
    let i = number < this.#chunks.length ? lowerBound(this.#chunks[number]!, first, second) : 0
    for (; number < this.#chunks.length; number++, i = 0) {
      const chunk = this.#chunks[number]!
      for (; i < chunk.count; i++) if (!each(chunk.first[i]!, chunk.second[i]!)) return
    }
  }

  /** The chunk that must take the pair, with room for it. */
  #chunkFor(first: number, second: number): Chunk {
    const number = Math.max(0, Math.min(this.#chunkNumber(first, second), this.#chunks.length - 1))
    let chunk = this.#chunks[number]
    if (chunk === undefined) {
      chunk = emptyChunk()
      this.#chunks.push(chunk)
    }
    if (chunk.count < CHUNK_PAIRS_MAX) return chunk
    const upper = splitChunk(chunk, lowerBound(chunk, first, second))
    this.#chunks.splice(number + 1, 0, upper)
    return compareAt(upper, 0, first, second) <= 0 ? upper : chunk
  }

  /** Number of the first chunk whose last pair is at or after this one. */
  #chunkNumber(first: number, second: number): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const chunk = this.#chunks[middle]!
      if (compareAt(chunk, chunk.count - 1, first, second) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

const emptyChunk = (): Chunk => ({
  first: new Float64Array(CHUNK_PAIRS_MAX),
  second: new Float64Array(CHUNK_PAIRS_MAX),
  count: 0,
})

/**
 * Moves the upper half out; of a chunk that grows at its end only the last pair, so that it stays
 * full.
 */
function splitChunk(chunk: Chunk, insertAt: number): Chunk {
  const upper = emptyChunk()
  const from = insertAt === chunk.count ? chunk.count - 1 : chunk.count >>> 1
  upper.first.set(chunk.first.subarray(from, chunk.count))
  upper.second.set(chunk.second.subarray(from, chunk.count))
  upper.count = chunk.count - from
  chunk.count = from
  return upper
}

function compareAt(chunk: Chunk, at: number, first: number, second: number): number {
  const byFirst = chunk.first[at]! - first
  return byFirst !== 0 ? byFirst : chunk.second[at]! - second
}

const isAt = (chunk: Chunk, at: number, first: number, second: number): boolean =>
  at < chunk.count && chunk.first[at] === first && chunk.second[at] === second

function lowerBound(chunk: Chunk, first: number, second: number): number {
  let low = 0
  let high = chunk.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareAt(chunk, middle, first, second) < 0) low = middle + 1
    else high = middle
  }
  return low
}
