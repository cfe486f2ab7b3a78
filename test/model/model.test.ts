import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { copyBytes, getI32, getU64, LastText, setU64, viewOf } from '../../src/model/bytes.ts'
import { FilterTrie } from '../../src/model/filter-trie.ts'
import { NO_HOST } from '../../src/model/host.ts'
import { selects as selectsRecord } from '../../src/model/message-filter.ts'
import { encodeProperties, findProperty, firstProperties } from '../../src/model/properties.ts'
import { checkRecord, RecordView, recordBytes, writeRecord } from '../../src/model/record.ts'
import {
  SQL_CHARS_MAX,
  SQL_CONTAINS_CHARS_MAX,
  SQL_OPERATIONS_MAX,
} from '../../src/model/sql92/condition-parser.ts'
import { SQL_DEPTH_MAX } from '../../src/model/sql92/expression.ts'
import { parseSelector, parseSqlFilter } from '../../src/model/sql92/sql-filter.ts'
import { NUMBER_CHARS_MAX } from '../../src/model/sql92/value.ts'
import { tagHash } from '../../src/model/tag-filter.ts'
import { isTrueOf, recordWith } from '../support/condition.ts'
import { ROOT } from '../support/sources/sources.ts'

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

test('a property is found as all are decoded, whatever came before', (t) => {
  const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  const value = fc.oneof(fc.constantFrom('eu', 'us', '\u00e9', 'e\u0301', '1', '12'), text)
  const entries = fc.array(fc.tuple(fc.constantFrom('a', 'ab', 'abc', 'b'), value), {
    maxLength: 6,
  })
  fc.assert(
    fc.property(entries, fc.nat(9), (all, before) => {
      const clean = all.map(
        ([name, one]) => [name, one.replaceAll('\u0001', '.').replaceAll('\u0002', '.')] as const,
      )
      const bytes = Buffer.concat([Buffer.alloc(before, 2), encodeProperties(clean)])
      const first = firstProperties(bytes, before, bytes.length)
      for (const name of ['a', 'ab', 'abc', 'b', 'c']) {
        t.is(findProperty(bytes, name, before, bytes.length), first.get(name))
      }
    }),
  )
})

test('bytes are copied to where they belong, few or many', (t) => {
  const source = Buffer.from(Array.from({ length: 300 }, (_, i) => i))
  for (const count of [0, 1, 96, 97, 250]) {
    const target = Buffer.alloc(300)
    t.is(copyBytes(target, 20, source, 30, 30 + count), 20 + count)
    t.deepEqual(target.subarray(20, 20 + count), source.subarray(30, 30 + count))
    t.true(target.subarray(20 + count).every((byte) => byte === 0))
  }
})

test('the text of a name is its own, whatever the last one was', (t) => {
  const last = new LastText()
  const bytes = Buffer.from('orders|orderz|orders\xff|', 'latin1')
  const names = [
    [0, 6],
    [0, 6],
    [7, 13],
    [0, 5],
    [7, 13],
    [14, 21],
    [0, 0],
    [0, 6],
  ] as const
  for (const [from, to] of names) t.is(last.textOf(bytes, from, to), bytes.latin1Slice(from, to))
})

// The vector was computed from Apache RocketMQ's MessageDecoder layout.
const VECTOR =
  '0000006bdaa320a73610a686000000000000000000000000000000000000000000000000000000000000018bcfe56800' +
  '7f0000010000c3500000018bcfe568017f00000100002a9f0000000000000000000000000000000568656c6c6f0154' +
  '000a54414753015461674102'

const draft = {
  topic: 'T',
  queueId: 0,
  flag: 0,
  sysFlag: 0,
  bornTimestamp: 1_700_000_000_000,
  bornHost: { ip: 0x7f000001, port: 50_000 },
  reconsumeTimes: 0,
  preparedPosition: 0,
  body: Buffer.from('hello'),
  properties: encodeProperties([['TAGS', 'TagA']]),
}

test('a record is encoded byte for byte as RocketMQ does', (t) => {
  const target = Buffer.alloc(200)
  const size = writeRecord(target, 0, draft, {
    queueOffset: 0,
    position: 0,
    storeTimestamp: 1_700_000_000_001,
    storeHost: { ip: 0x7f000001, port: 10_911 },
  })
  t.is(target.toString('hex', 0, size), VECTOR)
})

test('a view reads every field of a record', (t) => {
  const bytes = Buffer.from(VECTOR, 'hex')
  t.is(checkRecord(bytes, 0, bytes.length, true), bytes.length)
  const view = new RecordView(bytes)
  t.is(view.topic, 'T')
  t.is(view.body.toString(), 'hello')
  t.is(view.property('TAGS'), 'TagA')
  t.is(view.property('KEYS'), undefined)
  t.is(view.bornTimestamp, 1_700_000_000_000)
  t.deepEqual(view.storeHost, { ip: 0x7f000001, port: 10_911 })
})

test('a copy of a record is what its message makes under the other topic', (t) => {
  const place = { queueOffset: 7, position: 9, storeTimestamp: 3, storeHost: NO_HOST }
  const topics = ['U', 'u'.repeat(300)]
  for (const topic of topics) {
    for (const body of ['', 'x', 'y'.repeat(500)]) {
      const bytes = Buffer.alloc(2000, 1)
      const other = { ...draft, body: Buffer.from(body), flag: 5, reconsumeTimes: 2 }
      writeRecord(bytes, 20, other, place)
      const { propertiesStart, propertiesEnd } = new RecordView(bytes, 20)
      const changed = { topic, queueId: 3, sysFlag: 8, preparedPosition: 77 }
      const properties = { propertiesStart, propertiesEnd: propertiesEnd - 1 }
      const copy = { ...changed, copied: bytes, start: 20, ...properties }
      const expected = { ...other, ...changed, properties: draft.properties.subarray(0, -1) }
      const [target, wanted] = [Buffer.alloc(2000), Buffer.alloc(2000)]
      const size = writeRecord(target, 10, copy, place)
      t.is(size, writeRecord(wanted, 10, expected, place))
      t.is(size, recordBytes(copy))
      t.deepEqual(target, wanted)
    }
  }
})

test("tag hashes are Java's", (t) => {
  t.is(tagHash('TagA'), 2_598_919)
  t.is(tagHash('中文'), 646_394)
  t.is(tagHash('tag_long_enough_to_overflow_int32'), -1_164_258_364)
})

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

const matches = (expression: string, properties: Record<string, string> = {}): boolean =>
  isTrueOf(expression, properties)

const refused = { code: 'FILTER_INVALID' }

test("every expression matches, or is refused, as by the filter of Apache's broker", (t) => {
  const text = readFileSync(join(ROOT, 'test/model/sql92/apache-filters.tsv'), 'utf8')
  const cases = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  t.true(cases.length > 400)
  for (const line of cases) {
    const [answer, expression, ...pairs] = line.split('\t')
    const properties = Object.fromEntries(
      pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
    )
    if (answer === 'refused') t.throws(() => matches(expression!, properties), refused, line)
    else t.is(matches(expression!, properties), answer === 'true', line)
  }
})

for (const [expression, reason] of [
  ["a LIKE 'x%'", /has "LIKE" at character 3; expected AND, OR or the end/],
  ['a > 5)', /has "\)" at character 6/],
  ['a > 5 b = 3', /has "b" at character 7/],
  ['a + 1 > 5', /has "\+" at character 3/],
  ['a = 007', /has "07" at character 6|has "0" at character 6/],
] as const) {
  test(`${expression} is refused, though Apache's broker ignores what follows`, (t) => {
    t.throws(() => parseSqlFilter(expression), { ...refused, message: reason })
  })
}

for (const [expression, reason] of [
  ['', /ends at character 1; expected a value/],
  ['a >', /ends at character 4; expected a value/],
  ['a # 5', /has "#" at character 3, which begins no name, number, text or operator/],
  ["a = 'x", /has "'" at character 5/],
  ['a IN (1)', /has "1" at character 7; expected text in single quotes/],
  ['a = NULL', /write IS NULL or IS NOT NULL/],
  ['a BETWEEN 5 AND 1', /the first value must be at most the second/],
  ['a = 99999999999999999999', /more than 64 bits/],
  ['a = 1e999', /too large/],
] as const) {
  test(`'${expression}' is refused with what is wrong and where`, (t) => {
    t.throws(() => parseSqlFilter(expression), { ...refused, message: reason })
  })
}

test('zero with a point or an L is a number, though not to Apache', (t) => {
  t.true(matches('a >= 0.0', { a: '0' }))
  t.true(matches('a = 0L AND b = 1', { a: '0', b: '1' }))
})

test("few digits are compared as any number of the literal's type is", (t) => {
  t.false(matches('a = -0.0', { a: '0' }))
  t.true(matches('a > -0.0', { a: '0' }))
  t.true(matches('a = 0', { a: '000' }))
  // No int: neither above nor below.
  t.false(matches('a > 5', { a: '2147483648' }))
  t.false(matches('a <= 5', { a: '2147483648' }))
  t.true(matches('a > 5', { a: '2147483647' }))
  t.true(matches('a > 5000000000', { a: '5000000001' }))
})

test('a comment may end the expression', (t) => {
  t.true(matches('a > 5 -- only large ones', { a: '6' }))
})

test('an expression of the most characters is taken, and one more refused', (t) => {
  const padded = (length: number): string => `a > 5${' '.repeat(length - 5)}`
  t.true(matches(padded(SQL_CHARS_MAX), { a: '6' }))
  t.throws(() => parseSqlFilter(padded(SQL_CHARS_MAX + 1)), refused)
})

test('a long chain is one level, and its operations have a limit', (t) => {
  const chain = (count: number): string => Array(count).fill('a = 1').join(' OR ')
  t.false(matches(chain(SQL_OPERATIONS_MAX), { a: '2' }))
  t.throws(() => parseSqlFilter(chain(SQL_OPERATIONS_MAX + 1)), refused)
})

for (const bare of ['a', 'TRUE', 'NOT a']) {
  test(`a chain of '${bare}' counts too`, (t) => {
    const chain = (count: number): string => Array(count).fill(bare).join(' AND ')
    t.is(parseSqlFilter(chain(3)).operations, 3)
    t.notThrows(() => parseSqlFilter(chain(SQL_OPERATIONS_MAX)))
    t.throws(() => parseSqlFilter(chain(SQL_OPERATIONS_MAX + 1)), refused)
  })
}

test('what is nearly a number costs time linear in its length', (t) => {
  // The longest properties that a message has; with its square the test would take minutes.
  const nearly = `${'1'.repeat(32_000)}x`
  for (let i = 0; i < 100; i++) t.false(matches('a > 1.5', { a: nearly }))
})

test('a text to look for has a limit, and a long one counts as several operations', (t) => {
  const contains = (length: number): string => `a CONTAINS '${'x'.repeat(length)}'`
  t.true(matches(contains(SQL_CONTAINS_CHARS_MAX), { a: 'x'.repeat(SQL_CONTAINS_CHARS_MAX) }))
  t.throws(() => parseSqlFilter(contains(SQL_CONTAINS_CHARS_MAX + 1)), refused)
  t.true(parseSqlFilter(contains(80)).operations > parseSqlFilter(contains(1)).operations + 5)
})

test('a text that is longer than numbers are is no number', (t) => {
  const digits = (length: number): string => `${'0'.repeat(length - 1)}7`
  for (const expression of ['a > 5', 'a = 7.0']) {
    t.true(matches(expression, { a: digits(NUMBER_CHARS_MAX) }))
    t.false(matches(expression, { a: digits(NUMBER_CHARS_MAX + 1) }))
  }
})

test('of a name that a record has twice the first number counts', (t) => {
  const record = recordWith(Buffer.from('x\u00017\u0002a\u00011\u0002a\u00012\u0002'))
  t.true(selectsRecord(parseSqlFilter('a BETWEEN 1 AND 1 AND x > 6'), record))
  t.false(selectsRecord(parseSqlFilter('a > 1'), record))
})

test('what a condition found in one record is not taken for that of the next', (t) => {
  const condition = parseSqlFilter('a > 5 OR b = 7')
  for (const [properties, isTrue] of [
    ['a\u00016\u0002', true],
    ['b\u00018\u0002', false],
    ['a\u00015\u0002b\u00017\u0002', true],
    ['c\u00019\u0002', false],
  ] as const) {
    t.is(selectsRecord(condition, recordWith(Buffer.from(properties))), isTrue, properties)
  }
})

test('a condition looks for each name once, and decodes the properties once for many names', (t) => {
  const record = recordWith(Buffer.from('a\u00011\u0002b\u0001x\u0002a\u00012\u0002'))
  for (const more of ['', ' OR b = 5'.repeat(20)]) {
    t.true(selectsRecord(parseSqlFilter(`a = '1'${more}`), record))
    t.false(selectsRecord(parseSqlFilter(`a = '2'${more}`), record))
  }
  let looks = 0
  record.property = () => {
    looks++
    return undefined
  }
  const repeated = `a = '2'${" OR b = 'y' OR a = '3'".repeat(20)}`
  const many = Array.from({ length: 9 }, (_, i) => `c${i} = 'y'`).join(' OR ')
  for (const parse of [parseSqlFilter, parseSelector]) {
    looks = 0
    selectsRecord(parse(repeated), record)
    t.is(looks, 2)
    selectsRecord(parse(many), record)
    t.is(looks, 2)
  }
})

for (const [what, nested] of [
  ['parentheses', (depth: number) => `${'('.repeat(depth)}a${')'.repeat(depth)}`],
  ['NOT', (depth: number) => `${'NOT '.repeat(depth)}a`],
  ['signs', (depth: number) => `b < ${'- '.repeat(depth)}5`],
  ['comparisons of comparisons', (depth: number) => `a${' = a'.repeat(depth)}`],
] as const) {
  test(`${what} nested too deep are refused`, (t) => {
    t.notThrows(() => parseSqlFilter(nested(SQL_DEPTH_MAX / 4)))
    t.throws(() => parseSqlFilter(nested(SQL_DEPTH_MAX + 1)), refused)
  })
}
