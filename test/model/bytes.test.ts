import test from 'ava'
import fc from 'fast-check'
import { getI32, getU64, setU64, viewOf } from '../../src/model/bytes.ts'

test('a view reads the bytes that it was asked for, not those of the call before', (t) => {
  const all = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8])
  const [first, second] = [all.subarray(0, 4), all.subarray(4)]
  for (const bytes of [first, second, first, first]) {
    t.is(viewOf(bytes).getInt32(0), getI32(bytes, 0))
    t.is(viewOf(bytes).byteLength, 4)
  }
})

test('a 64-bit field written through a view is read as it was', (t) => {
  const bytes = Buffer.alloc(8)
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      setU64(viewOf(bytes), 0, value)
      t.is(getU64(bytes, 0), value)
    }),
  )
})
