// Subscriptions and places of a session whose connections come and go.
import test, { type ExecutionContext } from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { lightQueueTopic } from '../../../src/model/names.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { recordsOf } from '../../../src/model/record.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { newMessage, pullRequest, startBroker, topicOf } from '../../support/broker.ts'
import { mqttClient } from '../../support/mqtt/mqtt.ts'
import { openGateway, startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import { connect, PINGREQ, subscribe, unsubscribe } from '../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { eventually } from '../../support/waiting.ts'

// What a subscription leaves behind when its connection does not stay, and what it takes of the
// window.

function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

for (const filter of ['a/#', '$share/g/a/#']) {
  test(`a client that is taken over while '${filter}' is bound leaves nothing open`, async (t) => {
    const asked = gate()
    const answered = gate()
    const open = { queues: 0, watches: 0 }
    let unbound = 0
    const opening = async (): Promise<void> => {
      asked.open()
      await answered.opened
      open.queues++
    }
    const closed = (): void => {
      open.queues--
      unbound++
    }
    const { port, broker, gateway } = await startMqttOver(t, {
      bend: (real) =>
        overridden<Broker>(real, {
          watch: (topic, arrived) => {
            open.watches++
            const watch = real.watch(topic, arrived)
            return {
              [Symbol.dispose]: () => {
                open.watches--
                watch[Symbol.dispose]()
              },
            }
          },
          lightQueues: overridden(real.lightQueues, {
            bind: async (name, owner) => {
              await opening()
              return real.lightQueues.bind(name, owner)
            },
            hold: async (name) => {
              await opening()
              return real.lightQueues.hold(name)
            },
            unbind: async (name, owner) => {
              await real.lightQueues.unbind(name, owner)
              closed()
            },
            letGo: async (name) => {
              await real.lightQueues.letGo(name)
              closed()
            },
          }),
        }),
    })
    const peer = await RawPeer.connect(port)
    peer.send(connect('fleeting'), subscribe(1, [[filter, 1]]))
    await asked.opened
    const other = await RawPeer.connect(port)
    other.send(connect('fleeting'))
    await peer.closed()
    answered.open()
    t.is((await other.readPacket()).first, 0x20)
    await eventually(async () => (unbound > 0 ? true : undefined))
    for (const one of [peer, other]) one.end()
    await eventually(async () => (gateway.connections === 0 ? true : undefined))
    t.deepEqual(open, { queues: 0, watches: 0 })
    t.deepEqual(await broker.clients.list(), [])
  })
}

test('what is sent again takes its part of the window before a group takes any', async (t) => {
  const found = gate()
  const { port, gateway } = await startMqttOver(t, {
    mqtt: { inFlightMax: 2 },
    bend: (real: Broker) =>
      overridden(real, {
        // As a message that is sent again is read.
        pull: async (request) => {
          if (request.maxMessages === 1) await found.opened
          return real.pull(request)
        },
      }),
  })
  const open = connect('c', { clean: false })
  const first = await RawPeer.connect(port)
  first.send(
    open,
    subscribe(1, [
      ['a/#', 1],
      ['$share/g/b/#', 1],
    ]),
  )
  for (let packets = 0; packets < 2; packets++) await first.readPacket()
  const publisher = await mqttClient(t, port, 4)
  for (const topic of ['a/1', 'a/2']) await publisher.publish(topic, 'x')
  for (let packets = 0; packets < 2; packets++) await first.readPacket()
  first.end()
  await eventually(async () => (gateway.connections === 1 ? true : undefined))
  for (const topic of ['b/1', 'b/2']) await publisher.publish(topic, 'x')
  const again = await RawPeer.connect(port)
  again.send(open)
  t.is((await again.readPacket()).first, 0x20)
  for (let pings = 0; pings < 50; pings++) {
    again.send(PINGREQ)
    t.is((await again.readPacket()).first, 0xd0)
  }
  found.open()
  for (let packets = 0; packets < 2; packets++) t.is((await again.readPacket()).first, 0x3a)
  again.send(PINGREQ)
  t.is((await again.readPacket()).first, 0xd0)
  again.end()
})

test('the filters of a session have a bound of bytes, however short each is', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { filtersMax: 5_000 } })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { version: 5 }))
  await peer.readPacket()
  // Three bytes each.
  const filters = Array.from({ length: 600 }, (_, i) => `${1_000 + i}/${'漢'.repeat(1_000)}`)
  const asked = filters.map((filter) => [filter, 1] as const)
  peer.send(subscribe(1, asked, 5))
  const codes = [...(await peer.readPacket()).body.subarray(3)]
  const granted = codes.indexOf(0x97)
  const bytes = Buffer.byteLength(filters[0]!)
  t.is(granted, Math.floor((1024 * 1024) / bytes))
  t.true(codes.slice(granted).every((code) => code === 0x97))
  peer.send(unsubscribe(2, [filters[0]!], 5), subscribe(3, asked.slice(granted, granted + 2), 5))
  await peer.readPacket()
  t.deepEqual([...(await peer.readPacket()).body.subarray(3)], [1, 0x97])
  peer.end()
})

test('a subscription whose queue is bound anew as its client comes back gets what is sent while that goes on', async (t) => {
  let isLate = false
  const { port, broker } = await startMqttOver(t, {
    bend: (real) =>
      overridden<Broker>(real, {
        lightQueues: overridden(real.lightQueues, {
          bind: async (filter, owner) => {
            const bound = await real.lightQueues.bind(filter, owner)
            if (isLate) await real.publish([newMessage('a', { tag: 'b', body: 'news' })])
            // As the offset stands when the binding and the message became durable together.
            return { ...bound, offset: queueOffset(isLate ? 1 : 5) }
          },
        }),
      }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('s', { clean: false }), subscribe(1, [['a/+', 0]]))
  await peer.readPacket()
  await peer.readPacket()
  peer.end()
  await broker.lightQueues.unbind('a/+', 'mqtt/s')
  isLate = true
  const again = await RawPeer.connect(port)
  again.send(connect('s', { clean: false }))
  t.is((await again.readPacket()).body[0], 1)
  t.true((await again.readPacket()).body.toString().endsWith('news'))
})

// How far a session got on its queues, and where its messages stand: saved in an earlier form, and
// while the topics behind it change.

/** A connection to the session, past its CONNACK. */
async function resumed(port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { clean: false }))
  await peer.readPacket()
  return peer
}

/** The next packets: `dup id payload` or `new id payload` of a PUBLISH to `a`, else `type id`. */
async function packets(peer: RawPeer, count: number): Promise<string[]> {
  const all: string[] = []
  while (all.length < count) {
    const { first, body } = await peer.readPacket()
    const sent = (first & 8) !== 0 ? 'dup' : 'new'
    const isPublish = first >>> 4 === 3
    all.push(isPublish ? `${sent} ${body[4]} ${body.subarray(5)}` : `${first >>> 4} ${body[1]}`)
  }
  return all
}

const send = (broker: EmbeddedBroker, topic: string, bodies: readonly string[]) =>
  broker.publish(bodies.map((body) => newMessage(topic, { queueId: 0, body })))

test('a session of the time with one position for all of it goes on where it was', async (t) => {
  const { broker } = await startBroker(t)
  const owner = 'mqtt/c'
  for (const filter of ['a', '+']) await broker.lightQueues.bind(filter, owner)
  await send(broker, 'a', ['0', '1', '2', '3', '4', '5', '6'])
  const queue = lightQueueTopic('a', true)
  const { records } = await broker.pull(pullRequest(queue))
  const at = [...recordsOf(records)].map(({ position }) => position)
  const subscription = (filter: string) => ({
    ...{ text: filter, filter, queue: lightQueueTopic(filter, true), durable: true, from: 0 },
    ...{ qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
  })
  const saved = {
    ...{ format: 1, epoch: 'e', expiryMs: null, cursor: at[4]! + 1, nextId: 9, nextSerial: 1 },
    subscriptions: [subscription('a'), subscription('+')],
    inFlight: [
      [3, at[2], 1, 1],
      [4, at[3]! + 1, 1, 1],
      [5, 7, 2, 2],
    ],
    inbound: [],
  }
  await broker.states.save('mqtt/session/c', Buffer.from(JSON.stringify(saved)))
  const { port } = await openGateway(t, broker)
  const peer = await resumed(port)
  t.deepEqual(await packets(peer, 4), ['dup 3 2', '6 5', 'new 9 5', 'new 10 6'])
  peer.end()
})

/** A message of `a` is in flight to a session without a connection. */
async function inFlight(t: ExecutionContext) {
  const over = await startMqttOver(t)
  const { broker, gateway, port } = over
  await broker.topics.put(topicOf('a', 1))
  const peer = await resumed(port)
  peer.send(subscribe(1, [['a', 1]]))
  await peer.readPacket()
  await send(broker, 'a', ['first'])
  t.deepEqual(await packets(peer, 1), ['new 1 first'])
  peer.end()
  await eventually(async () => (gateway.connections === 0 ? true : undefined))
  return over
}

test('a topic that is made again has no message that was in flight before', async (t) => {
  const { broker, port } = await inFlight(t)
  await broker.topics.delete('a')
  await broker.topics.put(topicOf('a', 1))
  await send(broker, 'a', ['second'])
  const peer = await resumed(port)
  t.deepEqual(await packets(peer, 1), ['new 2 second'])
  peer.end()
})

test('what is in flight is sent again, also after the topic could not be read for a while', async (t) => {
  const { broker, gateway, port } = await inFlight(t)
  await broker.topics.put({ ...topicOf('a', 1), perm: 2 })
  const early = await resumed(port)
  await send(broker, 'a', ['second'])
  t.deepEqual(await packets(early, 1), ['new 2 second'])
  early.end()
  await eventually(async () => (gateway.connections === 0 ? true : undefined))
  await broker.topics.put({ ...topicOf('a', 1), perm: 6 })
  const late = await resumed(port)
  t.deepEqual(await packets(late, 2), ['dup 1 first', 'dup 2 second'])
  late.end()
})
