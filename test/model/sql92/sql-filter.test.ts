import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { SQL_DEPTH_MAX } from '../../../src/model/sql92/expression.ts'
import { SQL_CHARS_MAX, SQL_OPERATIONS_MAX } from '../../../src/model/sql92/parser.ts'
import { parseSqlFilter } from '../../../src/model/sql92/sql-filter.ts'
import { ROOT } from '../../support/sources.ts'

const matches = (expression: string, properties: Record<string, string> = {}): boolean =>
  parseSqlFilter(expression).matches((name) => properties[name])

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

test('zero with a point is a number, though Apache refuses it', (t) => {
  t.true(matches('a >= 0.0', { a: '0' }))
})

test('a comment may end the expression', (t) => {
  t.true(matches('a > 5 -- only large ones', { a: '6' }))
})

test('the properties that a condition reads are known', (t) => {
  t.deepEqual([...parseSqlFilter("a > 5 AND (b = 'x' OR a < 1)").names], ['a', 'b'])
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
