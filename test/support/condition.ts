// A condition over given properties, as the broker evaluates it over a record that has them.
import { strict as assert } from 'node:assert'
import { NO_HOST } from '../../src/model/host.ts'
import { selects } from '../../src/model/message-filter.ts'
import { encodeProperties, hasSeparator } from '../../src/model/properties.ts'
import { RecordView, recordBytes, writeRecord } from '../../src/model/record.ts'
import { parseSqlFilter } from '../../src/model/sql92/sql-filter.ts'

/** Of the texts, and of the record where one can have them: the two must agree. */
export function isTrueOf(
  expression: string,
  properties: Readonly<Record<string, string>>,
): boolean {
  const filter = parseSqlFilter(expression)
  const isTrue = filter.matches({ text: ({ text }) => properties[text], digits: () => -1 })
  const entries = Object.entries(properties)
  // A record has no empty value, and nothing that ends another.
  if (entries.every(([, value]) => value !== '' && !hasSeparator(value))) {
    const record = recordWith(encodeProperties(entries))
    assert.equal(selects(filter, record), isTrue, `${expression} of ${JSON.stringify(properties)}`)
  }
  return isTrue
}

/** A record with these encoded properties and nothing else. */
export function recordWith(properties: Buffer): RecordView {
  const draft = {
    ...{ topic: 'orders', queueId: 0, flag: 0, sysFlag: 0, bornTimestamp: 0, bornHost: NO_HOST },
    ...{ reconsumeTimes: 0, preparedPosition: 0, body: Buffer.alloc(0), properties },
  }
  const bytes = Buffer.alloc(recordBytes(draft))
  writeRecord(bytes, 0, draft, {
    ...{ queueOffset: 0, position: 0, storeTimestamp: 0, storeHost: NO_HOST },
  })
  return new RecordView(bytes)
}
