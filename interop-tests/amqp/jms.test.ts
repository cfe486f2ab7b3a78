// The unmodified Qpid JMS client against our server in a process of its own: queues, topics, subscriptions,
// browsers, redelivery, delays; and what is not offered fails in words.

import { hashPassword } from '../../src/access/secrets/password.ts'
import { makeScramKeys, scramText } from '../../src/access/secrets/scram-keys.ts'
import { spawnServer } from '../../test/support/server.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { jms } from '../support/jms-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJms = needing('every test with Qpid JMS', missing)

const CHECKS = 34
const PASSWORD = 'correct-horse'

testJms('a JMS application finds its queues, topics and subscriptions', async (t) => {
  const server = await spawnServer(t)
  const client = await jms(t, `amqp://${server.address('amqp')}`)
  const events = await client.ends()
  t.is(events.at(-1)?.event, 'done')
  const checks = client.of('check')
  t.is(checks.length, CHECKS)
  for (const { name, problem } of checks) t.is(problem, '', String(name))
})

for (const [mechanism, password, isLetIn] of [
  // The client's own choice, which is the strongest that is offered.
  ['', PASSWORD, true],
  ['SCRAM-SHA-256', PASSWORD, true],
  ['SCRAM-SHA-256', 'wrong', false],
  ['PLAIN', PASSWORD, true],
] as const) {
  const way = mechanism === '' ? 'its own choice' : mechanism
  testJms(
    `a JMS client with ${isLetIn ? 'the right' : 'a wrong'} password, by ${way}`,
    async (t) => {
      const users = {
        ann: {
          password: await hashPassword(PASSWORD),
          scram: scramText(await makeScramKeys(PASSWORD)),
          admin: true,
        },
      }
      const server = await spawnServer(t, { config: { users } })
      const only = mechanism === '' ? '' : `&amqp.saslMechanisms=${mechanism}`
      const user = `jms.username=ann&jms.password=${password}${only}`
      const client = await jms(t, `amqp://${server.address('amqp')}?${user}`, 'headers')
      await client.ends()
      const [{ problem } = { problem: undefined }] = client.of('check')
      if (isLetIn) t.is(problem, '')
      else t.regex(String(problem), /JMSSecurity\w*Exception/)
    },
  )
}
