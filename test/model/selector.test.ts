import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { selects } from '../../src/model/message-filter.ts'
import { encodeProperties, PROPERTY } from '../../src/model/properties.ts'
import { RecordView, recordBytes, writeRecord } from '../../src/model/record.ts'
import { parseSelector } from '../../src/model/sql92/sql-filter.ts'

const record = (properties: Record<string, string>): RecordView => {
  const draft = {
    ...{ topic: 'orders', queueId: 0, flag: 0, sysFlag: 0, reconsumeTimes: 0, preparedPosition: 0 },
    ...{ bornTimestamp: 1_700_000_000_000, bornHost: { ip: 0, port: 0 }, body: Buffer.alloc(0) },
    properties: encodeProperties(Object.entries(properties)),
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  const place = { queueOffset: 0, position: 0, storeTimestamp: 0, storeHost: { ip: 0, port: 0 } }
  writeRecord(bytes, 0, draft, place)
  return new RecordView(bytes)
}

const MESSAGE = record({
  n: '7',
  half: '7.5',
  big: '9007199254740993',
  text: 'abc',
  name: "it's",
  percent: '100%',
  yes: 'true',
  no: 'false',
  seven: '7.0',
  [PROPERTY.tags]: 'TagA',
  [PROPERTY.uniqueKey]: 'ID:1',
  [PROPERTY.correlationId]: 'c-1',
  [PROPERTY.orderingKey]: 'group-1',
})

const holds = (selector: string, message = MESSAGE): boolean =>
  selects(parseSelector(selector), message)

const TRUE = [
  'n = 7',
  'n <> 8',
  'n > 6.5 AND half > 7',
  'half = 7.5f AND n = 7L AND n = 0x7',
  'big = 9007199254740993',
  'n = seven',
  "text = 'abc' AND name = 'it''s'",
  'yes',
  'yes = TRUE AND no = FALSE AND no <> TRUE',
  'NOT no',
  'NOT n = 8',
  'NOT (n = 8 OR n = 9)',
  'n = 8 OR NOT n = 9 AND yes',
  'n BETWEEN 1 AND 7 AND n NOT BETWEEN 8 AND 9',
  'n NOT BETWEEN 9 AND 8',
  "text IN ('x', 'abc') AND text NOT IN ('x')",
  "text LIKE 'a%' AND text LIKE '_b_' AND text LIKE 'abc' AND text LIKE '%c' AND text LIKE '%b%'",
  "text NOT LIKE 'b%' AND text NOT LIKE '_' AND text NOT LIKE ''",
  "percent LIKE '100!%' ESCAPE '!'",
  "text LIKE 'a%%c' AND text LIKE '%'",
  'missing IS NULL AND n IS NOT NULL',
  'n + 1 = 8 AND n - 1 = 6 AND n * 2 = 14 AND n / 2 = 3 AND half / 2 = 3.75',
  'n + 2 * 3 = 13 AND (n + 2) * 3 = 27',
  '-n = -7 AND - -n = +7 AND 1 - -n = 8',
  'missing = 1 OR n = 7',
  'NOT (text > 1)',
  "JMSType = 'TagA' AND amqp.subject = 'TagA'",
  "JMSMessageID = 'ID:1' AND JMSCorrelationID = 'c-1' AND JMSXGroupID = 'group-1'",
  'JMSTimestamp = 1700000000000',
  "JMSDeliveryMode = 'PERSISTENT' AND JMSPriority = 4 AND amqp.durable AND amqp.priority < 5",
  "amqp.to = 'orders'",
  'TRUE',
] as const

/** False or unknown; NOT of an unknown is neither true. */
const UNTRUE = [
  'n = 8',
  'missing = 1',
  'NOT missing = 1',
  'missing <> 1',
  'missing',
  'NOT missing',
  'missing BETWEEN 1 AND 2',
  'NOT missing BETWEEN 1 AND 2',
  "missing LIKE '%'",
  "missing NOT LIKE '%'",
  "missing IN ('a')",
  "missing NOT IN ('a')",
  'missing = missing',
  'missing + 1 = 1',
  'text = 7',
  'text <> 7',
  'text = TRUE',
  'text <> TRUE',
  'text',
  'text > 1',
  'text + 1 = 1',
  'n = TRUE',
  'n / 0 = 1',
  'NOT n / 0 = 1',
  "text LIKE 'A%'",
  "text LIKE '____'",
  "percent LIKE '1%!%%x' ESCAPE '!'",
  'FALSE',
  "JMSType = 'other'",
] as const

const INVALID = [
  '',
  'n =',
  'n = 1 AND',
  '= 1',
  'n LIKE 1',
  "1 LIKE 'a'",
  "n LIKE 'a' ESCAPE 'ab'",
  "n LIKE 'a!' ESCAPE '!'",
  'n IN ()',
  'n IN (1)',
  '1 IS NULL',
  "n > 'a'",
  'n > TRUE',
  'n = NULL',
  'n + TRUE = 1',
  '(n = 1) = 2',
  '7',
  "'text'",
  'n NOT 1',
  'n = 1 n',
  'n # 1',
  'n = 99999999999999999999',
  `${'('.repeat(201)}n = 1${')'.repeat(201)}`,
  `${'NOT '.repeat(201)} yes`,
  `${'-'.repeat(1)}${' -'.repeat(201)} n = 1`,
  `n = ${'1 + '.repeat(1_025)}1`,
  `n LIKE '${'x'.repeat(513)}'`,
  `n LIKE '%${'_'.repeat(257)}%'`,
] as const

for (const selector of TRUE) test(`selected by: ${selector}`, (t) => t.true(holds(selector)))
for (const selector of UNTRUE) test(`not selected by: ${selector}`, (t) => t.false(holds(selector)))
for (const [i, selector] of INVALID.entries()) {
  test(`no selector, ${i}: ${selector.slice(0, 40)}`, (t) => {
    const error = t.throws(() => parseSelector(selector), { instanceOf: BrokerError })
    t.is(error?.code, 'FILTER_INVALID')
  })
}

const wire = (hex: string) =>
  record({ [PROPERTY.native]: Buffer.from(hex, 'hex').toString('base64') })

test("the header of AMQP's messages, in each of its encodings", (t) => {
  const mode = (hex: string) => holds("JMSDeliveryMode = 'PERSISTENT'", wire(hex))
  const nine = (hex: string) => holds('JMSPriority = 9', wire(hex))
  t.deepEqual(['a101', 'a10101000145'].map(mode), [false, false])
  const full = [
    'a101010006c00402415009',
    'a10101000dd00000000700000002415009',
    'a101010007c0050256015009',
  ]
  t.deepEqual([full.map(mode), full.map(nine)], [[true, true, true], [true, true, true]]) // biome-ignore format: pairs
  t.true(holds('JMSPriority = 4', wire('a101010004c0020141')))
  for (const broken of ['a1', 'a10101', 'a101010006c0', 'a101010006d0', 'a101010006c004ff50']) {
    t.notThrows(() => mode(broken) || nine(broken), broken)
  }
})

test('an id that no JMS client made has the prefix that JMS clients show', (t) => {
  const message = record({ [PROPERTY.uniqueKey]: '7F000001' })
  t.true(holds("JMSMessageID = 'ID:AMQP_NO_PREFIX:7F000001'", message))
  t.true(holds("amqp.message_id = '7F000001'", message))
})

test('LIKE is what a regular expression says', (t) => {
  const characters = fc.constantFrom('a', 'b', '%', '_', '.')
  const words = fc.string({ unit: characters, maxLength: 8 })
  fc.assert(
    fc.property(words, words, (end, pattern) => {
      // A property without a value is none.
      const text = `a${end}`
      const source = pattern.replace(/[.]/g, '\\.').replaceAll('%', '.*').replaceAll('_', '.')
      t.is(
        holds(`p LIKE '${pattern}'`, record({ p: text })),
        new RegExp(`^${source}$`, 's').test(text),
      )
    }),
  )
})

test('whatever is no selector is refused in words', (t) => {
  const parts = ['n', 'NOT', 'AND', 'OR', '=', '<', '(', ')', "'a'", '1', '1.5', 'LIKE', 'IN', ',']
  const more = ['IS', 'NULL', 'BETWEEN', 'TRUE', '+', '-', '*', '/', 'ESCAPE', '0x1', "'", 'é', '.']
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...parts, ...more), { maxLength: 12 }), (words) => {
      try {
        holds(words.join(' '))
      } catch (error) {
        t.true(error instanceof BrokerError && error.code === 'FILTER_INVALID', String(error))
      }
    }),
    { numRuns: 2000 },
  )
})
