import test from 'ava'
import fc from 'fast-check'
import { SCAN, scanProperties } from '../../src/broker/publish/message-scan.ts'
import {
  BROKER_PROPERTIES,
  decodeProperties,
  encodeProperties,
  hasSeparator,
} from '../../src/model/properties.ts'

const SPECIAL: Record<string, number> = {
  UNIQ_KEY: SCAN.uniqueKey,
  DELAY: SCAN.delayed,
  TIMER_DELAY_SEC: SCAN.delayed,
  TIMER_DELAY_MS: SCAN.delayed,
  TIMER_DELIVER_MS: SCAN.delayed,
  __STARTDELIVERTIME: SCAN.delayed,
  TRAN_MSG: SCAN.prepared,
  ...Object.fromEntries([...BROKER_PROPERTIES].map((name) => [name, SCAN.brokers])),
}

const name = fc.oneof(
  fc.constantFrom(...Object.keys(SPECIAL)),
  fc.constantFrom('TAGS', 'KEYS', 'DELAY_', 'DELA', 'UNIQ_KE', 'XDELAY', '__', 'T', 'TIMER_'),
  fc.string({ minLength: 1, maxLength: 12 }).filter((text) => !hasSeparator(text)),
)
const value = fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !hasSeparator(text))

test('the scan finds exactly the properties that a full decoding finds', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 8 }), (entries) => {
      const bytes = encodeProperties(entries)
      let expected = 0
      for (const key of decodeProperties(bytes).keys()) {
        if (Object.hasOwn(SPECIAL, key)) expected |= SPECIAL[key]!
      }
      t.is(scanProperties(bytes), expected)
    }),
    { numRuns: 1000 },
  )
})

test('the scan ends on any bytes', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      t.true(scanProperties(bytes) >= 0)
    }),
  )
})

test('a last property without a separator is noticed', (t) => {
  t.is(scanProperties(Buffer.from('a\u0001b')), SCAN.unclosed)
  t.is(scanProperties(Buffer.from('DELAY\u00011')), SCAN.unclosed | SCAN.delayed)
  t.is(scanProperties(Buffer.from('a\u0001b\u0002')), 0)
  t.is(scanProperties(Buffer.alloc(0)), 0)
})
