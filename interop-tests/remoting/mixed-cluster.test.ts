// Brokers of both kinds at one name server: Apache's broker at ours, and our broker at Apache's. Topics come into being on
// both, messages of both are found, and one that is killed is missed.
import { connect } from '../../src/client/index.ts'
import { spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testBoth = needing('a cluster of brokers of both kinds', missing)

const COUNT = 40

testBoth('brokers of both kinds serve a topic together, at either name server', async (t) => {
  t.timeout(400_000)
  const first = await spawnServer(t, { config: { broker: { name: 'broker-first' } } })
  await using apache = await startApacheRocketmq({ nameServers: [first.address('nameServer')] })
  const broker = { name: 'broker-second', nameServers: [apache.nameServer] }
  const second = await spawnServer(t, { role: 'broker', config: { broker } })
  for (const [nameServer, own, killed] of [
    [first.address('nameServer'), 'broker-first', () => apache.killBroker()],
    [apache.nameServer, 'broker-second', () => second.kill()],
  ] as const) {
    await using mq = await connect({ nameServers: nameServer })
    const brokersOf = async (topic: string): Promise<string> =>
      [...new Set((await mq.queues(topic)).map(({ brokerName }) => brokerName))].sort().join()
    const all = ['broker-a', own].join()
    const topic = `Mixed-${own}`
    // A broker loads what serves a protocol with the first connection, which a busy machine makes slow.
    await eventually(async () => {
      const making = mq.admin.topics.create({ name: topic, queues: 2 })
      return making.then(
        () => true,
        ({ code }) => code === 'TOPIC_EXISTS' || undefined,
      )
    })
    await eventually(async () => (await brokersOf(topic).catch(() => '')) === all || undefined)
    const producer = await java(t, 'produce', { nameServer, topic, count: COUNT })
    await producer.ends()
    t.deepEqual(producer.of('failed'), [])
    const consumer = await java(t, 'push', { nameServer, topic, group: `G_mixed_${own}` })
    const got = await consumer.receives(COUNT)
    t.is(new Set(got.map(({ msgId }) => msgId)).size, COUNT)
    await consumer.stop()
    await killed()
    const left = own === 'broker-first' ? own : 'broker-a'
    await eventually(async () => {
      // A client remembers a route for 30 s.
      await using later = await connect({ nameServers: nameServer })
      const queues = await later.queues(topic).catch(() => [])
      return (queues.length > 0 && queues.every((one) => one.brokerName === left)) || undefined
    })
    if (own === 'broker-first') await apache.startBroker()
  }
})
