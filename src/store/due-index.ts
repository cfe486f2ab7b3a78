// Parked messages by due time: which are due, and when the next one is. Knows (dueMs, position) pairs
// only. Pairs are kept sorted in chunks, so that an insert moves at most one chunk.
import { logPosition } from '../model/positions.ts'
import type { DueEntry } from './store.ts'

const CHUNK_PAIRS_MAX = 512

interface Chunk {
  readonly due: Float64Array
  readonly position: Float64Array
  count: number
}

export class DueIndex {
  readonly #chunks: Chunk[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  get nextDueMs(): number | undefined {
    return this.#chunks[0]?.due[0]
  }

  /** Nothing happens when the pair is there already. */
  add(dueMs: number, position: number): void {
    const chunk = this.#chunkFor(dueMs, position)
    const at = lowerBound(chunk, dueMs, position)
    if (at < chunk.count && chunk.due[at] === dueMs && chunk.position[at] === position) return
    chunk.due.copyWithin(at + 1, at, chunk.count)
    chunk.position.copyWithin(at + 1, at, chunk.count)
    chunk.due[at] = dueMs
    chunk.position[at] = position
    chunk.count++
    this.#size++
  }

  /** False when the pair was not there. */
  remove(dueMs: number, position: number): boolean {
    const number = this.#chunkNumber(dueMs, position)
    const chunk = this.#chunks[number]
    if (chunk === undefined) return false
    const at = lowerBound(chunk, dueMs, position)
    if (at === chunk.count || chunk.due[at] !== dueMs || chunk.position[at] !== position) {
      return false
    }
    chunk.due.copyWithin(at, at + 1, chunk.count)
    chunk.position.copyWithin(at, at + 1, chunk.count)
    chunk.count--
    this.#size--
    if (chunk.count === 0) this.#chunks.splice(number, 1)
    return true
  }

  /** Oldest first, due at or before `untilMs`. */
  due(untilMs: number, max: number): DueEntry[] {
    const found: DueEntry[] = []
    for (const chunk of this.#chunks) {
      for (let i = 0; i < chunk.count; i++) {
        const dueMs = chunk.due[i]!
        if (dueMs > untilMs || found.length === max) return found
        found.push({ dueMs, position: logPosition(chunk.position[i]!) })
      }
    }
    return found
  }

  /** The chunk that must take the pair, with room for it. */
  #chunkFor(dueMs: number, position: number): Chunk {
    const number = Math.min(this.#chunkNumber(dueMs, position), this.#chunks.length - 1)
    let chunk = this.#chunks[number]
    if (chunk === undefined) {
      chunk = emptyChunk()
      this.#chunks.push(chunk)
    }
    if (chunk.count < CHUNK_PAIRS_MAX) return chunk
    const upper = splitChunk(chunk, lowerBound(chunk, dueMs, position))
    this.#chunks.splice(number + 1, 0, upper)
    return upper.count > 0 && comparePair(upper, 0, dueMs, position) < 0 ? upper : chunk
  }

  /** Number of the first chunk whose last pair is at or after this one. */
  #chunkNumber(dueMs: number, position: number): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const chunk = this.#chunks[middle]!
      if (comparePair(chunk, chunk.count - 1, dueMs, position) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

const emptyChunk = (): Chunk => ({
  due: new Float64Array(CHUNK_PAIRS_MAX),
  position: new Float64Array(CHUNK_PAIRS_MAX),
  count: 0,
})

/** Moves the upper half out. Delays of one length arrive in order: then the full chunk stays full. */
function splitChunk(chunk: Chunk, insertAt: number): Chunk {
  const upper = emptyChunk()
  const from = insertAt === chunk.count ? chunk.count - 1 : chunk.count >>> 1
  upper.due.set(chunk.due.subarray(from, chunk.count))
  upper.position.set(chunk.position.subarray(from, chunk.count))
  upper.count = chunk.count - from
  chunk.count = from
  return upper
}

function comparePair(chunk: Chunk, at: number, dueMs: number, position: number): number {
  const byDue = chunk.due[at]! - dueMs
  return byDue !== 0 ? byDue : chunk.position[at]! - position
}

function lowerBound(chunk: Chunk, dueMs: number, position: number): number {
  let low = 0
  let high = chunk.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (comparePair(chunk, middle, dueMs, position) < 0) low = middle + 1
    else high = middle
  }
  return low
}
