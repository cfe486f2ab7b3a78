import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { BrokerError } from '../../../../src/errors.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { startMqttOver } from '../../../support/mqtt/mqtt-over-broker.ts'
import { ack, connect, publish } from '../../../support/mqtt/mqtt-packets.ts'
import { overridden } from '../../../support/overridden.ts'
import { RawPeer } from '../../../support/peers/raw-peer.ts'
import { eventually } from '../../../support/waiting.ts'

test('a session does not keep what the broker answered for its messages of QoS 2', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const answers: WeakRef<object>[] = []
  const { port } = await startMqttOver(t, {
    bend: (real) =>
      overridden<Broker>(real, {
        publish: async (messages, changes) => {
          const results = await real.publish(messages, changes)
          answers.push(new WeakRef(results))
          return results
        },
      }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { clean: false }))
  await peer.readPacket()
  for (let i = 0; i < 50; i++) {
    peer.send(publish('x', 'y', { qos: 2 }))
    await peer.readPacket()
    peer.send(ack('pubrel', 1))
    await peer.readPacket()
  }
  const kept = await eventually(async () => {
    collect()
    const left = answers.filter((one) => one.deref() !== undefined).length
    return left <= 2 ? left : undefined
  })
  t.true(kept <= 2)
  t.is(answers.length, 50)
  peer.end()
})

test('a will that a goodbye made void is saved away though the log refuses it at first', async (t) => {
  let refusals = 0
  const { port, broker } = await startMqttOver(t, {
    bend: (real) =>
      overridden<Broker>(real, {
        states: overridden(real.states, {
          save: async (id, value, guard) => {
            if (refusals === 0) return real.states.save(id, value, guard)
            refusals--
            throw new BrokerError('READ_ONLY', 'no room')
          },
        }),
      }),
  })
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { clean: false, will: { topic: 'gone', payload: 'x' } }))
  await peer.readPacket()
  const saved = async () => (await broker.states.load('mqtt/session/c'))?.value.toString() ?? ''
  t.true((await saved()).includes('"will"'))
  refusals = 1
  peer.send(Buffer.of(0xe0, 0))
  await eventually(async () => !(await saved()).includes('"will"'))
  t.is(refusals, 0)
})
