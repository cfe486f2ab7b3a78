// MQTT 5 properties through the log and back, and between MQTT and native messages.
import test from 'ava'
import type { EmbeddedBroker } from '../../../../src/broker/broker.ts'
import { queueOffset } from '../../../../src/model/positions.ts'
import { findProperty, PROPERTY } from '../../../../src/model/properties.ts'
import { type RecordView, recordsOf } from '../../../../src/model/record.ts'
import { EVERY_TAG } from '../../../../src/model/tag-filter.ts'
import { newMessage } from '../../../support/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { mqttClient, startMqtt } from '../../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { connect, publish, str, subscribe } from '../../../support/mqtt/mqtt-packets.ts'
import { numberOf } from '../../../support/numbers.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'

/** Every record of a topic. */
async function recordsIn(broker: EmbeddedBroker, topic: string): Promise<RecordView[]> {
  const records: RecordView[] = []
  for (const range of await broker.topics.ranges(topic)) {
    const { records: bytes } = await broker.pull({
      ...{ ...range, offset: queueOffset(0), maxMessages: 100, maxBytes: 1_000_000 },
      ...{ filter: EVERY_TAG, waitMs: 0 },
    })
    records.push(...recordsOf(bytes))
  }
  return records
}

test('every property of a PUBLISH reaches an MQTT 5 subscriber', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5)
  await client.subscribe('p')
  await client.publish('p', 'x', {
    properties: {
      payloadFormatIndicator: true,
      messageExpiryInterval: 100,
      contentType: 'text/plain',
      responseTopic: 'answers/1',
      correlationData: Buffer.from([0, 255, 128]),
      userProperties: { a: '1', b: ['2', '3'], TAGS: 'paid', KEYS: '42' },
    },
  })
  const [message] = await client.messages(1)
  const { userProperties, messageExpiryInterval, ...rest } = message!.properties
  t.deepEqual(rest, {
    payloadFormatIndicator: true,
    contentType: 'text/plain',
    responseTopic: 'answers/1',
    correlationData: Buffer.from([0, 255, 128]),
  })
  t.deepEqual(
    { ...(userProperties as object) },
    { a: '1', b: ['2', '3'], TAGS: 'paid', KEYS: '42' },
  )
  const left = messageExpiryInterval as number
  t.true(left > 0 && left <= 100, `${left} s`)
})

test('user properties keep their order, their repetitions and their empty names', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  const pairs: readonly (readonly [string, string])[] = [
    ['z', '1'],
    ['a', '2'],
    ['z', '1'],
    ['', 'no name'],
    ['empty', ''],
    ['line', 'a\nb'],
    ['MQTT_TOPIC', 'not/this'],
    ['__WIRE', 'not this'],
  ]
  const section = Buffer.concat(
    pairs.flatMap(([name, value]) => [Buffer.of(0x26), str(name), str(value)]),
  )
  peer.send(connect('c', { version: 5 }), subscribe(1, [['u', 0]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const packet = publish('u', 'x', { version: 5, properties: section })
  peer.send(packet)
  t.deepEqual((await peer.readPacket()).bytes, packet)
  peer.end()
})

test('a client cannot forge what steers the broker', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const client = await mqttClient(t, port, 5)
  const forged = {
    MQTT_TOPIC: 'x',
    UNIQ_KEY: 'x',
    DELAY: '3',
    TRAN_MSG: 'true',
    RETRY_TOPIC: 'x',
    fine: 'y',
  }
  await client.publish('f', 'x', { properties: { userProperties: forged } })
  const [record] = await recordsIn(broker, 'MQTT')
  const properties = record!.properties()
  t.is(properties.get('MQTT_TOPIC'), 'f')
  t.not(properties.get('UNIQ_KEY'), 'x')
  for (const name of ['DELAY', 'TRAN_MSG', 'RETRY_TOPIC'])
    t.is(properties.get(name), undefined, name)
  t.is(properties.get('fine'), 'y')
})

test('an MQTT 5 message in native eyes: tag, keys, ordering key, user properties, body', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  const client = await mqttClient(t, port, 5)
  await client.publish('orders/eu/42', 'one')
  const userProperties = { TAGS: 'us', KEYS: 'k1 k2', SHARDING_KEY: 'cust-7', color: 'red' }
  await client.publish('orders', 'two', { properties: { userProperties, contentType: 'text/x' } })
  const records = await recordsIn(broker, 'orders')
  const named = new Map(records.map((record) => [record.body.toString(), record.properties()]))
  const [one, two] = [named.get('one')!, named.get('two')!]
  t.deepEqual([one.get('TAGS'), one.get('KEYS')], ['eu', '42'])
  t.is(one.get('MQTT_TOPIC'), 'orders/eu/42')
  t.deepEqual([two.get('TAGS'), two.get('KEYS')], ['us', 'k1 k2'])
  t.is(two.get(PROPERTY.orderingKey), 'cust-7')
  t.deepEqual([two.get('color'), two.get('CONTENT_TYPE')], ['red', 'text/x'])
})

test('messages of one MQTT topic, or of one SHARDING_KEY, share a queue', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  const client = await mqttClient(t, port, 5)
  for (let i = 0; i < 20; i++) {
    await client.publish('orders/a/b', `topic ${i}`)
    const properties = { userProperties: { SHARDING_KEY: 'same' } }
    await client.publish(`orders/x/${i}`, `key ${i}`, { properties })
  }
  const records = await recordsIn(broker, 'orders')
  t.is(records.length, 40)
  for (const kind of ['topic', 'key']) {
    const of = records.filter((record) => record.body.toString().startsWith(kind))
    t.is(new Set(of.map(({ queueId }) => queueId)).size, 1, kind)
    t.deepEqual(
      of.map((record) => record.body.toString()),
      Array.from({ length: 20 }, (_, i) => `${kind} ${i}`),
    )
  }
})

test('a native message in MQTT eyes: topic or topic/tag, keys and user properties, nothing internal', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('fw')
  const v5 = await mqttClient(t, port, 5)
  const v4 = await mqttClient(t, port, 4)
  for (const client of [v5, v4]) await client.subscribe('fw/#', { qos: 2 })
  await broker.publish([
    newMessage('fw', { body: 'tagged', tag: 'v2', properties: { KEYS: 'dev9', color: 'red' } }),
    newMessage('fw', { body: 'plain' }),
    newMessage('fw', { body: 'odd', tag: 'a+b#c' }),
  ])
  await v5.messages(3)
  const of = (body: string) => v5.received.find(({ text }) => text === body)!
  t.is(of('tagged').topic, 'fw/v2')
  t.is(of('tagged').qos, 2)
  t.deepEqual(
    { ...(of('tagged').properties['userProperties'] as object) },
    { KEYS: 'dev9', color: 'red' },
  )
  t.is(of('plain').topic, 'fw')
  t.is(of('plain').properties['userProperties'], undefined)
  t.is(of('odd').topic, 'fw/a%2Bb%23c')
  await v4.messages(3)
  t.deepEqual(v4.received.map(({ topic }) => topic).sort(), ['fw', 'fw/a%2Bb%23c', 'fw/v2'])
})

test('a message of another protocol that expires says what is left', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('e')
  const client = await mqttClient(t, port, 5)
  await client.subscribe('e', { qos: 1 })
  const expiring = (body: string, ms: string) =>
    newMessage('e', { body, properties: { TRIVET_TTL_MS: ms } })
  await broker.publish([expiring('gone', '0'), expiring('here', '100000')])
  const [message] = await client.messages(1)
  t.is(message!.text, 'here')
  t.true([99, 100].includes(message!.properties['messageExpiryInterval'] as number))
})

test('subscription identifiers of every matching filter come with the message', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5)
  await client.subscribe('s/#', { qos: 1, properties: { subscriptionIdentifier: 7 } })
  await client.subscribe('s/a', { qos: 1, properties: { subscriptionIdentifier: 300 } })
  await client.subscribe('+/a', { qos: 1 })
  await client.publish('s/a', 'x')
  const [message] = await client.messages(1)
  const ids = message!.properties['subscriptionIdentifier'] as number[]
  t.deepEqual(ids.toSorted(), [300, 7].toSorted())
})

test('No Local keeps a client from its own messages, also across a reconnect, and no other client', async (t) => {
  const { port } = await startMqtt(t)
  const shape = { clientId: 'own', clean: false, expiry: 100 }
  const own = await mqttClient(t, port, 5, shape)
  const other = await mqttClient(t, port, 5)
  await own.subscribe('n', { qos: 1, nl: true })
  await other.subscribe('n')
  await own.publish('n', 'mine')
  await own.end()
  await other.publish('n', 'yours')
  const again = await mqttClient(t, port, 5, shape)
  await again.messages(1)
  t.deepEqual(again.texts, ['yours'])
  await other.messages(2)
  t.deepEqual(other.texts, ['mine', 'yours'])
})

test('a message that expired is not delivered, and one that did not says what is left', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, { clock })
  const open = { clean: false, version: 5, properties: Buffer.of(0x11, 0, 0, 1, 0) } as const
  const away = await RawPeer.connect(port)
  away.send(connect('away', open), subscribe(1, [['e', 1]], 5))
  await away.readPacket()
  await away.readPacket()
  away.end()
  const peer = await RawPeer.connect(port)
  peer.send(connect('p', { version: 5 }))
  await peer.readPacket()
  for (const [id, seconds] of [
    [1, 5],
    [2, 60],
  ] as const) {
    const properties = Buffer.of(2, 0, 0, 0, seconds)
    peer.send(publish('e', `${seconds}`, { version: 5, qos: 1, id, properties }))
    t.is((await peer.readPacket()).first, 0x40)
  }
  await clock.advanceAsync(20_000)
  const back = await RawPeer.connect(port)
  back.send(connect('away', open))
  t.is((await back.readPacket()).first, 0x20)
  const { bytes } = await back.readPacket()
  const wanted = publish('e', '60', {
    version: 5,
    qos: 1,
    id: 1,
    properties: Buffer.of(2, 0, 0, 0, 40),
  })
  t.deepEqual(bytes, wanted)
  back.end()
  peer.end()
})

test('a packet larger than the client takes is left out, and the next one comes', async (t) => {
  const { port, numbers } = await startMqttOver(t)
  const small = await mqttClient(t, port, 5, { properties: { maximumPacketSize: 100 } })
  await small.subscribe('m')
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('m', 'x'.repeat(200))
  await publisher.publish('m', 'fits')
  await small.messages(1)
  t.deepEqual(small.texts, ['fits'])
  t.is(await numberOf(numbers, 'trivet_mqtt_too_large_total'), 1)
})

test('a topic alias makes no packet larger than the client takes', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { outboundTopicAliasMax: 64 } })
  const peer = await RawPeer.connect(port)
  const properties = Buffer.of(0x22, 0, 9, 0x27, 0, 0, 0, 60)
  peer.send(connect('small', { version: 5, properties }), subscribe(1, [['#', 0]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const publisher = await mqttClient(t, port, 5)
  for (let bytes = 45; bytes < 60; bytes++) await publisher.publish(`t/${bytes}`, 'x'.repeat(bytes))
  await publisher.publish('end', '')
  const sizes: number[] = []
  for (let packet = await peer.readPacket(); ; packet = await peer.readPacket()) {
    if (packet.body.includes('end')) break
    sizes.push(packet.bytes.length)
  }
  // Nine bytes more than the payload, and three for an alias where there is room for sure.
  t.deepEqual(sizes, [57, 58, 56, 57, 58, 59, 60])
  peer.end()
})

test('what is sent again is left out, too, when the client takes smaller packets than before', async (t) => {
  const { port, numbers } = await startMqttOver(t)
  const connectAgain = async (packetBytes: number): Promise<RawPeer> => {
    const peer = await RawPeer.connect(port)
    const properties = Buffer.of(0x11, 0, 0, 0, 99, 0x27, 0, 0, 0, packetBytes)
    peer.send(connect('shrinks', { version: 5, clean: false, properties }))
    await peer.readPacket()
    return peer
  }
  const large = await connectAgain(255)
  large.send(subscribe(1, [['m', 1]], 5))
  await large.readPacket()
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('m', 'x'.repeat(200))
  await publisher.publish('m', 'fits')
  await large.readPacket()
  await large.readPacket()
  large.end()
  const small = await connectAgain(100)
  const { first, body } = await small.readPacket()
  t.deepEqual([first, body.subarray(-4).toString()], [0x3a, 'fits'])
  t.is(await numberOf(numbers, 'trivet_mqtt_too_large_total'), 1)
  small.end()
})

test('the record of a plain 3.1.1 message carries its topic and little else', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const client = await mqttClient(t, port, 4)
  await client.publish('a/b', 'x')
  const [record] = await recordsIn(broker, 'MQTT')
  const names = [...record!.properties().keys()].filter((name) => name !== 'UNIQ_KEY')
  t.deepEqual(names, ['MQTT_TOPIC', 'TAGS'])
  t.is(findProperty(record!.propertyBytes, 'MQTT_TOPIC'), 'a/b')
})

test('a native message with a hostile topic name or section reaches MQTT subscribers in a legal form', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('fw')
  const subscriber = await mqttClient(t, port, 5)
  await subscriber.subscribe('#')
  const alias = Buffer.of(0x23, 0, 9).toString('base64')
  const hostile = [
    Buffer.from([...Buffer.from('MQTT_TOPIC\u0001fw/'), 0xc0, 0xaf, 2]),
    Buffer.from('MQTT_TOPIC\u0001fw/a\u0005b\u0002'),
    Buffer.from(`MQTT_TOPIC\u0001fw/c\u0002__WIRE\u0001${alias}\u0002`),
    Buffer.from('MQTT_TOPIC\u0001fw/d\u0002REPLY_TO_CLIENT\u0001a/#\u0002'),
  ]
  for (const properties of hostile) await broker.publish([{ ...newMessage('fw'), properties }])
  const messages = await subscriber.messages(4)
  t.deepEqual(
    messages.map(({ topic }) => topic),
    ['fw/\ufffd\ufffd', 'fw/a%05b', 'fw/c', 'fw/d'],
  )
  for (const { properties } of messages) t.deepEqual(Object.keys(properties), [])
})
