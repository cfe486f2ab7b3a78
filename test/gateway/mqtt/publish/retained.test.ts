// Retained messages and wills.
import test from 'ava'
import { systemClock } from '../../../../src/clock.ts'
import { BrokerError } from '../../../../src/errors.ts'
import { MQTT_DEFAULTS } from '../../../../src/gateway/mqtt/options.ts'
import { Retained } from '../../../../src/gateway/mqtt/publish/retained.ts'
import type { Logger } from '../../../../src/log.ts'
import { withOwnBytes } from '../../../../src/model/message.ts'
import { startBroker, stateIds, topicOf } from '../../../support/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { LogLines } from '../../../support/log-lines.ts'
import {
  mqttClient,
  persistent,
  spawnMqtt,
  startMqtt,
  VERSIONS,
} from '../../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import {
  connect,
  DISCONNECT,
  frame,
  publish,
  str,
  subscribe,
  u16,
} from '../../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { eventually } from '../../../support/waiting.ts'

for (const version of VERSIONS) {
  test(`version ${version}: the last retained message of each matching topic comes on SUBSCRIBE, flagged`, async (t) => {
    const { port } = await startMqtt(t)
    const publisher = await mqttClient(t, port, version)
    await publisher.publish('r/a', 'old', { retain: true })
    await publisher.publish('r/a', 'new', { retain: true })
    await publisher.publish('r/b/c', 'deep', { retain: true, qos: 2 })
    await publisher.publish('r/gone', 'x', { retain: true })
    await publisher.publish('r/gone', '', { retain: true })
    await publisher.publish('other', 'x', { retain: true })
    const late = await mqttClient(t, port, version)
    await late.subscribe('r/#')
    await publisher.publish('r/a', 'live', { retain: true })
    const messages = await late.messages(3)
    const seen = messages.map(({ topic, text, retain, qos }) => [topic, text, retain, qos])
    t.deepEqual(seen.slice(0, 2).toSorted(), [
      ['r/a', 'new', true, 1],
      ['r/b/c', 'deep', true, 1],
    ])
    t.deepEqual(seen[2], ['r/a', 'live', false, 1])
  })

  test(`version ${version}: a will comes when the connection is lost, not after DISCONNECT`, async (t) => {
    const { port } = await startMqtt(t)
    const watcher = await mqttClient(t, port, version)
    await watcher.subscribe('wills/#')
    const will = (text: string) => ({
      will: { topic: 'wills/w', payload: Buffer.from(text), qos: 1 as const, retain: true },
    })
    const polite = await mqttClient(t, port, version, will('never'))
    await polite.end()
    const lost = await mqttClient(t, port, version, will('lost'))
    await lost.cut()
    await watcher.messages(1)
    t.deepEqual(watcher.texts, ['lost'])
    const late = await mqttClient(t, port, version)
    await late.subscribe('wills/#')
    const [retained] = await late.messages(1)
    t.deepEqual([retained!.text, retained!.retain], ['lost', true])
  })
}

test('a retained message may be as large as any other', async (t) => {
  const { port } = await startMqtt(t)
  const publisher = await mqttClient(t, port, 4)
  const body = Buffer.alloc(3 * 1024 * 1024, 'x').toString()
  await publisher.publish('r/large', body, { retain: true })
  const late = await mqttClient(t, port, 4)
  await late.subscribe('r/#')
  const [message] = await late.messages(1)
  t.is(message?.text, body)
  t.true(message?.retain)
})

test('retained messages and wills survive kill -9', async (t) => {
  const server = await spawnMqtt(t)
  const publisher = await mqttClient(t, server.port('mqtt'), 5)
  await publisher.publish('keep/me', 'kept', {
    retain: true,
    properties: { userProperties: { a: 'b' } },
  })
  const watcher = await mqttClient(t, server.port('mqtt'), 4, persistent('watcher'))
  await watcher.subscribe('wills/#')
  await watcher.end()
  await mqttClient(t, server.port('mqtt'), 4, {
    clean: true,
    will: { topic: 'wills/crash', payload: Buffer.from('the broker died'), qos: 1, retain: false },
  })
  await server.kill()
  await server.start()
  const late = await mqttClient(t, server.port('mqtt'), 5)
  await late.subscribe('keep/#')
  const [retained] = await late.messages(1)
  t.is(retained!.text, 'kept')
  t.deepEqual({ ...(retained!.properties['userProperties'] as object) }, { a: 'b' })
  const back = await mqttClient(t, server.port('mqtt'), 4, persistent('watcher'))
  await back.messages(1)
  t.deepEqual(back.texts, ['the broker died'])
})

test('retain handling 1 sends retained messages to new subscriptions only, 2 never', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5)
  await client.publish('h/1', 'one', { retain: true })
  await client.publish('h/2', 'two', { retain: true })
  await client.subscribe('h/1', { qos: 1, rh: 1 })
  await client.subscribe('h/1', { qos: 1, rh: 1 })
  await client.subscribe('h/2', { qos: 1, rh: 2 })
  await client.publish('h/2', 'end')
  await client.messages(2)
  t.deepEqual(client.texts, ['one', 'end'])
  await client.subscribe('h/1', { qos: 1, rh: 0 })
  await client.messages(3)
  t.is(client.texts[2], 'one')
})

test('retain as published keeps the flag, and shared subscriptions get no retained messages', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5)
  await client.publish('rap', 'before', { retain: true })
  await client.subscribe('$share/g/rap', { qos: 1 })
  await client.subscribe('rap', { qos: 1, rap: true, rh: 2 })
  await client.publish('rap', 'live', { retain: true })
  await client.messages(2)
  t.deepEqual(client.texts, ['live', 'live'])
  t.deepEqual(client.received.map(({ retain }) => retain).toSorted(), [false, true])
})

test('a will waits for its delay, and a session that comes back in time voids it', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqtt(t, { clock })
  const watcher = await RawPeer.connect(port)
  watcher.send(connect('w', { keepAlive: 0 }), subscribe(1, [['late', 0]]))
  await watcher.read(4 + 5)
  // Session expiry 100 s, will delay 10 s.
  const open = (payload: string) =>
    frame(
      0x10,
      ...[str('MQTT'), Buffer.of(5, 4), u16(0), Buffer.of(5, 0x11, 0, 0, 0, 100), str('c')],
      ...[Buffer.of(5, 0x18, 0, 0, 0, 10), str('late'), str(payload)],
    )
  const first = await RawPeer.connect(port)
  first.send(open('first'))
  await first.readPacket()
  first.end()
  await clock.advanceAsync(5_000)
  const second = await RawPeer.connect(port)
  second.send(open('second'))
  t.is((await second.readPacket()).body[0], 1)
  await clock.advanceAsync(20_000)
  second.end()
  await clock.advanceAsync(9_000)
  watcher.send([0xc0, 0])
  t.deepEqual([...(await watcher.read(2))], [0xd0, 0])
  await clock.advanceAsync(2_000)
  t.deepEqual((await watcher.readPacket()).bytes, publish('late', 'second'))
  watcher.end()
})

test('the will of a session that ends with its connection does not wait', async (t) => {
  const { port } = await startMqtt(t)
  const watcher = await mqttClient(t, port, 5)
  await watcher.subscribe('w')
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5, will: { topic: 'w', payload: 'now' } }))
  await peer.readPacket()
  peer.send(frame(0xe0, Buffer.of(4)))
  await peer.closed()
  await watcher.messages(1)
  t.deepEqual(watcher.texts, ['now'])
  peer.send(DISCONNECT)
})

test('a stop publishes the wills of connected clients, before the log is closed', async (t) => {
  const first = await startMqtt(t)
  const watcher = await mqttClient(t, first.port, 4, persistent('watcher'))
  await watcher.subscribe('wills/#')
  await watcher.end()
  await mqttClient(t, first.port, 4, {
    will: { topic: 'wills/stop', payload: Buffer.from('stopped'), qos: 1, retain: false },
  })
  await first.server.server.close()
  const second = await startMqtt(t, { config: { dataDir: first.server.config.dataDir } })
  const back = await mqttClient(t, second.port, 4, persistent('watcher'))
  await back.messages(1)
  t.deepEqual(back.texts, ['stopped'])
})

test('a will is not retained beyond the limit, and comes nevertheless', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { retainedMax: 1 } })
  const watcher = await mqttClient(t, port, 5)
  await watcher.publish('w/kept', 'kept', { retain: true })
  await watcher.subscribe('w/will')
  const will = { topic: 'w/will', payload: Buffer.from('lost'), qos: 1 as const, retain: true }
  const lost = await mqttClient(t, port, 5, { will })
  await lost.cut()
  await watcher.messages(1)
  const late = await mqttClient(t, port, 5)
  await late.subscribe('w/#')
  await watcher.publish('w/live', 'live')
  await late.messages(2)
  t.deepEqual(late.texts, ['kept', 'live'])
})

test('retained messages that a lost connection did not bring come with the next one, each once', async (t) => {
  const { port } = await startMqtt(t)
  const publisher = await mqttClient(t, port, 5)
  const names = Array.from({ length: 60 }, (_, i) => `r/${10 + i}`)
  for (const name of names) await publisher.publish(name, name, { retain: true })
  const connectAgain = async (window: number): Promise<RawPeer> => {
    const peer = await RawPeer.connect(port)
    const properties = Buffer.concat([Buffer.of(0x11, 0, 0, 0, 99, 0x21), u16(window)])
    peer.send(connect('slow', { version: 5, clean: false, properties }))
    await peer.readPacket()
    return peer
  }
  const first = await connectAgain(2)
  first.send(subscribe(1, [['r/#', 1]], 5))
  await first.readPacket()
  t.is(textOf(await first.readPacket()), 'r/10')
  t.is(textOf(await first.readPacket()), 'r/11')
  first.end()
  const second = await connectAgain(100)
  const seen = []
  for (const _ of names) seen.push(await second.readPacket())
  t.deepEqual(seen.map(textOf), names)
  t.deepEqual(
    seen.map(({ first: byte }) => byte),
    names.map((_, i) => (i < 2 ? 0x3b : 0x33)),
    'all are flagged as retained, and those sent before as duplicates',
  )
  second.send([0xc0, 0])
  t.deepEqual([...(await second.read(2))], [0xd0, 0], 'and nothing twice')
  second.end()
})

test('a thousand times the same filter brings each retained message once', async (t) => {
  const { port } = await startMqtt(t)
  const publisher = await mqttClient(t, port, 4)
  const names = Array.from({ length: 2_000 }, (_, i) => `r/${1000 + i}`)
  await Promise.all(names.map((name) => publisher.publish(name, 'x', { retain: true })))
  const greedy = await RawPeer.connect(port)
  greedy.send(connect('greedy'))
  await greedy.readPacket()
  const filters = Array.from({ length: 1_000 }, () => ['#', 0] as const)
  greedy.send(subscribe(1, filters))
  t.is((await greedy.readPacket()).first, 0x90)
  await publisher.publish('other', 'x')
  const seen = []
  for (let i = 0; i < names.length; i++) seen.push((await greedy.readPacket()).body)
  t.deepEqual(
    seen.map((body) => body.subarray(2, 8).toString()),
    names,
  )
  t.deepEqual((await greedy.readPacket()).body.subarray(2, 7).toString(), 'other')
  greedy.end()
})

test('filters that take long to look through do so in turns, and what they select comes', async (t) => {
  let ms = 0
  const clock = overridden(systemClock, { monotonic: () => (ms += 10) })
  const { port } = await startMqttOver(t, { clock })
  const client = await mqttClient(t, port, 4)
  await client.publish('r/last', 'kept', { retain: true })
  await client.subscribe([...Array.from({ length: 20 }, (_, i) => `+/${i}`), '+/last'])
  await client.messages(1)
  t.deepEqual(client.texts, ['kept'])
})

/** Of a PUBLISH of QoS 1 to a topic of four characters, without properties. */
const textOf = ({ body }: { body: Buffer }): string => body.subarray(9).toString()

test('a retained message may have the longest topic name', async (t) => {
  const { port } = await startMqtt(t)
  const client = await mqttClient(t, port, 5)
  const topic = 'x'.repeat(4096)
  await client.publish(topic, 'kept', { retain: true })
  await client.subscribe('#')
  const [message] = await client.messages(1)
  t.deepEqual([message!.topic, message!.retain], [topic, true])
})

test('a retained message may take the place of another when there is room for no more', async (t) => {
  const { port } = await startMqtt(t, { mqtt: { retainedBytesMax: 1_000 } })
  const client = await mqttClient(t, port, 5)
  await client.publish('r/a', 'x'.repeat(600), { retain: true })
  await t.throwsAsync(client.publish('r/b', 'x'.repeat(600), { retain: true }))
  await client.publish('r/a', 'y'.repeat(600), { retain: true })
  await client.subscribe('r/a')
  const [message] = await client.messages(1)
  t.is(message!.text, 'y'.repeat(600))
})

test('a value cleared at QoS 0 is gone for a subscriber from when the broker took it', async (t) => {
  const taken: (() => void)[] = []
  const stored: (() => void)[] = []
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      overridden(broker, {
        // The log takes its time with what is to be cleared.
        publish: async (messages, changes) => {
          const all = messages.map(withOwnBytes)
          if (all.some(({ body }) => body.length === 0)) {
            taken.shift()!()
            await new Promise<void>((resolve) => stored.push(resolve))
          }
          return broker.publish(all, changes)
        },
      }),
  })
  const publisher = await mqttClient(t, port, 4)
  await publisher.publish('r/a', 'old', { retain: true })
  const isTaken = new Promise<void>((resolve) => taken.push(resolve))
  await publisher.publish('r/a', '', { retain: true, qos: 0 })
  await isTaken
  const late = await mqttClient(t, port, 4)
  await late.subscribe('r/#')
  await late.subscribe('live')
  for (const go of stored) go()
  await late.publish('live', 'live')
  await late.messages(2)
  t.deepEqual(late.texts, ['', 'live'], 'the clearing itself, and not what it cleared')
})

test('an expired retained message is passed over while nothing can be written, and its subscriber goes on', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, {
    clock,
    bend: (broker) =>
      overridden(broker, {
        states: overridden(broker.states, {
          delete: () => Promise.reject(new BrokerError('READ_ONLY', 'the disk is full')),
        }),
      }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }))
  await peer.readPacket()
  const properties = Buffer.of(2, 0, 0, 0, 1)
  peer.send(publish('r/1', 'x', { qos: 1, flags: 1, version: 5, properties }))
  await peer.readPacket()
  peer.send(publish('r/2', 'y', { qos: 1, flags: 1, version: 5 }))
  await peer.readPacket()
  await clock.advanceAsync(2_000)
  peer.send(subscribe(1, [['r/#', 0]], 5))
  t.is((await peer.readPacket()).first, 0x90)
  t.true((await peer.readPacket()).bytes.includes('r/2'))
  peer.end()
})

test('a value retained while the one before it goes with its topic stays', async (t) => {
  const read: (() => void)[] = []
  const stored: (() => void)[] = []
  let isSlow = false
  const { port, broker } = await startMqttOver(t, {
    bend: (real) =>
      overridden(real, {
        states: overridden(real.states, {
          // The retained message that goes with the topic is being read when the next value comes.
          load: async (id) => {
            const state = await real.states.load(id)
            if (isSlow) await new Promise<void>((resolve) => read.push(resolve))
            return state
          },
        }),
        publish: async (messages, changes) => {
          const results = await real.publish(messages, changes)
          if (isSlow) await new Promise<void>((resolve) => stored.push(resolve))
          return results
        },
      }),
  })
  await broker.topics.put(topicOf('orders', 1))
  const client = await mqttClient(t, port, 4)
  await client.publish('orders/a', 'old', { retain: true })
  isSlow = true
  await broker.topics.delete('orders')
  await eventually(async () => read.length > 0 || undefined)
  const published = client.publish('orders/a', 'new', { retain: true })
  await eventually(async () => stored.length > 0 || undefined)
  isSlow = false
  for (const goOn of read) goOn()
  // As far as the front-end goes by itself.
  await stateIds(broker, 'mqtt/retained/')
  for (const goOn of stored) goOn()
  await published
  const late = await mqttClient(t, port, 4)
  await late.subscribe('orders/#')
  await client.publish('orders/a', 'live')
  t.deepEqual(
    (await late.messages(2)).map(({ text }) => text),
    ['new', 'live'],
  )
})

test('retained messages whose topic cannot be looked at stay, and the log says so', async (t) => {
  const { broker, clock } = await startBroker(t)
  const unreachable = new BrokerError('UNREACHABLE', 'no broker answers')
  const bent = overridden(broker, {
    topics: overridden(broker.topics, { get: () => Promise.reject(unreachable) }),
  })
  const log = new LogLines()
  const retained = new Retained({ broker: bent, clock, log: log as Logger }, MQTT_DEFAULTS)
  await retained.open()
  await broker.topics.put(topicOf('orders', 1))
  await eventually(async () => log.events().includes('mqtt.retained_stays') || undefined)
  retained.close()
  t.pass()
})

test('a value retained while an expired one is read stays', async (t) => {
  const clock = new FakeClock()
  const read: (() => void)[] = []
  let isSlow = false
  const sessionId = 'mqtt/session/early'
  const { port } = await startMqttOver(t, {
    clock,
    bend: (real) =>
      overridden(real, {
        states: overridden(real.states, {
          load: async (id) => {
            const state = await real.states.load(id)
            if (isSlow && id !== sessionId) await new Promise<void>((resolve) => read.push(resolve))
            return state
          },
        }),
      }),
  })
  const client = await mqttClient(t, port, 5)
  const properties = { messageExpiryInterval: 1 }
  await client.publish('r/a', 'old', { retain: true, properties })
  clock.advance(2_000)
  isSlow = true
  const early = await mqttClient(t, port, 5, { clientId: 'early' })
  await early.subscribe('r/#')
  await eventually(async () => read.length > 0 || undefined)
  isSlow = false
  await client.publish('r/a', 'new', { retain: true })
  for (const goOn of read) goOn()
  await early.messages(1)
  const late = await mqttClient(t, port, 5)
  await late.subscribe('r/#')
  await client.publish('r/a', 'live')
  t.deepEqual(
    (await late.messages(2)).map(({ text }) => text),
    ['new', 'live'],
  )
})
