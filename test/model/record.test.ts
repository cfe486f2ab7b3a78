import test from 'ava'
import { encodeProperties } from '../../src/model/properties.ts'
import { checkRecord, RecordView, writeRecord } from '../../src/model/record.ts'
import { tagHash } from '../../src/model/tag-filter.ts'

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

test("tag hashes are Java's", (t) => {
  t.is(tagHash('TagA'), 2_598_919)
  t.is(tagHash('中文'), 646_394)
  t.is(tagHash('tag_long_enough_to_overflow_int32'), -1_164_258_364)
})
