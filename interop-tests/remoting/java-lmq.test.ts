// Light queues that a Java producer names in INNER_MULTI_DISPATCH and a Java consumer reads as
// `%LMQ%name`, of Apache RocketMQ 5.5.0 with these switched on and of our server.
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { askBoth, different } from '../support/api-probe.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testJava = needing('light queues of the Java client', missing)

/** What we answer instead, and why. */
const DIFFERENCES: Readonly<Record<string, { readonly answer: string; readonly why: string }>> = {
  'lmq: subscribed to by a push consumer': {
    answer: '[m0, m1, m2, m3]',
    why: 'the name server has a route for light queues',
  },
  'lmq: a name that is none': {
    answer: 'MQBrokerException 13',
    why: 'there it makes an entry in the queue of that name, of a topic perhaps; here it would do nothing',
  },
}

const SWITCHED_ON = { enableLmq: 'true', enableMultiDispatch: 'true', enablePropertyFilter: 'true' }

testJava('light queues named by Java producers are read as on Apache RocketMQ 5.5.0', async (t) => {
  t.timeout(600_000)
  await using apache = await startApacheRocketmq({ broker: SWITCHED_ON })
  const server = await spawnServer(t)
  const nameServers = { theirs: apache.nameServer, ours: server.address('nameServer') }
  const answers = await askBoth(t, nameServers, {
    only: 'lmq: ',
    isKnown: (name, answer) => DIFFERENCES[name]?.answer === answer,
  })
  const { theirs, ours } = answers
  t.true(theirs.size > 8)
  t.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort())
  t.deepEqual(
    Object.fromEntries(different(answers).map((name) => [name, ours.get(name)])),
    Object.fromEntries(Object.entries(DIFFERENCES).map(([name, { answer }]) => [name, answer])),
  )
})
