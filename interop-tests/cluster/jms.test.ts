// Qpid JMS through a gateway before two masters of a real Apache RocketMQ.
import test from 'ava'
import {
  type ApacheCluster,
  apacheRocketmqMissing,
  startApacheCluster,
} from '../support/apache-rocketmq.ts'
import { BeforeCluster } from '../support/before-cluster.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { jms } from '../support/jms-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await apacheRocketmqMissing()) ?? (await javaClientMissing())
const testJms = needing('Qpid JMS before Apache RocketMQ', missing)

let apache: ApacheCluster
let before: BeforeCluster

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  apache = await startApacheCluster(['broker-a/0', 'broker-b/0'])
  before = new BeforeCluster(apache)
})
test.after.always(() => apache?.stop())

testJms('a JMS application', async (t) => {
  t.timeout(600_000)
  const server = await before.gateway(t)
  const client = await jms(t, `amqp://${server.address('amqp')}`)
  const events = await client.ends()
  t.is(events.at(-1)?.event, 'done')
  const failed = client.of('check').filter(({ problem }) => problem !== '')
  for (const one of failed) t.log(JSON.stringify(one))
})
