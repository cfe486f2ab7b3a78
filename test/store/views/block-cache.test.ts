import test from 'ava'
import { BlockCache } from '../../../src/store/views/block-cache.ts'
import { type ConsumeQueue, EntryBlock } from '../../../src/store/views/consume-queue.ts'

const QUEUE = {} as ConsumeQueue

test('a new block takes no more looks where thousands must stay', (t) => {
  let looks = 0
  const cache = new BlockCache(2, () => {
    looks++
    return false
  })
  for (let i = 0; i < 2000; i++) cache.add(new EntryBlock(QUEUE, i, cache.room(), 0))
  t.true(looks <= 4 * 2000, `${looks} looks`)
  t.is(cache.size, 2000)
})

test('once they may go, new blocks let more go than there are new ones', (t) => {
  let mayGo = false
  const cache = new BlockCache(2, () => mayGo)
  const add = (count: number): void => {
    for (let i = 0; i < count; i++) cache.add(new EntryBlock(QUEUE, i, cache.room(), 0))
  }
  add(100)
  mayGo = true
  add(50)
  t.is(cache.size, 2)
})
