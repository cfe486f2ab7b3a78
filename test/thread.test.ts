// The thread through the whole: a foreign client of one protocol publishes, foreign clients of the others
// receive, and what was acknowledged is there after kill -9.

import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import { connect } from '../src/client/index.ts'
import { onsConsumer } from './support/ali-ons.ts'
import { type SpawnedServer, spawnServer } from './support/server.ts'
import { eventually } from './support/waiting.ts'

async function createTopic(server: SpawnedServer, name: string): Promise<void> {
  await using client = await connect({ nameServers: server.address('nameServer') })
  await client.admin.topics.create({ name })
}

async function publish(server: SpawnedServer, bodies: readonly string[]): Promise<void> {
  const client = await mqtt.connectAsync(`mqtt://${server.address('mqtt')}`, { protocolVersion: 5 })
  for (const body of bodies) await client.publishAsync('thread/paid', body, { qos: 1 })
  await client.endAsync()
}

/** What an ali-ons consumer of a new group has received, growing. */
async function receive(t: ExecutionContext, server: SpawnedServer, group: string) {
  const received: string[] = []
  await onsConsumer(t, server.address('nameServer'), {
    group,
    topic: 'thread',
    handler: async (message) => {
      received.push(`${message.tags} ${message.body.toString()}`)
    },
  })
  return received
}

test('what mqtt.js was told is accepted, ali-ons receives, before and after kill -9', async (t) => {
  const server = await spawnServer(t)
  await createTopic(server, 'thread')
  await publish(server, ['one', 'two'])
  const before = await receive(t, server, 'thread-before')
  await eventually(async () => (before.length >= 2 ? true : undefined))
  t.deepEqual(before.toSorted(), ['paid one', 'paid two'])

  await publish(server, ['three'])
  await server.kill()
  await server.start()
  await publish(server, ['four'])
  const after = await receive(t, server, 'thread-after')
  await eventually(async () => (after.length >= 4 ? true : undefined))
  t.deepEqual(after.toSorted(), ['paid four', 'paid one', 'paid three', 'paid two'])
})
