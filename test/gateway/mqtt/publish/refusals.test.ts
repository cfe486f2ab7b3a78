// What a client that resends does after a refusal: the message or filter that is refused is
// answered for itself, and what the client sends behind it is taken, on the same connection.
import test from 'ava'
import type { EmbeddedBroker } from '../../../../src/broker/broker.ts'
import { BrokerError, ERROR_CODES } from '../../../../src/errors.ts'
import { ConnectBudget } from '../../../../src/gateway/mqtt/connect-budget.ts'
import { reasonOf } from '../../../../src/gateway/mqtt/errors.ts'
import { MQTT_DEFAULTS } from '../../../../src/gateway/mqtt/options.ts'
import { PACKET } from '../../../../src/gateway/mqtt/packets/protocol.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { startMqtt } from '../../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import {
  ack,
  connect,
  frame,
  PINGREQ,
  publish,
  str,
  subscribe,
  u16,
  unsubscribe,
  varint,
} from '../../../support/mqtt/mqtt-packets.ts'
import { numberOf } from '../../../support/numbers.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'

const DEEP = Array(MQTT_DEFAULTS.topicLevelsMax + 1)
  .fill('x')
  .join('/')
const LONG = 'x'.repeat(MQTT_DEFAULTS.topicBytesMax + 1)
const RETAIN = 1
const manyProperties = (count: number): Buffer =>
  Buffer.concat(Array(count).fill(Buffer.concat([Buffer.of(0x26), str('n'), str('v')])))

/** [what, the topic, its flags, its payload, MQTT 5's reason code] */
const REFUSED: readonly (readonly [string, string, number, number, number])[] = [
  ['a topic of one level too many', DEEP, 0, 1, 0x90],
  ['a topic of one byte too many', LONG, 0, 1, 0x90],
  ['a topic below $SYS', '$SYS/mine', 0, 1, 0x87],
  ['a payload over broker.bodyBytesMax', 'large', 0, 2_000, 0x97],
  ['a retained message more than mqtt.retainedMax', 'kept', RETAIN, 1, 0x97],
]

const REFUSED_COUNT = 'trivet_messages_refused_total{protocol_type="mqtt"'
const LIMITS = { mqtt: { retainedMax: 0 }, broker: { bodyBytesMax: 1_024 } }

for (const [what, topic, flags, bytes, code] of REFUSED) {
  for (const qos of [1, 2]) {
    const answer = qos === 1 ? 0x40 : 0x50
    test(`MQTT 5, QoS ${qos}: ${what} is refused by code, and the next message is taken`, async (t) => {
      const { port, numbers } = await startMqttOver(t, LIMITS)
      const peer = await RawPeer.connect(port)
      peer.send(connect('c', { version: 5, properties: Buffer.of(0x17, 0) }))
      await peer.readPacket()
      const payload = Buffer.alloc(bytes)
      peer.send(publish(topic, payload, { qos, id: 1, flags, version: 5 }))
      t.deepEqual([...(await peer.read(5))], [answer, 3, 0, 1, code])
      peer.send(publish('good', 'x', { qos, id: 2, version: 5 }))
      t.deepEqual([...(await peer.readPacket()).bytes].slice(0, 4), [
        answer,
        qos === 1 ? 3 : 2,
        0,
        2,
      ])
      t.is(await numberOf(numbers, REFUSED_COUNT), 1)
      peer.end()
    })

    test(`3.1.1, QoS ${qos}: ${what} is acknowledged and dropped, and the next message is taken`, async (t) => {
      const { port, numbers, broker } = await startMqttOver(t, LIMITS)
      const before = await stored(broker)
      const peer = await RawPeer.connect(port)
      peer.send(connect('c'))
      await peer.readPacket()
      peer.send(publish(topic, Buffer.alloc(bytes), { qos, id: 1, flags }))
      peer.send(publish('good', 'x', { qos, id: 2 }))
      t.deepEqual([...(await peer.read(8))], [answer, 2, 0, 1, answer, 2, 0, 2])
      if (qos === 2) {
        peer.send(ack('pubrel', 1), ack('pubrel', 2))
        t.deepEqual([...(await peer.read(8))], [0x70, 2, 0, 1, 0x70, 2, 0, 2])
      }
      t.is(await numberOf(numbers, REFUSED_COUNT), 1)
      t.is((await stored(broker)) - before, 1)
      peer.end()
    })
  }
}

async function stored(broker: EmbeddedBroker): Promise<number> {
  const ranges = await broker.topics.ranges('MQTT')
  return ranges.reduce((sum, { maxOffset }) => sum + maxOffset, 0)
}

for (const [what, properties] of [
  ['65 user properties', manyProperties(65)],
  [
    'user properties of 33 KiB',
    Buffer.concat([Buffer.of(0x26), str('x'), str('y'.repeat(33 * 1024))]),
  ],
  ['as many user properties as a packet holds', manyProperties(100_000)],
] as const) {
  test(`a message with ${what} is refused with 0x97, and the next one is taken`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', { version: 5, properties: Buffer.of(0x17, 0) }))
    await peer.readPacket()
    peer.send(publish('a', '', { qos: 1, id: 1, version: 5, properties }))
    peer.send(publish('a', '', { qos: 1, id: 2, version: 5 }))
    t.deepEqual([...(await peer.read(5))], [0x40, 3, 0, 1, 0x97])
    t.is((await peer.readPacket()).body.readUInt16BE(0), 2)
    peer.end()
  })
}

test('a response topic of any depth is carried on', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }), subscribe(1, [['a', 0]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const properties = Buffer.concat([Buffer.of(8), str(DEEP)])
  const sent = publish('a', 'x', { version: 5, properties })
  peer.send(sent)
  t.deepEqual((await peer.readPacket()).bytes, sent)
  peer.end()
})

test('3.1.1: a PUBLISH over mqtt.packetBytesMax is passed over, acknowledged and dropped', async (t) => {
  const { port, numbers } = await startMqttOver(t, { mqtt: { packetBytesMax: 65_536 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c'))
  await peer.readPacket()
  for (const qos of [0, 1, 2]) peer.send(publish('large', Buffer.alloc(300_000), { qos, id: qos }))
  peer.send(publish('good', 'x', { qos: 1, id: 9 }), PINGREQ)
  const answers: string[] = []
  for (let i = 0; i < 4; i++) answers.push((await peer.readPacket()).bytes.toString('hex'))
  t.deepEqual(answers.sort(), ['40020001', '40020009', '50020002', 'd000'])
  t.is(await numberOf(numbers, REFUSED_COUNT), 3)
  t.is(await numberOf(numbers, 'trivet_messages_in_total'), 1)
  peer.end()
})

test('MQTT 5: a PUBLISH of QoS 1 or 2 over mqtt.packetBytesMax is passed over and refused, the next is taken', async (t) => {
  const { port, numbers } = await startMqttOver(t, { mqtt: { packetBytesMax: 65_536 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5, properties: Buffer.of(0x17, 0) }))
  await peer.readPacket()
  for (const [qos, first] of [
    [1, 0x40],
    [2, 0x50],
  ] as const) {
    const properties = Buffer.concat([Buffer.of(8), str('r'.repeat(60_000))])
    peer.send(publish('large', Buffer.alloc(300_000), { qos, id: 7, version: 5, properties }))
    t.deepEqual([...(await peer.read(5))], [first, 3, 0, 7, 0x97])
    peer.send(publish('good', 'x', { qos, id: 8, version: 5 }))
    t.is((await peer.readPacket()).body.readUInt16BE(0), 8)
  }
  t.is(await numberOf(numbers, REFUSED_COUNT), 2)
  peer.end()
})

for (const code of ['READ_ONLY', 'BUSY', 'PERMISSION_DENIED'] as const) {
  test(`3.1.1: a message that the broker refuses for now (${code}) is not acknowledged`, async (t) => {
    let isOpen = false
    const { port } = await startMqttOver(t, {
      bend: (broker: EmbeddedBroker): Broker =>
        overridden(broker, {
          publish: (...batch) =>
            isOpen
              ? broker.publish(...batch)
              : Promise.resolve(batch[0].map(() => new BrokerError(code, 'not now'))),
        }),
    })
    const peer = await RawPeer.connect(port)
    peer.send(connect('c'), publish('a', 'x', { qos: 1 }))
    await peer.read(4)
    t.is((await peer.closed()).length, 0)
    isOpen = true
    const again = await RawPeer.connect(port)
    again.send(connect('c'), publish('a', 'x', { qos: 1 }))
    t.deepEqual([...(await again.read(8))], [0x20, 2, 0, 0, 0x40, 2, 0, 1])
    again.end()
  })
}

for (const version of [4, 5] as const) {
  const [refused, unread] = version === 4 ? [0x80, 0x80] : [0x8f, 0x97]

  test(`MQTT ${version}: filters that are not taken are refused one by one, the others are granted`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', { version }))
    await peer.readPacket()
    const reserved = ['$queue/x', '$trivet/#', '$share/g/$trivet/#', '$share/g/$share/h/a']
    const none = [DEEP, LONG, '$share/g', ...reserved]
    const filters = [...none, 'fine'].map((filter) => [filter, 1] as const)
    peer.send(subscribe(1, filters, version))
    const { body } = await peer.readPacket()
    t.deepEqual([...body.subarray(-8)], [...none.map(() => refused), 1])
    peer.end()
  })

  test(`MQTT ${version}: filters behind the first 10,000 of a packet are refused, and the connection goes on`, async (t) => {
    const { port } = await startMqtt(t, { mqtt: { filtersMax: 2 } })
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', { version }))
    await peer.readPacket()
    const names = Array.from({ length: 10_002 }, (_, i) => `f/${i}`)
    peer.send(
      subscribe(
        1,
        names.map((name) => [name, 0]),
        version,
      ),
    )
    const codes = [...(await peer.readPacket()).body].slice(-10_002)
    t.deepEqual(codes.slice(0, 3), [0, 0, unread])
    t.true(codes.slice(2).every((code) => code === unread))
    peer.send(unsubscribe(2, names, version), PINGREQ)
    t.is((await peer.readPacket()).first, 0xb0)
    t.is((await peer.readPacket()).first, 0xd0)
    peer.end()
  })
}

test('3.1.1: a client may send any number of QoS 2 messages before it looks at an answer', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  peer.send(connect('eager'))
  await peer.readPacket()
  const count = 5_000
  for (let id = 1; id <= count; id++) peer.send(publish('q', 'x', { qos: 2, id }))
  const answers = await peer.read(4 * count)
  for (let id = 1; id <= count; id++) t.is(answers.readUInt32BE(4 * (id - 1)), 0x5002_0000 + id)
  peer.end()
})

/** Every field as long as its length can say. */
function largestConnect(version: 4 | 5): Buffer {
  const field = Buffer.concat([u16(65_535), Buffer.alloc(65_535, 'x')])
  const properties = version === 5 ? [varint(0)] : []
  const head = [str('MQTT'), Buffer.of(version, 0b1100_0110), u16(0), ...properties]
  return frame(0x10, ...head, str('c'), ...properties, str('will'), field, field, field)
}

for (const version of [4, 5] as const) {
  test(`MQTT ${version}: CONNECT with will, user name and password of 65,535 bytes is accepted`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await RawPeer.connect(port)
    peer.send(largestConnect(version))
    t.is((await peer.readPacket()).body[1], 0)
    peer.end()
  })

  test(`MQTT ${version}: a will topic that is not taken is told in CONNACK`, async (t) => {
    const { port } = await startMqtt(t)
    for (const [topic, code] of [
      [DEEP, version === 5 ? 0x90 : 5],
      ['$SYS/mine', version === 5 ? 0x87 : 5],
    ] as const) {
      const peer = await RawPeer.connect(port)
      peer.send(connect('c', { version, will: { topic, payload: 'x' } }))
      t.is((await peer.readPacket()).body[1], code)
      await peer.closed()
    }
  })
}

test('a CONNECT of any length is answered, one over 512 KiB with 0x95', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  const properties = manyProperties(100_000)
  peer.send(connect('c', { version: 5, properties }))
  t.deepEqual([...(await peer.closed())], [0x20, 3, 0, 0x95, 0])
})

test('the connection with the most is crowded out when CONNECTs wait for more than their bound', (t) => {
  const budget = new ConnectBudget(100)
  const out: string[] = []
  const [small, large, last] = ['small', 'large', 'last'].map((name) => ({
    crowdedOut: () => out.push(name),
  }))
  budget.hold(small!, 10)
  budget.hold(large!, 60)
  budget.hold(last!, 30)
  t.deepEqual(out, [])
  budget.hold(small!, 20)
  t.deepEqual(out, ['large'])
  t.is(budget.bytes, 50)
  for (const one of [small!, last!, large!]) budget.leave(one)
  t.is(budget.bytes, 0)
})

test('CONNECTs that do not come to an end cost their bound at most, and the one cut off is told', async (t) => {
  const { port } = await startMqtt(t, { clock: new FakeClock() })
  const most = largestConnect(5).subarray(0, 190_000)
  const peers = await Promise.all(Array.from({ length: 200 }, () => RawPeer.connect(port)))
  for (const peer of peers) peer.send(most)
  const told = await Promise.race(peers.map((peer) => peer.closed()))
  t.deepEqual([...told.subarray(0, 4)], [0x20, told[1], 0, 0x89])
  const honest = await RawPeer.connect(port)
  honest.send(connect('honest'))
  t.deepEqual([...(await honest.read(4))], [0x20, 2, 0, 0])
  for (const peer of [...peers, honest]) peer.end()
})

test('MQTT 5 clients are told the keep alive that is set for all', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { serverKeepAlive: 60 } })
  for (const keepAlive of [0, 10, 60, 600]) {
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', { version: 5, keepAlive }))
    const { body } = await peer.readPacket()
    t.true(body.includes(Buffer.of(0x13, 0, 60)), `${keepAlive}`)
    peer.end()
  }
})

test('an alias that a PUBLISH over mqtt.packetBytesMax gives its topic means that topic from then on', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { packetBytesMax: 65_536 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }), subscribe(1, [['#', 0]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const properties = Buffer.of(0x23, 0, 1)
  peer.send(publish('before', '1', { version: 5, properties }))
  t.true((await peer.readPacket()).bytes.includes('before'))
  peer.send(publish('after', Buffer.alloc(70_000), { qos: 1, version: 5, properties }))
  t.is((await peer.readPacket()).body[2], 0x97)
  peer.send(publish('', '2', { version: 5, properties }))
  t.true((await peer.readPacket()).bytes.includes('after'))
  peer.end()
})

test('no alias holds behind a PUBLISH over mqtt.packetBytesMax whose properties are too long to be seen', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { packetBytesMax: 65_540 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }))
  await peer.readPacket()
  const alias = Buffer.of(0x23, 0, 1)
  peer.send(publish('before', '1', { qos: 1, version: 5, properties: alias }))
  await peer.readPacket()
  const long = Buffer.concat([Buffer.of(3), str('x'.repeat(65_535))])
  const properties = Buffer.concat([long, alias])
  peer.send(publish('after', '', { qos: 1, version: 5, properties }))
  t.is((await peer.readPacket()).body[2], 0x97)
  peer.send(publish('', '2', { version: 5, properties: alias }))
  t.deepEqual([...(await peer.readPacket()).bytes.filter((_, i) => i !== 1)], [0xe0, 0x82])
  peer.end()
})

test('a QoS 2 message that was taken and comes again is answered so, also where it would be refused now', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { retainedMax: 1 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }))
  await peer.readPacket()
  const again = publish('r/1', 'x', { qos: 2, id: 7, flags: RETAIN, version: 5 })
  const clear = publish('r/1', '', { qos: 1, id: 8, flags: RETAIN, version: 5 })
  const other = publish('r/2', 'x', { qos: 1, id: 9, flags: RETAIN, version: 5 })
  const answers: number[] = []
  for (const packet of [again, clear, other, again]) {
    peer.send(packet)
    const { first, body } = await peer.readPacket()
    answers.push(first, body[1]!, body[2] ?? 0)
  }
  // PUBACK with 0x10: no subscribers.
  t.deepEqual(answers, [0x50, 7, 0, 0x40, 8, 0x10, 0x40, 9, 0x10, 0x50, 7, 0])
  peer.end()
})

test('UNSUBACK has none but its own codes', (t) => {
  for (const code of ERROR_CODES) {
    const reason = reasonOf(new BrokerError(code, ''), PACKET.unsuback)
    t.true([0x80, 0x83, 0x87, 0x8f].includes(reason), `${code}: ${reason}`)
  }
})
