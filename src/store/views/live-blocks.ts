// Blocks of light queues that only live readers are bound to: in memory, bounded in all, oldest
// first out.
import { BlockCache } from './block-cache.ts'
import { BLOCK_ENTRIES, type BlockStore, type EntryBlock } from './consume-queue.ts'
import { ViewsDamaged } from './pairs/sealed.ts'

/** 20 MiB, half a million to a million entries: a live reader further behind loses its oldest. */
const LIVE_BLOCKS_MAX = 32_768

export function liveBlocks(blocksMax = LIVE_BLOCKS_MAX): BlockStore {
  const cache = new BlockCache(blocksMax, letGo)
  return {
    load(queue, block) {
      throw new ViewsDamaged(`block ${block} of the live light queue ${queue.topic} is gone`)
    },
    room: () => cache.room(),
    opened: (block) => cache.add(block),
    changed(queue) {
      queue.isDirty = false
    },
    damaged() {},
  }
}

/** The entries go with their block. */
function letGo(block: EntryBlock): boolean {
  const { queue, number } = block
  if (!queue.evict(block)) return false
  queue.trimTo(Math.min(queue.next, (number + 1) * BLOCK_ENTRIES + queue.shift))
  return true
}
