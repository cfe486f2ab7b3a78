// The tail of the log in memory: a bounded ring of chunks that is staging buffer and read cache in
// one. Records are encoded into the newest chunk, written to disk from there, and read from there
// by readers that keep up. Chunks are allocated when first needed and recycled, oldest first, once
// synced. A frame that is larger than a chunk gets one of its own size, which is let go instead.

export interface Chunk {
  readonly bytes: Buffer
  /** Log position of byte 0. */
  base: number
  /** Bytes taken so far. */
  used: number
}

/** The first chunk is smaller: a log that is written little never takes a whole one. */
const FIRST_CHUNK_BYTES = 1024 * 1024

export class Tail {
  readonly #chunkBytes: number
  readonly #bytesMax: number
  /** Of all chunks. */
  #bytes = 0
  /** Oldest first, positions back to back. */
  readonly #chunks: Chunk[] = []

  constructor(chunkBytes: number, tailBytesMax: number) {
    this.#chunkBytes = chunkBytes
    this.#bytesMax = Math.max(3 * chunkBytes, tailBytesMax)
  }

  /**
   * The chunk that takes `size` bytes for `position`, or undefined while all that could is not
   * synced yet.
   */
  chunkFor(position: number, size: number, syncedEnd: number): Chunk | undefined {
    const newest = this.#chunks.at(-1)
    if (newest !== undefined && newest.used + size <= newest.bytes.length) return newest
    const most = newest === undefined ? FIRST_CHUNK_BYTES : this.#chunkBytes
    const length = Math.max(size, Math.min(most, this.#chunkBytes))
    let free: Buffer | undefined
    while (this.#bytes + length > this.#bytesMax && this.#chunks.length > 0) {
      const oldest = this.#chunks[0]!
      if (oldest.base + oldest.used > syncedEnd) return undefined
      this.#chunks.shift()
      this.#bytes -= oldest.bytes.length
      if (oldest.bytes.length === length) free = oldest.bytes
    }
    const chunk = { bytes: free ?? Buffer.allocUnsafeSlow(length), base: position, used: 0 }
    this.#bytes += length
    this.#chunks.push(chunk)
    return chunk
  }

  /** The chunk that holds all of [position, position + size), or undefined. */
  find(position: number, size: number): Chunk | undefined {
    for (let i = this.#chunks.length - 1; i >= 0; i--) {
      const chunk = this.#chunks[i]!
      if (position < chunk.base) continue
      return position + size <= chunk.base + chunk.used ? chunk : undefined
    }
    return undefined
  }

  /** Copies when all of it is here. */
  copy(target: Uint8Array, at: number, position: number, size: number): boolean {
    const chunk = this.find(position, size)
    if (chunk === undefined) return false
    const from = position - chunk.base
    chunk.bytes.copy(target, at, from, from + size)
    return true
  }

  /** The bytes from the position to the end of its chunk; not a copy. */
  #pieceAt(position: number): Buffer | undefined {
    const chunk = this.find(position, 1)
    return chunk?.bytes.subarray(position - chunk.base, chunk.used)
  }

  /** All bytes in [from, to), which must be here; not copies. */
  piecesOf(from: number, to: number): Buffer[] {
    const pieces: Buffer[] = []
    for (let position = from; position < to; ) {
      const piece = this.#pieceAt(position)
      if (piece === undefined) throw new Error(`position ${position} is not in memory any more`)
      pieces.push(piece)
      position += piece.length
    }
    return pieces
  }

  /** Forgets what was appended at or after the position. */
  rewind(position: number): void {
    for (let i = this.#chunks.length - 1; i >= 0; i--) {
      const chunk = this.#chunks[i]!
      if (chunk.base + chunk.used <= position) return
      chunk.used = Math.max(0, position - chunk.base)
      if (chunk.base > position) chunk.base = position
    }
  }
}
