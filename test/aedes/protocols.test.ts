// Clients of aedes and of the broker's own protocols share topics, each over a broker in the same
// process and over one that is reached as the SDK reaches it.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import test, { type ExecutionContext } from 'ava'
import {
  type AedesBroker,
  type AedesPersistence,
  createEmitter,
  createPersistence,
} from '../../src/aedes/index.ts'
import { connect } from '../../src/client/index.ts'
import { type RunningServer, startTemporaryServer } from '../../src/in-process.ts'
import { silentLogger } from '../../src/log.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { mqttClient, persistent } from '../support/mqtt/mqtt.ts'
import { freePort } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'
import { startAedes } from './running-aedes.ts'

async function serve(t: ExecutionContext): Promise<RunningServer> {
  const server = await startTemporaryServer({ logger: silentLogger })
  t.teardown(() => server.close())
  return server
}

async function sdk(t: ExecutionContext, { nameServers }: RunningServer) {
  const mq = await connect({ nameServers })
  t.teardown(() => mq.close())
  return mq
}

const WAYS: readonly [string, (server: RunningServer) => AedesBroker][] = [
  ['in this process', (server) => ({ server })],
  ['elsewhere', ({ nameServers }) => ({ nameServers })],
]

for (const [where, of] of WAYS) {
  test(`${where}: what a client of aedes publishes is a message for clients of every protocol`, async (t) => {
    const server = await serve(t)
    const mq = await sdk(t, server)
    await mq.admin.topics.create({ name: 'orders', queues: 2 })
    const { client } = await startAedes(t, of(server))
    const own = await mqttClient(t, server.address('mqtt').port, 5)
    await own.subscribe('orders/#')
    const publisher = await client()
    await publisher.publish('orders/paid/42', 'hello')
    await publisher.publish('no/topic/of/its/own', 'caught', { qos: 2 })

    const [seen] = await own.messages(1)
    t.like(seen, { topic: 'orders/paid/42', text: 'hello', qos: 1 })
    for await (const delivery of mq.subscribe({
      group: 'billing',
      topic: 'orders',
      from: 'first',
    })) {
      t.like(delivery, { tag: 'paid', keys: ['42'] })
      t.is(delivery.text(), 'hello')
      await delivery.ack()
      break
    }
    for await (const delivery of mq.subscribe({ group: 'rest', topic: 'MQTT', from: 'first' })) {
      t.is(delivery.text(), 'caught')
      await delivery.ack()
      break
    }
  })

  test(`${where}: what clients of every protocol send comes to subscribers of aedes`, async (t) => {
    const server = await serve(t)
    const mq = await sdk(t, server)
    await mq.admin.topics.create({ name: 'orders', queues: 2 })
    const { client } = await startAedes(t, of(server))
    const subscriber = await client()
    await subscriber.subscribe(['orders/#', 'rooms/+/heat'])
    await mq.send({ topic: 'orders', tag: 'paid', body: 'native' })
    const own = await mqttClient(t, server.address('mqtt').port, 5)
    await own.publish('rooms/7/heat', 'mqtt')
    const amqp = await connectRhea(t, server.address('amqp').port)
    const sender = await amqp.sender('/topics/orders')
    await sender.send({ body: 'amqp' })

    const seen = await subscriber.messages(3)
    const told = seen.map(({ topic, text, qos }) => `${topic} ${text} ${qos}`)
    t.true(told.includes('orders/paid native 1'), told.join())
    t.true(told.includes('rooms/7/heat mqtt 1'), told.join())
    t.true(
      told.some((one) => one.startsWith('orders ')),
      told.join(),
    )
  })

  test(`${where}: two aedes before one broker share messages, clients and sessions`, async (t) => {
    const server = await serve(t)
    const [one, other] = [await startAedes(t, of(server)), await startAedes(t, of(server))]
    const subscriber = await one.client(persistent('meter'))
    await subscriber.subscribe('a/#')
    const publisher = await other.client()
    const acknowledged = once(one.aedes, 'ack')
    await publisher.publish('a/1', 'first')
    await acknowledged
    t.deepEqual(subscriber.texts, ['first'])

    const ended = new Promise((resolve) =>
      subscriber.client.once('close', () => resolve(undefined)),
    )
    const again = await other.client(persistent('meter'))
    await ended
    await publisher.publish('a/2', 'second')
    t.deepEqual(
      (await again.messages(1)).map(({ text }) => text),
      ['second'],
    )
  })

  test(`${where}: a session that is away is given what native clients and others sent since`, async (t) => {
    const server = await serve(t)
    const mq = await sdk(t, server)
    await mq.admin.topics.create({ name: 'orders', queues: 2 })
    const { client } = await startAedes(t, of(server))
    const before = await client(persistent('meter'))
    await before.subscribe(['orders/#', 'a/b'], { qos: 1 })
    const publisher = await client()
    await publisher.publish('a/b', 'while it is there')
    await before.messages(1)
    await before.end()
    await mq.send({ topic: 'orders', tag: 'paid', body: 'native' })
    await publisher.publish('a/b', 'not kept', { qos: 0 })
    await publisher.publish('a/b', 'aedes')
    await publisher.publish('a/c', 'of no filter')

    const again = await client(persistent('meter'))
    const seen = await again.messages(2)
    t.deepEqual(seen.map(({ text }) => text).sort(), ['aedes', 'native'])
    await publisher.publish('a/b', 'live')
    await again.messages(3)
    t.is(again.texts[2], 'live')
  })

  test(`${where}: a message that was not acknowledged comes again, one that was does not`, async (t) => {
    const server = await serve(t)
    const { client, aedes } = await startAedes(t, of(server))
    let holdsBack = false
    const before = await client(persistent('meter'))
    before.client.handleMessage = (_packet, done) => {
      if (!holdsBack) done()
    }
    await before.subscribe('a/#')
    const publisher = await client()
    const acknowledged = once(aedes, 'ack')
    await publisher.publish('a/1', 'acknowledged')
    await acknowledged
    holdsBack = true
    await publisher.publish('a/1', 'not acknowledged')
    await before.messages(2)
    await before.cut()

    const again = await client(persistent('meter'))
    await publisher.publish('a/1', 'last')
    const seen = await again.messages(2)
    t.deepEqual(seen.map(({ text, dup }) => [text, dup]).sort(), [
      ['last', false],
      ['not acknowledged', true],
    ])
  })

  test(`${where}: overlapping filters of a session give it a message once`, async (t) => {
    const server = await serve(t)
    const { client } = await startAedes(t, of(server))
    const before = await client(persistent('meter'))
    await before.subscribe(['a/#', 'a/b', '+/b'])
    const publisher = await client()
    for (let i = 0; i < 20; i++) await publisher.publish('a/b', `${i}`)
    await before.messages(20)
    await before.end()
    await publisher.publish('a/b', 'later')
    const again = await client(persistent('meter'))
    await publisher.publish('a/b', 'last')
    await again.messages(2)
    t.deepEqual(before.texts, [...Array(20).keys()].map(String))
    t.deepEqual(again.texts.sort(), ['last', 'later'])
  })

  test(`${where}: retained messages and wills`, async (t) => {
    const server = await serve(t)
    const { client } = await startAedes(t, of(server))
    const publisher = await client({
      will: { topic: 'gone/a', payload: Buffer.from('bye'), qos: 1, retain: false },
    })
    await publisher.publish('state/a', 'on', { retain: true })
    await publisher.publish('state/b', 'on', { retain: true })
    await publisher.publish('state/b', '', { retain: true })
    const subscriber = await client()
    await subscriber.subscribe(['state/#', 'gone/#'])
    const [kept] = await subscriber.messages(1)
    t.like(kept, { topic: 'state/a', text: 'on', retain: true })
    await publisher.cut()
    await subscriber.messages(2)
    t.like(subscriber.received[1], { topic: 'gone/a', text: 'bye', retain: false })
  })
}

test('retained messages are those of the MQTT front-end in the same process', async (t) => {
  const server = await serve(t)
  const { client } = await startAedes(t, { server })
  const own = await mqttClient(t, server.address('mqtt').port, 5)
  await own.publish('state/a', 'of mqtt', { retain: true })
  await (await client()).publish('state/b', 'of aedes', { retain: true })
  await own.subscribe('state/+')
  t.deepEqual((await own.messages(2)).map(({ text }) => text).sort(), ['of aedes', 'of mqtt'])
  const subscriber = await client()
  await subscriber.subscribe('state/+')
  const texts = (await subscriber.messages(2)).map(({ text }) => text)
  t.deepEqual(texts.sort(), ['of aedes', 'of mqtt'])
})

test('a QoS 1 message that cannot be stored is not acknowledged with storeFirst', async (t) => {
  const server = await serve(t)
  const { client } = await startAedes(t, { server, onError: () => {} })
  const publisher = await client()
  await publisher.publish('a/b', 'stored')
  const closed = new Promise((resolve) => publisher.client.once('close', () => resolve(undefined)))
  await server.close()
  let isAcknowledged = false
  publisher.client.publish('a/b', 'lost', { qos: 1 }, (error) => {
    isAcknowledged = !error
  })
  await closed
  t.false(isAcknowledged)
})

test('a QoS 2 packet that is kept is in the log with it: a crash before its publication loses nothing', async (t) => {
  const server = await serve(t)
  const { aedes } = await startAedes(t, { server })
  const persistence = Reflect.get(aedes, 'persistence') as AedesPersistence
  const packet = { topic: 'a/b', payload: Buffer.from('once'), qos: 2, messageId: 7 }
  await persistence.incomingStorePacket({ id: 'meter' }, packet)
  const mq = await sdk(t, server)
  for await (const delivery of mq.subscribe({ group: 'rest', topic: 'MQTT', from: 'first' })) {
    t.is(delivery.text(), 'once')
    break
  }
  // Sent again, it is acknowledged and not published.
  t.is((await persistence.incomingGetPacket({ id: 'meter' }, packet)).messageId, 7)
  await persistence.incomingDelPacket({ id: 'meter' }, packet)
  await t.throwsAsync(persistence.incomingGetPacket({ id: 'meter' }, packet))
})

test('a session that asks for QoS 1 instead of 0 is given what comes from then on', async (t) => {
  const server = await serve(t)
  const { client } = await startAedes(t, { server })
  const publisher = await client()
  await publisher.publish('a/b', 'before')
  const meter = await client(persistent('meter'))
  await meter.subscribe('a/b', { qos: 0 })
  await publisher.publish('a/b', 'at QoS 0')
  await meter.messages(1)
  await meter.subscribe('a/b', { qos: 1 })
  await meter.end()
  await publisher.publish('a/b', 'at QoS 1')
  const back = await client(persistent('meter'))
  await back.messages(1)
  t.deepEqual(back.texts, ['at QoS 1'])
})

test('a name of another protocol with more levels than aedes takes is passed over', async (t) => {
  const server = await serve(t)
  const troubles: string[] = []
  const onError = ({ message }: Error) => void troubles.push(message)
  const { client } = await startAedes(t, { server, onError })
  const mq = await sdk(t, server)
  await mq.admin.topics.create({ name: 'orders', queues: 1 })
  const subscriber = await client()
  await subscriber.subscribe('orders/#')
  await mq.send({ topic: 'orders', tag: Array(100).fill('a').join('/'), body: 'deep' })
  await mq.send({ topic: 'orders', tag: 'paid', body: 'next' })
  await subscriber.messages(1)
  t.deepEqual(subscriber.texts, ['next'])
  t.is(troubles.length, 1)
})

test('a retained QoS 2 message leaves a kept session connected', async (t) => {
  const server = await serve(t)
  const { client } = await startAedes(t, { server })
  await (await client()).publish('state/a', 'on', { qos: 2, retain: true })
  const meter = await client(persistent('meter'))
  await meter.subscribe('state/a', { qos: 2 })
  await meter.messages(1)
  await meter.publish('state/b', 'still here')
  t.deepEqual(meter.texts, ['on'])
})

test('a broker that starts after aedes is waited for', async (t) => {
  const port = await freePort()
  const troubles: string[] = []
  const onError = ({ code }: { code: string }) => void troubles.push(code)
  const persistence = createPersistence({ nameServers: `127.0.0.1:${port}`, onError })
  const setting = persistence.setup({ id: 'aedes' })
  await eventually(async () => troubles.length > 0)
  const server = await startTemporaryServer({ config: { nameServer: { port } } })
  t.teardown(() => server.close())
  await setting
  await persistence.putWill({ id: 'meter' }, { topic: 'gone/meter', payload: Buffer.from('bye') })
  t.is((await persistence.getWill({ id: 'meter' }))?.topic, 'gone/meter')
  await persistence.destroy()
})

test('an emitter beside the persistence of another package publishes to the broker too', async (t) => {
  const server = await serve(t)
  const mq = createEmitter({ server })
  const aedes = await Aedes.createBroker({ mq })
  const listener = createServer(aedes.handle)
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    listener.close()
    aedes.close()
  })
  const own = await mqttClient(t, server.address('mqtt').port, 4)
  await own.subscribe('a/#')
  const { port } = listener.address() as { port: number }
  await (await mqttClient(t, port, 4)).publish('a/b', 'hello')
  t.is((await own.messages(1))[0]!.text, 'hello')
})
