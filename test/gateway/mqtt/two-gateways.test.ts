// Two gateways over one broker: to whichever a client connects, it is the same client, with the
// same session, retained messages and groups.
import test, { type ExecutionContext } from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { systemClock } from '../../../src/clock.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import { mqttClient } from '../../support/mqtt/mqtt.ts'
import { openGateway, startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import { connect, publish, subscribe, u32 } from '../../support/mqtt/mqtt-packets.ts'
import { RoamingClient } from '../../support/mqtt/roaming-client.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { eventually } from '../../support/waiting.ts'

/** Session expiry of an hour. */
const KEPT = { version: 5, clean: false, properties: Buffer.of(0x11, ...u32(3600)) } as const
const TAKEN_OVER = [0xe0, 0x8e]

async function startTwo(
  t: ExecutionContext,
): Promise<{ broker: EmbeddedBroker; ports: readonly [number, number] }> {
  const { broker, port } = await startMqttOver(t)
  const other = await openGateway(t, broker)
  return { broker, ports: [port, other.port] }
}

async function joined(port: number, shape = {}): Promise<{ peer: RawPeer; isPresent: boolean }> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { ...KEPT, ...shape }))
  const { first, body } = await peer.readPacket()
  if (first !== 0x20 || body[1] !== 0) throw new Error(`refused: ${first} ${body[1]}`)
  return { peer, isPresent: body[0] === 1 }
}

test('a client has its session at the other gateway too, and its first connection ends', async (t) => {
  const { ports } = await startTwo(t)
  const first = await joined(ports[0])
  t.false(first.isPresent)
  first.peer.send(subscribe(1, [['a', 1]], 5))
  await first.peer.readPacket()
  const second = await joined(ports[1])
  t.true(second.isPresent)
  const { first: type, body } = await first.peer.readPacket()
  t.deepEqual([type, body[0]], TAKEN_OVER)
  second.peer.send(publish('a', 'x', { qos: 1, version: 5 }))
  const types = [(await second.peer.readPacket()).first, (await second.peer.readPacket()).first]
  t.deepEqual(types.sort(), [0x32, 0x40])
  second.peer.end()
})

test('a session without an expiry ends when its client connects to the other gateway', async (t) => {
  const { broker, ports } = await startTwo(t)
  const first = await joined(ports[0], { clean: true, properties: Buffer.alloc(0) })
  first.peer.send(subscribe(1, [['a', 1]], 5))
  await first.peer.readPacket()
  const second = await joined(ports[1])
  t.false(second.isPresent)
  t.deepEqual([(await first.peer.readPacket()).first], [0xe0])
  const own = await broker.lightQueues.bind('a', undefined)
  await broker.lightQueues.unbind('a', undefined)
  await t.throwsAsync(broker.cursors.range(own), { code: 'TOPIC_NOT_FOUND' })
  second.peer.end()
})

test('a clean start at the other gateway ends the session', async (t) => {
  const { broker, ports } = await startTwo(t)
  const first = await joined(ports[0])
  first.peer.send(subscribe(1, [['a', 1]], 5))
  await first.peer.readPacket()
  const second = await joined(ports[1], { clean: true })
  t.false(second.isPresent)
  second.peer.end()
  const third = await joined(ports[0])
  t.true(third.isPresent)
  await broker.lightQueues.bind('a', 'another')
  third.peer.send(publish('a', 'x', { qos: 1, version: 5 }))
  t.is((await third.peer.readPacket()).first, 0x40)
  third.peer.end()
})

test('the will of a connection that is taken over from the other gateway is sent once', async (t) => {
  const { ports } = await startTwo(t)
  const watcher = await mqttClient(t, ports[1], 5)
  await watcher.subscribe('w')
  const will = { topic: 'w', payload: 'gone', flags: 8 }
  const first = await joined(ports[0], { will })
  const second = await joined(ports[1], { will })
  await watcher.messages(1)
  second.peer.send([0xe0, 0])
  await second.peer.closed()
  first.peer.end()
  await watcher.publish('w', 'end')
  await watcher.messages(2)
  t.deepEqual(watcher.texts, ['gone', 'end'])
})

test('the session of another user stays where it is', async (t) => {
  const user = { admin: false, publish: ['*'], consume: ['*'], create: ['*'] }
  const users = {
    one: { ...user, password: cheapHash('one') },
    two: { ...user, password: cheapHash('two') },
  }
  const auth = new UserStore(users, systemClock)
  const { broker, port } = await startMqttOver(t, { auth })
  const other = await openGateway(t, broker, auth)
  const first = await joined(port, { username: 'one', password: 'one' })
  await eventually(async () => ((await broker.states.load('mqtt/session/c')) ? true : undefined))
  const thief = await RawPeer.connect(other.port)
  thief.send(connect('c', { ...KEPT, username: 'two', password: 'two' }))
  const { first: type, body } = await thief.readPacket()
  t.deepEqual([type, body[1]], [0x20, 0x87])
  first.peer.send([0xc0, 0])
  t.is((await first.peer.readPacket()).first, 0xd0)
  for (const peer of [first.peer, thief]) peer.end()
})

test('a retained message that is set or cleared at one gateway is so at the other', async (t) => {
  const { ports } = await startTwo(t)
  const here = await mqttClient(t, ports[0], 5)
  await here.publish('r/1', 'kept', { retain: true })
  await here.publish('r/2', 'kept too', { retain: true })
  const first = await mqttClient(t, ports[1], 5)
  await first.subscribe('r/#')
  await first.messages(2)
  t.deepEqual(first.texts.sort(), ['kept', 'kept too'])
  await here.publish('r/1', '', { retain: true })
  const second = await mqttClient(t, ports[1], 5)
  await second.subscribe('r/#')
  await second.messages(1)
  await second.publish('r/3', 'end')
  await second.messages(2)
  t.deepEqual(second.texts, ['kept too', 'end'])
})

test('members of a shared subscription at both gateways get each message once', async (t) => {
  const { ports } = await startTwo(t)
  const members = [await mqttClient(t, ports[0], 5), await mqttClient(t, ports[1], 5)]
  for (const member of members) await member.subscribe('$share/g/s/#')
  const publisher = await mqttClient(t, ports[0], 5)
  const texts = Array.from({ length: 200 }, (_, i) => `m${i}`)
  await Promise.all(texts.map((text, i) => publisher.publish(`s/${i % 5}`, text)))
  const all = () => members.flatMap((member) => member.texts)
  while (all().length < texts.length) {
    await Promise.race(members.map((member) => member.messages(member.received.length + 1)))
  }
  t.deepEqual(all().sort(), [...texts].sort())
  for (const member of members) t.true(member.received.length > 0)
})

test('a client that changes the gateway 100 times loses nothing, and has no QoS 2 message twice', async (t) => {
  const { ports } = await startTwo(t)
  const client = new RoamingClient('c')
  await client.connect(ports[0])
  client.subscribe('in/#')
  const witness = await mqttClient(t, ports[0], 5)
  await witness.subscribe('out/#', { qos: 2 })
  const feeder = await mqttClient(t, ports[1], 5)
  const sent: string[] = []
  const feeding: Promise<unknown>[] = []
  for (let turn = 1; turn <= 100; turn++) {
    for (const qos of [1, 2] as const) {
      const text = `${qos}-${turn}`
      sent.push(text)
      feeding.push(feeder.publish(`in/${qos}`, text, { qos }))
      client.publish(`out/${qos}`, text, qos)
    }
    t.true(await client.connect(ports[turn % 2]!), `no session at turn ${turn}`)
  }
  await Promise.all(feeding)
  const once = (texts: readonly string[]) => texts.filter((text) => text.startsWith('2-')).sort()
  const isWhole = (texts: readonly string[]) => sent.every((text) => texts.includes(text))
  await eventually(async () => (isWhole(client.received) && client.isIdle ? true : undefined))
  while (!isWhole(witness.texts)) await witness.messages(witness.received.length + 1)
  t.deepEqual(once(client.received), once(sent))
  t.deepEqual(once(witness.texts), once(sent))
  client.end()
})
