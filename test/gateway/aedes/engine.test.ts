// MQTT 3.1 and 3.1.1 by aedes inside the server: users, limits and promises are those of our own
// engine. Clients are mqtt.js.
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import type { User } from '../../../src/access/known-users.ts'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import type { ConfigInput } from '../../../src/config.ts'
import { pem, SERVER_TLS } from '../../support/certificates.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import {
  mqttClient,
  persistent,
  spawnMqtt,
  startMqtt,
  type TestClient,
} from '../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import {
  connect,
  DISCONNECT,
  PINGREQ,
  publish,
  subscribe,
  varint,
} from '../../support/mqtt/mqtt-packets.ts'
import { numberOf } from '../../support/numbers.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { startServer } from '../../support/server.ts'
import { eventually } from '../../support/waiting.ts'

const ENGINE = { engine: 'aedes' } as const
/** With users. */
const startOver = (t: ExecutionContext) => startMqttOver(t, { users, mqtt: ENGINE })
const start = (t: ExecutionContext, mqtt: ConfigInput['mqtt'] = {}, config: ConfigInput = {}) =>
  startMqtt(t, { mqtt: { ...ENGINE, ...mqtt }, config })

const none = { publish: [], consume: [], create: [] }
const users: Readonly<Record<string, User>> = {
  root: { ...none, password: cheapHash('root'), admin: true },
  clerk: {
    ...none,
    password: cheapHash('clerk'),
    admin: false,
    publish: ['MQTT'],
    consume: ['MQTT'],
  },
}
const as = (username: string) => ({ username, password: username })

async function peerAt(t: ExecutionContext, port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  t.teardown(() => peer.end())
  return peer
}

/** The return code of its CONNACK. */
async function answerTo(t: ExecutionContext, port: number, bytes: Buffer): Promise<number> {
  const peer = await peerAt(t, port)
  peer.send(bytes)
  const { first, body } = await peer.readPacket()
  t.is(first, 0x20)
  await peer.closed()
  return body[1]!
}

for (const protocolVersion of [3, 4] as const) {
  test.serial(
    `version ${protocolVersion}: QoS 0, 1 and 2 and a retained message go through`,
    async (t) => {
      const { port } = await start(t)
      const old = protocolVersion === 3 ? { protocolId: 'MQIsdp', protocolVersion } : {}
      const client = await mqttClient(t, port, 4, { ...old, clientId: 'one' } as never)
      await client.publish('state/x', 'kept', { retain: true })
      await client.subscribe(['a/#', 'state/+'], { qos: 2 })
      for (const qos of [0, 1, 2] as const) await client.publish('a/b', `of ${qos}`, { qos })
      await client.messages(4)
      t.deepEqual(new Set(client.texts), new Set(['kept', 'of 0', 'of 1', 'of 2']))
    },
  )
}

test.serial('a client of MQTT 5 is told that its version is not served', async (t) => {
  const { port } = await start(t)
  t.is(await answerTo(t, port, connect('c', { version: 5 })), 0x84)
  const error = await t.throwsAsync(mqttClient(t, port, 5))
  t.is((error as { code?: number }).code, 0x84)
})

test.serial('a message published here is one of its topic for our other front-ends', async (t) => {
  const { port, broker } = await startMqttOver(t, { mqtt: ENGINE })
  await broker.topics.ensure('orders')
  const client = await mqttClient(t, port, 4)
  await client.publish('orders/paid', 'x')
  const ranges = await broker.topics.ranges('orders')
  t.is(
    ranges.reduce((sum, { minOffset, maxOffset }) => sum + maxOffset - minOffset, 0),
    1,
  )
})

test.serial('kill -9: what was acknowledged comes to a session that was away', async (t) => {
  const server = await spawnMqtt(t, { mqtt: ENGINE })
  const reader = await mqttClient(t, server.port('mqtt'), 4, persistent('reader'))
  await reader.subscribe('a/#', { qos: 2 })
  await reader.end()
  const publisher = await mqttClient(t, server.port('mqtt'), 4)
  const acknowledged = { 1: new Set<string>(), 2: new Set<string>() }
  let count = 0
  const line = async (qos: 1 | 2): Promise<void> => {
    while (publisher.client.connected) {
      const text = `${qos}-${count++}`
      await publisher.publish(`a/${count % 7}`, text, { qos })
      acknowledged[qos].add(text)
    }
  }
  const lines = Promise.allSettled(([1, 1, 1, 1, 2, 2] as const).map(line))
  await eventually(async () => acknowledged[1].size > 100 && acknowledged[2].size > 20)
  await server.kill()
  publisher.client.end(true)
  await lines
  await server.start()
  const back = await mqttClient(t, server.port('mqtt'), 4, persistent('reader'))
  await eventually(async () => {
    const seen = new Set(back.texts)
    return [...acknowledged[1], ...acknowledged[2]].every((text) => seen.has(text))
  })
  const exact = back.texts.filter((text) => text.startsWith('2-'))
  t.is(new Set(exact).size, exact.length)
})

test.serial(
  'a wrong password, none, and an unknown user are refused as by our own engine',
  async (t) => {
    const { port } = await startOver(t)
    t.is(await answerTo(t, port, connect('c')), 4)
    for (const [username, password] of [
      ['clerk', 'wrong'],
      ['eve', 'clerk'],
      ['__proto__', 'clerk'],
    ] as const) {
      t.is(await answerTo(t, port, connect('c', { username, password })), 4)
    }
    t.true((await mqttClient(t, port, 4, as('clerk'))).client.connected)
  },
)

test.serial(
  'a message to a topic without a grant is dropped, and its client goes on',
  async (t) => {
    const { port, broker } = await startOver(t)
    await broker.topics.ensure('secret')
    const root = await mqttClient(t, port, 4, as('root'))
    await root.subscribe('#', { qos: 2 })
    const clerk = await mqttClient(t, port, 4, as('clerk'))
    for (const qos of [0, 1, 2] as const) await clerk.publish('secret/x', 'no', { qos })
    await clerk.publish('$SYS/fake/birth', 'no')
    await clerk.publish('open/x', 'yes')
    await root.messages(1)
    t.deepEqual(root.texts, ['yes'])
  },
)

test.serial(
  'a filter without a grant is refused, and a wildcard selects what its user may read',
  async (t) => {
    const { port, broker } = await startOver(t)
    await broker.topics.ensure('secret')
    const clerk = await mqttClient(t, port, 4, as('clerk'))
    await t.throwsAsync(clerk.subscribe('secret/#'))
    await t.throwsAsync(clerk.subscribe('$share/g/open/#'))
    await clerk.subscribe('#')
    const root = await mqttClient(t, port, 4, as('root'))
    await root.publish('secret/x', 'no', { retain: true })
    await root.publish('open/x', 'yes')
    await clerk.messages(1)
    t.deepEqual(clerk.texts, ['yes'])
    const later = await mqttClient(t, port, 4, as('clerk'))
    await later.subscribe('+/x')
    await root.publish('open/x', 'yes')
    await later.messages(1)
    t.deepEqual(later.texts, ['yes'])
  },
)

test.serial("a will needs its user's grant", async (t) => {
  const { port, broker } = await startOver(t)
  await broker.topics.ensure('secret')
  const root = await mqttClient(t, port, 4, as('root'))
  await root.subscribe('#')
  const shape = (topic: string) => ({
    ...as('clerk'),
    will: { topic, payload: Buffer.from(topic), qos: 1 as const, retain: false },
  })
  await t.throwsAsync(mqttClient(t, port, 4, shape('secret/x')))
  const clerk = await mqttClient(t, port, 4, shape('gone/clerk'))
  await clerk.cut()
  await root.messages(1)
  t.deepEqual(root.texts, ['gone/clerk'])
})

test.serial('a session belongs to its user, with its connection and without', async (t) => {
  const { port } = await startOver(t)
  const clerk = await mqttClient(t, port, 4, { ...as('clerk'), ...persistent('meter') })
  const thief = connect('meter', { username: 'root', password: 'root' })
  t.is(await answerTo(t, port, thief), 5)
  await clerk.publish('a/b', 'still here')
  await clerk.end()
  t.is(await answerTo(t, port, thief), 5)
  const back = await mqttClient(t, port, 4, { ...as('clerk'), ...persistent('meter') })
  t.true(back.client.connected)
})

test.serial('a client with the id of another one takes its place', async (t) => {
  const { port } = await start(t)
  const first = await mqttClient(t, port, 4, persistent('meter'))
  await first.subscribe('a/#')
  const isOver = new Promise<void>((resolve) => first.client.once('close', () => resolve()))
  const second = await mqttClient(t, port, 4, persistent('meter'))
  await isOver
  await second.publish('a/b', 'x')
  await second.messages(1)
  t.deepEqual(second.texts, ['x'])
})

test.serial(
  'a message that is too large is passed over, and other packets end the connection',
  async (t) => {
    const { port } = await start(t, { packetBytesMax: 4_400_000 })
    const client = await mqttClient(t, port, 4)
    await client.publish('a/b', Buffer.alloc(5_000_000))
    await client.publish('a/b', Buffer.alloc(4_300_000))
    await client.publish('a/b', 'small')
    const peer = await peerAt(t, port)
    peer.send(connect('big'))
    await peer.readPacket()
    peer.send(Buffer.concat([Buffer.of(0x82), varint(5_000_000)]))
    await peer.closed()
    t.true(client.client.connected)
  },
)

test.serial('filters and retained messages of one client are limited', async (t) => {
  const { port } = await start(t, { filtersMax: 2, retainedMax: 1 })
  const client = await mqttClient(t, port, 4)
  await client.subscribe(['a', 'b'])
  await t.throwsAsync(client.subscribe('c'))
  await client.client.unsubscribeAsync('a')
  await client.subscribe('c')
  await client.publish('one', 'kept', { retain: true })
  await client.publish('two', 'dropped', { retain: true })
  const reader = await mqttClient(t, port, 4)
  await reader.subscribe(['two', 'one'])
  await reader.messages(1)
  t.deepEqual(reader.texts, ['kept'])
})

test.serial('no more sessions are kept than are allowed', async (t) => {
  const { port } = await start(t, { sessionsMax: 1 })
  await mqttClient(t, port, 4, persistent('one'))
  t.is(await answerTo(t, port, connect('two', { clean: false })), 3)
  t.true((await mqttClient(t, port, 4, { clientId: 'two' })).client.connected)
})

test.serial('packets that come right behind CONNECT are served in their order', async (t) => {
  const { port } = await start(t)
  const peer = await peerAt(t, port)
  const many = Array.from({ length: 100 }, (_, i) => publish('a/b', `${i}`, { qos: 1, id: i + 2 }))
  peer.send(Buffer.concat([connect('c'), subscribe(1, [['a/#', 0]]), ...many]))
  const seen: string[] = []
  while (seen.length < 100) {
    const { first, body } = await peer.readPacket()
    if (first >>> 4 === 3) seen.push(body.toString('utf8', 5))
  }
  t.deepEqual(
    seen,
    Array.from({ length: 100 }, (_, i) => `${i}`),
  )
  peer.send(DISCONNECT)
  await peer.closed()
})

test.serial(
  'what a client sent before it left is taken, and its DISCONNECT is heeded',
  async (t) => {
    let begun = false
    let goOn = (): void => {}
    const mayStore = new Promise<void>((resolve) => {
      goOn = resolve
    })
    const { port } = await startMqttOver(t, {
      mqtt: ENGINE,
      bend: (broker) =>
        overridden(broker, {
          publish: async (...given: Parameters<EmbeddedBroker['publish']>) => {
            begun ||= given[0].some(({ body }) => Buffer.from(body).includes('slow'))
            if (begun) await mayStore
            return broker.publish(...given)
          },
        }),
    })
    const reader = await mqttClient(t, port, 4)
    await reader.subscribe(['a/#', 'will'])
    const peer = await peerAt(t, port)
    peer.send(connect('leaver', { will: { topic: 'will', payload: 'will' } }))
    await peer.readPacket()
    peer.send(publish('a/b', 'slow 1'), publish('a/b', 'slow 2'))
    await eventually(async () => begun)
    peer.send(publish('a/b', '3'), DISCONNECT)
    await peer.leave()
    goOn()
    await reader.messages(3)
    await reader.publish('a/b', 'last')
    await reader.messages(4)
    t.deepEqual(reader.texts, ['slow 1', 'slow 2', '3', 'last'])
  },
)

test.serial('a client whose messages are all refused is not silent', async (t) => {
  const { port } = await start(t)
  const peer = await peerAt(t, port)
  peer.send(connect('c', { keepAlive: 2 }))
  await peer.readPacket()
  const startedMs = performance.now()
  await eventually(async () => {
    peer.send(publish('$SYS/x', 'no', { qos: 1 }))
    await peer.readPacket()
    return performance.now() - startedMs > 3_200
  })
  peer.send(PINGREQ)
  t.is((await peer.readPacket()).first, 0xd0)
})

test.serial('its clients, sessions and messages are among the numbers and the lists', async (t) => {
  const { port, broker, numbers } = await startMqttOver(t, { mqtt: ENGINE })
  const one = await mqttClient(t, port, 4, persistent('meter'))
  await one.subscribe('a/#')
  await one.publish('a/b', 'x')
  await one.messages(1)
  const clients = await eventually(async () => {
    const all = await broker.clients.list()
    return all.length > 0 ? all : undefined
  })
  t.like(clients[0], { clientId: 'meter', protocol: 'mqtt', version: 4 })
  t.is(await numberOf(numbers, 'trivet_mqtt_sessions{state="connected"}'), 1)
  for (const name of ['trivet_messages_in_total', 'trivet_messages_out_total']) {
    t.is(await numberOf(numbers, `${name}{protocol_type="mqtt"}`), 1)
  }
  await one.end()
  await eventually(async () => (await broker.clients.list()).length === 0)
})

for (const scheme of ['mqtts', 'ws', 'wss'] as const) {
  test.serial(`it is served over ${scheme}`, async (t) => {
    const { port } = await start(t, {}, { tls: SERVER_TLS })
    const client = await mqtt.connectAsync(`${scheme}://127.0.0.1:${port}/mqtt`, {
      ...{ ca: pem('ca.pem'), reconnectPeriod: 0 },
    })
    t.teardown(() => client.endAsync(true))
    const came = new Promise<Buffer>((resolve) =>
      client.once('message', (_topic, payload) => resolve(payload)),
    )
    await client.subscribeAsync('a/#', { qos: 1 })
    const large = Buffer.alloc(1_000_000, 'large')
    await client.publishAsync('a/b', large, { qos: 1 })
    t.true(large.equals(await came))
  })
}

test.serial('it is served at the port of all protocols', async (t) => {
  const server = await startServer(t, { config: { any: { port: 0 }, mqtt: ENGINE } })
  const client: TestClient = await mqttClient(t, server.port('any'), 4)
  await client.subscribe('a/#')
  await client.publish('a/b', 'x')
  await client.messages(1)
  t.deepEqual(client.texts, ['x'])
})
