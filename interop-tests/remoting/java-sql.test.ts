// What Java consumers select by SQL92 (`MessageSelector.bySql`), of a server in a process of its own.
import type { Got } from '../support/foreign-client.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { needing, serverForAll } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('selecting by SQL with the Java client', missing)

const server = serverForAll(missing)

const nameServer = (): string => server().address('nameServer')
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
