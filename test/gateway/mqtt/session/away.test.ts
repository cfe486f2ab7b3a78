// CONNECT while what keeps the client's session is away, and sessions of a gateway that has gone.
import test from 'ava'
import type { EmbeddedBroker } from '../../../../src/broker/broker.ts'
import { BrokerError } from '../../../../src/errors.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import type { States } from '../../../../src/port/states.ts'
import { stateIds } from '../../../support/broker.ts'
import { mqttClient } from '../../../support/mqtt/mqtt.ts'
import { openGateway, startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { connect, DISCONNECT, publish, u32 } from '../../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { RunningClock } from '../../../support/running-clock.ts'

const away = (): Promise<never> => Promise.reject(new BrokerError('UNREACHABLE', 'it is away'))
/** Of MQTT 5: lives an hour. */
const KEPT = { version: 5, clean: false, properties: Buffer.of(0x11, ...u32(3600)) } as const

/** Claims and saves fail while `isAway`. */
function bent() {
  const state = { isAway: false }
  const bend = (broker: EmbeddedBroker): Broker => {
    const { states } = broker
    const changed: Partial<States> = {
      claim: (id, lost) => (state.isAway ? away() : states.claim(id, lost)),
      save: (id, value, guard) => (state.isAway ? away() : states.save(id, value, guard)),
    }
    return overridden<Broker>(broker, { states: overridden<States>(states, changed) })
  }
  return { state, bend }
}

test('a clean start that keeps nothing goes on without a claim', async (t) => {
  const { state, bend } = bent()
  const { port } = await startMqttOver(t, { bend })
  state.isAway = true
  for (const version of [4, 5] as const) {
    const peer = await RawPeer.connect(port)
    const will = { topic: 'will', payload: 'gone' }
    peer.send(connect('c', { version, clean: true, will }), publish('a', 'x', { qos: 1, version }))
    const { first, body } = await peer.readPacket()
    t.deepEqual([first, body[1]], [0x20, 0])
    t.is((await peer.readPacket()).first, 0x40)
    peer.send(DISCONNECT)
    await peer.closed()
  }
})

for (const version of [4, 5] as const) {
  test(`version ${version}: a session that is kept waits for its claim, and is refused in time`, async (t) => {
    const clock = new RunningClock()
    t.teardown(clock.run())
    const { state, bend } = bent()
    const { port } = await startMqttOver(t, { bend, clock })
    state.isAway = true
    const shape = version === 5 ? KEPT : ({ version, clean: false } as const)
    const refused = await RawPeer.connect(port)
    refused.send(connect('c', shape))
    await clock.pass(10_000)
    t.is((await refused.readPacket()).body[1], version === 5 ? 0x88 : 3)
    const waits = await RawPeer.connect(port)
    waits.send(connect('c', shape))
    await clock.pass(500)
    state.isAway = false
    t.is((await waits.readPacket()).body[1], 0)
    waits.end()
  })
}

test('a client goes on with the session that its gateway owns', async (t) => {
  const { state, bend } = bent()
  const { port } = await startMqttOver(t, { bend })
  for (const isAway of [false, true]) {
    state.isAway = isAway
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', KEPT))
    const { body } = await peer.readPacket()
    t.deepEqual([body[0], body[1]], [Number(isAway), 0])
    peer.end()
    await peer.closed()
  }
})

test('the sessions of a gateway that has gone end at another, with their wills', async (t) => {
  const { broker, port } = await startMqttOver(t)
  const other = await openGateway(t, broker)
  const watcher = await mqttClient(t, port, 5)
  await watcher.subscribe('will')
  const client = await mqttClient(t, other.port, 5, {
    clientId: 'c',
    clean: false,
    expiry: 2,
    will: {
      ...{ topic: 'will', payload: Buffer.from('c is gone'), qos: 1, retain: false },
      properties: { willDelayInterval: 1 },
    },
  })
  t.true(client.client.connected)
  await other.gateway.close(1_000)
  await watcher.messages(1)
  t.deepEqual(watcher.texts, ['c is gone'])
  while ((await stateIds(broker, 'mqtt/session/c')).length > 0) {
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.pass()
})

test('a client that comes back as it went does not wait for its session to be saved', async (t) => {
  let waits = false
  const never = new Promise<never>(() => {})
  const { port } = await startMqttOver(t, {
    bend: (broker) => {
      const { states } = broker
      const save: States['save'] = (id, value, guard) =>
        waits ? never : states.save(id, value, guard)
      return overridden<Broker>(broker, { states: overridden<States>(states, { save }) })
    },
  })
  for (const isBack of [false, true]) {
    waits = isBack
    const peer = await RawPeer.connect(port)
    peer.send(connect('c', KEPT))
    const { body } = await peer.readPacket()
    t.deepEqual([body[0], body[1]], [Number(isBack), 0])
    peer.end()
    await peer.closed()
  }
})
