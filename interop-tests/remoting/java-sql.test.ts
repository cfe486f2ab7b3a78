// What Java consumers select by SQL92 (`MessageSelector.bySql`), of a server in a process of its own.
import test from 'ava'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import type { Got } from '../support/foreign-client.ts'
import { java, javaClientMissing } from '../support/java-client.ts'

const missing = await javaClientMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: selecting by SQL with the Java client, because ${missing}\n`)
  test.skip(`the Java client: ${missing}`, (t) => t.pass())
}
const testJava = missing === undefined ? test.serial : test.skip

let server: SpawnedServer
const leftovers: (() => unknown)[] = []
test.before(async () => {
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  if (missing === undefined) server = await spawnServer(later)
})
test.after.always(async () => {
  await server?.stop()
  for (const end of leftovers) await end()
})

const nameServer = (): string => server.address('nameServer')
const indexes = (messages: readonly Got[]): number[] =>
  messages.map((message) => Number(message.properties['index'])).sort((a, b) => a - b)

testJava('a selector by SQL brings what it selects, of old and of new messages', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaSql' }
  const producer = await java(t, 'produce', { ...common, count: 30 })
  await producer.ends()
  const sql = 'index BETWEEN 10 AND 12 OR (index = 29 AND text IS NOT NULL) OR missing > 5'
  const consumer = await java(t, 'push', { ...common, group: 'G_sql', sql })
  t.deepEqual(indexes(await consumer.receives(4)), [10, 11, 12, 29])
  const more = await java(t, 'produce', { ...common, count: 12 })
  await more.ends()
  t.deepEqual(indexes(await consumer.receives(6)), [10, 10, 11, 11, 12, 29])
})

testJava('a selector by SQL that is none fails the start in words', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaSqlRefused' }
  // Java asks a broker to check the expression once the topic has a route.
  await (await java(t, 'produce', { ...common, count: 1 })).ends()
  const consumer = await java(t, 'push', { ...common, group: 'G_sql_refused', sql: 'a >' })
  await consumer.ends()
  t.regex(String(consumer.of('failed')[0]?.['message']), /expected a value/)
})
