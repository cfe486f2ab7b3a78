// One group of unmodified clients of every kind over two brokers of one topic: native members divide the queues of both
// by the list that one of them tells, MQTT and AMQP clients receive from both by a gateway. `TRIVET_MIXED_MESSAGES`
// says how many.
import type { ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { systemClock } from '../../src/clock.ts'
import { dial } from '../../src/remoting/connection.ts'
import { fields } from '../../test/support/native/native-front-end.ts'
import { type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import type { ForeignClient } from '../support/foreign-client.ts'
import { goMissing } from '../support/go-client.ts'
import { javaClientMissing } from '../support/java-client.ts'
import { createTopic, Group, produce, QUEUES_OF_RING } from '../support/load/mixed-group.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await goMissing())
const testAll = needing('a group of every kind of client over two brokers', missing)

/** On each broker. */
const QUEUES = 4
const MEMBERS_OF_GROUP = 38

async function membersAt(server: SpawnedServer, group: string): Promise<string> {
  const at = { host: '127.0.0.1', port: server.port('remoting'), clock: systemClock }
  const connection = await dial(at)
  const asked = { fields: fields({ consumerGroup: group }) }
  const { body } = await connection.request(MEMBERS_OF_GROUP, asked)
  connection.close()
  return Buffer.from(body).toString()
}

/** Two brokers, a gateway before them, and a group of a topic of both. */
async function overTwoBrokers(t: ExecutionContext, name: string, queues = QUEUES) {
  const first = await spawnServer(t)
  const nameServers = [first.address('nameServer')]
  const broker = { name: 'broker-b', nameServers }
  const brokers = [first, await spawnServer(t, { role: 'broker', config: { broker } })] as const
  let gateway: SpawnedServer | undefined
  const at = {
    address: (of: 'nameServer' | 'mqtt' | 'amqp') =>
      of === 'nameServer' ? nameServers[0]! : gateway!.address(of),
  }
  const group = new Group(t, at, name)
  await createTopic(group, queues)
  // A gateway knows the topics of its start.
  gateway = await spawnServer(t, { role: 'gateway', config: { cluster: { nameServers } } })
  const client = await connect({ nameServers })
  t.teardown(() => client.close())
  return { brokers, group, client }
}

testAll('natives of two brokers and clients of a gateway share a group', async (t) => {
  t.timeout(900_000)
  const { brokers, group, client } = await overTwoBrokers(t, 'brokers')
  const lists = (): Promise<string[]> =>
    Promise.all(brokers.map((server) => membersAt(server, group.group)))
  const mqtt = await group.perMessage('mqtt', 'mqtt-1')
  const one = await group.java('one')
  await one.ready()
  let two: ForeignClient
  let links: { close(): Promise<void> }
  await produce(group, [
    ['nothing', () => group.untilGiven(client, 'mqtt-1')],
    ['go joins', async () => (await group.go()).ready()],
    [
      'java two joins',
      async () => {
        two = await group.java('two')
        await two.ready()
      },
    ],
    ['nothing', () => group.untilGiven(client, 'java two')],
    [
      'amqp-1 joins',
      async () => {
        links = await group.perMessage('amqp', 'amqp-1')
      },
    ],
    ['nothing', () => group.untilGiven(client, 'amqp-1')],
    [
      'nothing',
      async () => {
        const [list] = await eventually(async () => {
          const [a, b] = await lists()
          return a === b && [a]
        })
        t.regex(list!, /0\.0\.0\.0@per-message-0/)
      },
    ],
    ['java one is killed', () => one.kill()],
    ['mqtt-1 leaves', () => mqtt.close()],
    ['java two leaves', () => two.stop()],
    ['amqp-1 leaves', () => links.close()],
  ])
  t.log(group.seen(), `came again after\n${group.cameAgain()}`)
  for (const { name, bodies } of group.members) t.true(bodies.length > 0, name)
})

for (const [strategy, queues] of [
  ['circle', QUEUES],
  ['hash', QUEUES_OF_RING / 2],
] as const) {
  testAll(
    `queues of two brokers that Java clients leave by ${strategy} are consumed`,
    async (t) => {
      t.timeout(300_000)
      const { group, client } = await overTwoBrokers(t, strategy, queues)
      for (const instance of ['one', 'two'])
        await (await group.java(instance, { strategy })).ready()
      await group.perMessage('mqtt', 'mqtt-1')
      await group.untilGiven(client, 'mqtt-1')
      const before = group.counts().size
      const count = 160
      for (let i = 0; i < count; i++) await client.send({ topic: group.topic, body: `last ${i}` })
      await group.until(before + count)
      t.log(group.seen(), `came again after\n${group.cameAgain()}`)
      t.pass()
    },
  )
}
