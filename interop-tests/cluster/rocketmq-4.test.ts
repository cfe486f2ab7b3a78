// A gateway before Apache RocketMQ 4.9.7, which has no POP.
import { systemClock } from '../../src/clock.ts'
import { openClusterBroker } from '../../src/cluster/broker.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { needing } from '../support/needing.ts'

const testApache = needing('a gateway before RocketMQ 4', await apacheRocketmqMissing())

testApache('a gateway does not start, and names the broker', async (t) => {
  t.timeout(300_000)
  await using apache = await startApacheRocketmq({ version: '4.9.7' })
  const options = { nameServers: [apache.nameServer] }
  const opening = openClusterBroker({ clock: systemClock, name: 'gateway', options })
  const error = await t.throwsAsync(opening, { code: 'NOT_SUPPORTED' })
  t.regex(error!.message, /broker 'broker-a' at \S+ is of RocketMQ 4/)
})
