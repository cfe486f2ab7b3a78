import test from 'ava'
import fc from 'fast-check'
import { FilterCounts } from '../../../src/gateway/mqtt/filter-counts.ts'
import { TopicTree } from '../../../src/gateway/mqtt/topic-tree.ts'
import { filterMatches } from '../../../src/model/topic-filter.ts'

const name = fc
  .array(fc.constantFrom('a', 'b', '$c', ''), { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((topic) => topic !== '')
const filter = fc
  .tuple(
    fc.array(fc.constantFrom('a', 'b', '$c', '', '+'), { minLength: 1, maxLength: 4 }),
    fc.boolean(),
  )
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))
  .filter((text) => text !== '')

test('a tree of names and a filter agree with the filter alone, also after names went', (t) => {
  fc.assert(
    fc.property(fc.array(name), fc.array(fc.nat()), filter, (names, gone, text) => {
      const tree = new TopicTree()
      const kept = new Set(names)
      for (const one of names) tree.add(one)
      for (const i of gone) {
        const one = names[i % Math.max(1, names.length)]
        if (one === undefined) continue
        tree.delete(one)
        kept.delete(one)
      }
      tree.delete('never/there')
      const found: string[] = []
      tree.match(text, (one) => found.push(one))
      t.deepEqual(
        found.toSorted(),
        [...kept].filter((one) => filterMatches(text, one)).sort(),
        text,
      )
    }),
    { numRuns: 1_000 },
  )
})

test('a filter counts as long as somebody has it', (t) => {
  const counts = new FilterCounts()
  counts.add('a/+')
  counts.add('a/+')
  const two = counts.generation
  counts.remove('a/+')
  t.is(counts.generation, two, 'the set of filters is the same')
  t.true(counts.matches('a/x'))
  counts.remove('a/+')
  counts.remove('a/+')
  t.false(counts.matches('a/x'))
  t.not(counts.generation, two)
})
