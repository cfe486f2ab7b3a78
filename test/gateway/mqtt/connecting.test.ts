// How MQTT clients connect, and what a connection that is gone may still do.
import test, { type ExecutionContext } from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { CONNECT_DECODED_FACTOR, CONNECTING_BYTES_MAX } from '../../../src/gateway/mqtt/limits.ts'
import { withOwnBytes } from '../../../src/model/message.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { hangingAuth } from '../../support/hanging-auth.ts'
import { startMqtt } from '../../support/mqtt/mqtt.ts'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import {
  connect,
  PINGREQ,
  PINGRESP,
  publish,
  subscribe,
  unsubscribe,
} from '../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { eventually, latch } from '../../support/waiting.ts'

// What waits for a CONNECT to be answered, when its connection ends before.

test('the password of a CONNECT is not checked any more when its peer has gone', async (t) => {
  const hanging = hangingAuth()
  const { port, gateway } = await startMqttOver(t, { auth: hanging.auth })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { username: 'ann', password: 'secret' }))
  await eventually(async () => hanging.asked === 1 || undefined)
  peer.end()
  await eventually(async () => hanging.wanted === 0 || undefined)
  await eventually(async () => gateway.connections === 0 || undefined)
  t.pass()
})

test('CONNECTs that wait for their passwords keep their bound at most', async (t) => {
  const hanging = hangingAuth()
  const { port } = await startMqttOver(t, { auth: hanging.auth })
  const most = 'x'.repeat(65_535)
  const will = { topic: 'w', payload: most }
  const packet = connect('c', { username: most, password: most, will })
  const count = 100
  const peers = await Promise.all(Array.from({ length: count }, () => RawPeer.connect(port)))
  for (const peer of peers) peer.send(packet)
  const fit = Math.ceil(CONNECTING_BYTES_MAX / (packet.length * CONNECT_DECODED_FACTOR))
  await eventually(async () => (hanging.asked > fit && hanging.wanted <= fit) || undefined)
  await eventually(async () => {
    const refused = peers.filter((peer) => peer.unread.equals(Buffer.of(0x20, 2, 0, 3))).length
    return refused >= count - fit || undefined
  })
  for (const peer of peers) peer.end()
  t.pass()
})

test('a CONNECT whose peer has gone before its turn takes no session over', async (t) => {
  let reached = false
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const { port, gateway } = await startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        states: overridden(broker.states, {
          save: async (...state) => {
            reached = true
            await opened
            return broker.states.save(...state)
          },
        }),
      }),
  })
  const first = await RawPeer.connect(port)
  first.send(connect('c', { will: { topic: 'w', payload: '' } }))
  await eventually(async () => reached || undefined)
  const second = await RawPeer.connect(port)
  second.send(connect('c'))
  await eventually(async () => gateway.connections === 2 || undefined)
  second.end()
  await eventually(async () => gateway.connections === 1 || undefined)
  open()
  t.deepEqual([...(await first.read(4))], [0x20, 2, 0, 0])
  first.send(PINGREQ)
  t.deepEqual([...(await first.read(2))], [...PINGRESP])
  first.end()
})

// Bridges of mosquitto, which add 0x80 to the protocol level of 3.1 and 3.1.1.

const RETAIN = 1

function marked(version: 3 | 4 | 5): Buffer {
  const packet = connect('bridge', { version })
  packet[packet.indexOf(version, 6)] = version | 0x80
  return packet
}

async function bridged(port: number, packet: Buffer): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(packet)
  await peer.readPacket()
  return peer
}

for (const version of [3, 4] as const) {
  test(`${version}: a bridge is not sent back what it publishes, and gets the retain flag as published`, async (t) => {
    const { port } = await startMqtt(t)
    const bridge = await RawPeer.connect(port)
    bridge.send(marked(version), subscribe(1, [['#', 1]]))
    t.deepEqual([...(await bridge.read(4))], [0x20, 2, 0, 0])
    t.deepEqual([...(await bridge.read(5))], [0x90, 3, 0, 1, 1])
    bridge.send(publish('a', 'own', { qos: 1, id: 7 }))
    t.deepEqual([...(await bridge.read(4))], [0x40, 2, 0, 7])
    const other = await bridged(port, connect('other'))
    other.send(publish('a', 'kept', { flags: RETAIN }))
    const { first, body } = await bridge.readPacket()
    t.is(body.subarray(3).toString(), 'kept')
    t.is(first & RETAIN, RETAIN)
    bridge.end()
    other.end()
  })

  test(`${version}: a client without the mark gets its own messages`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await bridged(port, connect('plain', { version }))
    peer.send(subscribe(1, [['#', 0]]))
    await peer.readPacket()
    peer.send(publish('a', 'own'))
    t.is((await peer.readPacket()).body.subarray(3).toString(), 'own')
    peer.end()
  })
}

test('a bridge may have a share', async (t) => {
  const { port } = await startMqtt(t)
  const bridge = await bridged(port, marked(4))
  bridge.send(subscribe(1, [['$share/g/a', 0]]))
  t.deepEqual([...(await bridge.read(5))], [0x90, 3, 0, 1, 0])
  bridge.end()
})

test('MQTT 5 has options of its own: the mark is an unknown version there', async (t) => {
  const { port } = await startMqtt(t)
  const peer = await RawPeer.connect(port)
  peer.send(marked(5))
  t.deepEqual([...(await peer.closed())], [0x20, 3, 0, 0x84, 0])
})

// A connection goes while a packet of it waits, and the next one of its session is there already:
// what the old one still does must not undo what the new one asks for.

const KEPT = { clean: false }

/** Callers wait at it until it is opened. */
function gate() {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const reached = latch(1)
  return {
    open,
    reached: reached.reached,
    pass(): Promise<void> {
      reached.count()
      return opened
    },
  }
}

/** Its acknowledged message is in the log behind all that was handed to the log before. */
async function roundTrip(peer: RawPeer): Promise<void> {
  for (let i = 0; i < 3; i++) {
    peer.send(publish('other', '', { qos: 1 }))
    await peer.readPacket()
  }
}

async function joined(port: number, clientId: string, shape = {}): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect(clientId, shape))
  await peer.readPacket()
  return peer
}

/** CONNACK and SUBACK, then what is published to `o`. */
async function comes(t: ExecutionContext, peer: RawPeer, other: RawPeer): Promise<void> {
  t.is((await peer.readPacket()).first, 0x20)
  t.is((await peer.readPacket()).first, 0x90)
  await roundTrip(other)
  other.send(publish('o', 'news', { qos: 1 }))
  t.is((await peer.readPacket()).body.subarray(5).toString(), 'news')
  peer.end()
  other.end()
}

test('an UNSUBSCRIBE of a connection that is gone does not end a subscription of the next one', async (t) => {
  const held = gate()
  let isHeld = false
  const { port } = await startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        publish: async (messages, changes) => {
          const all = messages.map(withOwnBytes)
          if (isHeld && all[0]?.body.toString() === 'slow') await held.pass()
          return broker.publish(all, changes)
        },
      }),
  })
  const other = await joined(port, 'other')
  const old = await joined(port, 'device', KEPT)
  old.send(subscribe(1, [['o', 1]]))
  await old.readPacket()
  isHeld = true
  old.send(publish('slow', 'slow', { qos: 1 }), unsubscribe(2, ['o']))
  await held.reached
  old.end()
  const next = await RawPeer.connect(port)
  next.send(connect('device', KEPT), subscribe(3, [['o', 1]]))
  await roundTrip(other)
  held.open()
  await comes(t, next, other)
})

test('a SUBSCRIBE of a connection that is gone does not unbind what the next one binds', async (t) => {
  const gates = [gate(), gate()]
  let calls = 0
  const { port } = await startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        lightQueues: overridden(broker.lightQueues, {
          bind: async (filter: string, owner: string | undefined) => {
            const bound = await broker.lightQueues.bind(filter, owner)
            await gates[calls++]?.pass()
            return bound
          },
        }),
      }),
  })
  const other = await joined(port, 'other')
  const old = await joined(port, 'device', KEPT)
  old.send(subscribe(1, [['o', 1]]))
  await gates[0]!.reached
  old.end()
  const next = await RawPeer.connect(port)
  next.send(connect('device', KEPT), subscribe(2, [['o', 1]]))
  await roundTrip(other)
  gates[0]!.open()
  await roundTrip(other)
  gates[1]!.open()
  await comes(t, next, other)
})
