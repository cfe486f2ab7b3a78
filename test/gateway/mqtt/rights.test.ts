// The rights to connect, publish and subscribe.
import test from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { newMessage } from '../../support/broker.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import { mqttClient, VERSIONS } from '../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import { connect, PINGREQ, publish, subscribe } from '../../support/mqtt/mqtt-packets.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'

const none = { admin: false, publish: [], consume: [], create: [] }
const users = async (): Promise<Record<string, User>> => ({
  root: { ...none, admin: true, password: cheapHash('root pw') },
  sensor: { ...none, publish: ['MQTT', 'open*'], password: cheapHash('s') },
  reader: { ...none, consume: ['MQTT', 'open', 'grp'], password: cheapHash('r') },
})

for (const version of VERSIONS) {
  test(`version ${version}: without or with wrong credentials there is no connection`, async (t) => {
    const { port } = await startMqttOver(t, { users: await users() })
    const refused = version === 5 ? 0x86 : 4
    for (const [username, password] of [
      [undefined, undefined],
      ['root', 'wrong'],
      ['nobody', 'x'],
      ['root', ''],
    ]) {
      const peer = await RawPeer.connect(port)
      peer.send(connect('c', { version, ...(username && { username, password: password ?? '' }) }))
      const { first, body } = await peer.readPacket()
      t.deepEqual([first, body[0], body[1]], [0x20, 0, refused])
      await peer.closed()
    }
    const client = await mqttClient(t, port, version, { username: 'root', password: 'root pw' })
    t.true(client.client.connected)
  })
}

test('the reason of a refused connection is left out when the client takes no packet as large', async (t) => {
  const { port } = await startMqttOver(t, { users: await users() })
  const answers: number[] = []
  for (const packetBytes of [200, 20]) {
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', { version: 5, properties: Buffer.of(0x27, 0, 0, 0, packetBytes) }))
    const { bytes, body } = await peer.readPacket()
    t.is(body[1], 0x86)
    answers.push(bytes.length)
  }
  t.true(answers[0]! > 20)
  t.is(answers[1], 5)
})

test('publishing needs a grant for the topic: MQTT 5 says so per message, 3.1.1 drops it', async (t) => {
  const { port, broker } = await startMqttOver(t, { users: await users() })
  await broker.topics.ensure('secret')
  const sensor = { username: 'sensor', password: 's' }
  const v5 = await mqttClient(t, port, 5, sensor)
  await v5.publish('anything/else', 'fine')
  const refused = await t.throwsAsync(v5.publish('secret/x', 'no'))
  t.is((refused as { code?: number }).code, 0x87)
  t.true(v5.client.connected)
  const v4 = await RawPeer.connect(port)
  v4.send(connect('c', sensor), publish('secret/x', 'no', { qos: 1 }), PINGREQ)
  t.deepEqual([...(await v4.read(10))], [0x20, 2, 0, 0, 0xd0, 0, 0x40, 2, 0, 1])
  v4.end()
  const ranges = await broker.topics.ranges('secret')
  t.true(ranges.every(({ maxOffset }) => maxOffset === 0))
})

test('a will needs the same grant, at CONNECT', async (t) => {
  const { port, broker } = await startMqttOver(t, { users: await users() })
  await broker.topics.ensure('secret')
  const peer = await RawPeer.connect(port)
  const will = { topic: 'secret/x', payload: 'no' }
  peer.send(connect('c', { version: 5, username: 'sensor', password: 's', will }))
  t.is((await peer.readPacket()).body[1], 0x87)
  await peer.closed()
})

test('subscribing needs a grant for the topic, and for the group of a shared subscription', async (t) => {
  const { port, broker } = await startMqttOver(t, { users: await users() })
  for (const topic of ['secret', 'open']) await broker.topics.ensure(topic)
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5, username: 'reader', password: 'r' }))
  await peer.readPacket()
  const filters = ['secret/#', 'open/#', 'other', '$share/grp/open/#', '$share/their/open/#']
  peer.send(
    subscribe(
      1,
      filters.map((filter) => [filter, 1]),
      5,
    ),
  )
  t.deepEqual([...(await peer.readPacket()).body].slice(3), [0x87, 1, 1, 1, 0x87])
  peer.end()
})

test('a wildcard brings only what may be read', async (t) => {
  const { port, broker } = await startMqttOver(t, { users: await users() })
  for (const topic of ['secret', 'open']) await broker.topics.ensure(topic)
  const reader = await mqttClient(t, port, 5, { username: 'reader', password: 'r' })
  await reader.subscribe(['#', '+/x'])
  await broker.publish([newMessage('secret', { body: 'no', tag: 'x' })])
  await broker.publish([newMessage('open', { body: 'yes', tag: 'x' })])
  await reader.messages(1)
  t.deepEqual(reader.texts, ['yes'])
})

test('a group over all topics needs a grant of all topics', async (t) => {
  const none = { admin: false, publish: [], create: [] }
  const { port } = await startMqttOver(t, {
    users: {
      some: { ...none, consume: ['MQTT', 'grp'], password: cheapHash('s') },
      all: { ...none, consume: ['*'], password: cheapHash('a') },
    },
  })
  for (const [username, password, code] of [
    ['some', 's', 0x87],
    ['all', 'a', 1],
  ] as const) {
    const peer = await RawPeer.connect(port)
    peer.send(connect(username, { version: 5, username, password }))
    await peer.readPacket()
    peer.send(subscribe(1, [['$share/grp/#', 1]], 5))
    t.deepEqual([...(await peer.readPacket()).body].slice(3), [code], username)
    peer.end()
  }
})

test('a group brings nothing of a topic that was made later and may not be read', async (t) => {
  const { port, broker } = await startMqttOver(t, { users: await users() })
  const reader = await mqttClient(t, port, 5, { username: 'reader', password: 'r' })
  await reader.subscribe(['$share/grp/secret/+', '$share/grp/other/+'])
  await broker.topics.ensure('secret')
  const root = await mqttClient(t, port, 5, { username: 'root', password: 'root pw' })
  await root.publish('secret/x', 'no')
  await root.publish('other/x', 'yes')
  await reader.messages(1)
  await reader.subscribe('more')
  t.deepEqual(reader.texts, ['yes'])
})
