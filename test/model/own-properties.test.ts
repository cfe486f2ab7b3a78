import test from 'ava'
import fc from 'fast-check'
import { NO_HOST } from '../../src/model/host.ts'
import { PROPERTIES_BYTES_MAX } from '../../src/model/limits.ts'
import { selects } from '../../src/model/message-filter.ts'
import { OwnProperties } from '../../src/model/own-properties.ts'
import {
  checkRecord,
  RecordView,
  recordBytes,
  recordsOf,
  SYS_FLAG,
  writeRecord,
} from '../../src/model/record.ts'
import { parseSelector, parseSqlFilter } from '../../src/model/sql92/sql-filter.ts'

const OURS = { CLUSTER: 'Harbour', MSG_REGION: 'DefaultRegion', TRACE_ON: 'true' }
const own = new OwnProperties('Harbour')

interface Given {
  readonly topic: string
  readonly body: string
  readonly properties: string
  readonly sysFlag: number
}

function recordOf({ topic, body, properties, sysFlag }: Given): Buffer {
  const draft = {
    ...{ topic, queueId: 3, flag: 7, sysFlag, bornTimestamp: 5, bornHost: NO_HOST },
    ...{ reconsumeTimes: 2, preparedPosition: 0 },
    ...{ body: Buffer.from(body), properties: Buffer.from(properties) },
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  const place = { queueOffset: 11, position: 222, storeTimestamp: 9, storeHost: NO_HOST }
  writeRecord(bytes, 0, draft, place)
  return bytes
}

const plain = (record: RecordView): object => {
  const { topic, queueId, flag, queueOffset, position, bornTimestamp, storeTimestamp } = record
  const { reconsumeTimes, preparedPosition, body } = record
  return {
    ...{ topic, queueId, flag, queueOffset, position, bornTimestamp, storeTimestamp },
    ...{ reconsumeTimes, preparedPosition, body: body.toString() },
  }
}

const lacking = { topic: 'orders', body: 'b', sysFlag: SYS_FLAG.ownProperties }

const given = fc.record<Given>({
  topic: fc.constantFrom('t', 'orders', 'x'.repeat(127), 'x'.repeat(128), 'x'.repeat(255)),
  body: fc.string({ maxLength: 300 }),
  properties: fc.constantFrom('', 'a\u00011\u0002', 'a\u00011', 'a\u00011\u0002b\u00012\u0002'),
  sysFlag: fc
    .constantFrom(0, SYS_FLAG.expires)
    .chain((flag) => fc.constantFrom(flag, flag | SYS_FLAG.ownProperties)),
})

test('records that lack them are shown with them, and every other one as it is', (t) => {
  fc.assert(
    fc.property(fc.array(given, { maxLength: 6 }), (all) => {
      const records = all.map(recordOf)
      const shown = own.shown(Buffer.concat(records))
      const views = [...recordsOf(shown)]
      t.is(views.length, records.length)
      for (const [i, view] of views.entries()) {
        const before = new RecordView(records[i]!)
        const isLacking = (before.sysFlag & SYS_FLAG.ownProperties) !== 0
        t.is(checkRecord(shown, view.start, view.start + view.size, true), view.size)
        t.is(view.sysFlag, before.sysFlag & ~SYS_FLAG.ownProperties)
        t.deepEqual(plain(view), plain(before))
        const named = Object.fromEntries(before.properties())
        t.deepEqual(
          Object.fromEntries(view.properties()),
          isLacking ? { ...named, ...OURS } : named,
        )
      }
    }),
  )
})

test('records of which none lacks them are the very bytes that were read', (t) => {
  const records = recordOf({ ...lacking, properties: '', sysFlag: SYS_FLAG.expires })
  t.is(own.shown(records), records)
})

test('they are left out of a record that has grown until there is no room', (t) => {
  const { length } = own.behind(Buffer.alloc(0), PROPERTIES_BYTES_MAX)!
  for (const [over, cluster] of [
    [0, 'Harbour'],
    [1, undefined],
  ] as const) {
    const properties = `a\u0001${'x'.repeat(PROPERTIES_BYTES_MAX - length - 3 + over)}\u0002`
    const view = new RecordView(own.shown(recordOf({ ...lacking, properties })))
    t.is(view.property('CLUSTER'), cluster)
    t.is(view.sysFlag, 0)
  }
})

const NAMES = ['CLUSTER', 'MSG_REGION', 'TRACE_ON'] as const

test('a condition finds their values in a record that lacks them, and that has them', (t) => {
  const bytes = recordOf({ ...lacking, properties: 'a\u00011\u0002' })
  const many = ` AND ${Array.from({ length: 9 }, (_, i) => `p${i} IS NULL`).join(' AND ')}`
  for (const name of NAMES) {
    for (const parse of [parseSqlFilter, parseSelector]) {
      for (const rest of ['', many]) {
        const filter = parse(`${name} = '${OURS[name]}'${rest}`)
        t.true(selects(filter, new RecordView(bytes), 'Harbour'))
        t.true(selects(filter, new RecordView(own.shown(bytes))))
        t.false(selects(parse(`${name} = 'b'${rest}`), new RecordView(bytes), 'Harbour'))
      }
    }
  }
})
