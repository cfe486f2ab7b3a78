// Packets of one connection take effect in the order sent: what a PUBLISH does is done before the
// packet behind it is looked at, also where both come in one segment.
import test, { type ExecutionContext } from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { BrokerError } from '../../../src/errors.ts'
import { withOwnBytes } from '../../../src/model/message.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { VERSIONS } from '../../support/mqtt/mqtt.ts'
import { type MqttOver, startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import {
  ack,
  connect,
  DISCONNECT,
  PINGREQ,
  publish,
  subscribe,
  unsubscribe,
} from '../../support/mqtt/mqtt-packets.ts'
import { numberOf } from '../../support/numbers.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'

const RETAIN = 1
const DUP = 8
const NO_LOCAL = 4
const AS_PUBLISHED = 8
const NO_RETAINED = 0x20

/**
 * Appends take a turn of the event loop longer, so that whatever does not wait for one overtakes
 * it.
 */
const startSlow = (t: ExecutionContext): Promise<MqttOver> =>
  startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        publish: async (messages, changes) => {
          const all = messages.map(withOwnBytes)
          await new Promise((resolve) => setImmediate(resolve))
          return broker.publish(all, changes)
        },
      }),
  })

async function connected(port: number, clientId: string, version: 4 | 5): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect(clientId, { version }))
  await peer.readPacket()
  return peer
}

const ascending = (a: number, b: number): number => a - b

/** The first bytes of the next `count` packets, in the order they came. */
async function firsts(peer: RawPeer, count: number): Promise<number[]> {
  const all: number[] = []
  for (let i = 0; i < count; i++) all.push((await peer.readPacket()).first)
  return all
}

for (const version of VERSIONS) {
  test(`MQTT ${version}: what was published before UNSUBSCRIBE comes before UNSUBACK`, async (t) => {
    const { port } = await startSlow(t)
    const peer = await connected(port, 'self', version)
    peer.send(subscribe(1, [['o/#', 1]], version))
    t.is((await peer.readPacket()).first, 0x90)
    peer.send(
      publish('o/1', 'mine', { qos: 1, version }),
      unsubscribe(2, ['o/#'], version),
      publish('o/1', 'later', { qos: 1, id: 2, version }),
      PINGREQ,
    )
    const came = await firsts(peer, 5)
    t.deepEqual([...came].sort(ascending), [0x32, 0x40, 0x40, 0xb0, 0xd0])
    t.true(came.indexOf(0x32) < came.indexOf(0xb0))
    peer.end()
  })

  test(`MQTT ${version}: a message published before SUBSCRIBE at QoS 0 comes at the QoS it had then`, async (t) => {
    const { port } = await startSlow(t)
    const peer = await connected(port, 'self', version)
    peer.send(subscribe(1, [['o', 1]], version))
    t.is((await peer.readPacket()).first, 0x90)
    peer.send(
      publish('o', 'at 1', { qos: 1, version }),
      subscribe(2, [['o', 0]], version),
      publish('o', 'at 0', { qos: 1, id: 2, version }),
    )
    const came = await firsts(peer, 5)
    t.deepEqual(
      came.filter((first) => first === 0x90 || first >>> 4 === 3),
      [0x32, 0x90, 0x30],
    )
    peer.end()
  })

  test(`MQTT ${version}: a message retained before SUBSCRIBE comes as retained, once`, async (t) => {
    const { port } = await startSlow(t)
    const peer = await connected(port, 'self', version)
    for (const qos of [0, 1, 2]) {
      const name = `r/${qos}`
      peer.send(
        publish(name, 'kept', { qos, flags: RETAIN, version }),
        subscribe(1, [[name, 0]], version),
      )
      const came = await firsts(peer, qos === 0 ? 2 : 3)
      t.deepEqual(
        came.filter((first) => first === 0x90 || first >>> 4 === 3),
        [0x90, 0x31],
      )
      peer.send(PINGREQ)
      t.is((await peer.readPacket()).first, 0xd0)
    }
    peer.end()
  })
}

test('a message retained before SUBSCRIBE does not come when that asks for none', async (t) => {
  const { port } = await startSlow(t)
  const peer = await connected(port, 'self', 5)
  peer.send(
    publish('r', 'kept', { qos: 1, flags: RETAIN, version: 5 }),
    subscribe(1, [['r', NO_RETAINED | AS_PUBLISHED]], 5),
    PINGREQ,
  )
  t.deepEqual(await firsts(peer, 3), [0x40, 0x90, 0xd0])
  peer.end()
})

test('a message published before SUBSCRIBE with No Local comes back, one behind it does not', async (t) => {
  const { port } = await startSlow(t)
  const peer = await connected(port, 'self', 5)
  peer.send(subscribe(1, [['o', 0]], 5))
  await peer.readPacket()
  peer.send(
    publish('o', 'back', { version: 5 }),
    subscribe(2, [['o', NO_LOCAL]], 5),
    publish('o', 'not back', { version: 5 }),
    PINGREQ,
  )
  t.deepEqual(await firsts(peer, 3), [0x30, 0x90, 0xd0])
  peer.end()
})

test('UNSUBSCRIBE is answered while the client takes no more messages', async (t) => {
  const { port } = await startMqttOver(t, { mqtt: { inFlightMax: 2 } })
  const peer = await connected(port, 'full', 4)
  peer.send(subscribe(1, [['o', 1]]))
  await peer.readPacket()
  for (let id = 1; id <= 5; id++) peer.send(publish('o', `${id}`, { qos: 1, id }))
  peer.send(unsubscribe(9, ['o']))
  const came = await firsts(peer, 8)
  t.is(came.filter((first) => first === 0x32).length, 2)
  t.is(came.filter((first) => first === 0x40).length, 5)
  t.is(came.at(-1), 0xb0)
  peer.end()
})

test('UNSUBSCRIBE is answered while the queue of its filter cannot be read', async (t) => {
  let canRead = true
  const { port } = await startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        pull: (request) =>
          canRead ? broker.pull(request) : Promise.reject(new Error('cannot be read')),
      }),
  })
  const peer = await connected(port, 'unlucky', 4)
  peer.send(subscribe(1, [['o', 1]]))
  await peer.readPacket()
  canRead = false
  peer.send(publish('o', 'lost', { qos: 1 }), unsubscribe(2, ['o']))
  t.deepEqual(await firsts(peer, 2), [0x40, 0xb0])
  peer.end()
})

test('PUBREL in one segment with its PUBLISH is answered behind PUBREC, and frees the id', async (t) => {
  const { port } = await startSlow(t)
  const peer = await connected(port, 'hasty', 4)
  peer.send(
    publish('o', '1', { qos: 2, id: 7 }),
    ack('pubrel', 7),
    publish('o', '2', { qos: 2, id: 7 }),
    ack('pubrel', 7),
  )
  t.deepEqual(await firsts(peer, 4), [0x50, 0x70, 0x50, 0x70])
  peer.end()
})

test('a PUBREL that cannot be made durable gets no PUBCOMP, and one when the client is back', async (t) => {
  let isFailing = false
  const { port } = await startMqttOver(t, {
    bend: (broker) =>
      overridden(broker, {
        states: overridden(broker.states, {
          save: async (...state) => {
            if (isFailing) throw new BrokerError('READ_ONLY', 'the disk fails')
            return broker.states.save(...state)
          },
        }),
      }),
  })
  const properties = Buffer.of(0x11, 0, 0, 0, 60)
  const peer = await RawPeer.connect(port)
  peer.send(connect('kept', { version: 5, properties }))
  await peer.readPacket()
  peer.send(publish('o', 'x', { qos: 2, id: 3, version: 5 }))
  t.is((await peer.readPacket()).first, 0x50)
  isFailing = true
  peer.send(ack('pubrel', 3))
  t.is((await peer.readPacket()).first, 0xe0)
  await peer.closed()
  isFailing = false
  const back = await RawPeer.connect(port)
  back.send(connect('kept', { version: 5, clean: false, properties }), ack('pubrel', 3))
  t.deepEqual(await firsts(back, 2), [0x20, 0x70])
  back.end()
})

for (const version of VERSIONS) {
  test(`MQTT ${version}: each PUBLISH of one QoS 2 id gets a PUBREC, on one live connection`, async (t) => {
    const { port, numbers } = await startSlow(t)
    const peer = await connected(port, 'again', version)
    peer.send(
      publish('o', 'x', { qos: 2, id: 3, version }),
      publish('o', 'x', { qos: 2, id: 3, flags: DUP, version }),
    )
    t.deepEqual(await firsts(peer, 2), [0x50, 0x50])
    for (let i = 0; i < 3; i++) peer.send(publish('o', 'x', { qos: 2, id: 3, version }))
    t.deepEqual(await firsts(peer, 3), [0x50, 0x50, 0x50])
    peer.send(ack('pubrel', 3))
    t.deepEqual(await firsts(peer, 1), [0x70])
    t.is(await numberOf(numbers, 'trivet_messages_in_total'), 1)
    peer.end()
  })
}

test('a will that DISCONNECT asks for comes behind what was published before', async (t) => {
  const { port } = await startSlow(t)
  const watcher = await connected(port, 'watcher', 4)
  watcher.send(subscribe(1, [['o', 0]]))
  await watcher.readPacket()
  const peer = await RawPeer.connect(port)
  peer.send(connect('dying', { version: 5, will: { topic: 'o', payload: 'will' } }))
  await peer.readPacket()
  peer.send(publish('o', 'last', { version: 5 }), [0xe0, 1, 4])
  const bodies = [await watcher.readPacket(), await watcher.readPacket()]
  t.deepEqual(
    bodies.map(({ body }) => body.subarray(3).toString()),
    ['last', 'will'],
  )
  watcher.send(DISCONNECT)
  peer.end()
})
