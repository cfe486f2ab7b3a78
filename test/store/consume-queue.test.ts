import test from 'ava'
import fc from 'fast-check'
import { BlockCache } from '../../src/store/views/block-cache.ts'
import {
  BLOCK_ENTRIES,
  type BlockStore,
  ConsumeQueue,
  ENTRY_BYTES,
  type EntryBlock,
  entryCheck,
  entrySize,
  entryTagHash,
} from '../../src/store/views/consume-queue.ts'
import { liveBlocks } from '../../src/store/views/live-blocks.ts'
import { SEAL_BYTES, ViewsDamaged } from '../../src/store/views/sealed.ts'

/** Keeps saved blocks in a Map, and a few more in memory. */
class MapStore implements BlockStore {
  readonly saved = new Map<number, Buffer>()
  readonly errors: unknown[] = []
  readonly #cache: BlockCache

  constructor(blocksMax = 2) {
    this.#cache = new BlockCache(blocksMax, (block) => !block.isDirty && block.queue.evict(block))
  }

  load(_queue: ConsumeQueue, block: number, count: number): Buffer {
    const value = this.saved.get(block)
    if (value?.length !== SEAL_BYTES + count * ENTRY_BYTES) throw new ViewsDamaged(`block ${block}`)
    return Buffer.from(value)
  }
  room(): Buffer {
    return this.#cache.room()
  }
  opened(block: EntryBlock): void {
    this.#cache.add(block)
  }
  changed(): void {}
  damaged(error: unknown): void {
    this.errors.push(error)
  }

  save(queue: ConsumeQueue): void {
    for (const block of queue.dirtyBlocks()) {
      const bytes = block.bytes.subarray(0, SEAL_BYTES + block.count * ENTRY_BYTES)
      this.saved.set(block.number, Buffer.from(bytes))
      block.isDirty = false
    }
    queue.isDirty = false
    this.#cache.trim()
  }
}

const check = (i: number): number => (i * 2_654_435_761) | 0

test('entries are what was appended, in memory, saved and let go', (t) => {
  const runs = fc.array(fc.nat(100), { minLength: 1, maxLength: 20 })
  const inMemory = fc.integer({ min: 1, max: 12 })
  fc.assert(
    fc.property(runs, fc.nat(1000), inMemory, (counts, start, blocksMax) => {
      const store = new MapStore(blocksMax)
      const queue = new ConsumeQueue('T', 0, 1, store)
      queue.reset(start)
      for (const count of counts) {
        for (let i = 0; i < count; i++) {
          const offset = queue.next
          queue.append(offset * 1000, offset + 1, -offset, check(offset))
        }
        store.save(queue)
      }
      for (let offset = start; offset < queue.next; offset++) {
        const block = queue.block(queue.blockOf(offset))
        const slot = offset % BLOCK_ENTRIES
        t.is(queue.positionOf(offset), offset * 1000)
        t.is(entrySize(block, slot), offset + 1)
        t.is(entryTagHash(block, slot), -offset | 0)
        t.is(entryCheck(block, slot), check(offset))
        t.is(queue.offsetAt(offset * 1000), offset)
        t.is(queue.offsetAt(offset * 1000 - 1), offset)
      }
      t.is(queue.offsetAt(queue.next * 1000), queue.next)
      t.deepEqual(store.errors, [])
    }),
    { numRuns: 50 },
  )
})

test('a renumbered queue holds the same entries under other offsets', (t) => {
  const queue = new ConsumeQueue('T', 0, 1, new MapStore())
  for (let i = 0; i < 50; i++) queue.append(i * 10, 1, 0, 0)
  queue.renumber(50, 1050)
  t.is(queue.min, 1000)
  t.is(queue.next, 1050)
  t.is(queue.positionOf(1007), 70)
  queue.append(500, 1, 0, 0)
  t.is(queue.positionOf(1050), 500)
})

test('a block that shrank or vanished is damage', (t) => {
  const store = new MapStore()
  const queue = new ConsumeQueue('T', 0, 1, store)
  for (let i = 0; i < 200; i++) queue.append(i, 1, 0, 0)
  store.save(queue)
  store.saved.set(0, store.saved.get(0)!.subarray(0, SEAL_BYTES + 31 * ENTRY_BYTES))
  store.saved.delete(1)
  t.throws(() => queue.positionOf(3), { instanceOf: ViewsDamaged })
  t.throws(() => queue.positionOf(40), { instanceOf: ViewsDamaged })
  t.is(queue.positionOf(70), 70)
})

test('a live queue keeps a bounded number of entries, the newest', (t) => {
  const queue = new ConsumeQueue('T', 0, 0, liveBlocks(4))
  for (let i = 0; i < 1000; i++) queue.append(i, 1, 0, 0)
  t.is(queue.next, 1000)
  t.true(queue.min > 800)
  for (let offset = queue.min; offset < 1000; offset++) t.is(queue.positionOf(offset), offset)
})

test('live queues share the bound: a quiet one loses to one that is not', (t) => {
  const store = liveBlocks(4)
  const quiet = new ConsumeQueue('quiet', 0, 0, store)
  const busy = new ConsumeQueue('busy', 0, 0, store)
  quiet.append(1, 1, 0, 0)
  for (let i = 0; i < 1000; i++) busy.append(i, 1, 0, 0)
  t.is(quiet.min, 1)
  quiet.append(2, 1, 0, 0)
  t.is(quiet.positionOf(1), 2)
})
