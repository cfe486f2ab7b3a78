// One group of unmodified clients of every kind: two Java members and one of Go, which share its
// queues among themselves, and one over MQTT and one over AMQP, which share per message. Members
// join, leave and are killed while messages come. `TRIVET_MIXED_MESSAGES` says how many. With
// `TRIVET_MIXED_NATIVES=apache` native members alone do the same with a broker of Apache's, with
// `trivet` with this one, to compare what comes again.

import { setTimeout as delay } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { connect } from '../src/client/index.ts'
import { spawnServer } from '../test/support/server.ts'
import { startApacheRocketmq } from './support/apache-rocketmq.ts'
import type { ForeignClient } from './support/foreign-client.ts'
import { goMissing } from './support/go-client.ts'
import { javaClientMissing, mqadmin } from './support/java-client.ts'
import {
  createTopic,
  Group,
  type Listening,
  outOfOrder,
  produce,
  QUEUES,
  QUEUES_OF_RING,
} from './support/load/mixed-group.ts'
import { needing } from './support/needing.ts'

const missing = (await javaClientMissing()) ?? (await goMissing())
const testAll = needing('a group of every kind of client', missing)

testAll('clients of every kind share a group while members come and go', async (t) => {
  t.timeout(900_000)
  const server = await spawnServer(t)
  const group = new Group(t, server, 'everybody')
  await createTopic(group)
  const mqtt = await group.perMessage('mqtt', 'mqtt-1')
  const first = await group.java('one')
  await first.ready()
  let second: ForeignClient
  let links: { close(): Promise<void> }
  await produce(group, [
    ['go joins', async () => (await group.go()).ready()],
    [
      'java two joins',
      async () => {
        second = await group.java('two')
        await second.ready()
      },
    ],
    [
      'amqp-1 joins',
      async () => {
        links = await group.perMessage('amqp', 'amqp-1')
      },
    ],
    [
      'nothing',
      async () => {
        const shown = await mqadmin('consumerConnection', '-n', group.nameServer, '-g', group.group)
        t.regex(shown, /0\.0\.0\.0@/)
      },
    ],
    ['java one is killed', () => first.kill()],
    ['mqtt-1 leaves', () => mqtt.close()],
    ['java two leaves', () => second.stop()],
    ['amqp-1 leaves', () => links.close()],
  ])
  t.log(group.seen(), `came again after\n${group.cameAgain()}`)
  t.pass()
})

const peer = process.env['TRIVET_MIXED_NATIVES']
const testNatives = peer === undefined ? test.skip : testAll

testNatives('native clients alone come and leave as those of every kind', async (t) => {
  t.timeout(900_000)
  const server = peer === 'apache' ? await apache(t) : await spawnServer(t)
  const group = new Group(t, server, 'natives')
  await createTopic(group)
  const clients = new Map<string, ForeignClient>()
  const join = async (instance: string): Promise<void> => {
    const client = await group.java(instance)
    clients.set(instance, client)
    await client.ready()
  }
  const leave = (instance: string): Promise<void> => clients.get(instance)!.stop()
  for (const instance of ['zero', 'one']) await join(instance)
  await produce(group, [
    ['go joins', async () => (await group.go()).ready()],
    ['java two joins', () => join('two')],
    ['java three joins', () => join('three')],
    ['nothing', async () => {}],
    ['java one is killed', async () => clients.get('one')!.kill()],
    ['java zero leaves', () => leave('zero')],
    ['java two leaves', () => leave('two')],
    ['java three leaves', () => leave('three')],
  ])
  t.log(group.seen(), `came again after\n${group.cameAgain()}`)
  t.pass()
})

async function apache(t: ExecutionContext): Promise<Listening> {
  const started = await startApacheRocketmq()
  t.teardown(() => started.stop())
  return { address: () => started.nameServer }
}

for (const strategy of ['average', 'circle', 'hash']) {
  testAll(
    `queues that Java clients leave by ${strategy} are consumed, each message once`,
    async (t) => {
      const server = await spawnServer(t)
      const group = new Group(t, server, strategy)
      await createTopic(group, strategy === 'hash' ? QUEUES_OF_RING : QUEUES)
      for (const instance of ['one', 'two'])
        await (await group.java(instance, { strategy })).ready()
      await group.perMessage('mqtt', 'mqtt-1')
      const client = await connect({ nameServers: [group.nameServer] })
      t.teardown(() => client.close())
      await group.untilGiven(client, 'mqtt-1')
      await delay(10_000)
      const before = group.counts().size
      const count = 20 * QUEUES
      for (let i = 0; i < count; i++) await client.send({ topic: group.topic, body: `last ${i}` })
      await group.until(before + count)
      const last = [...group.counts()].filter(([body]) => body.startsWith('last'))
      t.true(last.every(([, times]) => times === 1))
      t.log(group.seen())
    },
  )
}

testAll('orderly Java clients and an MQTT client keep the order of each key', async (t) => {
  t.timeout(300_000)
  const server = await spawnServer(t)
  const group = new Group(t, server, 'ordered')
  await createTopic(group)
  const first = await group.java('one', { orderly: true })
  await first.ready()
  let mqtt: { close(): Promise<void> }
  await produce(group, [
    [
      'mqtt-1 joins',
      async () => {
        mqtt = await group.perMessage('mqtt', 'mqtt-1')
      },
    ],
    ['nothing', () => delay(5_000)],
    ['java two joins', async () => (await group.java('two', { orderly: true })).ready()],
    ['nothing', () => delay(5_000)],
    ['mqtt-1 leaves', () => mqtt.close()],
    ['amqp-1 joins', () => group.perMessage('amqp', 'amqp-1')],
    ['java one leaves', () => first.stop()],
  ])
  t.log(group.seen())
  t.deepEqual(outOfOrder(group.heard), [])
})
