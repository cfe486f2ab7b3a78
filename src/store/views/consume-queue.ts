// One queue's entries: where each record stands, in aligned blocks of 32 so that a block is one
// value of the views. Knows offsets and positions; reads no records. An entry is
//
//   0 u64 position   8 u32 size   12 i32 tagHash   16 i32 check (record-scan.ts)
//
// An entry of size 0 stands for a record that was lost. A light queue is the same thing with
// offsets of its own.
import { getI32, getU32, getU64, putU32, putU64 } from '../../model/bytes.ts'
import { SEAL_BYTES } from './pairs/sealed.ts'

export const ENTRY_BYTES = 20
export const BLOCK_ENTRIES = 32
/** Room for the seal, then the entries. */
export const BLOCK_BYTES = SEAL_BYTES + BLOCK_ENTRIES * ENTRY_BYTES

/** Up to 32 neighbouring entries in memory. */
export class EntryBlock {
  readonly queue: ConsumeQueue
  readonly number: number
  readonly bytes: Buffer
  /** Slots in use. */
  count: number
  /** Holds entries that no batch of the views has taken yet. */
  isDirty = false
  /** Serial of the last batch that took it. */
  savedIn = 0
  /** The queue let it go. */
  isGone = false

  constructor(queue: ConsumeQueue, number: number, bytes: Buffer, count: number) {
    this.queue = queue
    this.number = number
    this.bytes = bytes
    this.count = count
  }
}

/** Loads and makes the blocks, and is told of new and changed ones. */
export interface BlockStore {
  /** A block kept outside memory, of `count` entries, seal first. @throws ViewsDamaged */
  load(queue: ConsumeQueue, block: number, count: number): Buffer
  /** Room for a new block, all zeros. */
  room(): Buffer
  opened(block: EntryBlock): void
  /** The queue has changed since the last batch. Called once until `isDirty` is cleared. */
  changed(queue: ConsumeQueue): void
  /** A block could not be loaded in a call that has no caller to throw to. */
  damaged(error: unknown): void
}

export class ConsumeQueue {
  readonly topic: string
  readonly queueId: number
  /** Names the queue's blocks in the views. */
  number: number
  /** First retained offset. */
  min = 0
  /** Next offset to be readable. */
  next = 0
  /** Next offset to be assigned: `next` and the appends under way. */
  assigned = 0
  /** Position of the newest entry's record; -1 for none. */
  lastPosition = -1
  /** Position of the newest note that says the queue's next offset; -1 for none. */
  notePosition = -1
  /**
   * Offset minus place in the blocks: a light queue rebuilt from a late start learns its offsets
   * last.
   */
  shift = 0
  isDirty = false
  /** Has new entries that the arrival listener was not told of. */
  isTouched = false
  isGone = false
  /** Seal of its value in the views; -1 while it has none. */
  seal = -1
  readonly #store: BlockStore
  /** Neighbouring blocks in memory from `#head` on, the tail last. */
  #blocks: EntryBlock[] = []
  #head = 0
  /** The full block that was loaded last: a reader in order asks for it again. */
  #loaded: Buffer | undefined
  #loadedNumber = -1

  constructor(topic: string, queueId: number, number: number, store: BlockStore) {
    this.topic = topic
    this.queueId = queueId
    this.number = number
    this.#store = store
  }

  append(position: number, size: number, tagHash: number, check: number): void {
    const block = this.#tail()
    const at = SEAL_BYTES + block.count * ENTRY_BYTES
    const { bytes } = block
    putU64(bytes, at, position)
    putU32(bytes, at + 8, size)
    putU32(bytes, at + 12, tagHash)
    putU32(bytes, at + 16, check)
    block.count++
    block.isDirty = true
    this.next++
    this.lastPosition = position
    this.markDirty()
  }

  markDirty(): void {
    if (this.isDirty) return
    this.isDirty = true
    this.#store.changed(this)
  }

  /**
   * Entries of a block that has some in [min, next), seal first. Valid in this turn.
   * @throws ViewsDamaged
   */
  block(number: number): Buffer {
    const first = this.#blocks[this.#head]
    const cached = first && this.#blocks[this.#head + number - first.number]
    if (cached !== undefined) return cached.bytes
    if (this.#loaded !== undefined && this.#loadedNumber === number) return this.#loaded
    const count = this.#countOf(number)
    const bytes = this.#store.load(this, number, count)
    if (count === BLOCK_ENTRIES) {
      this.#loaded = bytes
      this.#loadedNumber = number
    }
    return bytes
  }

  /** Position of the entry at an offset within [min, next). @throws ViewsDamaged */
  positionOf(offset: number): number {
    const index = offset - this.shift
    return entryPosition(this.block(Math.floor(index / BLOCK_ENTRIES)), index % BLOCK_ENTRIES)
  }

  /** First offset in [min, next] whose entry is at or after the position. @throws ViewsDamaged */
  offsetAt(position: number): number {
    if (position > this.lastPosition) return this.next
    let low = this.min
    let high = this.next
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.positionOf(middle) < position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Blocks with entries that no batch has taken, oldest first. */
  *dirtyBlocks(): Generator<EntryBlock> {
    let from = this.#blocks.length
    while (from > this.#head && this.#blocks[from - 1]!.isDirty) from--
    for (; from < this.#blocks.length; from++) yield this.#blocks[from]!
  }

  /** Lets go of a block when it is the oldest in memory. */
  evict(block: EntryBlock): boolean {
    if (this.#blocks[this.#head] !== block) return false
    this.#blocks[this.#head++] = undefined as never
    // To move the blocks that are left costs as much as there are: once for so many that went.
    if (this.#head * 2 > this.#blocks.length) this.#letGo(this.#head)
    block.isGone = true
    return true
  }

  /** First number of the block that holds the offset. */
  blockOf(offset: number): number {
    return Math.floor((offset - this.shift) / BLOCK_ENTRIES)
  }

  /** Entries before the offset are no more. */
  trimTo(offset: number): void {
    if (offset <= this.min) return
    this.min = offset
    this.markDirty()
  }

  /** Forgets every entry; the next one gets the offset `next`. */
  reset(next: number): void {
    this.#letGo(this.#head)
    for (const block of this.#blocks) block.isGone = true
    this.#letGo(this.#blocks.length)
    this.#loaded = undefined
    this.min = next
    this.next = next
    this.lastPosition = -1
    this.notePosition = -1
    this.shift = 0
    this.markDirty()
  }

  /** The entry at offset `from` turns out to have the offset `to`. */
  renumber(from: number, to: number): void {
    const by = to - from
    this.shift += by
    this.min += by
    this.next += by
    this.markDirty()
  }

  #letGo(blocks: number): void {
    this.#blocks = this.#blocks.slice(blocks)
    this.#head = 0
  }

  /** Entries that the block must have, lost ones before `min` included. */
  #countOf(block: number): number {
    return Math.min(BLOCK_ENTRIES, this.next - this.shift - block * BLOCK_ENTRIES)
  }

  #tail(): EntryBlock {
    const tail = this.#blocks.at(-1)
    if (tail !== undefined && tail.count < BLOCK_ENTRIES) return tail
    const index = this.next - this.shift
    const number = Math.floor(index / BLOCK_ENTRIES)
    const slot = index % BLOCK_ENTRIES
    const bytes = this.#store.room()
    const block = new EntryBlock(this, number, bytes, slot)
    // With nothing before it in the block there is nothing to load.
    if (slot > 0 && this.min < this.next) this.#fill(block)
    this.#blocks.push(block)
    this.#store.opened(block)
    return block
  }

  #fill(block: EntryBlock): void {
    try {
      this.#store.load(this, block.number, block.count).copy(block.bytes)
    } catch (error) {
      this.#store.damaged(error)
    }
  }
}

const entryAt = (slot: number): number => SEAL_BYTES + slot * ENTRY_BYTES

export const entryPosition = (block: Buffer, slot: number): number => getU64(block, entryAt(slot))
export const entrySize = (block: Buffer, slot: number): number => getU32(block, entryAt(slot) + 8)
/** The same of a view of the block: for one entry after the other. */
export const positionIn = (block: DataView, slot: number): number =>
  block.getUint32(entryAt(slot)) * 2 ** 32 + block.getUint32(entryAt(slot) + 4)
export const sizeIn = (block: DataView, slot: number): number => block.getUint32(entryAt(slot) + 8)
export const entryTagHash = (block: Buffer, slot: number): number =>
  getI32(block, entryAt(slot) + 12)
export const entryCheck = (block: Buffer, slot: number): number => getI32(block, entryAt(slot) + 16)
