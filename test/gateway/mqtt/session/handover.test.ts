// State goes from one gateway to another, and something comes in between.
import test, { type ExecutionContext } from 'ava'
import { UserStore } from '../../../../src/access/user-store.ts'
import type { EmbeddedBroker } from '../../../../src/broker/broker.ts'
import { MqttGateway } from '../../../../src/gateway/mqtt/server.ts'
import { silentLogger } from '../../../../src/log.ts'
import { withOwnBytes } from '../../../../src/model/message.ts'
import { Numbers } from '../../../../src/numbers/numbers.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { openGateway, startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import {
  connect,
  frame,
  publish,
  str,
  subscribe,
  u16,
  u32,
} from '../../../support/mqtt/mqtt-packets.ts'
import { numberOf } from '../../../support/numbers.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { eventually, latch } from '../../../support/waiting.ts'

/** Callers wait at it until it is opened. */
function gate() {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const reached = latch(1)
  const pass = (): Promise<void> => {
    reached.count()
    return opened
  }
  return { open, reached: reached.reached, pass }
}

/** Session expiry 100 s, and a will to `late` after so many seconds. */
const withWill = (delaySeconds: number): Buffer =>
  frame(
    0x10,
    ...[str('MQTT'), Buffer.of(5, 4), u16(0), Buffer.of(5, 0x11, ...u32(100)), str('c')],
    ...[Buffer.of(5, 0x18, ...u32(delaySeconds)), str('late'), str('gone')],
  )

async function joined(port: number, bytes: Buffer): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(bytes)
  await peer.readPacket()
  return peer
}

async function watching(port: number): Promise<RawPeer> {
  const watcher = await joined(port, connect('w', { keepAlive: 0 }))
  watcher.send(subscribe(1, [['late', 1]]))
  await watcher.readPacket()
  return watcher
}

async function nextText(peer: RawPeer): Promise<string> {
  const { body } = await peer.readPacket()
  return body.subarray(2 + 'late'.length).toString()
}

const bentStates = (broker: EmbeddedBroker, changed: Partial<Broker['states']>): Broker =>
  overridden<Broker>(broker, { states: overridden(broker.states, changed) })

const authOf = (clock: FakeClock) => new UserStore({}, clock)

test('a session whose client gave up on its way to another gateway is kept there, with its will', async (t: ExecutionContext) => {
  const clock = new FakeClock()
  const held = gate()
  const { broker, port } = await startMqttOver(t, {
    clock,
    bend: (real) =>
      bentStates(real, {
        release: async (claim) => {
          await held.pass()
          await real.states.release(claim)
        },
      }),
  })
  const other = await openGateway(t, broker, authOf(clock), clock)
  const watcher = await watching(other.port)
  const first = await joined(port, withWill(10))
  const second = await RawPeer.connect(other.port)
  second.send(withWill(10))
  await held.reached
  second.end()
  await eventually(async () => (other.gateway.connections === 1 ? true : undefined))
  held.open()
  await eventually(async () => {
    await clock.advanceAsync(1_000)
    return watcher.unreadBytes > 0 ? true : undefined
  })
  t.is(await nextText(watcher), 'gone')
  for (const peer of [first, watcher]) peer.end()
})

test('a will that falls due while its session is on its way to another gateway is not sent', async (t) => {
  const clock = new FakeClock()
  const held = gate()
  const { broker, port } = await startMqttOver(t, {
    clock,
    bend: (real) =>
      overridden<Broker>(real, {
        publish: async (messages, changes) => {
          const all = messages.map(withOwnBytes)
          if (all[0]?.body.toString() === 'slow') await held.pass()
          return real.publish(all, changes)
        },
      }),
  })
  const other = await openGateway(t, broker, authOf(clock), clock)
  const watcher = await watching(other.port)
  const first = await joined(port, withWill(1))
  first.send(publish('slow', 'slow', { qos: 2, version: 5 }))
  await held.reached
  const second = await RawPeer.connect(other.port)
  second.send(withWill(1))
  await first.closed()
  await clock.advanceAsync(2_000)
  held.open()
  await second.readPacket()
  second.send(publish('late', 'end', { version: 5 }))
  t.is(await nextText(watcher), 'end')
  for (const peer of [first, second, watcher]) peer.end()
})

test('a session that is claimed while a gateway starts goes to the claimer, once it is read', async (t) => {
  const clock = new FakeClock()
  // Of the two that run, the one that is asked does not take over by itself what is let go.
  const watchFree = () => ({ [Symbol.dispose]() {} })
  const bend = (real: EmbeddedBroker) => bentStates(real, { watchFree })
  const { broker, port } = await startMqttOver(t, { clock, bend })
  const early = await joined(port, connect('early', { keepAlive: 0 }))
  const former = await openGateway(t, broker, authOf(clock), clock)
  const first = await joined(former.port, withWill(0))
  first.end()
  await eventually(async () => (former.gateway.connections === 0 ? true : undefined))
  await former.gateway.close(1_000)
  const held = gate()
  const states = {
    load: async (id: string) => {
      const state = await broker.states.load(id)
      if (id === 'mqtt/session/c') await held.pass()
      return state
    },
  }
  const starting = new MqttGateway({
    ...{ broker: bentStates(broker, states), auth: authOf(clock), log: silentLogger, clock },
    numbers: new Numbers(),
  })
  const started = starting.open()
  await held.reached
  const second = await RawPeer.connect(port)
  second.send(withWill(0))
  // It is answered when it has waited for the owner as everything else.
  early.send([0xc0, 0])
  await early.readPacket()
  held.open()
  await started
  const { first: type, body } = await second.readPacket()
  t.deepEqual([type, body[0], body[1]], [0x20, 1, 0])
  await starting.close(1_000)
  for (const peer of [early, second]) peer.end()
})

test('a retained message that is set while a gateway starts is known there', async (t) => {
  const { broker, port } = await startMqttOver(t)
  const early = await joined(port, connect('early'))
  const retain = async (topic: string, text: string): Promise<void> => {
    early.send(publish(topic, text, { qos: 1, flags: 1 }))
    await early.readPacket()
  }
  await retain('late/1', 'old')
  const held = gate()
  const states = {
    list: async function* (prefix: string) {
      const pages = []
      for await (const page of broker.states.list(prefix)) pages.push(page)
      if (prefix.includes('retained')) await held.pass()
      yield* pages
    },
  }
  const starting = openGateway(t, bentStates(broker, states))
  await held.reached
  await retain('late/1', '')
  await retain('late/2', 'new')
  held.open()
  const { port: other, numbers } = await starting
  t.is(await numberOf(numbers, 'trivet_mqtt_retained_messages'), 1)
  const reader = await joined(other, connect('reader'))
  reader.send(subscribe(1, [['late/#', 0]]))
  await reader.readPacket()
  t.is((await reader.readPacket()).body.subarray(2).toString(), 'late/2new')
  for (const peer of [early, reader]) peer.end()
})

test('a gateway that cannot read its state leaves no watcher behind', async (t) => {
  const clock = new FakeClock()
  const { broker } = await startMqttOver(t, { clock })
  let watchers = 0
  const counted = (watch: Disposable): Disposable => {
    watchers++
    return {
      [Symbol.dispose]: () => {
        watchers--
        watch[Symbol.dispose]()
      },
    }
  }
  const { states, topics } = broker
  const bent = overridden<Broker>(broker, {
    states: overridden(states, {
      watch: (prefix, changed) => counted(states.watch(prefix, changed)),
      // biome-ignore lint/correctness/useYield: it fails before the first page.
      list: async function* () {
        throw new Error('unreadable')
      },
    }),
    topics: overridden(topics, { watch: (changed) => counted(topics.watch(changed)) }),
  })
  const gateway = new MqttGateway({
    ...{ broker: bent, auth: authOf(clock), log: silentLogger, clock },
    numbers: new Numbers(),
  })
  await t.throwsAsync(gateway.open(), { message: 'unreadable' })
  t.is(watchers, 0)
})

test('a gateway that stops has let its sessions go', async (t) => {
  const held = gate()
  const { broker, gateway, port } = await startMqttOver(t, {
    bend: (real) =>
      bentStates(real, {
        release: async (claim) => {
          await held.pass()
          await real.states.release(claim)
        },
      }),
  })
  const peer = await joined(port, withWill(10))
  const closing = gateway.close(60_000)
  const first = await Promise.race([held.reached.then(() => 'released'), closing])
  t.is(first, 'released')
  held.open()
  await closing
  t.truthy(await broker.states.claimFree('mqtt/session/c', () => {}))
  peer.end()
})

test('a broker that does not take it holds up no stop', async (t) => {
  const clock = new FakeClock()
  const held = gate()
  const { gateway, port } = await startMqttOver(t, {
    clock,
    bend: (real) => bentStates(real, { release: held.pass }),
  })
  const peer = await joined(port, withWill(10))
  const closing = gateway.close(1_000)
  await held.reached
  peer.end()
  clock.advance(1_000)
  await t.notThrowsAsync(closing)
})
