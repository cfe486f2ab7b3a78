// Two masters of Apache RocketMQ and a slave of the first one, which go away and come back under a
// gateway.
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { type ClusterBroker, openClusterBroker } from '../../src/cluster/broker.ts'
import { BrokerError } from '../../src/errors.ts'
import type { ReceivedMessage } from '../../src/model/message.ts'
import { RecordView } from '../../src/model/record.ts'
import { newMessage, receiptsOf, receiveRequest, topicOf } from '../../test/support/broker.ts'
import {
  type ApacheCluster,
  apacheRocketmqMissing,
  startApacheCluster,
} from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: masters of Apache RocketMQ, because ${missing}\n`)
  test.skip(`masters of Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

let apache: ApacheCluster
let broker: ClusterBroker

test.before(async (t) => {
  t.timeout(600_000)
  if (missing !== undefined) return
  apache = await startApacheCluster(['broker-a/0', 'broker-a/1', 'broker-b/0'])
  const options = { nameServers: [apache.nameServer] }
  broker = await openClusterBroker({ clock: systemClock, name: 'gateway', options })
})
test.after.always(async () => {
  await broker?.close()
  await apache?.stop()
})

async function publish(topic: string, from: number, to: number, name?: string): Promise<string[]> {
  const bodies = Array.from({ length: to - from }, (_, i) => `${from + i}`)
  const where = name === undefined ? {} : { brokerName: name, queueId: 0 }
  for (const body of bodies) {
    const [result] = await broker.publish([newMessage(topic, { body, ...where })])
    if (result instanceof BrokerError) throw result
  }
  return bodies
}

const bodyOf = ({ record }: ReceivedMessage): string => new RecordView(record).body.toString()

/** Acknowledges what it takes, until so many different ones were there. */
async function take(t: ExecutionContext, topic: string, group: string, count: number) {
  const taken: string[] = []
  for (let empty = 0; new Set(taken).size < count; ) {
    const request = receiveRequest(topic, group, { waitMs: 5_000, invisibleMs: 30_000 })
    const messages = await broker.receive({ ...request, maxMessages: 32 })
    taken.push(...messages.map(bodyOf))
    t.true((await broker.ack(receiptsOf(messages))).every((result) => result === null))
    empty = messages.length === 0 ? empty + 1 : 0
    if (empty > 20) throw new Error(`${new Set(taken).size} of ${count} came`)
  }
  return taken
}

testAll(
  'a master that is killed keeps neither publishers nor consumers from the other',
  async (t) => {
    t.timeout(200_000)
    await broker.topics.put(topicOf('killed', 2))
    await broker.groups.ensure('killed')
    const before = await publish('killed', 0, 20)
    await apache.broker('broker-b/0').kill()
    const after = await publish('killed', 20, 60)
    const there = await take(t, 'killed', 'killed', 40)
    await apache.broker('broker-b/0').start()
    const late = await publish('killed', 60, 70, 'broker-b')
    const all = [...before, ...after, ...late]
    const missed = new Set(all.filter((body) => !there.includes(body)))
    for (const body of await take(t, 'killed', 'killed', missed.size)) missed.delete(body)
    t.deepEqual([...missed], [])
  },
)

testAll('a slave whose master is gone hands out nothing again', async (t) => {
  t.timeout(200_000)
  await broker.topics.put(topicOf('slave', 1))
  await broker.groups.ensure('slave')
  await publish('slave', 0, 10, 'broker-a')
  t.is((await take(t, 'slave', 'slave', 10)).length, 10)
  await apache.broker('broker-a/0').kill()
  const request = receiveRequest('slave', 'slave', { waitMs: 8_000 })
  t.deepEqual((await broker.receive(request)).map(bodyOf), [])
  await publish('slave', 10, 20)
  t.is((await take(t, 'slave', 'slave', 10)).length, 10)
  await apache.broker('broker-a/0').start()
})
