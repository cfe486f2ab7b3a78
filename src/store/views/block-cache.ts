// The blocks in memory, oldest first, and their buffers, used again when a block goes. A block of
// the views may go once a finished batch holds it; one of a live light queue takes its entries
// along.
import { BLOCK_BYTES, type EntryBlock } from './consume-queue.ts'

const SLAB_BLOCKS = 64
/** Blocks looked at beyond those too many, before a trim gives up until the next one. */
const TRIM_LOOKS = 64
/** For a new block: of those of the last second none may go, however many they are. */
const ADD_LOOKS = 4

export class BlockCache {
  readonly #blocksMax: number
  readonly #mayGo: (block: EntryBlock) => boolean
  #blocks: EntryBlock[] = []
  #head = 0
  readonly #free: Buffer[] = []

  constructor(blocksMax: number, mayGo: (block: EntryBlock) => boolean) {
    this.#blocksMax = blocksMax
    this.#mayGo = mayGo
  }

  get size(): number {
    return this.#blocks.length - this.#head
  }

  room(): Buffer {
    const free = this.#free.pop()
    if (free !== undefined) return free.fill(0)
    const slab = Buffer.alloc(SLAB_BLOCKS * BLOCK_BYTES)
    for (let i = 1; i < SLAB_BLOCKS; i++) {
      this.#free.push(slab.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES))
    }
    return slab.subarray(0, BLOCK_BYTES)
  }

  /**
   * Makes room first: the new block has nothing to save yet and must not be taken for one that may
   * go.
   */
  add(block: EntryBlock): void {
    this.#trimTo(this.#blocksMax - 1, ADD_LOOKS)
    this.#blocks.push(block)
  }

  /**
   * Lets the oldest go while there are too many. One that must stay goes to the end of the line.
   */
  trim(): void {
    this.#trimTo(this.#blocksMax, this.size - this.#blocksMax + TRIM_LOOKS)
  }

  #trimTo(count: number, looksMax: number): void {
    for (let looks = looksMax; looks > 0 && this.size > count; looks--) {
      const block = this.#blocks[this.#head]!
      this.#blocks[this.#head] = undefined as never
      this.#head++
      if (block.isGone || this.#mayGo(block)) this.#free.push(block.bytes)
      else this.#blocks.push(block)
    }
    if (this.#head > 4096 && this.#head * 2 > this.#blocks.length) {
      this.#blocks = this.#blocks.slice(this.#head)
      this.#head = 0
    }
  }
}
