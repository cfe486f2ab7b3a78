// Light queues that a Java producer names in INNER_MULTI_DISPATCH and a Java consumer reads as
// `%LMQ%name`, of Apache RocketMQ 5.5.0 with these switched on and of our server.
import test, { type ExecutionContext } from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { java, javaClientMissing } from '../support/java-client.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: light queues of the Java client, because ${missing}\n`)
  test.skip(`light queues of the Java client: ${missing}`, (t) => t.pass())
}
const testJava = missing === undefined ? test.serial : test.skip

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

async function answers(t: ExecutionContext, nameServer: string): Promise<Map<string, string>> {
  const probe = await java(t, 'api', { nameServer, only: 'lmq: ' })
  await probe.ends()
  return new Map(probe.of('case').map((event) => [String(event['name']), String(event['answer'])]))
}

testJava('light queues named by Java producers are read as on Apache RocketMQ 5.5.0', async (t) => {
  t.timeout(600_000)
  await using apache = await startApacheRocketmq({ broker: SWITCHED_ON })
  const server = await spawnServer(t)
  const theirs = await answers(t, apache.nameServer)
  const ours = await answers(t, server.address('nameServer'))
  t.true(theirs.size > 8)
  const expected = new Map(theirs)
  for (const [name, { answer }] of Object.entries(DIFFERENCES)) expected.set(name, answer)
  t.deepEqual(Object.fromEntries(ours), Object.fromEntries(expected))
})
