// A connection goes while a packet of it waits, and the next one of its session is there already:
// what the old one still does must not undo what the new one asks for.
import test, { type ExecutionContext } from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { withOwnBytes } from '../../../src/model/message.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { startMqttOver } from '../../support/mqtt-over-broker.ts'
import { connect, publish, subscribe, unsubscribe } from '../../support/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/raw-peer.ts'
import { latch } from '../../support/waiting.ts'

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
