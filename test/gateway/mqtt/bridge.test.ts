// Bridges of mosquitto, which add 0x80 to the protocol level of 3.1 and 3.1.1.
import test from 'ava'
import { startMqtt } from '../../support/mqtt.ts'
import { connect, publish, subscribe } from '../../support/mqtt-packets.ts'
import { RawPeer } from '../../support/raw-peer.ts'

const RETAIN = 1

function marked(version: 3 | 4 | 5): Buffer {
  const packet = connect('bridge', { version })
  packet[packet.indexOf(version, 6)] = version | 0x80
  return packet
}

async function joined(port: number, packet: Buffer): Promise<RawPeer> {
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
    const other = await joined(port, connect('other'))
    other.send(publish('a', 'kept', { flags: RETAIN }))
    const { first, body } = await bridge.readPacket()
    t.is(body.subarray(3).toString(), 'kept')
    t.is(first & RETAIN, RETAIN)
    bridge.end()
    other.end()
  })

  test(`${version}: a client without the mark gets its own messages`, async (t) => {
    const { port } = await startMqtt(t)
    const peer = await joined(port, connect('plain', { version }))
    peer.send(subscribe(1, [['#', 0]]))
    await peer.readPacket()
    peer.send(publish('a', 'own'))
    t.is((await peer.readPacket()).body.subarray(3).toString(), 'own')
    peer.end()
  })
}

test('a bridge may have a share', async (t) => {
  const { port } = await startMqtt(t)
  const bridge = await joined(port, marked(4))
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
