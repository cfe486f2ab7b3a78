// The whole public API of the Java client of 5.5.0, asked of our server and of Apache RocketMQ 5.5.0, where recall
// and conditions by SQL92 are switched on as they are here: the answers are the same, but for those named.
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { askBoth, different } from '../support/api-probe.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testJava = needing('the API of the Java client', missing)

/** What we answer instead, and why. */
const DIFFERENCES: Readonly<Record<string, { readonly answer: string; readonly why: string }>> = {
  'lite: queues of a topic that is not there': {
    answer: '4',
    why: 'lite pull consumers are told the route that a topic will have',
  },
  "send result's transaction id": {
    answer: 'false DefaultRegion',
    why: 'it is the message id, which the client made; a send has no transaction',
  },
  'admin: connections of a group without members': {
    answer: 'MQBrokerException 206',
    why: 'the route of a retry topic is known, so the broker is asked, and says that none is online',
  },
  'topic: a send that knows the route, perm 4': {
    answer: 'MQClientException 16 by MQBrokerException 16',
    why: 'a permission that an operator takes away is gone for all senders at once',
  },
}

testJava('the Java client is answered as by Apache RocketMQ 5.5.0', async (t) => {
  t.timeout(900_000)
  const broker = { recallMessageEnable: 'true', enablePropertyFilter: 'true' }
  await using apache = await startApacheRocketmq({ broker })
  const server = await spawnServer(t)
  const nameServers = { theirs: apache.nameServer, ours: server.address('nameServer') }
  const answers = await askBoth(t, nameServers, {
    isKnown: (name, answer) => DIFFERENCES[name]?.answer === answer,
  })
  const { theirs, ours } = answers
  t.like(Object.fromEntries(ours), {
    'a recall': 'recalled',
    'a recall of one of two': 'm1, 1 stored',
    'a recall of what is delivered': 'MQBrokerException 604',
    'push: by SQL92': '[m3, m5, m7]',
  })
  t.true(theirs.size > 100)
  t.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort())
  t.deepEqual(
    Object.fromEntries(different(answers).map((name) => [name, ours.get(name)])),
    Object.fromEntries(Object.entries(DIFFERENCES).map(([name, { answer }]) => [name, answer])),
  )
})
