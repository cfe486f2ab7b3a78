// What the broker's client registry is told of the links of one connection.
import test, { type ExecutionContext } from 'ava'
import type { Broker } from '../../../src/port/broker.ts'
import { startAmqp } from '../../support/amqp-server.ts'
import { overridden } from '../../support/overridden.ts'
import {
  attachReceiver,
  begin,
  connectRaw,
  frame,
  handshake,
  type RawPeer,
} from '../../support/raw-amqp.ts'
import { eventually } from '../../support/waiting.ts'

const LINKS = 50

interface Registry {
  readonly broker: Broker
  readonly peer: RawPeer
  /** Calls of register and unregister. */
  told(): number
}

/** A peer with many links, to one group each or all to the same. */
async function registry(t: ExecutionContext, groupOf: (link: number) => string): Promise<Registry> {
  let told = 0
  const { port, broker } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, {
        clients: overridden(real.clients, {
          register: (registration) => {
            told++
            return real.clients.register(registration)
          },
          unregister: (connectionId, group) => {
            told++
            return real.clients.unregister(connectionId, group)
          },
        }),
      }),
  })
  const peer = await connectRaw(t, port)
  peer.send(handshake(), begin(0), begin(1))
  for (let i = 0; i < LINKS; i++) peer.send(attachReceiver(i, `orders::${groupOf(i)}`))
  await peer.frame('attach', LINKS)
  return { broker, peer, told: () => told }
}

const nobodyIsThere = (broker: Broker): Promise<true> =>
  eventually(async () => ((await broker.clients.list()).length === 0 ? true : undefined))

test('links of a group that ask for the same are one subscription', async (t) => {
  const { broker } = await registry(t, () => 'g')
  const [client] = await broker.clients.list()
  t.is(client?.consumers.length, 1)
  t.is(client?.consumers[0]?.subscriptions.length, 1)
})

test('a session that takes its links with it is told once', async (t) => {
  const { broker, peer, told } = await registry(t, (link) => `g${link}`)
  const before = told()
  peer.send(frame('end'))
  await peer.frame('end')
  await nobodyIsThere(broker)
  t.is(told() - before, 1)
})

test('a connection that takes its links with it is told once', async (t) => {
  const { broker, peer, told } = await registry(t, (link) => `g${link}`)
  const before = told()
  peer.socket.destroy()
  await nobodyIsThere(broker)
  t.is(told() - before, 1)
})
