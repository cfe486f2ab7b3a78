// Shared subscriptions as consumer groups.
import test from 'ava'
import type { EmbeddedBroker } from '../../../../src/broker/broker.ts'
import type { ClientRegistration } from '../../../../src/model/client.ts'
import { groupDefaults } from '../../../../src/model/group.ts'
import { deadLetterTopic } from '../../../../src/model/names.ts'
import { queueOffset } from '../../../../src/model/positions.ts'
import { RecordView } from '../../../../src/model/record.ts'
import { EVERY_TAG, tagFilterOf } from '../../../../src/model/tag-filter.ts'
import { newMessage, queueOf, receiveRequest } from '../../../support/broker.ts'
import { mqttClient, persistent, startMqtt, VERSIONS } from '../../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import {
  ack,
  connect,
  DISCONNECT,
  frame,
  subscribe,
  u16,
} from '../../../support/mqtt/mqtt-packets.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { eventually } from '../../../support/waiting.ts'

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)

/** A consumer of the native protocol that shares the group by queue. */
const nativeMember = (group: string): ClientRegistration => ({
  ...{
    clientId: 'native',
    connectionId: 'n1',
    protocol: 'remoting',
    address: 'x',
    language: 'JAVA',
  },
  version: 0,
  producerGroups: [],
  consumers: [
    {
      ...{ group, model: 'clustering', mode: 'queue-assigned' },
      subscriptions: [{ topic: 'orders', filter: EVERY_TAG, version: 1 }],
      ...{ consumeType: 'CONSUME_PASSIVELY', consumeFrom: 'CONSUME_FROM_LAST_OFFSET' },
    },
  ],
})

const createTopic = (broker: EmbeddedBroker, name: string) => broker.topics.ensure(name)

for (const version of VERSIONS) {
  test(`version ${version}: two members share the messages of a filter, each message once`, async (t) => {
    const { port } = await startMqtt(t)
    const members = [await mqttClient(t, port, version), await mqttClient(t, port, version)]
    for (const member of members) await member.subscribe('$share/workers/jobs/#')
    const watcher = await mqttClient(t, port, version)
    await watcher.subscribe('jobs/#')
    const publisher = await mqttClient(t, port, version)
    const texts = numbered(400)
    await Promise.all(texts.map((text) => publisher.publish('jobs/x', text)))
    await watcher.messages(400)
    const total = () => members[0]!.received.length + members[1]!.received.length
    while (total() < 400) await Promise.race(members.map((m) => m.messages(m.received.length + 1)))
    t.deepEqual([...members[0]!.texts, ...members[1]!.texts].sort(), texts.toSorted())
    for (const member of members) t.true(member.received.length > 50, `${member.received.length}`)
  })

  test(`version ${version}: what a lost member had goes to the other`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await RawPeer.connect(port)
    peer.send(connect('holder', { version }), subscribe(1, [['$share/g/x', 1]], version))
    await peer.readPacket()
    await peer.readPacket()
    const publisher = await mqttClient(t, port, version)
    await publisher.publish('x', 'held')
    t.is((await peer.readPacket()).first, 0x32)
    const other = await mqttClient(t, port, version)
    await other.subscribe('$share/g/x')
    peer.end()
    await other.messages(1)
    t.deepEqual(other.texts, ['held'])
  })
}

test('a group of a persistent session keeps what comes while no member is there', async (t) => {
  const { port } = await startMqtt(t)
  const member = await mqttClient(t, port, 5, persistent('m'))
  await member.subscribe('$share/g/later/#')
  await member.end()
  const publisher = await mqttClient(t, port, 4)
  for (const text of numbered(20)) await publisher.publish('later/on', text)
  const back = await mqttClient(t, port, 5, persistent('m'))
  await back.messages(20)
  t.deepEqual(back.texts.toSorted(), numbered(20).toSorted())
})

test('members share each message once, whichever of them came before the topic was made', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const first = await mqttClient(t, port, 4)
  await first.subscribe('$share/g/made/#')
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('made/on', 'before')
  await first.messages(1)
  await createTopic(broker, 'made')
  const later = await mqttClient(t, port, 4)
  await later.subscribe('$share/g/made/#')
  const watcher = await mqttClient(t, port, 4)
  await watcher.subscribe('made/#')
  for (const text of numbered(100)) await publisher.publish('made/on', text)
  await broker.publish([newMessage('made', { body: 'native' })])
  await watcher.messages(101)
  const all = () => [...first.texts, ...later.texts]
  while (all().length < 102) {
    await Promise.race([first, later].map((one) => one.messages(one.received.length + 1)))
  }
  t.deepEqual(all().sort(), ['before', 'native', ...numbered(100)].sort())
  t.true(later.received.length > 20)
})

test('$share/G/T/tag on a RocketMQ topic is the native group G with that tag', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await createTopic(broker, 'orders')
  const member = await mqttClient(t, port, 4)
  await member.subscribe('$share/billing/orders/paid')
  await broker.publish([
    newMessage('orders', { body: 'native paid', tag: 'paid' }),
    newMessage('orders', { body: 'native open', tag: 'open' }),
  ])
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('orders/paid/42', 'mqtt paid')
  await publisher.publish('orders/open/43', 'mqtt open')
  await member.messages(2)
  t.deepEqual(member.texts.toSorted(), ['mqtt paid', 'native paid'])
  await member.end()
  await publisher.publish('orders/paid/44', 'for a native member')
  const request = receiveRequest('orders', 'billing', {
    filter: tagFilterOf(['paid']),
    waitMs: 5_000,
  })
  const [received] = await broker.receive(request)
  t.is(new RecordView(received!.record).body.toString(), 'for a native member')
})

test('a group whose native members choose other tags refuses an MQTT member', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await createTopic(broker, 'orders')
  await broker.clients.register(nativeMember('billing'))
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }), subscribe(1, [['$share/billing/orders/paid', 1]], 5))
  await peer.readPacket()
  t.deepEqual([...(await peer.readPacket()).body], [0, 1, 0, 0x83])
  peer.end()
})

test('members of one group with different tags are refused, one after the other is not', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await createTopic(broker, 'orders')
  const first = await mqttClient(t, port, 5)
  await first.subscribe('$share/g/orders/paid')
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }), subscribe(1, [['$share/g/orders/#', 1]], 5))
  await peer.readPacket()
  t.deepEqual([...(await peer.readPacket()).body], [0, 1, 0, 0x83])
  await first.client.unsubscribeAsync('$share/g/orders/paid')
  peer.send(subscribe(2, [['$share/g/orders/#', 1]], 5))
  t.deepEqual([...(await peer.readPacket()).body], [0, 2, 0, 1])
  peer.end()
})

test('a PUBACK with a failure sends the message to the dead letters of the group', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }), subscribe(1, [['$share/g/x/#', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('x/y', 'poison')
  t.is((await peer.readPacket()).first, 0x32)
  peer.send(frame(0x40, u16(1), Buffer.of(0x83)))
  const dead = await broker.pull({
    ...queueOf(await deadLetterTopicOf(broker, 'g')),
    ...{ offset: queueOffset(0), maxMessages: 1, maxBytes: 1024, filter: EVERY_TAG },
    waitMs: 10_000,
  })
  t.is(new RecordView(dead.records).body.toString(), 'poison')
  peer.end()
})

async function deadLetterTopicOf(broker: EmbeddedBroker, group: string): Promise<string> {
  const topic = deadLetterTopic(group)
  await broker.topics.ensure(topic)
  return topic
}

test('QoS 2 of a group is finished by the session that has it', async (t) => {
  const { port } = await startMqtt(t)
  const open = connect('holder', { clean: false })
  const peer = await RawPeer.connect(port)
  peer.send(open, subscribe(1, [['$share/g/x', 2]]))
  await peer.read(4 + 5)
  const publisher = await mqttClient(t, port, 4)
  const other = await mqttClient(t, port, 4)
  await publisher.publish('x', 'mine', { qos: 2 })
  t.is((await peer.readPacket()).first, 0x34)
  await other.subscribe('$share/g/x', { qos: 2 })
  peer.end()
  const again = await RawPeer.connect(port)
  again.send(open)
  t.deepEqual([...(await again.read(4))], [0x20, 2, 1, 0])
  t.is((await again.readPacket()).first, 0x3c)
  again.send(ack('pubrec', 1))
  t.deepEqual([...(await again.read(4))], [0x62, 2, 0, 1])
  again.send(ack('pubcomp', 1))
  again.end()
  t.deepEqual(other.texts, [])
})

test('a session is let in although native members of a group of it choose other tags now, and keeps its other filters', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  const away = await mqttClient(t, port, 5, persistent('away'))
  await away.subscribe(['$share/g/orders/paid', '$share/g2/orders/#', 'plain'])
  await away.end()
  await broker.clients.register(nativeMember('g'))
  const back = await mqttClient(t, port, 5, persistent('away'))
  await back.publish('plain', 'still here')
  await back.messages(1)
  await back.subscribe('$share/g3/orders/#')
  t.deepEqual(await broker.clients.consumerIds('g'), ['native'])
  t.deepEqual(await broker.clients.consumerIds('g2'), ['away'])
  t.deepEqual(await broker.clients.consumerIds('g3'), ['away'])
  await back.client.unsubscribeAsync('plain')
  t.deepEqual(back.texts, ['still here'])
  t.true(back.client.connected)
})

test('a session is let in although a group of it was deleted, and no group is made on first use', async (t) => {
  const { port, broker } = await startMqttOver(t, { broker: { autoCreateGroups: false } })
  for (const name of ['g', 'g2']) await broker.groups.put(groupDefaults(name))
  const away = await mqttClient(t, port, 5, persistent('away'))
  await away.subscribe(['$share/g/x', '$share/g2/x'])
  await away.end()
  await broker.groups.delete('g')
  const back = await mqttClient(t, port, 5, persistent('away'))
  await back.publish('x', 'for g2')
  await back.messages(1)
  t.deepEqual(await broker.clients.consumerIds('g2'), ['away'])
})

// What counts as an attempt for a member of a shared subscription: of what a lost client held the
// oldest, of one that said goodbye nothing.

const RETRIES = 16

const publish = (broker: EmbeddedBroker, count: number) =>
  broker.publish(
    Array.from({ length: count }, (_, i) => newMessage('orders', { queueId: 0, body: `m${i}` })),
  )

const held = async (broker: EmbeddedBroker): Promise<number> => {
  const lags = await broker.groups.lags('workers')
  return lags.reduce((sum, { inFlight }) => sum + inFlight, 0)
}

const isHeld = (broker: EmbeddedBroker, count: number): Promise<true> =>
  eventually(async () => ((await held(broker)) === count ? true : undefined))

/** Joins and takes the first message; answers its packet id too. */
async function life(port: number, name: string) {
  const peer = await RawPeer.connect(port)
  peer.send(connect(name, { version: 5 }), subscribe(1, [['$share/workers/orders/#', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const { first, body } = await peer.readPacket()
  const topicBytes = body.readUInt16BE(0)
  return { peer, first, packetId: body.readUInt16BE(2 + topicBytes) }
}

/** Attempts of all that is left, as the next consumer sees them. */
async function attempts(broker: EmbeddedBroker, count: number): Promise<number[]> {
  const received = await broker.receive({
    ...{ topic: 'orders', queueId: 0, group: 'workers', filter: EVERY_TAG },
    ...{ maxMessages: count, maxBytes: 1 << 20, invisibleMs: 60_000, ordered: false },
    ...{ startAt: 'first', waitMs: 0, memberId: 'next' },
  })
  return received.map(({ attempt }) => attempt)
}

test('fifty members that acknowledge one message of many and are lost dead-letter nothing', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 80)
  for (let i = 0; i < 50; i++) {
    const { peer, packetId } = await life(port, `life-${i}`)
    const before = await lag(broker)
    peer.send(ack('puback', packetId))
    await eventually(async () => ((await lag(broker)) < before ? true : undefined))
    peer.end()
    await isHeld(broker, 0)
  }
  t.is(await broker.topics.get('%DLQ%workers'), undefined)
  const left = await attempts(broker, 100)
  t.is(left.length, 30)
  t.true(left.every((attempt) => attempt <= 2))
})

test('a message that every member is lost with is a dead letter in the end, and nothing else is', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 20)
  for (let i = 0; i <= RETRIES; i++) {
    const { peer } = await life(port, `life-${i}`)
    peer.end()
    await isHeld(broker, 0)
  }
  const dead = await eventually(async () => {
    if ((await broker.topics.get('%DLQ%workers')) === undefined) return undefined
    const [range] = await broker.topics.ranges('%DLQ%workers')
    return range!.maxOffset > 0 ? range : undefined
  })
  t.is(dead.maxOffset as number, 1)
  const left = await attempts(broker, 100)
  t.is(left.length, 19)
  t.true(left.every((attempt) => attempt === 1))
})

for (const [what, bytes, counted] of [
  ['says goodbye', DISCONNECT, 0],
  ['says goodbye and wants its will published', frame(0xe0, Buffer.of(0x04)), 0],
  ['goes for an error', frame(0xe0, Buffer.of(0x80)), 1],
  ['breaks the protocol', Buffer.of(0xf0, 1, 0x55), 1],
] as const) {
  test(`of what a member held that ${what} ${counted} counts`, async (t) => {
    const { port, broker } = await startMqttOver(t)
    await broker.topics.ensure('orders')
    await joined(port)
    await publish(broker, 5)
    const { peer } = await life(port, 'member')
    await isHeld(broker, 5)
    peer.send(bytes)
    await isHeld(broker, 0)
    t.deepEqual(await attempts(broker, 5), [1 + counted, 1, 1, 1, 1])
  })
}

test('of what a member held that is taken over the oldest counts', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 5)
  await life(port, 'member')
  await isHeld(broker, 5)
  const next = await RawPeer.connect(port)
  next.send(connect('member', { version: 5 }))
  await next.readPacket()
  await isHeld(broker, 0)
  t.deepEqual(await attempts(broker, 5), [2, 1, 1, 1, 1])
  next.end()
})

test('a front-end that stops counts nothing', async (t) => {
  const { port, broker, gateway } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 5)
  const { peer } = await life(port, 'member')
  await isHeld(broker, 5)
  await gateway.close(1000)
  await isHeld(broker, 0)
  t.deepEqual(await attempts(broker, 5), [1, 1, 1, 1, 1])
  peer.end()
})

/** The group begins where its first member comes. */
async function joined(port: number): Promise<void> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('first', { version: 5 }), subscribe(1, [['$share/workers/orders/#', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  peer.send(DISCONNECT)
  await peer.closed()
}

async function lag(broker: EmbeddedBroker): Promise<number> {
  const lags = await broker.groups.lags('workers')
  return lags.reduce((sum, one) => sum + one.lag, 0)
}
