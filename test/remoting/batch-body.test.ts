import test from 'ava'
import fc from 'fast-check'
import { BrokerError } from '../../src/errors.ts'
import { decodeBatchBody, encodeBatchBody } from '../../src/remoting/batch-body.ts'

const item = fc.record({
  flag: fc.integer(),
  body: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
  properties: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
})

test('a batch comes back as it went in', (t) => {
  fc.assert(
    fc.property(fc.array(item, { maxLength: 5 }), (items) => {
      t.deepEqual(decodeBatchBody(encodeBatchBody(items)) as unknown, items)
    }),
  )
})

test('damaged batches are refused, never misread beyond their end', (t) => {
  fc.assert(
    fc.property(
      fc.array(item, { minLength: 1, maxLength: 3 }),
      fc.nat(),
      fc.integer({ min: 0, max: 255 }),
      (items, at, byte) => {
        const bytes = encodeBatchBody(items)
        bytes[at % bytes.length] = byte
        try {
          for (const { body, properties } of decodeBatchBody(bytes)) {
            t.true(body.length + properties.length <= bytes.length)
          }
        } catch (error) {
          t.true(error instanceof BrokerError && error.code === 'ARGUMENT_INVALID', String(error))
        }
      },
    ),
  )
  t.pass()
})
