import test from 'ava'
import { OwnProperties } from '../../src/broker/publish/own-properties.ts'
import { decodeProperties, encodeProperties } from '../../src/model/properties.ts'

const own = new OwnProperties('Harbour')

const read = (properties: Buffer): object =>
  Object.fromEntries(decodeProperties(Buffer.concat([properties, own.behind(properties, 32_767)!])))

test('they stand behind properties that are closed, that are open, and that are none', (t) => {
  const ours = { CLUSTER: 'Harbour', MSG_REGION: 'DefaultRegion', TRACE_ON: 'true' }
  const closed = encodeProperties([['TAGS', 'eu']])
  t.deepEqual(read(closed), { TAGS: 'eu', ...ours })
  t.deepEqual(read(closed.subarray(0, -1)), { TAGS: 'eu', ...ours })
  t.deepEqual(read(Buffer.alloc(0)), ours)
})

test('there are none where they do not fit', (t) => {
  const { length } = own.behind(Buffer.alloc(0), 1000)!
  t.is(own.behind(Buffer.alloc(0), length - 1), undefined)
  t.truthy(own.behind(Buffer.alloc(0), length))
})
