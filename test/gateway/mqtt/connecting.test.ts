// What waits for a CONNECT to be answered, when its connection ends before.
import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { CONNECT_DECODED_FACTOR, CONNECTING_BYTES_MAX } from '../../../src/gateway/mqtt/limits.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { hangingAuth } from '../../support/hanging-auth.ts'
import { startMqttOver } from '../../support/mqtt-over-broker.ts'
import { connect, PINGREQ, PINGRESP } from '../../support/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/raw-peer.ts'
import { eventually } from '../../support/waiting.ts'

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
