import test from 'ava'
import { type Chunk, Tail } from '../../src/store/log/tail.ts'

/** Takes the space as a frame does. */
function take(tail: Tail, position: number, size: number, syncedEnd: number): Chunk | undefined {
  const chunk = tail.chunkFor(position, size, syncedEnd)
  if (chunk !== undefined) chunk.used += size
  return chunk
}

test('a frame that is larger than a chunk gets one of its own size, and the next a usual one', (t) => {
  const tail = new Tail(100, 1000)
  const first = take(tail, 0, 60, 0)
  const large = take(tail, 60, 250, 0)
  const next = take(tail, 310, 10, 0)
  t.deepEqual(
    [first, large, next].map((chunk) => chunk!.bytes.length),
    [100, 250, 100],
  )
  t.is(tail.find(60, 250), large)
})

test('large chunks count by their size, and give way to others once they are synced', (t) => {
  const tail = new Tail(100, 400)
  t.truthy(take(tail, 0, 300, 0))
  t.truthy(take(tail, 300, 100, 0))
  t.is(take(tail, 400, 100, 299), undefined)
  t.truthy(take(tail, 400, 100, 300))
  t.is(tail.find(0, 1), undefined)
  t.truthy(tail.find(300, 100))
})

test('a frame that is larger than the whole tail is taken when all before it is synced', (t) => {
  const tail = new Tail(100, 300)
  t.truthy(take(tail, 0, 100, 0))
  t.is(take(tail, 100, 500, 99), undefined)
  t.is(take(tail, 100, 500, 100)?.bytes.length, 500)
  t.is(take(tail, 600, 100, 599), undefined)
})

test('chunks of the usual size are used again', (t) => {
  const tail = new Tail(100, 300)
  const [first] = [0, 100, 200].map((position) => take(tail, position, 100, 0))
  t.is(take(tail, 300, 100, 100)?.bytes, first!.bytes)
})
