import test from 'ava'
import { MemoryFull, MemoryKeyValue } from '../../src/store/views/memory-key-value.ts'

const bytes = (...values: number[]): Buffer => Buffer.from(values)

test('batches are taken whole, and pairs come in the order of their bytes', async (t) => {
  const store = new MemoryKeyValue(1e6)
  const batch = store.batch()
  for (const key of [200, 3, 127, 128]) batch.put(bytes(1, key), bytes(key))
  t.is(store.get(bytes(1, 3)), undefined)
  await batch.write(true)
  t.deepEqual(store.get(bytes(1, 3)), bytes(3))
  const scanned = await store.scan(bytes(1, 4), bytes(1, 255), 2)
  t.deepEqual(scanned, [
    [bytes(1, 127), bytes(127)],
    [bytes(1, 128), bytes(128)],
  ])
  await store.clear(bytes(1, 100), bytes(1, 200))
  t.deepEqual(
    (await store.scan(bytes(0), bytes(2), 10)).map(([key]) => key[1]),
    [3, 200],
  )
})

test('what is put is copied, and a later change of the same key holds', async (t) => {
  const store = new MemoryKeyValue(1e6)
  const value = bytes(1)
  const batch = store.batch()
  batch.put(bytes(5), value)
  value[0] = 2
  batch.delete(bytes(5))
  batch.put(bytes(5), bytes(7))
  await batch.write(false)
  t.deepEqual(store.get(bytes(5)), bytes(7))
})

test('more than its bytes are refused', async (t) => {
  const store = new MemoryKeyValue(1000)
  const batch = store.batch()
  batch.put(bytes(1), Buffer.alloc(1001))
  await t.throwsAsync(batch.write(true), { instanceOf: MemoryFull, message: /1000 bytes/ })
})
