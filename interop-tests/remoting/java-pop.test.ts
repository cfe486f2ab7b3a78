// Java consumers with `setClientRebalance(false)`: in POP mode, as `mqadmin setConsumeMode` sets it, and
// in the default mode; the same of our server and of Apache's.

import test from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import type { ForeignClient, Got } from '../support/foreign-client.ts'
import { java, javaClientMissing, mqadmin } from '../support/java-client.ts'
import { either } from '../support/load/members.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testJava = needing('the Java client', missing)

const nameServers = new Map<string, string>()
const leftovers: (() => unknown)[] = []
test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  const server = await spawnServer({ teardown: (end) => void leftovers.unshift(end) })
  nameServers.set('our broker', server.address('nameServer'))
  const first = await spawnServer({ teardown: (end) => void leftovers.unshift(end) })
  const broker = { name: 'broker-b', nameServers: [first.address('nameServer')] }
  await spawnServer(
    { teardown: (end) => void leftovers.unshift(end) },
    { role: 'broker', config: { broker } },
  )
  nameServers.set('two of our brokers', first.address('nameServer'))
  const apache = await startApacheRocketmq()
  leftovers.unshift(() => apache.stop())
  nameServers.set("Apache's broker", apache.nameServer)
})
test.after.always(async () => {
  for (const end of leftovers) await end()
})

const all = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const indexOf = (message: Got): number => Number(message.properties['index'])
const received = (...consumers: readonly ForeignClient[]): Got[] =>
  consumers.flatMap(({ got }) => got)

for (const name of ['our broker', 'two of our brokers', "Apache's broker"]) {
  testJava(
    `two consumers in POP mode share a topic of ${name}, and what failed comes again`,
    async (t) => {
      const nameServer = nameServers.get(name)!
      const topic = 'JavaPop'
      const group = 'G_java_pop'
      await mqadmin('updateTopic', '-n', nameServer, '-c', 'DefaultCluster', '-t', topic)
      await mqadmin('updateSubGroup', '-n', nameServer, '-c', 'DefaultCluster', '-g', group)
      const at = ['-n', nameServer, '-c', 'DefaultCluster', '-t', topic, '-g', group] as const
      t.regex(await mqadmin('setConsumeMode', ...at, '-m', 'POP', '-q', '0'), /success/)
      const options = { nameServer, topic, group, brokerRebalance: true, failures: 1 }
      const consumers = await Promise.all(
        ['one', 'two'].map((instance) => java(t, 'push', { ...options, instance })),
      )
      for (const consumer of consumers) await consumer.ready()
      await (await java(t, 'produce', { nameServer, topic, count: 20 })).ends()
      const done = (): boolean => {
        const again = received(...consumers).filter(({ reconsumeTimes }) => reconsumeTimes === 1)
        return new Set(again.map(indexOf)).size === 20
      }
      await either(consumers, 'each message came again', done)
      const got = received(...consumers)
      for (const attempt of [0, 1]) {
        const indexes = got.filter(({ reconsumeTimes }) => reconsumeTimes === attempt).map(indexOf)
        t.deepEqual(
          [...new Set(indexes)].sort((a, b) => a - b),
          all(20),
        )
      }
      t.true(got.every((message) => message.topic === topic))
      t.log(
        name,
        got.filter((m) => m.reconsumeTimes === 1).map((m) => m['delayMs']),
      )
      for (const consumer of consumers) await consumer.stop()
    },
  )

  testJava(
    `two consumers in the default mode share the queues that ${name} gives them`,
    async (t) => {
      const nameServer = nameServers.get(name)!
      const topic = 'JavaAssigned'
      await mqadmin('updateTopic', '-n', nameServer, '-c', 'DefaultCluster', '-t', topic)
      const options = { nameServer, topic, group: 'G_java_assigned', brokerRebalance: true }
      const consumers = await Promise.all(
        ['one', 'two'].map((instance) => java(t, 'push', { ...options, instance })),
      )
      for (const consumer of consumers) await consumer.ready()
      await (await java(t, 'produce', { nameServer, topic, count: 20 })).ends()
      const count = (): number => new Set(received(...consumers).map(indexOf)).size
      await either(consumers, 'every message came', () => count() === 20)
      t.is(count(), 20)
      for (const consumer of consumers) await consumer.stop()
    },
  )
}
