// The unmodified Qpid JMS client against our server in a process of its own: queues, topics, subscriptions,
// browsers, redelivery, delays; and what is not offered fails in words.

import { spawnServer } from '../../test/support/server.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { jms } from '../support/jms-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJms = needing('every test with Qpid JMS', missing)

const CHECKS = 33

testJms('a JMS application finds its queues, topics and subscriptions', async (t) => {
  const server = await spawnServer(t)
  const client = await jms(t, `amqp://${server.address('amqp')}`)
  const events = await client.ends()
  t.is(events.at(-1)?.event, 'done')
  const checks = client.of('check')
  t.is(checks.length, CHECKS)
  for (const { name, problem } of checks) t.is(problem, '', String(name))
})
