// Back-pressure both ways, the in-flight window, and what happens when the broker fails.
import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { BrokerError } from '../../../src/errors.ts'
import { withOwnBytes } from '../../../src/model/message.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { mqttClient, spawnMqtt, startMqtt, VERSIONS } from '../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import {
  ack,
  connect,
  PINGREQ,
  PINGRESP,
  publish,
  subscribe,
} from '../../support/mqtt/mqtt-packets.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { rssMiB } from '../../support/rss.ts'

const PAYLOAD_BYTES = 100_000
/** More than what one read brings. */
const FLOOD_BYTES = 600_000

function numbered(i: number): Buffer {
  const payload = Buffer.alloc(PAYLOAD_BYTES, 'x')
  payload.writeUInt32BE(i)
  return payload
}

/** The broker with another `publish`; the rest is the real one. */
function withPublish(broker: EmbeddedBroker, publish: Broker['publish']): Broker {
  return new Proxy(broker, {
    get(target, name) {
      if (name === 'publish') return publish
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

test('the window of a client holds: no more unacknowledged messages than it takes', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  const properties = Buffer.of(0x21, 0, 3)
  peer.send(connect('w', { version: 5, properties }), subscribe(1, [['w', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const publisher = await mqttClient(t, port, 5)
  for (let i = 0; i < 10; i++) await publisher.publish('w', `${i}`)
  for (let i = 1; i <= 3; i++) t.is((await peer.readPacket()).first, 0x32)
  peer.send([0xc0, 0])
  t.deepEqual([...(await peer.read(2))], [0xd0, 0], 'nothing beyond the window')
  peer.send(ack('puback', 2), ack('puback', 1))
  for (const id of [4, 5]) {
    const { body } = await peer.readPacket()
    t.is(body.readUInt16BE(3), id)
  }
  peer.send([0xc0, 0])
  t.deepEqual([...(await peer.read(2))], [0xd0, 0])
  peer.end()
})

test('large messages that were not acknowledged are sent again as fast as the connection takes them', async (t) => {
  const { port } = await startMqtt(t, {
    config: { broker: { bodyBytesMax: 1024 * 1024 } },
    mqtt: { unsentBytesMax: 2 * 1024 * 1024 },
  })
  const publisher = await mqttClient(t, port, 4)
  const payload = Buffer.alloc(600_000, 'x')
  const connectAgain = async (): Promise<RawPeer> => {
    const peer = await RawPeer.connect(port)
    peer.send(connect('large', { clean: false }))
    await peer.readPacket()
    return peer
  }
  const first = await connectAgain()
  first.send(subscribe(1, [['l', 1]]))
  await first.readPacket()
  for (let i = 0; i < 20; i++) {
    await publisher.publish('l', payload)
    t.is((await first.readPacket()).first, 0x32)
  }
  first.end()
  const second = await connectAgain()
  for (let i = 0; i < 20; i++) t.is((await second.readPacket()).first, 0x3a)
  second.end()
})

for (const [what, packet, answerBytes] of [
  ['pings', PINGREQ, PINGRESP.length],
  ['messages that it may not send', publish('$SYS/xyz', '', { version: 5, qos: 1 }), 5],
] as const) {
  test(`a client that sends ${what} while the log is slow is not read beyond a bound`, async (t) => {
    const published: string[] = []
    let release: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    const { port } = await startMqttOver(t, {
      mqtt: { unstoredBytesMax: 65_536 },
      bend: (broker) =>
        withPublish(broker, async (messages) => {
          const all = messages.map(withOwnBytes)
          for (const { body } of all) published.push(body.toString())
          await gate
          return broker.publish(all)
        }),
    })
    const flooding = await RawPeer.connect(port)
    flooding.send(connect('flood', { version: 5, keepAlive: 0 }))
    await flooding.readPacket()
    const count = FLOOD_BYTES / packet.length
    const flood = Buffer.alloc(FLOOD_BYTES, packet)
    flooding.send(publish('x', 'first', { version: 5, qos: 1 }), flood)
    flooding.send(publish('x', 'last', { version: 5, qos: 1 }))
    const other = await RawPeer.connect(port)
    other.send(connect('other'))
    await other.read(4)
    for (let i = 0; i < 50; i++) {
      other.send(PINGREQ)
      t.deepEqual([...(await other.read(2))], [...PINGRESP])
    }
    t.deepEqual(published, ['first'])
    release()
    // A PUBACK with a reason before and after.
    const answers = await flooding.read(5 + count * answerBytes + 5)
    t.is(answers.at(-5), 0x40)
    t.deepEqual(published, ['first', 'last'])
    flooding.end()
    other.end()
  })
}

test('QoS 0 passes a full window', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  const properties = Buffer.of(0x21, 0, 1)
  peer.send(connect('w', { version: 5, properties }), subscribe(1, [['w', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('w', '1')
  t.is((await peer.readPacket()).first, 0x32)
  await publisher.publish('w', '0', { qos: 0 })
  t.is((await peer.readPacket()).first, 0x30)
  peer.end()
})

for (const version of VERSIONS) {
  test(`version ${version}: a stalled subscriber slows no other, and gets all in order when it goes on`, async (t) => {
    const { port } = await startMqtt(t)
    const stalled = await RawPeer.connect(port)
    stalled.send(connect('stalled', { version }), subscribe(1, [['flood', 0]], version))
    await stalled.readPacket()
    await stalled.readPacket()
    stalled.pause()
    const healthy = await mqttClient(t, port, version)
    await healthy.subscribe('flood')
    const publisher = await mqttClient(t, port, version)
    const count = 150
    for (let i = 0; i < count; i++) await publisher.publish('flood', numbered(i))
    await healthy.messages(count)
    stalled.resume()
    for (let i = 0; i < count; i++) {
      const { first, body } = await stalled.readPacket()
      t.is(first, 0x30)
      t.is(body.readUInt32BE(body.length - PAYLOAD_BYTES), i)
    }
    stalled.end()
  })
}

test('what a stalled subscriber misses waits in the log, not in memory', async (t) => {
  const server = await spawnMqtt(t)
  const stalled = await RawPeer.connect(server.port('mqtt'))
  stalled.send(connect('stalled', { keepAlive: 0 }), subscribe(1, [['flood', 1]]))
  await stalled.read(4 + 5)
  stalled.pause()
  const publisher = await mqttClient(t, server.port('mqtt'), 4)
  const flood = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i += 20) {
      await Promise.all(
        Array.from({ length: 20 }, (_, k) => publisher.publish('flood', numbered(i + k))),
      )
    }
  }
  // The log's own caches fill up first.
  await flood(500)
  const before = rssMiB(server.pid)
  await flood(800)
  const grown = rssMiB(server.pid) - before
  t.true(grown < 50, `${grown.toFixed(0)} MiB more for 80 MB that wait`)
  stalled.end()
})

test('PUBACKs come in the order of the PUBLISHes although the broker settles in another', async (t) => {
  const settle: (() => void)[] = []
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      withPublish(broker, async (messages) => {
        const results = await broker.publish(messages)
        await new Promise<void>((resolve) => settle.push(resolve))
        return results
      }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c'))
  await peer.read(4)
  for (let id = 1; id <= 3; id++) {
    peer.send(publish('x', 'y', { qos: 1, id }))
    while (settle.length < id) await new Promise((resolve) => setImmediate(resolve))
  }
  for (const one of settle.toReversed()) one()
  const acks = await peer.read(12)
  t.deepEqual([...acks], [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3])
  peer.end()
})

const READ_ONLY = new BrokerError('READ_ONLY', 'the disk is full; make room')

test('MQTT 5: a message that cannot be stored is refused with a code and the reason, the next one goes on', async (t) => {
  let fails = true
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      withPublish(broker, (messages) =>
        fails ? Promise.reject(READ_ONLY) : broker.publish(messages),
      ),
  })
  const client = await mqttClient(t, port, 5)
  const refused = await t.throwsAsync(client.publish('x', 'lost'))
  t.is((refused as { code?: number }).code, 0x83)
  const twice = await t.throwsAsync(client.publish('x', 'lost', { qos: 2 }))
  t.is((twice as { code?: number }).code, 0x83)
  fails = false
  await client.publish('x', 'stored')
  t.true(client.client.connected)
})

test('3.1.1: a message that cannot be stored is not acknowledged, and the connection ends', async (t) => {
  const { port } = await startMqttOver(t, {
    bend: (broker) => withPublish(broker, () => Promise.resolve([READ_ONLY])),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c'), publish('x', 'y', { qos: 1 }))
  await peer.read(4)
  t.is((await peer.closed()).length, 0)
})

test('a QoS 2 message that is sent again while it fails to be stored ends the new connection', async (t) => {
  const failing: (() => void)[] = []
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      withPublish(broker, () => new Promise((_, reject) => failing.push(() => reject(READ_ONLY)))),
  })
  const open = connect('c', { clean: false })
  const first = await RawPeer.connect(port)
  first.send(open, publish('x', 'y', { qos: 2, id: 3 }))
  await first.read(4)
  while (failing.length === 0) await new Promise((resolve) => setImmediate(resolve))
  const again = await RawPeer.connect(port)
  again.send(open, publish('x', 'y', { qos: 2, id: 3, flags: 8 }), PINGREQ)
  await again.read(4)
  t.deepEqual([...(await again.read(2))], [0xd0, 0])
  for (const fail of failing) fail()
  t.is((await again.closed()).length, 0)
  first.end()
})

test('more QoS 2 messages without PUBREL than the receive maximum end the connection with 0x93', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { receiveMaximum: 5 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }))
  await peer.readPacket()
  for (let id = 1; id <= 5; id++) peer.send(publish('x', '', { version: 5, qos: 2, id }))
  t.is((await peer.read(20)).length, 20)
  peer.send(publish('x', '', { version: 5, qos: 2, id: 6 }))
  t.deepEqual([...(await peer.closed())], [0xe0, 1, 0x93])
})

test('the filters of a session have a limit', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { filtersMax: 2 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }))
  await peer.readPacket()
  peer.send(
    subscribe(
      1,
      [
        ['a', 0],
        ['b', 1],
        ['c', 0],
        ['a', 1],
      ],
      5,
    ),
  )
  t.deepEqual([...(await peer.readPacket()).body], [0, 1, 0, 0, 1, 0x97, 1])
  peer.end()
})

test('retained messages have a limit, said before anything is stored', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { retainedMax: 1 } })
  const client = await mqttClient(t, port, 5)
  await client.publish('one', 'x', { retain: true })
  await client.publish('one', 'y', { retain: true })
  const refused = await t.throwsAsync(client.publish('two', 'x', { retain: true }))
  t.is((refused as { code?: number }).code, 0x97)
  await client.publish('one', '', { retain: true })
  await client.publish('two', 'x', { retain: true })
})

test('messages of many connections at once are kept apart', async (t) => {
  const { port } = await startMqtt(t)
  const reader = await mqttClient(t, port, 4)
  await reader.subscribe('apart/#')
  const payloadOf = (c: number, i: number): string =>
    `${c}-${i}-`.padEnd(50 + ((i * 37) % 900), String(c))
  const clients = await Promise.all(Array.from({ length: 8 }, () => mqttClient(t, port, 4)))
  await Promise.all(
    clients.flatMap((client, c) =>
      Array.from({ length: 200 }, (_, i) => client.publish(`apart/${c}`, payloadOf(c, i))),
    ),
  )
  const received = await reader.messages(1600)
  for (const c of clients.keys()) {
    const texts = received.filter(({ topic }) => topic === `apart/${c}`).map(({ text }) => text)
    t.deepEqual(
      texts,
      Array.from({ length: 200 }, (_, i) => payloadOf(c, i)),
    )
  }
})
