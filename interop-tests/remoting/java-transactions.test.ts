// Transactions of the unmodified Java client (TransactionMQProducer), of a server in a process of its own.
import type { ExecutionContext } from 'ava'
import { bodyOf, type ForeignClient, type Got } from '../support/foreign-client.ts'
import { java, javaAlone, javaClientMissing } from '../support/java-client.ts'
import { needing, serverForAll } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('transactions of the Java client', missing)

/** Longer than a client may take between a half message and its end on a busy machine. */
const broker = { transactionTimeoutMs: 3000, transactionCheckIntervalMs: 1000 }
const server = serverForAll(missing, { config: { broker } })

type Words = Readonly<Record<string, string>>

const inGroup = (topic: string, words: Words): Words => ({
  ...{ nameServer: server().address('nameServer'), topic, group: topic, ...words },
})

const transact = (t: ExecutionContext, topic: string, words: Words): Promise<ForeignClient> =>
  java(t, 'transact', inGroup(topic, words))

const consume = (t: ExecutionContext, topic: string): Promise<ForeignClient> =>
  java(t, 'push', { nameServer: server().address('nameServer'), topic, group: `G_${topic}` })

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
  const checks = producer.of('check')
  t.is(checks[0]?.['topic'], topic)
  // A slow answer is asked for once more; the one that was rolled back is not.
  t.deepEqual(
    checks.map(({ properties }) => (properties as Words)['TRANSACTION_CHECK_TIMES']),
    checks.map((_, i) => String(i + 1)),
  )
  t.deepEqual(new Set(checks.map((check) => bodyOf(check as Got))), new Set(['unknown']))
})

testJava('another producer of the group answers for one that was killed', async (t) => {
  const topic = 'JavaOrphans'
  const first = await javaAlone(t, 'transact', inGroup(topic, { local: 'unknown' }))
  await first.ready()
  await first.kill()
  const second = await transact(t, topic, { local: 'rollback', check: 'commit' })
  const consumer = await consume(t, topic)
  t.deepEqual(bodies(await consumer.receives(1)), ['unknown'])
  t.true(second.of('check').length > 0)
})
