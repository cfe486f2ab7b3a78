// The thread through the whole: a foreign client of one protocol publishes, foreign clients of the
// others receive, and what was acknowledged is there after kill -9.
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import { aliOns } from '../interop-tests/support/ali-ons-client.ts'
import { bodyOf } from '../interop-tests/support/foreign-client.ts'
import { connect } from '../src/client/index.ts'
import { bodyText, connectRhea } from './support/amqp/rhea-client.ts'
import { type SpawnedServer, spawnServer } from './support/server.ts'

const TOPIC = 'thread'

async function createTopic(server: SpawnedServer): Promise<void> {
  await using client = await connect({ nameServers: server.address('nameServer') })
  await client.admin.topics.create({ name: TOPIC })
}

/** Settles when every message was acknowledged. */
async function publish(server: SpawnedServer, bodies: readonly string[]): Promise<void> {
  const client = await mqtt.connectAsync(`mqtt://${server.address('mqtt')}`, { protocolVersion: 5 })
  for (const body of bodies) await client.publishAsync(`${TOPIC}/paid`, body, { qos: 1 })
  await client.endAsync()
}

/** 'tag body' of the first messages that a new group of ali-ons gets, sorted. */
async function receiveNative(
  t: ExecutionContext,
  server: SpawnedServer,
  group: string,
  count: number,
): Promise<readonly string[]> {
  const nameServer = server.address('nameServer')
  const consumer = aliOns(t, { role: 'consume', nameServer, topic: TOPIC, group })
  const got = await consumer.receives(count)
  await consumer.stop()
  return got.map((message) => `${message.tag} ${bodyOf(message)}`).toSorted()
}

/** The same over AMQP. */
async function receiveAmqp(
  t: ExecutionContext,
  server: SpawnedServer,
  group: string,
  count: number,
): Promise<readonly string[]> {
  const client = await connectRhea(t, server.port('amqp'))
  const receiver = await client.receiver(`/topics/${TOPIC}/groups/${group}`)
  const messages = await receiver.accept(count)
  await client.close()
  return messages.map((message) => `${message.subject} ${bodyText(message)}`).toSorted()
}

test('what mqtt.js was told is stored, ali-ons and rhea receive, before and after kill -9', async (t) => {
  const server = await spawnServer(t)
  await createTopic(server)
  await publish(server, ['one', 'two'])
  t.deepEqual(await receiveNative(t, server, 'native-1', 2), ['paid one', 'paid two'])
  t.deepEqual(await receiveAmqp(t, server, 'amqp-1', 2), ['paid one', 'paid two'])

  await publish(server, ['three'])
  await server.kill()
  await server.start()
  await publish(server, ['four'])
  const all = ['paid four', 'paid one', 'paid three', 'paid two']
  t.deepEqual(await receiveNative(t, server, 'native-2', 4), all)
  t.deepEqual(await receiveAmqp(t, server, 'amqp-2', 4), all)

  // A group goes on where it was: after a stop in order nothing it accepted comes again.
  t.is(await server.stop(), 0)
  await server.start()
  await publish(server, ['five'])
  t.deepEqual(await receiveAmqp(t, server, 'amqp-2', 1), ['paid five'])
})
