import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { type Json, type JsonMap, parseJson } from '../../src/remoting/json/json.ts'
import { emitJson, type JsonOut } from '../../src/remoting/json/json-emitter.ts'

/** Maps as plain values, so that they compare. */
function plain(value: Json): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (!(value instanceof Map)) return value
  return [...value].map(([key, member]) => [
    typeof key === 'string' ? key : plain(key),
    plain(member),
  ])
}

const viaMaps = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(viaMaps)
    : typeof value === 'object' && value !== null
      ? Object.entries(value).map(([key, member]) => [key, viaMaps(member)])
      : value

test('standard JSON is read as JSON.parse reads it', (t) => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 5 }), (text) => {
      t.deepEqual(plain(parseJson(text)), viaMaps(JSON.parse(text)))
    }),
  )
})

test('what is emitted is read back', (t) => {
  const value = fc.letrec((tie) => ({
    out: fc.oneof(
      { depthSize: 'small' },
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.array(tie('out'), { maxLength: 4 }),
      fc.array(fc.tuple(fc.string(), tie('out')), { maxLength: 4 }).map((pairs) => new Map(pairs)),
    ),
  })).out
  fc.assert(
    fc.property(value, (out) => {
      const text = emitJson(out as JsonOut)
      t.is(emitJson(parseJson(text) as JsonOut), text)
    }),
  )
})

test('unquoted numeric keys are read as text keys', (t) => {
  t.deepEqual(plain(parseJson('{"brokerAddrs":{0:"10.0.0.1:10911", 1 : \'b\'}}')), [
    [
      'brokerAddrs',
      [
        ['0', '10.0.0.1:10911'],
        ['1', 'b'],
      ],
    ],
  ])
})

test('objects as keys are read and written', (t) => {
  const text = '{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5}}'
  const table = (parseJson(text) as JsonMap).get('offsetTable') as JsonMap
  const [[key, value]] = [...table] as [[JsonMap, number]]
  t.is(key.get('topic'), 'T')
  t.is(value, 5)
  t.is(emitJson(parseJson(text) as JsonOut), text)
})

test('references are resolved', (t) => {
  const value = parseJson(
    '{"a":{"b":[{"c":1}]},"d":{"$ref":"$.a.b[0]"},"e":{"$ref":"$.x.y"}}',
  ) as JsonMap
  t.is((value.get('d') as JsonMap).get('c'), 1)
  t.is(value.get('e'), null)
})

test('references to oneself and to the parent do not loop', (t) => {
  const value = parseJson('{"a":{"self":{"$ref":"@"},"up":{"$ref":".."}}}') as JsonMap
  const a = value.get('a') as JsonMap
  t.is(a.get('self'), a)
  t.is(a.get('up'), value)
})

test('members without a value are left out', (t) => {
  t.is(emitJson({ a: null, b: undefined, c: 0 }), '{"c":0}')
})

test('random text is read or refused with a broker error', (t) => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    "'",
    '\\',
    '\\u12',
    '0',
    '-',
    'true',
    '$ref',
    ' ',
    '__proto__',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 30 }).map((p) => p.join('')),
      ),
      (text) => {
        try {
          parseJson(text)
        } catch (error) {
          t.true(error instanceof BrokerError && error.code === 'ARGUMENT_INVALID', String(error))
        }
      },
    ),
    { numRuns: 3000 },
  )
  t.pass()
})

test('nesting is bounded', (t) => {
  t.throws(() => parseJson('['.repeat(10_000)), { message: /nesting deeper/ })
  t.throws(() => parseJson('{'.repeat(10_000)), { message: /nesting deeper/ })
})

for (const [what, item] of [
  ['empty objects', '{}'],
  ['empty lists', '[]'],
  ['numbers', '1'],
  ['objects as keys', '{{}:1}'],
] as const) {
  test(`the number of values is bounded: ${what}`, (t) => {
    const text = `[${`${item},`.repeat(700_000)}1]`
    t.throws(() => parseJson(text), { message: /more than 600000 values/ })
  })
}

test('a name that is remembered does not hold the body that it came in', (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const before = process.memoryUsage().heapUsed
  const names = Array.from({ length: 64 }, (_, i) => {
    const padding = 'x'.repeat(1024 * 1024)
    return (parseJson(`{"pad":"${padding}","name":"a name of its own ${i}"}`) as JsonMap).get(
      'name',
    )
  })
  collect()
  t.true(process.memoryUsage().heapUsed - before < 16 * 1024 * 1024)
  t.is(names.length, 64)
})

test('__proto__ is a key like any other', (t) => {
  const value = parseJson('{"__proto__":{"polluted":1}}') as JsonMap
  t.is((value.get('__proto__') as JsonMap).get('polluted'), 1)
  t.is(({} as Record<string, unknown>)['polluted'], undefined)
})
