// However much one client asks for at once, the other connections have their turns in between.
import test, { type ExecutionContext } from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import type { Broker } from '../../../src/gateway/gateway.ts'
import { CATCH_UP_BYTES_MAX, CatchUp } from '../../../src/gateway/mqtt/catch-up.ts'
import type { Subscription } from '../../../src/gateway/mqtt/subscriptions.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { startMqttOver } from '../../support/mqtt-over-broker.ts'
import { connect, subscribe, unsubscribe } from '../../support/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/raw-peer.ts'

async function connected(port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('busy', { version: 5 }))
  await peer.readPacket()
  return peer
}

/** Counts the turns of the event loop, which the broker shares with the test. */
function countTurns(t: ExecutionContext): () => number {
  let turns = 0
  let isOver = false
  const turn = (): void => {
    turns++
    if (!isOver) setImmediate(turn)
  }
  turn()
  t.teardown(() => {
    isOver = true
  })
  return () => turns
}

test('each of many packets in one segment that are waited for has its own turn', async (t) => {
  const { port } = await startMqttOver(t)
  const peer = await connected(port)
  const count = 2_000
  const turns = countTurns(t)
  peer.send(...Array<Buffer>(count).fill(unsubscribe(1, ['none'], 5)))
  for (let i = 0; i < count; i++) t.is((await peer.readPacket()).first, 0xb0)
  t.true(turns() >= count, `${turns()} turns`)
  peer.end()
})

test('the filters of one packet are dealt with in many turns', async (t) => {
  const { port } = await startMqttOver(t)
  const peer = await connected(port)
  const filters = Array.from({ length: 10_000 }, (_, i) => `f/${i}`)
  const turns = countTurns(t)
  peer.send(unsubscribe(1, filters, 5))
  t.is((await peer.readPacket()).body.length, 2 + 1 + filters.length)
  t.true(turns() >= 100, `${turns()} turns`)
  peer.end()
})

test('joining one group more does not look at all groups that the client is in', async (t) => {
  let looks = 0
  const { port } = await startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        groups: overridden(broker.groups, {
          mode: (group: string) => {
            looks++
            return broker.groups.mode(group)
          },
        }),
      }),
  })
  const peer = await connected(port)
  const count = 20
  const shares = Array.from({ length: count }, (_, i) => [`$share/g${i}/f/${i}`, 1] as const)
  peer.send(subscribe(1, shares, 5))
  t.deepEqual([...(await peer.readPacket()).body.subarray(3)], Array(count).fill(1))
  t.true(looks <= count, `${looks} looks`)
  peer.end()
})

test('a packet is not held back for a stream that is very far behind', async (t) => {
  const range = { queueId: 0, minOffset: queueOffset(0), maxOffset: queueOffset(9) }
  const catchUp = new CatchUp({ range: async () => range })
  const subscription = { text: 'f', queue: 'f' } as Subscription
  let isOver = false
  let begun = (): void => {}
  const begins = new Promise<void>((resolve) => {
    begun = resolve
  })
  const waiting = catchUp.wait([subscription], begun).then(() => {
    isOver = true
  })
  await begins
  catchUp.brought(CATCH_UP_BYTES_MAX)
  catchUp.look([['f', queueOffset(3)]], false)
  await Promise.resolve()
  t.false(isOver)
  catchUp.brought(1)
  await waiting
  t.false(catchUp.isUnderWay)
})
