// Bad input over raw sockets: each costs its own connection, at once, and nothing else.
import test from 'ava'
import { BODY_BYTES_DEFAULT } from '../../../src/model/limits.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { mqttClient, spawnMqtt, startMqtt } from '../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import {
  ack,
  connect,
  frame,
  PINGREQ,
  publish,
  str,
  subscribe,
  u16,
  varint,
} from '../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { rssMiB } from '../../support/rss.ts'

const HUGE = varint(256 * 1024 * 1024 - 1)

/** [what, what is sent first, what the server answers] */
const BEFORE_CONNECT: readonly (readonly [string, Buffer, number[]])[] = [
  ['PUBLISH', publish('a', 'b'), []],
  ['PINGREQ', Buffer.of(0xc0, 0), []],
  ['CONNECT of 256 MB', Buffer.concat([Buffer.of(0x10), HUGE]), []],
  [
    'CONNECT just over the limit',
    Buffer.concat([Buffer.of(0x10), varint(64 * 1024), Buffer.alloc(9)]),
    [],
  ],
  ['a length of five bytes', Buffer.of(0x10, 0xff, 0xff, 0xff, 0xff, 1), []],
  ['another protocol name', frame(0x10, str('MQTX'), Buffer.of(4, 2, 0, 60), str('c')), []],
  [
    'a version to come',
    frame(0x10, str('MQTT'), Buffer.of(6, 2, 0, 60), str('c')),
    [0x20, 3, 0, 0x84, 0],
  ],
  [
    'a client id that is no UTF-8',
    frame(0x10, str('MQTT'), Buffer.of(5, 2, 0, 60, 0), u16(2), Buffer.of(0xc0, 0x80)),
    [0x20, 3, 0, 0x85, 0],
  ],
  ['a client id of 1,025 bytes', connect('x'.repeat(1025)), [0x20, 2, 0, 2]],
]

for (const [what, bytes, answer] of BEFORE_CONNECT) {
  test(`before CONNECT: ${what} closes the connection`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await RawPeer.connect(port)
    peer.send(bytes)
    t.deepEqual([...(await peer.closed())], answer)
  })
}

const AFTER_CONNECT: readonly (readonly [string, Buffer, number])[] = [
  ['packet type 0', Buffer.of(0), 0x82],
  ['SUBACK', frame(0x90, u16(1), Buffer.of(0, 0)), 0x82],
  ['a second CONNECT', connect('again', { version: 5 }), 0x82],
  ['PUBLISH with packet id 0', publish('a', 'b', { qos: 1, id: 0, version: 5 }), 0x82],
  ['PUBLISH with QoS 3', Buffer.of(0x36, 4, 0, 1, 97, 0), 0x81],
  ['a topic that is no UTF-8', frame(0x30, u16(2), Buffer.of(0xed, 0xa0), Buffer.of(0)), 0x81],
  ['a topic with U+0000', publish('a\u0000b', '', { version: 5 }), 0x81],
  ['a topic with a wildcard', publish('a/+', '', { version: 5 }), 0x81],
  ['SUBSCRIBE without a filter', frame(0x82, u16(1), Buffer.of(0)), 0x81],
  ['topic alias 65', publish('a', '', { version: 5, properties: Buffer.of(0x23, 0, 65) }), 0x94],
  ['AUTH without a method', Buffer.of(0xf0, 0), 0x82],
]

for (const [what, bytes, code] of AFTER_CONNECT) {
  test(`after CONNECT: ${what} ends the connection with 0x${code.toString(16)}`, async (t) => {
    const { port } = await startMqtt(t)
    const witness = await mqttClient(t, port, 5)
    await witness.subscribe('alive')
    const peer = await RawPeer.connect(port)
    peer.send(connect('peer', { version: 5 }))
    await peer.readPacket()
    peer.send(bytes)
    t.deepEqual([...(await peer.closed())], [0xe0, 1, code])
    const old = await RawPeer.connect(port)
    old.send(connect('old'))
    await old.read(4)
    await witness.publish('alive', 'yes')
    await witness.messages(1)
    t.pass()
    old.end()
  })
}

test('a payload over 4 MiB is refused in words, and the connection goes on', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5)
  const tooLarge = Buffer.alloc(BODY_BYTES_DEFAULT + 1)
  const error = await t.throwsAsync(client.publish('big', tooLarge, { qos: 1 }))
  t.is((error as { code?: unknown }).code, 0x97)
  await client.publish('big', 'small', { qos: 1 })
})

test('a PUBLISH before the bad packet in one chunk is stored', async (t) => {
  const { port } = await startMqtt(t)
  const witness = await mqttClient(t, port, 5)
  await witness.subscribe('good')
  const peer = await RawPeer.connect(port)
  peer.send(connect('peer'), publish('good', 'kept', { qos: 1 }), [0x36, 0])
  await peer.closed()
  await witness.messages(1)
  t.deepEqual(witness.texts, ['kept'])
})

test('names of the language are client ids, topics and user properties like any other', async (t) => {
  const { port } = await startMqtt(t)
  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty']) {
    const client = await mqttClient(t, port, 5, { clientId: name, clean: false, expiry: 100 })
    await client.subscribe(name)
    await client.publish(name, name, {
      retain: true,
      properties: { userProperties: { [`${name}x`]: name } },
    })
    const [message] = await client.messages(1)
    t.deepEqual([message!.topic, message!.text], [name, name])
    await client.end()
    const again = await mqttClient(t, port, 5, { clientId: name, clean: false, expiry: 100 })
    await again.publish(name, 'again')
    await again.messages(1)
    t.deepEqual(again.texts, ['again'])
  }
})

test('a CONNECT that comes byte by byte is cut off after five seconds', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqtt(t, { clock })
  const peer = await RawPeer.connect(port)
  const bytes = connect('slow')
  for (let i = 0; i < 4; i++) {
    peer.send(bytes.subarray(i, i + 1))
    await clock.advanceAsync(1_000)
  }
  t.false(peer.isClosed)
  await clock.advanceAsync(1_500)
  await peer.closed()
  t.pass()
})

test('a client that is silent for one and a half keep alives is disconnected, one that pings is not', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqtt(t, { clock })
  const [silent, lively] = [await RawPeer.connect(port), await RawPeer.connect(port)]
  silent.send(connect('silent', { version: 5, keepAlive: 10 }))
  lively.send(connect('lively', { version: 5, keepAlive: 10 }))
  await silent.readPacket()
  await lively.readPacket()
  await clock.advanceAsync(9_000)
  lively.send([0xc0, 0])
  await lively.read(2)
  t.false(silent.isClosed)
  await clock.advanceAsync(6_500)
  t.deepEqual([...(await silent.closed())], [0xe0, 1, 0x8d])
  lively.send([0xc0, 0])
  t.deepEqual([...(await lively.read(2))], [0xd0, 0])
  lively.end()
})

test('a claimed length costs no memory until the bytes come', async (t) => {
  const server = await spawnMqtt(t)
  const peers = await Promise.all(
    Array.from({ length: 100 }, () => RawPeer.connect(server.port('mqtt'))),
  )
  for (const [i, peer] of peers.entries()) peer.send(connect(`c${i}`))
  for (const peer of peers) await peer.read(4)
  const before = rssMiB(server.pid)
  for (const peer of peers) peer.send(PINGREQ, [0x30], varint(4_000_000), str('topic'))
  for (const peer of peers) await peer.read(2)
  const grown = rssMiB(server.pid) - before
  t.true(grown < 32, `${grown.toFixed(0)} MiB for 100 claims of 4 MB`)
  for (const peer of peers) peer.end()
})

test('3.1: SUBSCRIBE and PUBREL that are sent again may be marked as duplicates', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  const asDuplicate = (packet: Buffer): Buffer =>
    Buffer.concat([Buffer.of(packet[0]! | 8), packet.subarray(1)])
  peer.send(connect('old', { version: 3 }), asDuplicate(subscribe(1, [['a', 1]])))
  t.is((await peer.readPacket()).first, 0x20)
  t.is((await peer.readPacket()).first, 0x90)
  peer.send(asDuplicate(ack('pubrel', 7)))
  t.deepEqual([...(await peer.read(4))], [0x70, 2, 0, 7])
  peer.end()
})

test('a bridge of mosquitto may say where it stands', async (t) => {
  const { port } = await startMqtt(t)
  const topic = '$SYS/broker/connection/bridge/state'
  const peer = await RawPeer.connect(port)
  peer.send(connect('bridge', { will: { topic, payload: '0', flags: 0x28 } }))
  peer.send(publish(topic, '1', { qos: 1, flags: 1 }))
  t.deepEqual([...(await peer.read(8))], [0x20, 2, 0, 0, 0x40, 2, 0, 1])
  peer.end()
})

test('what was sent in order before a fault is acknowledged ahead of the goodbye', async (t) => {
  const { port } = await startMqttOver(t)
  const peer = await RawPeer.connect(port)
  peer.send(connect('faulty', { version: 5 }))
  await peer.readPacket()
  peer.send(publish('a', 'b', { qos: 1, version: 5 }), Buffer.of(0))
  t.is((await peer.readPacket()).first, 0x40)
  const { first, body } = await peer.readPacket()
  t.deepEqual([first, body[0]], [0xe0, 0x82])
})

test('a fault behind a message that the log is slow to take ends the connection all the same', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, {
    clock,
    bend: (broker: Broker) => overridden(broker, { publish: () => new Promise(() => {}) }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('faulty', { version: 5 }))
  await peer.readPacket()
  let isOver = false
  peer.send(publish('a', 'b', { qos: 1, version: 5 }), Buffer.of(0))
  const ended = peer.readPacket().then(({ first, body }) => {
    isOver = true
    t.deepEqual([first, body[0]], [0xe0, 0x82])
  })
  while (!isOver) await clock.advanceAsync(250)
  await ended
})
