import test from 'ava'
import fc from 'fast-check'
import { SortedPairs } from '../../src/store/views/sorted-pairs.ts'

const few = fc.nat(40)
const step = fc.oneof(
  fc.record({ does: fc.constant('add' as const), first: few, second: fc.nat(60) }),
  fc.record({ does: fc.constant('delete' as const), first: few, second: fc.nat(60) }),
  fc.record({ does: fc.constant('cut' as const), first: few, second: fc.constant(0) }),
)

const listOf = (pairs: SortedPairs): [number, number][] => {
  const list: [number, number][] = []
  pairs.every((first, second) => {
    list.push([first, second])
    return true
  })
  return list
}

test('pairs stay sorted and single, whatever is added, deleted and cut', (t) => {
  const steps = fc.array(fc.record({ times: fc.constant(0), step }), {
    maxLength: 2000,
    size: 'max',
  })
  fc.assert(
    fc.property(steps, (all) => {
      const pairs = new SortedPairs()
      let model: [number, number][] = []
      for (const { step: one } of all) {
        const { does, first, second } = one
        const isThere = model.some(([a, b]) => a === first && b === second)
        if (does === 'add') {
          t.is(pairs.add(first, second), !isThere)
          if (!isThere) model.push([first, second])
        } else if (does === 'delete') {
          t.is(pairs.delete(first, second), isThere)
          model = model.filter(([a, b]) => a !== first || b !== second)
        } else if (first > 30) {
          pairs.cutFrom(first)
          model = model.filter(([a]) => a < first)
        }
      }
      model.sort(([a, b], [c, d]) => a - c || b - d)
      t.deepEqual(listOf(pairs), model)
      t.is(pairs.size, model.length)
      t.is(pairs.min, model[0]?.[0])
      for (const [a, b] of model) t.true(pairs.has(a, b))
    }),
    { numRuns: 25 },
  )
})

test('more pairs than a chunk holds, in order, in reverse and at random', (t) => {
  const count = 5000
  const orders = [(i: number) => i, (i: number) => count - i, (i: number) => (i * 7919) % 5003]
  for (const order of orders) {
    const pairs = new SortedPairs()
    for (let i = 0; i < count; i++) pairs.add(order(i), i)
    const list = listOf(pairs)
    t.is(list.length, count)
    for (let i = 1; i < count; i++) t.true(list[i - 1]![0] <= list[i]![0])
  }
})

test('pairs that come after all others are taken over as they are', (t) => {
  const pairs = new SortedPairs()
  const later = new SortedPairs()
  for (let i = 0; i < 1000; i++) pairs.add(i, 0)
  for (let i = 0; i < 1000; i++) later.add(1000 + i, 0)
  pairs.append(new SortedPairs())
  pairs.append(later)
  pairs.add(999, 1)
  t.is(pairs.size, 2001)
  t.deepEqual(
    listOf(pairs).map(([first]) => first),
    [
      ...Array.from({ length: 1000 }, (_, i) => i),
      999,
      ...Array.from({ length: 1000 }, (_, i) => 1000 + i),
    ],
  )
})
