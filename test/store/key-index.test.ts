import test from 'ava'
import { KeyIndex, keyHash } from '../../src/store/views/key-index.ts'
import { bucketKey } from '../../src/store/views/keys.ts'
import { SealedKeyValue, ViewsDamaged } from '../../src/store/views/sealed.ts'
import { MemoryPlace } from '../support/memory-key-value.ts'
import { Random } from '../support/random.ts'

const RUN = 65_536
const RECORD_BYTES = 200

async function stored(): Promise<SealedKeyValue> {
  const place = new MemoryPlace({ random: new Random(1) })
  return new SealedKeyValue((await place.open('1', true))!)
}

async function save(index: KeyIndex, kept: SealedKeyValue, logStart = 0): Promise<void> {
  const batch = kept.batch()
  index.save(batch, logStart)
  await batch.write(false)
  index.saved()
}

const hashOf = (i: number): number => {
  const bytes = Buffer.from(`key ${i % 1000}`)
  return keyHash(bytes, 0, bytes.length, 7)
}

const fill = (index: KeyIndex, count: number): void => {
  for (let i = 0; i < count; i++) index.add(hashOf(i), i * RECORD_BYTES)
}

/** Without the places to let others run. */
const positionsOf = (search: Iterable<number | undefined>): number[] =>
  [...search].filter((position) => position !== undefined)

/** Positions of key `k`, newest first. */
const expected = (k: number, count: number, from = 0): number[] =>
  Array.from({ length: count }, (_, i) => i)
    .filter((i) => i % 1000 === k && i >= from)
    .map((i) => i * RECORD_BYTES)
    .reverse()

test('every position of a key is found, newest first, in memory, under way and stored', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  const count = 2 * RUN + 1000
  fill(index, count)
  for (const k of [0, 7, 999])
    t.deepEqual(positionsOf(index.candidates(hashOf(k))), expected(k, count))
  const batch = kept.batch()
  index.save(batch, 0)
  t.deepEqual(positionsOf(index.candidates(hashOf(7))), expected(7, count))
  await batch.write(false)
  index.saved()
  t.deepEqual(positionsOf(index.candidates(hashOf(7))), expected(7, count))
  t.deepEqual(positionsOf(index.candidates(12_345)), [])
  const again = new KeyIndex(kept)
  await again.load()
  t.deepEqual(positionsOf(again.candidates(hashOf(7))), expected(7, 2 * RUN))
  t.true(again.tally.equals(index.tally.state))
})

test('what the stored runs lack is said, so that replay can bring it', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  t.is(index.keptTo(500), 500)
  fill(index, RUN + 10)
  t.is(index.keptTo((RUN + 10) * RECORD_BYTES), RUN * RECORD_BYTES)
  await save(index, kept)
})

test('a run covers a bounded stretch of the log', async (t) => {
  const index = new KeyIndex(await stored())
  const far = 65 * 1024 * 1024
  index.add(1, 0)
  index.add(1, far)
  t.is(index.keptTo(far + 1), far)
  t.deepEqual(positionsOf(index.candidates(1)), [far, 0])
})

test('runs that the log has no more are forgotten', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, 2 * RUN + 1)
  await save(index, kept)
  await save(index, kept, RUN * RECORD_BYTES)
  t.deepEqual(positionsOf(index.candidates(hashOf(7))), expected(7, 2 * RUN, RUN))
  t.is(kept.get(bucketKey(0, 0)), undefined)
})

test('a missing bucket is damage, not an empty answer', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, RUN + 1)
  await save(index, kept)
  await kept.clear(bucketKey(0, 0), bucketKey(0, 255))
  t.throws(() => positionsOf(index.candidates(hashOf(7))), { instanceOf: ViewsDamaged })
})

test('a search brings each position once, though runs move to the views during it', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, RUN)
  const search = index.candidates(hashOf(7))
  const found = [search.next().value]
  for (let i = RUN; i <= RUN + 1000; i++) index.add(hashOf(i), i * RECORD_BYTES)
  await save(index, kept)
  t.deepEqual([...found, ...positionsOf(search)], expected(7, RUN))
})

test('a search that retention overtakes goes on with what is left, and calls nothing damaged', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  fill(index, 3 * RUN + 10)
  await save(index, kept)
  const search = index.candidates(hashOf(7))
  const found = [search.next().value]
  await save(index, kept, 2 * RUN * RECORD_BYTES)
  t.deepEqual([...found, ...positionsOf(search)], expected(7, 3 * RUN + 10, 2 * RUN))
})

test('a search over many runs lets others run after each', async (t) => {
  const kept = await stored()
  const index = new KeyIndex(kept)
  for (let run = 0; run < 5; run++) index.add(1, run * 65 * 1024 * 1024)
  await save(index, kept)
  const steps = [...index.candidates(2)]
  t.deepEqual(steps, Array(4).fill(undefined))
})
