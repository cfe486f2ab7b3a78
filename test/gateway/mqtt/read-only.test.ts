// While the log takes nothing, what a client asks for is refused for itself and the connection goes
// on: a client that is cut off connects and asks again, for ever.
import test, { type ExecutionContext } from 'ava'
import { type CrashingMqtt, joined, startCrashingMqtt } from '../../support/mqtt/mqtt-crash.ts'
import { PINGREQ, publish, subscribe, unsubscribe } from '../../support/mqtt/mqtt-packets.ts'
import type { RawPeer } from '../../support/peers/raw-peer.ts'

const WEEK_SECONDS = Buffer.of(0x11, 0, 9, 0x3a, 0x80)
const KEPT = { version: 5, clean: false, properties: WEEK_SECONDS } as const

/** A client with a session that is kept, subscribed to `known/+` with QoS 1. */
async function kept(t: ExecutionContext): Promise<{ mqtt: CrashingMqtt; peer: RawPeer }> {
  const mqtt = await startCrashingMqtt(t)
  const { peer } = await joined(mqtt.port, 's', KEPT)
  peer.send(subscribe(1, [['known/+', 1]], 5))
  t.deepEqual(await codesOf(t, peer, 0x90), [1])
  return { mqtt, peer }
}

async function codesOf(t: ExecutionContext, peer: RawPeer, type: number): Promise<number[]> {
  const { first, body } = await peer.readPacket()
  t.is(first, type)
  return [...body.subarray(3)]
}

async function isThere(t: ExecutionContext, peer: RawPeer): Promise<void> {
  peer.send(PINGREQ)
  t.is((await peer.readPacket()).first, 0xd0)
}

test('a SUBSCRIBE that the log does not take is refused filter by filter, and the connection goes on', async (t) => {
  const { mqtt, peer } = await kept(t)
  mqtt.faults.isReadOnly = true
  const filters = [['new/+', 1] as const, ['known/+', 1] as const, ['new/+', 0] as const]
  peer.send(subscribe(2, filters, 5))
  t.deepEqual(await codesOf(t, peer, 0x90), [0x83, 1, 0x83])
  await isThere(t, peer)
})

test('other options of a subscription that the log does not take leave it as it was', async (t) => {
  const { mqtt, peer } = await kept(t)
  mqtt.faults.isReadOnly = true
  peer.send(subscribe(2, [['known/+', 0]], 5))
  t.deepEqual(await codesOf(t, peer, 0x90), [0x83])
  mqtt.faults.becomesWritable()
  peer.send(publish('known/a', 'news', { qos: 1, version: 5 }))
  const packets = [await peer.readPacket(), await peer.readPacket()]
  t.deepEqual(packets.map(({ first }) => first).sort(), [0x32, 0x40])
})

test('3.1.1: a SUBSCRIBE that the log does not take is refused, and the connection goes on', async (t) => {
  const mqtt = await startCrashingMqtt(t)
  const { peer } = await joined(mqtt.port, 's', { clean: false })
  mqtt.faults.isReadOnly = true
  peer.send(subscribe(1, [['a', 1]]))
  t.deepEqual([...(await peer.readPacket()).body], [0, 1, 0x80])
  await isThere(t, peer)
})

for (const filter of ['known/+', '$share/g/known/+']) {
  test(`an UNSUBSCRIBE from ${filter} that the log does not take leaves a subscription that misses nothing`, async (t) => {
    const { mqtt, peer } = await kept(t)
    if (filter !== 'known/+') {
      peer.send(subscribe(2, [[filter, 1]], 5))
      t.deepEqual(await codesOf(t, peer, 0x90), [1])
      peer.send(unsubscribe(3, ['known/+'], 5))
      t.deepEqual(await codesOf(t, peer, 0xb0), [0])
    }
    mqtt.faults.isReadOnly = true
    peer.send(unsubscribe(4, [filter], 5))
    t.deepEqual(await codesOf(t, peer, 0xb0), [0x83])
    await isThere(t, peer)
    mqtt.faults.becomesWritable()
    const { peer: sender } = await joined(mqtt.port, 'sender')
    sender.send(publish('known/a', 'news'))
    t.is(await nextPayload5(peer), 'news')
    peer.send(unsubscribe(5, [filter], 5))
    t.deepEqual(await codesOf(t, peer, 0xb0), [0])
  })
}

/** As nextPayload, of MQTT 5 and without properties. */
async function nextPayload5(peer: RawPeer): Promise<string> {
  const { first, body } = await peer.readPacket()
  if (first >>> 4 !== 3) throw new Error(`a packet of type ${first >>> 4} came`)
  const idBytes = (first & 6) === 0 ? 0 : 2
  return body.subarray(2 + body.readUInt16BE(0) + idBytes + 1).toString()
}

test('a session whose queue is gone is taken up while the log takes nothing, and its other subscriptions go on', async (t) => {
  const { mqtt, peer } = await kept(t)
  peer.send(
    subscribe(
      2,
      [
        ['lost/+', 0],
        ['other/+', 0],
      ],
      5,
    ),
  )
  t.deepEqual(await codesOf(t, peer, 0x90), [0, 0])
  peer.end()
  await peer.closed()
  await mqtt.broker.lightQueues.unbind('lost/+', 'mqtt/s')
  await mqtt.broker.lightQueues.unbind('known/+', 'mqtt/s')
  mqtt.faults.isReadOnly = true
  const { peer: again, present } = await joined(mqtt.port, 's', KEPT)
  t.true(present)
  await isThere(t, again)
})
