import test from 'ava'
import fc from 'fast-check'
import { FilterTrie } from '../../src/model/filter-trie.ts'

/** Does the filter select the name? Level by level, as MQTT 5, 4.7 says it. */
function selects(filter: string, name: string): boolean {
  const [wanted, given] = [filter.split('/'), name.split('/')]
  if (name.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true
    if (i >= given.length || (level !== '+' && level !== given[i])) return false
  }
  return wanted.length === given.length
}

const level = fc.constantFrom('', 'a', 'b', 'ab', 'abc', '$', '+')
const filter = fc
  .tuple(fc.array(level, { minLength: 1, maxLength: 6 }), fc.boolean())
  .map(([levels, isRest]) => [...levels, ...(isRest ? ['#'] : [])].join('/'))
const anyFilter = fc.oneof({ weight: 20, arbitrary: filter }, fc.constant('#'))
const name = fc
  .array(fc.constantFrom('', 'a', 'b', 'ab', 'abc', '$', 'c'), { minLength: 1, maxLength: 7 })
  .map((levels) => levels.join('/'))
const step = fc.tuple(fc.constantFrom('add', 'add', 'delete'), anyFilter)

test('a trie finds each filter that selects a name, once, whatever came and went', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.array(name), (steps, names) => {
      const trie = new FilterTrie<string>()
      const kept = new Set<string>()
      for (const [does, one] of steps) {
        if (does === 'add') {
          trie.add(one, one)
          kept.add(one)
        } else t.is(trie.delete(one), kept.delete(one))
        t.is(trie.size, kept.size)
      }
      for (const [, one] of steps) t.is(trie.get(one), kept.has(one) ? one : undefined)
      for (const one of names) {
        const found: string[] = []
        trie.match(one, (value) => found.push(value))
        t.deepEqual(found.toSorted(), [...kept].filter((each) => selects(each, one)).toSorted())
      }
    }),
    { numRuns: 1000 },
  )
})

/** Nodes that are made during the call: each enters its parent's map. */
function nodesMade(during: () => void): number {
  let made = 0
  const { set } = Map.prototype
  Map.prototype.set = function (key, value): typeof this {
    made++
    return set.call(this, key, value)
  }
  try {
    during()
  } finally {
    Map.prototype.set = set
  }
  return made
}

test('a filter of 200 levels costs two nodes at most, and leaves none behind', (t) => {
  const trie = new FilterTrie<number>()
  const levels = Array.from({ length: 200 }, (_, i) => `l${i}`)
  const filters = levels.map((_, i) => levels.with(i, '+').join('/'))
  const addAll = (): void => {
    for (const [i, one] of filters.entries()) trie.add(one, i)
  }
  const made = nodesMade(addAll)
  t.true(made <= 4 * filters.length, `${made} entries`)
  let found = 0
  trie.match(levels.join('/'), () => found++)
  t.is(found, 200)
  for (const one of filters) t.true(trie.delete(one))
  t.is(nodesMade(addAll), made)
})
