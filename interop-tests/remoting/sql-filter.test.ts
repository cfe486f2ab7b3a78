// Conditions by SQL92 made at random, over properties made at random, asked of the filter of Apache RocketMQ 5.5.0 (its
// jar) and of ours: both select the same messages, and refuse the same conditions. `TRIVET_SQL_SEED` makes the same
// ones again, `TRIVET_SQL_CASES` so many.
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { isTrueOf } from '../../test/support/condition.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const testJava = needing("the filter of Apache's broker", await javaClientMissing())

const CASES = Number(process.env['TRIVET_SQL_CASES'] ?? 20_000)
const SEED = Number(process.env['TRIVET_SQL_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
/** Lines of input that a scenario takes at once. */
const BATCH = 5_000

interface Case {
  readonly expression: string
  readonly properties: Readonly<Record<string, string>>
}

/** Of a condition, in order. */
type Tokens = readonly string[]

const NAMES = ['a', 'b', 'c', 'missing', '_x', '$y', 'TAGS'] as const
const INTEGERS = ['0', '1', '5', '7', '2147483647', '2147483648', '9223372036854775807'] as const
const DOUBLES = ['.5', '5.', '5.5', '7.25', '1e3', '1E-3', '2.5e+2', '1e308', '1e309'] as const
const TEXTS = ['', 'a', 'abc', 'xabx', 'true', 'TRUE', 'false', 'null', '5', '7', ' 7'] as const
const NUMBERS_AS_TEXT = [
  '5.5',
  '5.50',
  '+7',
  '-0',
  '0.0',
  '007',
  '1e3',
  'NaN',
  '-Infinity',
  '5d',
] as const

const oneOf = (...words: readonly string[]): fc.Arbitrary<Tokens> =>
  fc.constantFrom(...words.flatMap((word) => [[word], [word.toLowerCase()]]))

const anyText = fc.oneof(
  fc.constantFrom<string>(...TEXTS, ...NUMBERS_AS_TEXT),
  fc.string({ unit: 'grapheme', maxLength: 4 }),
)
const text = anyText.map((value): Tokens => [`'${value.replaceAll("'", "''")}'`])
const integer = fc.oneof(fc.constantFrom<string>(...INTEGERS), fc.nat().map(String))
const number = fc.oneof(
  integer.map((digits): Tokens => [digits]),
  // `0L` is no number there: what is behind the zero is ignored.
  integer.map((digits): Tokens => [digits === '0' ? digits : `${digits}L`]),
  fc.constantFrom(...DOUBLES).map((digits): Tokens => [digits]),
)
const name = fc.constantFrom(...NAMES).map((word): Tokens => [word])

/** Where little else is taken. */
const property = fc.oneof({ weight: 12, arbitrary: name }, { weight: 1, arbitrary: number })

/** Tokens of the parts, one behind the other. */
const sequence = (...parts: readonly fc.Arbitrary<Tokens>[]): fc.Arbitrary<Tokens> =>
  fc.tuple(...parts).map((all) => all.flat())

const is = (...words: Tokens): fc.Arbitrary<Tokens> => fc.constant(words)
const maybeNot = fc.oneof(is(), oneOf('NOT'))
const listed = (part: fc.Arbitrary<Tokens>): fc.Arbitrary<Tokens> =>
  fc
    .array(part, { minLength: 1, maxLength: 4 })
    .map((all) => all.flatMap((one, i) => (i === 0 ? one : [',', ...one])))

const conditions = fc.letrec<Record<'value' | 'predicate' | 'condition', Tokens>>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    { weight: 12, arbitrary: name },
    { weight: 4, arbitrary: number },
    { weight: 2, arbitrary: text },
    { weight: 1, arbitrary: oneOf('TRUE', 'FALSE', 'NULL') },
    { weight: 1, arbitrary: sequence(is('-'), fc.oneof(number, name)) },
    { weight: 1, arbitrary: sequence(is('+'), fc.oneof(number, name)) },
    { weight: 1, arbitrary: sequence(is('('), tie('condition'), is(')')) },
  ),
  predicate: fc.oneof(
    { depthSize: 'small' },
    sequence(tie('value'), oneOf('=', '<>', '<', '<=', '>', '>='), tie('value')),
    sequence(tie('value'), oneOf('IS'), maybeNot, oneOf('NULL')),
    sequence(tie('value'), maybeNot, oneOf('BETWEEN'), tie('value'), oneOf('AND'), tie('value')),
    sequence(property, maybeNot, oneOf('IN'), is('('), listed(text), is(')')),
    sequence(property, maybeNot, oneOf('CONTAINS', 'STARTSWITH', 'ENDSWITH'), text),
    oneOf('TRUE', 'FALSE'),
    name,
  ),
  condition: fc.oneof(
    { depthSize: 'small' },
    tie('predicate'),
    sequence(tie('condition'), oneOf('AND', 'OR'), tie('condition')),
    sequence(oneOf('NOT'), is('('), tie('condition'), is(')')),
    sequence(oneOf('NOT'), name),
  ),
}))

/** One token lacks, or there is one more. */
const broken = fc
  .tuple(
    conditions.condition,
    fc.nat(),
    fc.oneof(is(), name, number, text, oneOf('AND', 'IN', ')')),
  )
  .map(([tokens, place, added]): Tokens => {
    const at = place % (tokens.length + 1)
    return [...tokens.slice(0, at), ...added, ...tokens.slice(added.length === 0 ? at + 1 : at)]
  })

const cases: fc.Arbitrary<Case> = fc
  .tuple(
    fc.oneof({ weight: 6, arbitrary: conditions.condition }, { weight: 1, arbitrary: broken }),
    fc.constantFrom(' ', ' ', '  ', '\t', ' /* why */ '),
    fc.dictionary(fc.constantFrom('a', 'b', 'c', '_x', '$y', 'TAGS'), fc.oneof(anyText, integer)),
  )
  .map(([tokens, blank, properties]) => ({ expression: tokens.join(blank), properties }))

/** 'true', or what is not; 'rest': refused for what follows a complete condition. */
function ours({ expression, properties }: Case): string {
  try {
    return String(isTrueOf(expression, properties))
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return error.message.endsWith('expected AND, OR or the end') ? 'rest' : 'refused'
  }
}

testJava('conditions at random select what they select by the filter of Apache', async (t) => {
  t.timeout(300_000)
  t.log(`TRIVET_SQL_SEED=${SEED}`)
  const all = fc.sample(cases, { seed: SEED, numRuns: CASES })
  const different: string[] = []
  const answers = { true: 0, false: 0, refused: 0 }
  for (let from = 0; from < all.length; from += BATCH) {
    const some = all.slice(from, from + BATCH)
    const lines = some.map(({ expression, properties }) => JSON.stringify([expression, properties]))
    const filter = await java(t, 'filter', { cases: lines })
    await filter.ends()
    t.is(filter.of('case').length, some.length, JSON.stringify(filter.of('failed')))
    for (const [i, { answer }] of filter.of('case').entries()) {
      const own = ours(some[i]!)
      // Apache's parser stops there, and takes what it has read.
      if (own === 'rest') continue
      // Unknown, and values that cannot be compared, select nothing either.
      const theirs = answer === 'true' || answer === 'refused' ? answer : 'false'
      answers[theirs]++
      if (own !== theirs) different.push(`${lines[i]}: Apache ${answer}, ours ${own}`)
    }
  }
  t.log(answers)
  t.true(Math.min(...Object.values(answers)) > CASES / 100, 'each answer is given often')
  t.deepEqual(different.slice(0, 20), [], `${different.length} differ; TRIVET_SQL_SEED=${SEED}`)
})
