// Recall by the Java client: Apache RocketMQ 5.5.0, where it is switched on, and our server, where it is on
// by default, answer the same.

import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { askBoth } from '../support/api-probe.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testJava = needing('recall by the Java client', missing)

testJava('a recall is answered as by a broker of Apache with recallMessageEnable', async (t) => {
  await using apache = await startApacheRocketmq({ broker: { recallMessageEnable: 'true' } })
  const server = await spawnServer(t)
  const nameServers = { theirs: apache.nameServer, ours: server.address('nameServer') }
  const { theirs, ours } = await askBoth(t, nameServers, { only: 'a recall' })
  t.deepEqual(ours, theirs)
  t.like(Object.fromEntries(ours), {
    'a recall': 'recalled',
    'a recall of one of two': 'm1, 1 stored',
    'a recall of what is delivered': 'MQBrokerException 604',
  })
})
