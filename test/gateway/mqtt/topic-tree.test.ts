import test from 'ava'
import fc from 'fast-check'
import { TopicTree } from '../../../src/gateway/mqtt/publish/topic-tree.ts'
import { FilterCounts } from '../../../src/gateway/mqtt/session/filter-counts.ts'
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

/**
 * In the order of their levels, which is not that of the characters: '/' comes before all of them.
 */
const inOrder = (names: Iterable<string>): string[] =>
  [...names]
    .map((one) => one.split('/'))
    .sort((a, b) => {
      const at = a.findIndex((level, i) => level !== b[i])
      if (at === -1) return a.length - b.length
      return at < b.length && a[at]! < b[at]! ? -1 : 1
    })
    .map((levels) => levels.join('/'))

test('a tree of names and a filter agree with the filter alone, also after names went', (t) => {
  const some = fc.integer({ min: 1, max: 5 })
  fc.assert(
    fc.property(fc.array(name), fc.array(fc.nat()), filter, some, (names, gone, text, max) => {
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
      const expected = inOrder([...kept].filter((one) => filterMatches(text, one)))
      t.deepEqual(tree.match(text, undefined, Number.POSITIVE_INFINITY), expected, text)
      const found: string[] = []
      for (;;) {
        const more = tree.match(text, found.at(-1), max)
        if (more.length === 0) break
        t.true(more.length <= max)
        found.push(...more)
      }
      t.deepEqual(found, expected, `${text}, ${max} at a time`)
    }),
    { numRuns: 1_000 },
  )
})

test('names are gone on with behind one that went, and with those that came', (t) => {
  const tree = new TopicTree()
  for (const one of ['a', 'a/b', 'a/b/c', 'a/d', 'a!', 'b']) tree.add(one)
  tree.delete('a/b')
  tree.add('a/b/d')
  t.deepEqual(tree.match('#', 'a/b', 9), ['a/b/c', 'a/b/d', 'a/d', 'a!', 'b'])
  t.deepEqual(tree.match('a/+', 'a/b', 9), ['a/d'])
  t.deepEqual(tree.match('a/#', 'a/c', 9), ['a/d'])
  t.deepEqual(tree.match('a/b/c', 'a/b/c', 9), [])
})

test('a filter counts as long as a session has it', (t) => {
  const counts = new FilterCounts()
  counts.add('a/+')
  counts.add('a/+')
  const two = counts.generation
  counts.remove('a/+')
  t.is(counts.generation, two, 'the set of filters is the same')
  t.is(counts.matching('a/x'), 1)
  counts.remove('a/+')
  counts.remove('a/+')
  t.is(counts.matching('a/x'), 0)
  t.not(counts.generation, two)
})
