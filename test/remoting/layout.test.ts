import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import {
  bool,
  int,
  layout,
  long,
  named,
  optional,
  readFields,
  text,
  writeFields,
} from '../../src/remoting/layout.ts'

const SHAPE = layout({
  topic: named('b', text),
  queueId: int,
  offset: long,
  order: bool,
  limit: optional(int),
  note: optional(text),
})

test('values come back as they went in, under their wire names', (t) => {
  const values = fc.record(
    {
      topic: fc.string(),
      queueId: fc.integer(),
      offset: fc.maxSafeInteger(),
      order: fc.boolean(),
      limit: fc.integer(),
      note: fc.string(),
    },
    { requiredKeys: ['topic', 'queueId', 'offset', 'order'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(values, (given) => {
      const fields = writeFields(SHAPE, given)
      t.is(fields.get('b'), given.topic)
      t.false(fields.has('topic'))
      t.deepEqual(readFields(SHAPE, fields), given as never)
    }),
  )
})

const refused = (changed: Record<string, string | undefined>): string => {
  const fields = new Map([
    ['b', 'T'],
    ['queueId', '1'],
    ['offset', '2'],
    ['order', 'true'],
  ])
  for (const [name, value] of Object.entries(changed)) {
    if (value === undefined) fields.delete(name)
    else fields.set(name, value)
  }
  try {
    readFields(SHAPE, fields)
    return 'read'
  } catch (error) {
    return error instanceof BrokerError && error.code === 'ARGUMENT_INVALID'
      ? error.message
      : 'thrown'
  }
}

test('what is missing or malformed is named', (t) => {
  t.is(refused({}), 'read')
  t.is(refused({ b: undefined }), "the request lacks the field 'b'")
  t.is(refused({ queueId: '' }), "the request lacks the field 'queueId'")
  t.regex(refused({ queueId: '2147483648' }), /'queueId' is '2147483648'; a 32-bit integer is due/)
  t.regex(refused({ offset: '1e3' }), /'offset' is '1e3'; an integer is due/)
  t.regex(refused({ limit: 'x' }), /'limit'/)
})

test('an empty optional number is absent, an empty text is empty', (t) => {
  t.is(refused({ limit: '' }), 'read')
  t.is(refused({ b: '' }), 'read')
})

test('a value beyond 53 bits is rounded, not refused: it is an open end', (t) => {
  t.is(refused({ offset: '9223372036854775807' }), 'read')
})
