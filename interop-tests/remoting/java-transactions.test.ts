// Transactions of the unmodified Java client (TransactionMQProducer), of a server in a process of its own.
import test, { type ExecutionContext } from 'ava'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { bodyOf, type ForeignClient, type Got } from '../support/foreign-client.ts'
import { java, javaClientMissing } from '../support/java-client.ts'

const missing = await javaClientMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: transactions of the Java client, because ${missing}\n`)
  test.skip(`the Java client: ${missing}`, (t) => t.pass())
}
const testJava = missing === undefined ? test.serial : test.skip

const broker = { transactionTimeoutMs: 1000, transactionCheckIntervalMs: 1000 }
let server: SpawnedServer
const leftovers: (() => unknown)[] = []
test.before(async () => {
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  if (missing === undefined) server = await spawnServer(later, { config: { broker } })
})
test.after.always(async () => {
  await server?.stop()
  for (const end of leftovers) await end()
})

type Words = Readonly<Record<string, string>>

const transact = (t: ExecutionContext, topic: string, words: Words): Promise<ForeignClient> =>
  java(t, 'transact', { nameServer: server.address('nameServer'), topic, group: topic, ...words })

const consume = (t: ExecutionContext, topic: string): Promise<ForeignClient> =>
  java(t, 'push', { nameServer: server.address('nameServer'), topic, group: `G_${topic}` })

const bodies = (messages: readonly Got[]): string[] => messages.map(bodyOf).sort()

testJava('what is committed is consumed, what is rolled back is not', async (t) => {
  const topic = 'JavaCommits'
  const local = 'commit,rollback,commit'
  const producer = await transact(t, topic, { local })
  await producer.ready()
  const consumer = await consume(t, topic)
  t.deepEqual(bodies(await consumer.receives(2)), ['commit', 'commit'])
  t.deepEqual(
    producer.of('sent').map(({ status }) => status),
    ['SEND_OK', 'SEND_OK', 'SEND_OK'],
  )
  t.is(consumer.got[0]!.properties['TRAN_MSG'], 'true')
  t.deepEqual(producer.of('check'), [])
})

testJava('a producer that did not know is asked, and its answer counts', async (t) => {
  const topic = 'JavaAsked'
  const producer = await transact(t, topic, { local: 'unknown,rollback', check: 'commit' })
  await producer.ready()
  const consumer = await consume(t, topic)
  t.deepEqual(bodies(await consumer.receives(1)), ['unknown'])
  const [check, ...more] = producer.of('check')
  t.is(check!['topic'], topic)
  t.is((check!['properties'] as Words)['TRANSACTION_CHECK_TIMES'], '1')
  t.deepEqual(more, [])
})

testJava('another producer of the group answers for one that was killed', async (t) => {
  const topic = 'JavaOrphans'
  const first = await transact(t, topic, { local: 'unknown', instance: 'first' })
  await first.ready()
  await first.kill()
  const second = await transact(t, topic, {
    ...{ local: 'rollback', check: 'commit', instance: 'second' },
  })
  const consumer = await consume(t, topic)
  t.deepEqual(bodies(await consumer.receives(1)), ['unknown'])
  t.true(second.of('check').length > 0)
})
