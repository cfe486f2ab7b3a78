// The unmodified Java client of Apache RocketMQ 5.5 goes on over an automatic failover: it knows
// nothing but its name server.
import { connect } from '../../src/client/index.ts'
import { eventually } from '../../test/support/waiting.ts'
import { startElected } from '../support/elected-brokers.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const testJava = needing(
  'a Java client over a failover',
  etcdMissing() ?? (await javaClientMissing()),
)

const TOPIC = 'Elected'
const COUNT = 200
const BEFORE = 40

testJava('a Java producer and consumer go on when the master dies', async (t) => {
  t.timeout(600_000)
  const group = await startElected(t)
  const nameServer = group.nameServer.address('nameServer')
  await group.settled()
  await using admin = await connect({ nameServers: nameServer })
  await eventually(async () => {
    try {
      await admin.admin.topics.create({ name: TOPIC, queues: 4 })
      return true
    } catch {
      return undefined
    }
  })
  const common = { nameServer, topic: TOPIC }
  const consumer = await java(t, 'push', { ...common, group: 'G_elected' })
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, mode: 'steady', count: COUNT })
  await eventually(async () => producer.of('sent').length >= BEFORE)
  const master = await group.master()
  const sent = producer.of('sent').length
  const lostMs = performance.now()
  await master.kill()
  await eventually(async () => producer.of('sent').length > sent + 1)
  t.log(`the producer's next message: ${Math.round(performance.now() - lostMs)} ms`)
  t.not(await group.master(), master)
  await producer.ends()
  t.is(producer.of('sent').length, COUNT)
  // What was not committed comes again.
  await eventually(async () => {
    const got = new Set(consumer.of('got').map(({ keys }) => String(keys)))
    return got.size >= COUNT
  })
})
