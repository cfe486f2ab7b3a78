// Messages looked through for one in a hundred, by a SQL92 condition, a JMS selector and a tag: a
// whole backlog, in process, over the real store. Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/conditions.js [messages]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBroker } from '../src/broker/broker.ts'
import { systemClock } from '../src/clock.ts'
import { silentLogger } from '../src/log.ts'
import { type MessageFilter, parseSelector } from '../src/model/message-filter.ts'
import { queueOffset } from '../src/model/positions.ts'
import { encodeProperties } from '../src/model/properties.ts'
import { parseSqlFilter } from '../src/model/sql92/sql-filter.ts'
import { parseTagFilter } from '../src/model/tag-filter.ts'
import { PERM_READ_WRITE } from '../src/model/topic.ts'
import { openStore } from '../src/store/open.ts'

const MESSAGES = Number(process.argv[2] ?? 400_000)
const BATCH = 1000
const ROUNDS = 3
const HOST = { ip: 0x7f000001, port: 10_911 }

const FILTERS: Readonly<Record<string, MessageFilter>> = {
  'SQL92, text': parseSqlFilter("region = 'r7'"),
  'SQL92, number': parseSqlFilter('price > 98.5'),
  'SQL92, two': parseSqlFilter("region = 'r7' AND price BETWEEN 0 AND 1000"),
  'SQL92, ten': parseSqlFilter(
    `region = 'r7' OR ${Array.from({ length: 9 }, (_, i) => `colour = 'none${i}'`).join(' OR ')}`,
  ),
  selector: parseSelector("region LIKE 'r7' AND price < 1000"),
  tag: parseTagFilter('r7'),
}

const directory = mkdtempSync(join(tmpdir(), 'trivet-bench-'))
const common = { clock: systemClock, log: silentLogger }
const store = await openStore({ ...common, directory, storeHost: HOST })
const broker = openBroker({ ...common, store })
const definition = { name: 'bench', readQueues: 1, writeQueues: 1, perm: PERM_READ_WRITE }
await broker.topics.put({ ...definition, order: false, attributes: {} } as never)
for (let sent = 0; sent < MESSAGES; sent += BATCH) {
  await broker.publish(
    Array.from({ length: BATCH }, (_, i) => ({
      ...{ topic: 'bench', queueId: 0, body: Buffer.alloc(100, 'x'), flag: 0, sysFlag: 0 },
      ...{
        bornTimestamp: systemClock.now(),
        bornHost: HOST,
        reconsumeTimes: 0,
        createTopic: false,
      },
      properties: encodeProperties([
        ['colour', 'green'],
        ['region', `r${i % 100}`],
        ['price', String(i % 100)],
        ['TAGS', `r${i % 100}`],
      ]),
    })),
  )
}
try {
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, filter] of Object.entries(FILTERS)) {
      const cpu = process.cpuUsage()
      const startMs = performance.now()
      let found = 0
      let offset = queueOffset(0)
      while (offset < MESSAGES) {
        const result = await broker.pull({
          ...{ topic: 'bench', brokerName: broker.identity.brokerName, queueId: 0, offset, filter },
          ...{ maxMessages: 32, maxBytes: 256 * 1024, waitMs: 0 },
        })
        found += result.count
        offset = result.nextOffset
      }
      const seconds = (performance.now() - startMs) / 1000
      const { user, system } = process.cpuUsage(cpu)
      const perCpu = MESSAGES / ((user + system) / 1e6)
      const rates = `${(MESSAGES / seconds / 1000).toFixed(0)} k/s, ${(perCpu / 1000).toFixed(0)} k/CPU s`
      process.stdout.write(`${name.padEnd(16)} ${rates} (${found} found)\n`)
    }
  }
} finally {
  await broker.close()
  await store.close()
  rmSync(directory, { recursive: true })
}
