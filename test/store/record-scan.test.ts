import test from 'ava'
import fc from 'fast-check'
import { encodeProperties } from '../../src/model/properties.ts'
import { writeRecord } from '../../src/model/record.ts'
import { NO_TAG_HASH, tagHash } from '../../src/model/tag-filter.ts'
import { RecordScan, recordCheck } from '../../src/store/views/record-scan.ts'

const HOST = { ip: 1, port: 1 }
const MARGIN = 3

/** The record with some strange bytes around it. */
function recordOf(topic: string, body: Uint8Array, properties: Uint8Array) {
  const bytes = Buffer.alloc(40_000, 2)
  const size = writeRecord(
    bytes,
    MARGIN,
    {
      ...{ topic, queueId: 1, flag: 2, sysFlag: 0, bornTimestamp: 2, bornHost: HOST },
      ...{ reconsumeTimes: 2, preparedPosition: 0, body, properties },
    },
    { queueOffset: 2, position: 2, storeTimestamp: 2, storeHost: HOST },
  )
  return { bytes, size }
}

const name = fc.oneof(
  fc.constantFrom('TAGS', 'KEYS', 'UNIQ_KEY', 'TAG', 'TAGSX', 'KEY', 'UNIQ_KEYS', 'CLUSTER'),
  fc.string({ minLength: 1, maxLength: 9 }),
)
const value = fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 6 }))

test('The scan of a record finds tag, keys, unique key and check, however they lie in its words', (t) => {
  const scan = new RecordScan()
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 8 }),
      fc.stringMatching(/^[a-z]{1,20}$/),
      fc.uint8Array({ maxLength: 20 }),
      fc.boolean(),
      (pairs, topic, body, isClosed) => {
        const closed = encodeProperties(pairs)
        const properties = isClosed ? closed : closed.subarray(0, Math.max(0, closed.length - 1))
        const { bytes, size } = recordOf(topic, body, properties)
        scan.scan(bytes, MARGIN, size)
        const first = firstOf(properties)
        const tag = first.get('TAGS')
        t.is(scan.tagHash, tag === undefined ? NO_TAG_HASH : tagHash(tag))
        t.is(bytes.toString('latin1', scan.topicStart, scan.topicEnd), topic)
        t.is(bytes.toString('utf8', scan.keysStart, scan.keysEnd), first.get('KEYS') ?? '')
        t.is(
          bytes.toString('utf8', scan.uniqueKeyStart, scan.uniqueKeyEnd),
          first.get('UNIQ_KEY') ?? '',
        )
        t.is(scan.check, recordCheck(bytes, MARGIN, size))
      },
    ),
    { numRuns: 2000 },
  )
})

test('Every flipped bit of header, topic and properties changes the check', (t) => {
  const properties = encodeProperties([
    ['TAGS', 'a'],
    ['KEYS', 'k1 k2'],
  ])
  const { bytes, size } = recordOf('orders', Buffer.alloc(0), properties)
  const check = recordCheck(bytes, MARGIN, size)
  const scan = new RecordScan()
  // The length of the body says where the rest is, and is checked by the code that cuts records
  // apart.
  for (let at = MARGIN; at < MARGIN + size; at++) {
    if (at >= MARGIN + 84 && at < MARGIN + 89) continue
    for (let bit = 0; bit < 8; bit++) {
      bytes[at]! ^= 1 << bit
      scan.scan(bytes, MARGIN, size)
      t.not(scan.check, check, `bit ${bit} of byte ${at - MARGIN}`)
      bytes[at]! ^= 1 << bit
    }
  }
})

/** The first value of each name; an empty one is none. */
function firstOf(properties: Uint8Array): Map<string, string> {
  const first = new Map<string, string>()
  const text = Buffer.from(properties).toString('utf8')
  for (const property of text.split('\u0002')) {
    const at = property.indexOf('\u0001')
    const hasValue = at > 0 && at < property.length - 1
    if (hasValue && !first.has(property.slice(0, at))) {
      first.set(property.slice(0, at), property.slice(at + 1))
    }
  }
  return first
}
