// One queue's entries: where each record stands, in aligned blocks of 32 so that a block is one value of
// the views. Knows offsets and positions; reads no records. An entry is
//
//   0 u64 position   8 u32 size   12 i32 tagHash   16 i32 check (record-scan.ts)
//
// A light queue is the same thing with offsets of its own.
import { getI32, getU32, getU64, putU32, putU64 } from '../model/bytes.ts'

export const ENTRY_BYTES = 20
export const BLOCK_ENTRIES = 32
/** Room for the value's checksum before the entries. */
export const BLOCK_HEAD_BYTES = 4
export const BLOCK_BYTES = BLOCK_HEAD_BYTES + BLOCK_ENTRIES * ENTRY_BYTES

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

  constructor(queue: ConsumeQueue, number: number, bytes: Buffer, count: number) {
    this.queue = queue
    this.number = number
    this.bytes = bytes
    this.count = count
  }
}

/** Where blocks come from and who must know of them. */
export interface BlockStore {
  /** A block that is kept outside memory: head, then entries; undefined when none is. */
  load(queue: ConsumeQueue, block: number): Buffer | undefined
  /** A new block in memory. */
  opened(block: EntryBlock): void
  /** The queue has changed since the last batch. Called once until `isDirty` is cleared. */
  changed(queue: ConsumeQueue): void
}

export class ConsumeQueue {
  readonly topic: string
  readonly queueId: number
  /** Names the queue in the keys of its blocks. */
  readonly number: number
  /** First retained offset. */
  min = 0
  /** Next offset to be readable. */
  next = 0
  /** Next offset to be assigned: `next` and the appends under way. */
  assigned = 0
  /** Position of the newest entry, or of the note that speaks for it; -1 for none. */
  lastPosition = -1
  /** Offset minus place in the blocks: a light queue rebuilt from a late start learns its offsets last. */
  shift = 0
  isDirty = false
  /** Has new entries that the arrival listener was not told of. */
  isTouched = false
  readonly #store: BlockStore
  /** Neighbouring blocks in memory, the tail last. */
  readonly #blocks: EntryBlock[] = []

  constructor(topic: string, queueId: number, number: number, store: BlockStore) {
    this.topic = topic
    this.queueId = queueId
    this.number = number
    this.#store = store
  }

  append(position: number, size: number, tagHash: number, check: number): void {
    const block = this.#tail()
    const at = BLOCK_HEAD_BYTES + block.count * ENTRY_BYTES
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

  /** Entries of a block, head first, or undefined when none of it is kept. Valid until the next turn. */
  block(number: number): Buffer | undefined {
    const first = this.#blocks[0]
    if (first !== undefined && number >= first.number) {
      return this.#blocks[number - first.number]?.bytes
    }
    return this.#store.load(this, number)
  }

  /** Position of the entry at an offset within [min, next); undefined when its block is lost. */
  positionOf(offset: number): number | undefined {
    const index = offset - this.shift
    const block = this.block(Math.floor(index / BLOCK_ENTRIES))
    return block && entryPosition(block, index % BLOCK_ENTRIES)
  }

  /** Blocks with entries that no batch has taken, oldest first. */
  *dirtyBlocks(): Generator<EntryBlock> {
    let from = this.#blocks.length
    while (from > 0 && this.#blocks[from - 1]!.isDirty) from--
    for (; from < this.#blocks.length; from++) yield this.#blocks[from]!
  }

  /** Lets go of the oldest block in memory; it must be kept elsewhere or not be wanted. */
  evict(block: EntryBlock): void {
    if (this.#blocks[0] === block) this.#blocks.shift()
  }

  /** Forgets every entry; the next one gets the offset `next`. */
  reset(next: number): void {
    this.#blocks.length = 0
    this.min = next
    this.next = next
    this.lastPosition = -1
    this.shift = 0
    this.markDirty()
  }

  #tail(): EntryBlock {
    const tail = this.#blocks.at(-1)
    if (tail !== undefined && tail.count < BLOCK_ENTRIES) return tail
    const index = this.next - this.shift
    const number = Math.floor(index / BLOCK_ENTRIES)
    const slot = index % BLOCK_ENTRIES
    const bytes = Buffer.alloc(BLOCK_BYTES)
    if (slot > 0) this.#store.load(this, number)?.copy(bytes)
    const block = new EntryBlock(this, number, bytes, slot)
    this.#blocks.push(block)
    this.#store.opened(block)
    return block
  }
}

const entryAt = (slot: number): number => BLOCK_HEAD_BYTES + slot * ENTRY_BYTES

export const entryPosition = (block: Buffer, slot: number): number => getU64(block, entryAt(slot))
export const entrySize = (block: Buffer, slot: number): number => getU32(block, entryAt(slot) + 8)
export const entryTagHash = (block: Buffer, slot: number): number =>
  getI32(block, entryAt(slot) + 12)
export const entryCheck = (block: Buffer, slot: number): number => getI32(block, entryAt(slot) + 16)
