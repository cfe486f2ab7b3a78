// The unmodified Qpid JMS client through a gateway before two masters of a real Apache RocketMQ: the
// checks of interop-tests/amqp, and by name those that a cluster cannot pass.
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

const CHECKS = 34
const SELECTOR = /leave what its selector does not want .* \[condition = amqp:not-implemented\]/
/** What each says instead: docs/operate/gateway.md, "What is different". */
const REFUSED: ReadonlyMap<string, RegExp> = new Map([
  ['a selector chooses from a queue, and the rest stays', SELECTOR],
  ['consumers of one queue with selectors of their own', SELECTOR],
  ['a browser sees what was handed back', /NoSuchElementException/],
])
/** What is handed back comes after three seconds, and so perhaps behind what stood behind it. */
const OUT_OF_ORDER: ReadonlySet<string> = new Set([
  'consumers that close count nothing of what they did not look at',
  'messages that a transacted session received come again after a rollback',
  'a transacted session receives and sends',
])
const WRONG_ORDER = /expected (answer to )?m\d+ but got (answer to )?m\d+/

let apache: ApacheCluster
let before: BeforeCluster

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  apache = await startApacheCluster(['broker-a/0', 'broker-b/0'])
  before = new BeforeCluster(apache)
})
test.after.always(() => apache?.stop())

testJms('a JMS application finds its queues, topics and subscriptions', async (t) => {
  t.timeout(600_000)
  const server = await before.gateway(t)
  const client = await jms(t, `amqp://${server.address('amqp')}`)
  const events = await client.ends()
  t.is(events.at(-1)?.event, 'done')
  const checks = client.of('check')
  t.is(checks.length, CHECKS)
  for (const check of checks) {
    const [name, problem] = [String(check['name']), String(check['problem'])]
    const refusal = REFUSED.get(name)
    if (refusal !== undefined) t.regex(problem, refusal, name)
    else if (problem !== '' && OUT_OF_ORDER.has(name)) t.regex(problem, WRONG_ORDER, name)
    else t.is(problem, '', name)
  }
})
