// The Broker port over a real cluster of Apache RocketMQ: two masters, and a slave of one of them.
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { systemClock } from '../../src/clock.ts'
import { type ClusterBroker, openClusterBroker } from '../../src/cluster/broker.ts'
import { brokerSuite, CLUSTER_DIFFERENCES } from '../../test/conformance/broker.ts'
import {
  type ApacheCluster,
  apacheRocketmqMissing,
  startApacheCluster,
} from '../support/apache-rocketmq.ts'

/** Longer than messages stay with their consumers here, and the three seconds of a broker. */
const PASS_MS_MAX = 36_000

const missing = await apacheRocketmqMissing()

if (missing === undefined) {
  let apache: ApacheCluster
  let broker: ClusterBroker
  test.before(async (t) => {
    t.timeout(400_000)
    const settings = { broker: { recallMessageEnable: 'true' } }
    apache = await startApacheCluster(['broker-a/0', 'broker-a/1', 'broker-b/0'], settings)
    const options = { nameServers: [apache.nameServer] }
    broker = await openClusterBroker({ clock: systemClock, name: 'gateway', options })
  })
  test.after.always(async () => {
    await broker?.close()
    await apache?.stop()
  })
  brokerSuite(
    () => ({ port: broker, pass: (ms) => delay(Math.min(ms, PASS_MS_MAX)), now: () => Date.now() }),
    { ...CLUSTER_DIFFERENCES, tries: 2 },
  )
} else {
  process.stderr.write(`SKIPPED: the Broker port over Apache RocketMQ, because ${missing}\n`)
  test.skip(`the Broker port over Apache RocketMQ: ${missing}`, (t) => t.pass())
}
