// The whole public API of the Java client of 5.5.0, asked of Apache RocketMQ 5.5.0 with its default
// configuration and of our server: the answers are the same, but for those named here.
import test, { type ExecutionContext } from 'ava'
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { java, javaClientMissing } from '../support/java-client.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: the API of the Java client, because ${missing}\n`)
  test.skip(`the API of the Java client: ${missing}`, (t) => t.pass())
}
const testJava = missing === undefined ? test.serial : test.skip

/** What we answer instead, and why. */
const DIFFERENCES: Readonly<Record<string, { readonly answer: string; readonly why: string }>> = {
  'push: by SQL92': { answer: '[m3, m5, m7]', why: 'conditions are on by default' },
  'push: by SQL92 that cannot be read': { answer: 'MQClientException 23', why: 'the same' },
  'lite: by SQL92': { answer: '[m1, m4]', why: 'the same' },
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
  'a recall': { answer: 'recalled', why: 'recall is on by default' },
  'a recall of one of two': { answer: 'm1, 1 stored', why: 'the same' },
  'a recall of what is delivered': { answer: 'MQBrokerException 604', why: 'the same' },
}

/** So many cases may be asked once more, alone: two dozen at once make a small machine late. */
const AGAIN_MAX = 5

/** Of the cases whose names begin with `only`. */
async function answers(
  t: ExecutionContext,
  nameServer: string,
  only = '',
): Promise<Map<string, string>> {
  const probe = await java(t, 'api', { nameServer, only })
  await probe.ends()
  return new Map(probe.of('case').map((event) => [String(event['name']), String(event['answer'])]))
}

testJava('the Java client is answered as by Apache RocketMQ 5.5.0', async (t) => {
  t.timeout(900_000)
  await using apache = await startApacheRocketmq()
  const server = await spawnServer(t)
  const theirs = await answers(t, apache.nameServer)
  const ours = await answers(t, server.address('nameServer'))
  t.true(theirs.size > 100)
  t.deepEqual([...ours.keys()].sort(), [...theirs.keys()].sort())
  const isNamed = (name: string): boolean => DIFFERENCES[name]?.answer === ours.get(name)
  const different = (): string[] => {
    return [...theirs].filter(([name, answer]) => ours.get(name) !== answer).map(([name]) => name)
  }
  for (const name of different()
    .filter((found) => !isNamed(found))
    .slice(0, AGAIN_MAX)) {
    t.log(`asked again: ${name}: Apache ${theirs.get(name)}, ours ${ours.get(name)}`)
    for (const [one, answer] of await answers(t, apache.nameServer, name)) theirs.set(one, answer)
    for (const [one, answer] of await answers(t, server.address('nameServer'), name)) {
      ours.set(one, answer)
    }
  }
  t.deepEqual(
    Object.fromEntries(different().map((name) => [name, ours.get(name)])),
    Object.fromEntries(Object.entries(DIFFERENCES).map(([name, { answer }]) => [name, answer])),
  )
})
