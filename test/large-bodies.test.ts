// Messages beyond RocketMQ's default size, where the operator allows them: in every protocol, over
// a kill, and after the limit is lowered again.
import { createHash, randomBytes } from 'node:crypto'
import test from 'ava'
import { type Client, connect } from '../src/client/index.ts'
import { connectRhea, type RheaReceiver } from './support/amqp/rhea-client.ts'
import { mqttClient, type TestClient } from './support/mqtt/mqtt.ts'
import { spawnServer, startServer } from './support/server.ts'
import { tempDir } from './support/temp-dir.ts'

const BYTES = 16 * 1024 * 1024

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Of different bodies; a sender that got no answer in time has sent its message again. */
async function differentSums(bodies: AsyncIterable<Uint8Array>, count: number): Promise<string[]> {
  const sums = new Set<string>()
  for await (const body of bodies) {
    sums.add(sumOf(body))
    if (sums.size === count) break
  }
  return [...sums].sort()
}

async function* nativeBodies(client: Client): AsyncGenerator<Uint8Array> {
  for await (const { body } of client.read({ topic: 'large', from: 'first' })) yield body
}

async function* mqttBodies(client: TestClient): AsyncGenerator<Uint8Array> {
  for (let at = 0; ; at++) yield (await client.messages(at + 1))[at]!.payload
}

async function* amqpBodies(receiver: RheaReceiver): AsyncGenerator<Uint8Array> {
  for (;;) {
    const [message] = await receiver.accept(1)
    yield (message!.body as { content: Buffer }).content ?? message!.body
  }
}

test('a message of 16 MiB goes through every protocol, over a kill, and under a lower limit later', async (t) => {
  const dataDir = await tempDir(t)
  const [first, second, third] = [0, 1, 2].map(() => Buffer.alloc(BYTES, randomBytes(4099)))
  const sums = [first!, second!, third!].map(sumOf).sort()
  // A segment is smaller than its frame.
  const config = { dataDir, broker: { bodyBytesMax: BYTES }, store: { segmentBytes: 8_388_608 } }
  const server = await spawnServer(t, { config })
  const client = await connect({
    broker: server.address('remoting'),
    bodyBytesMax: BYTES,
    timeoutMs: 60_000,
  })
  t.teardown(() => client.close())
  const watcher = await mqttClient(t, server.port('mqtt'), 5)
  await watcher.subscribe('large')
  await client.send({ topic: 'large', body: first! })
  const publisher = await mqttClient(t, server.port('mqtt'), 4)
  await publisher.publish('large', second!, { retain: true })
  const amqp = await connectRhea(t, server.port('amqp'))
  const sender = await amqp.sender('large')
  t.is((await sender.send({ body: third! })).kind, 'accepted')
  t.deepEqual(await differentSums(mqttBodies(watcher), 3), sums)
  await server.kill()

  const again = await startServer(t, { config: { dataDir } })
  const native = await connect({ broker: again.address('remoting') })
  t.teardown(() => native.close())
  t.deepEqual(await differentSums(nativeBodies(native), 3), sums)
  const reader = await connectRhea(t, again.port('amqp'))
  const source = { address: 'large', distribution_mode: 'copy' }
  const receiver = await reader.receiver({ source, snd_settle_mode: 1 })
  t.deepEqual(await differentSums(amqpBodies(receiver), 3), sums)
  const late = await mqttClient(t, again.port('mqtt'), 4)
  await late.subscribe('large')
  const [retained] = await late.messages(1)
  t.is(sumOf(retained!.payload), sumOf(second!))
})
