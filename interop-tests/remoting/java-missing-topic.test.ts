// What Java's clients and mqadmin are told of a topic that does not exist, and that consumers find it once it does.
import { spawnServer } from '../../test/support/server.ts'
import { bodyOf } from '../support/foreign-client.ts'
import { java, javaClientMissing, mqadmin } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('the Java client and missing topics', missing)

testJava(
  'a topic that was never made, or is deleted, is missing to those who ask for it',
  async (t) => {
    const server = await spawnServer(t)
    const common = { nameServer: server.address('nameServer'), topic: 'JavaMissing' }
    const at = ['-n', common.nameServer] as const
    const topic = ['-t', 'JavaMissing'] as const
    const NO_ROUTE = /CODE: 17 +DESC: No topic route info in name server for the topic: JavaMissing/
    const fetch = async (): Promise<string> => {
      const client = await java(t, 'produce', { ...common, mode: 'fetch' })
      return String(
        (await client.ends()).find(({ event }) => event === 'failed')?.['cause'] ?? 'found',
      )
    }
    t.regex(await fetch(), NO_ROUTE)
    t.regex(await mqadmin('topicRoute', ...at, ...topic), NO_ROUTE)
    t.regex(await mqadmin('topicStatus', ...at, ...topic), NO_ROUTE)
    const producer = await java(t, 'produce', common)
    await producer.ends()
    t.deepEqual(producer.of('failed'), [])
    t.is(await fetch(), 'found')
    await mqadmin('deleteTopic', ...at, ...topic, '-c', 'DefaultCluster')
    t.regex(await mqadmin('topicRoute', ...at, ...topic), NO_ROUTE)
    t.regex(await fetch(), NO_ROUTE)
  },
)

testJava('a lite pull consumer that starts first gets the first message', async (t) => {
  const server = await spawnServer(t)
  const common = { nameServer: server.address('nameServer'), topic: 'JavaLiteFirst' }
  const consumer = await java(t, 'lite-pull', { ...common, group: 'G_lite_first' })
  await consumer.ready()
  const producer = await java(t, 'produce', common)
  await producer.ends()
  t.deepEqual(producer.of('failed'), [])
  t.is(bodyOf((await consumer.receives(1))[0]!), 'message-0')
})
