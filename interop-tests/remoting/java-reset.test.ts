// mqadmin moves a group whose member is a live lite pull consumer of Java, which knows of no request 220.
import { spawnServer } from '../../test/support/server.ts'
import { java, javaClientMissing, mqadmin } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('the Java client', missing)

testJava('mqadmin moves a group whose lite pull consumer is live', async (t) => {
  const server = await spawnServer(t)
  const common = { nameServer: server.address('nameServer'), topic: 'JavaLiteMoved' }
  const group = 'G_lite_moved'
  await (await java(t, 'produce', { ...common, count: 6 })).ends()
  const consumer = await java(t, 'lite-pull', { ...common, group })
  await consumer.receives(6)
  const at = ['-n', common.nameServer, '-g', group, '-t', common.topic] as const
  t.regex(await mqadmin('resetOffsetByTime', ...at, '-s', '0', '-f', 'true'), /JavaLiteMoved/)
  await consumer.receives(12)
  const indexes = consumer.got.map(({ properties }) => Number(properties['index']))
  t.deepEqual(
    indexes.sort((a, b) => a - b),
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5],
  )
  await consumer.stop()
})
