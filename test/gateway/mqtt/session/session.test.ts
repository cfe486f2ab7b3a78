// Sessions that outlive their connection and the process: unmodified mqtt.js in both versions.
import test from 'ava'
import { BrokerError } from '../../../../src/errors.ts'
import { queueOf } from '../../../support/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import {
  mqttClient,
  persistent,
  spawnMqtt,
  startMqtt,
  VERSIONS,
} from '../../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import {
  ack,
  connect,
  DISCONNECT,
  publish,
  subscribe,
  u16,
} from '../../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { eventually } from '../../../support/waiting.ts'

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)

for (const version of VERSIONS) {
  test(`version ${version}: a persistent session gets what came while it was away, once and in order`, async (t) => {
    const { port } = await startMqtt(t)
    const away = await mqttClient(t, port, version, persistent('away'))
    await away.subscribe(['news/#', 'news/sport'], { qos: 1 })
    await away.end()
    const publisher = await mqttClient(t, port, version)
    const texts = numbered(600)
    await Promise.all(texts.map((text) => publisher.publish('news/sport', text)))
    const back = await mqttClient(t, port, version, persistent('away'))
    await publisher.publish('news/end', 'end')
    await back.messages(601)
    t.deepEqual(back.texts, [...texts, 'end'])
    await back.end()
    const again = await mqttClient(t, port, version, persistent('away'))
    await publisher.publish('news/last', 'last')
    await again.messages(1)
    t.deepEqual(again.texts, ['last'])
  })

  test(`version ${version}: a clean session forgets its subscriptions, and says so`, async (t) => {
    const { port } = await startMqtt(t)
    const first = await mqttClient(t, port, version, { clientId: 'forgetful', clean: true })
    await first.subscribe('x')
    await first.end()
    const peer = await RawPeer.connect(port)
    peer.send(connect('forgetful', { clean: false, version }))
    t.is((await peer.readPacket()).body[0], 0, 'no session is present')
    const publisher = await mqttClient(t, port, version)
    await publisher.publish('x', 'missed')
    peer.send([0xc0, 0])
    t.deepEqual([...(await peer.read(2))], [0xd0, 0])
    peer.end()
  })

  test(`version ${version}: a session survives kill -9 with its subscriptions and its place`, async (t) => {
    const server = await spawnMqtt(t)
    const away = await mqttClient(t, server.port('mqtt'), version, persistent('survivor'))
    await away.subscribe('log/+')
    await away.end()
    const publisher = await mqttClient(t, server.port('mqtt'), version)
    const texts = numbered(200)
    await Promise.all(texts.map((text) => publisher.publish('log/a', text)))
    await server.kill()
    await server.start()
    const back = await mqttClient(t, server.port('mqtt'), version, persistent('survivor'))
    await back.messages(200)
    t.deepEqual(back.texts, texts)
  })

  test(`version ${version}: take-over closes the old connection and goes on with its session`, async (t) => {
    const { port } = await startMqtt(t)
    const old = await mqttClient(t, port, version, persistent('same'))
    await old.subscribe('s')
    const reasons: unknown[] = []
    old.client.on('disconnect', (packet) => reasons.push(packet.reasonCode))
    const closed = new Promise<void>((resolve) => old.client.once('close', () => resolve()))
    const fresh = await mqttClient(t, port, version, persistent('same'))
    await closed
    t.deepEqual(reasons, version === 5 ? [0x8e] : [])
    await fresh.publish('s', 'for the new one')
    await fresh.messages(1)
    t.deepEqual(fresh.texts, ['for the new one'])
    t.deepEqual(old.texts, [])
  })

  test(`version ${version}: what was not acknowledged comes first, with DUP, its id and in order`, async (t) => {
    const { port } = await startMqtt(t)
    const isV5 = version === 5
    const properties = isV5 ? Buffer.of(0x11, 0, 0, 14, 16) : undefined
    const open = { version, clean: false, ...(properties && { properties }) }
    const peer = await RawPeer.connect(port)
    peer.send(connect('slow', open), subscribe(7, [['d/#', 1]], version))
    t.is((await peer.readPacket()).first, 0x20)
    t.is((await peer.readPacket()).first, 0x90)
    const publisher = await mqttClient(t, port, version)
    for (const text of ['one', 'two', 'three']) await publisher.publish(`d/${text}`, text)
    const sent = [await peer.readPacket(), await peer.readPacket(), await peer.readPacket()]
    t.deepEqual(
      sent.map(({ first }) => first),
      [0x32, 0x32, 0x32],
    )
    peer.send(ack('puback', 2))
    peer.send([0xc0, 0])
    await peer.read(2)
    peer.end()
    await publisher.publish('d/four', 'four')
    const again = await RawPeer.connect(port)
    again.send(connect('slow', open))
    const connack = await again.readPacket()
    t.is(connack.body[0], 1, 'the session is present')
    const resent = [await again.readPacket(), await again.readPacket(), await again.readPacket()]
    const of = ({ first, body }: { first: number; body: Buffer }) => {
      const topicEnd = 2 + body.readUInt16BE(0)
      return [first, body.toString('utf8', 2, topicEnd), body.readUInt16BE(topicEnd)]
    }
    t.deepEqual(resent.map(of), [
      [0x3a, 'd/one', 1],
      [0x3a, 'd/three', 3],
      [0x32, 'd/four', 4],
    ])
    again.end()
  })
}

test('QoS 2 in: a PUBLISH that is sent again after kill -9 is not stored twice', async (t) => {
  const server = await spawnMqtt(t)
  const open = connect('exactly', { clean: false })
  const peer = await RawPeer.connect(server.port('mqtt'))
  peer.send(open, publish('once', 'a', { qos: 2, id: 9 }))
  await peer.read(4)
  t.deepEqual([...(await peer.read(4))], [0x50, 2, 0, 9])
  await server.kill()
  await server.start()
  const reader = await mqttClient(t, server.port('mqtt'), 4)
  await reader.subscribe('once')
  const again = await RawPeer.connect(server.port('mqtt'))
  again.send(open)
  t.deepEqual([...(await again.read(4))], [0x20, 2, 1, 0])
  again.send(publish('once', 'a', { qos: 2, id: 9, flags: 8 }))
  t.deepEqual([...(await again.read(4))], [0x50, 2, 0, 9])
  again.send(ack('pubrel', 9))
  t.deepEqual([...(await again.read(4))], [0x70, 2, 0, 9])
  again.send(publish('once', 'b', { qos: 2, id: 9 }))
  t.deepEqual([...(await again.read(4))], [0x50, 2, 0, 9])
  await reader.messages(1)
  t.deepEqual(reader.texts, ['b'])
  again.end()
})

test('QoS 2 out: a message past PUBREC is only released after kill -9, one before it is sent again', async (t) => {
  const server = await spawnMqtt(t)
  const open = connect('careful', { clean: false })
  const peer = await RawPeer.connect(server.port('mqtt'))
  peer.send(open, subscribe(1, [['q', 2]]))
  await peer.read(4 + 5)
  const publisher = await mqttClient(t, server.port('mqtt'), 4)
  await publisher.publish('q', 'first', { qos: 2 })
  await publisher.publish('q', 'second', { qos: 2 })
  t.is((await peer.readPacket()).first, 0x34)
  t.is((await peer.readPacket()).first, 0x34)
  peer.send(ack('pubrec', 1))
  t.deepEqual([...(await peer.read(4))], [0x62, 2, 0, 1])
  await server.kill()
  await server.start()
  const again = await RawPeer.connect(server.port('mqtt'))
  again.send(open)
  t.deepEqual([...(await again.read(4))], [0x20, 2, 1, 0])
  t.deepEqual([...(await again.read(4))], [0x62, 2, 0, 1])
  const resent = await again.readPacket()
  t.is(resent.first, 0x3c)
  t.true(resent.body.includes(Buffer.concat([u16(2), Buffer.from('second')])))
  again.end()
})

for (const [expired, afterMs] of [
  [false, 9_000],
  [true, 11_000],
] as const) {
  test(`a session of 10 s is ${expired ? 'gone' : 'there'} ${afterMs} ms after its connection`, async (t) => {
    const clock = new FakeClock()
    const { port } = await startMqtt(t, { clock })
    const open = { clean: false, version: 5, properties: Buffer.of(0x11, 0, 0, 0, 10) } as const
    const peer = await RawPeer.connect(port)
    peer.send(connect('brief', open), subscribe(1, [['x', 1]], 5))
    await peer.readPacket()
    await peer.readPacket()
    peer.send(DISCONNECT)
    await peer.closed()
    await clock.advanceAsync(afterMs)
    const again = await RawPeer.connect(port)
    again.send(connect('brief', open))
    t.is((await again.readPacket()).body[0], expired ? 0 : 1)
    again.end()
  })
}

test('DISCONNECT may change the expiry of a session, but not give one to a session without', async (t) => {
  const { port } = await startMqtt(t)
  const expiry = (seconds: number) => Buffer.of(0x11, 0, 0, 0, seconds)
  const goodbye = (seconds: number) => Buffer.of(0xe0, 7, 0, 5, ...expiry(seconds))
  const lasting = await RawPeer.connect(port)
  lasting.send(connect('l', { version: 5, clean: false, properties: expiry(100) }), goodbye(0))
  await lasting.closed()
  const again = await RawPeer.connect(port)
  again.send(connect('l', { version: 5, clean: false }))
  t.is((await again.readPacket()).body[0], 0, 'the session ended with the connection')
  again.send(goodbye(5))
  t.deepEqual([...(await again.read(3))], [0xe0, 1, 0x82])
  await again.closed()
})

test('a client without an id is given one and told it', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  peer.send(connect('', { version: 5 }))
  const { body } = await peer.readPacket()
  const at = body.indexOf(0x12, 3)
  const id = body.toString('utf8', at + 3, at + 3 + body.readUInt16BE(at + 1))
  t.regex(id, /^auto-[0-9a-f-]{36}$/)
  peer.end()
})

test('topic aliases of mqtt.js are understood', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5, { autoAssignTopicAlias: true })
  await client.subscribe('alias/+')
  for (let i = 0; i < 6; i++) await client.publish(`alias/${i % 2}`, `${i}`)
  await client.messages(6)
  t.deepEqual(client.texts, ['0', '1', '2', '3', '4', '5'])
  t.deepEqual(new Set(client.received.map(({ topic }) => topic)), new Set(['alias/0', 'alias/1']))
})

test('CONNACK of a new session without a will does not wait for the disk, SUBACK does', async (t) => {
  let isSaving = false
  let release: () => void = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      overridden(broker, {
        states: overridden(broker.states, {
          save: async (...state) => {
            isSaving = true
            await gate
            return broker.states.save(...state)
          },
        }),
      }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('new', { clean: false }))
  t.deepEqual([...(await peer.read(4))], [0x20, 2, 0, 0])
  t.false(isSaving)
  peer.send(subscribe(1, [['a', 1]]))
  await eventually(async () => isSaving || undefined)
  t.is(peer.unread.length, 0)
  release()
  t.is((await peer.readPacket()).first, 0x90)
  peer.end()
})

test('a client that takes topic aliases gets none by default', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  const properties = Buffer.of(0x22, 0, 9)
  peer.send(connect('c', { version: 5, properties }), subscribe(1, [['al', 0]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const publisher = await mqttClient(t, port, 5)
  for (let i = 0; i < 2; i++) {
    await publisher.publish('al', 'x')
    t.deepEqual((await peer.readPacket()).bytes, publish('al', 'x', { version: 5 }))
  }
  peer.end()
})

test('where aliases are set, a client that takes them gets the topic once, then its number', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { outboundTopicAliasMax: 4 } })
  const peer = await RawPeer.connect(port)
  const properties = Buffer.of(0x22, 0, 1)
  peer.send(connect('c', { version: 5, properties }), subscribe(1, [['al/#', 0]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const publisher = await mqttClient(t, port, 5)
  for (const topic of ['al/a', 'al/b', 'al/a']) await publisher.publish(topic, topic)
  const alias = Buffer.of(0x23, 0, 1)
  const sent = [await peer.readPacket(), await peer.readPacket(), await peer.readPacket()]
  t.deepEqual(
    sent.map(({ bytes }) => bytes),
    [
      publish('al/a', 'al/a', { version: 5, properties: alias }),
      publish('al/b', 'al/b', { version: 5 }),
      publish('', 'al/a', { version: 5, properties: alias }),
    ],
  )
  peer.end()
})

test('what was acknowledged in the middle of a load is there after kill -9, in order', async (t) => {
  const server = await spawnMqtt(t)
  const away = await mqttClient(t, server.port('mqtt'), 4, persistent('auditor'))
  await away.subscribe('load')
  await away.end()
  const publisher = await mqttClient(t, server.port('mqtt'), 4)
  const acknowledged: string[] = []
  const enough = new Promise<void>((resolve) => {
    for (const text of numbered(5_000)) {
      publisher.publish('load', text).then(
        () => {
          if (acknowledged.push(text) === 1_000) resolve()
        },
        () => {},
      )
    }
  })
  await enough
  await server.kill()
  const count = acknowledged.length
  t.true(count >= 1_000)
  await server.start()
  const back = await mqttClient(t, server.port('mqtt'), 4, persistent('auditor'))
  await back.messages(count)
  // Messages that were stored but not acknowledged any more may follow.
  t.deepEqual(back.texts.slice(0, count), acknowledged.slice(0, count))
})

test('a filter of two subscriptions is bound until the second one goes, too', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const member = await mqttClient(t, port, 5, persistent('both'))
  await member.subscribe(['x/#', '$share/g/x/#'])
  await member.client.unsubscribeAsync('x/#')
  const publisher = await mqttClient(t, port, 5)
  await publisher.publish('x/1', 'shared')
  await member.messages(1)
  await member.client.unsubscribeAsync('$share/g/x/#')
  await t.throwsAsync(broker.cursors.range(queueOf('%LMQ%x/#')), { code: 'TOPIC_NOT_FOUND' })
})

test('the end of a session lets go of what a crash left bound in its name', async (t) => {
  const { port, broker } = await startMqttOver(t)
  const first = await mqttClient(t, port, 5, persistent('c'))
  await first.subscribe('kept')
  // As if the process had died before the subscription was saved with the session.
  await broker.lightQueues.bind('left/#', 'mqtt/c')
  await first.end()
  const clean = await mqttClient(t, port, 5, { clientId: 'c', clean: true })
  for (const filter of ['kept', 'left/#']) {
    await t.throwsAsync(broker.cursors.range(queueOf(`%LMQ%${filter}`)), {
      code: 'TOPIC_NOT_FOUND',
    })
  }
  await clean.end()
})

test('PUBCOMP never goes ahead of the session that it is about, not even before DISCONNECT', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  peer.send(connect('hasty', { clean: false }), publish('x', 'y', { qos: 2, id: 7 }))
  t.is((await peer.read(4)).length, 4)
  t.deepEqual([...(await peer.read(4))], [0x50, 2, 0, 7])
  // The id is free in memory only when the connection ends.
  peer.send(ack('pubrel', 7), DISCONNECT)
  t.is((await peer.closed()).length, 0)
  const again = await RawPeer.connect(port)
  again.send(connect('hasty', { clean: false }), ack('pubrel', 7))
  await again.read(4)
  t.deepEqual([...(await again.read(4))], [0x70, 2, 0, 7])
  again.end()
})

test('no more sessions are kept than allowed; old ones come back and short ones come in', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { sessionsMax: 2 } })
  for (const id of ['one', 'two']) {
    const client = await mqttClient(t, port, 5, persistent(id))
    await client.end()
  }
  const refused = await RawPeer.connect(port)
  refused.send(connect('three', { clean: false, version: 4 }))
  t.is((await refused.readPacket()).body[1], 3, 'the server is unavailable')
  await refused.closed()
  const back = await mqttClient(t, port, 5, persistent('one'))
  const short = await mqttClient(t, port, 4, { clientId: 'three', clean: true })
  await short.publish('x', 'y')
  await Promise.all([back.end(), short.end()])
})

test('a session that was resumed to end with its connection is gone after kill -9', async (t) => {
  const server = await spawnMqtt(t)
  const present = async (shape: Parameters<typeof connect>[1]): Promise<number> => {
    const peer = await RawPeer.connect(server.port('mqtt'))
    peer.send(connect('ends', { version: 5, clean: false, ...shape }))
    const { body } = await peer.readPacket()
    peer.end()
    return body[0]!
  }
  t.is(await present({ properties: Buffer.of(0x11, 0, 0, 0, 99) }), 0)
  const resumed = await RawPeer.connect(server.port('mqtt'))
  resumed.send(connect('ends', { version: 5, clean: false }))
  t.is((await resumed.readPacket()).body[0], 1)
  await server.kill()
  await server.start()
  t.is(await present({}), 0)
})

test('a client that comes back to consume is let in while nothing can be written', async (t) => {
  let isFull = false
  const { port } = await startMqttOver(t, {
    bend: (broker) => {
      const save: typeof broker.states.save = async (...state) => {
        if (isFull) throw new BrokerError('READ_ONLY', 'the disk is full')
        return broker.states.save(...state)
      }
      return overridden(broker, { states: overridden(broker.states, { save }) })
    },
  })
  const away = await mqttClient(t, port, 4, persistent('away'))
  await away.subscribe('a')
  await away.end()
  const publisher = await mqttClient(t, port, 4)
  await publisher.publish('a', 'before')
  isFull = true
  const back = await mqttClient(t, port, 4, persistent('away'))
  await back.messages(1)
  t.deepEqual(back.texts, ['before'])
  isFull = false
})
