// The unmodified Java client of Apache RocketMQ 5.5 reads on from a slave when its master was
// killed, and writes again when the slave was promoted.
import { connect } from '../../src/client/index.ts'
import { eventually } from '../../test/support/waiting.ts'
import { java, javaClientMissing } from '../support/java-client.ts'
import { promote, startMasterWithSlave } from '../support/master-with-slave.ts'
import { needing } from '../support/needing.ts'

const testJava = needing('a Java client with a slave', await javaClientMissing())

const TOPIC = 'Replicated'
const GROUP = 'G_replicated'
const COUNT = 20

testJava(
  'a Java consumer reads on from the slave, and a producer finds the new master',
  async (t) => {
    t.timeout(600_000)
    const { nameServer, master, slave } = await startMasterWithSlave(t)
    await using admin = await connect({ nameServers: nameServer })
    await admin.admin.topics.create({ name: TOPIC, queues: 2 })
    const common = { nameServer, topic: TOPIC }
    const produce = async (): Promise<void> => {
      const producer = await java(t, 'produce', { ...common, mode: 'sync', count: COUNT })
      await producer.ends()
      t.true(producer.of('sent').every((event) => event['status'] === 'SEND_OK'))
      t.is(producer.of('sent').length, COUNT)
    }
    const before = await java(t, 'push', { ...common, group: GROUP })
    await before.ready()
    await produce()
    await before.receives(COUNT)
    await before.stop()
    await produce()
    await master.kill()
    // What the consumer before has committed is in the log as well.
    const after = await java(t, 'push', { ...common, group: GROUP })
    const got = await after.receives(COUNT)
    t.true(got.length >= COUNT)
    await promote(slave)
    await eventually(async () => {
      const [entry] = await admin.admin.brokers()
      return entry?.addresses.get(0) === slave.address('remoting')
    })
    await produce()
    await after.receives(2 * COUNT)
  },
)
