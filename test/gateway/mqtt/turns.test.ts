// However much one client asks for at once, the other connections have their turns in between.
import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { CATCH_UP_BYTES_MAX, CatchUp } from '../../../src/gateway/mqtt/deliver/catch-up.ts'
import { FILTERS_PER_PACKET_MAX } from '../../../src/gateway/mqtt/limits.ts'
import { TopicTree } from '../../../src/gateway/mqtt/publish/topic-tree.ts'
import { Session } from '../../../src/gateway/mqtt/session/session.ts'
import { SessionCopies } from '../../../src/gateway/mqtt/session/session-copies.ts'
import { silentLogger } from '../../../src/log.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { startMqttOver } from '../../support/mqtt/mqtt-over-broker.ts'
import { connect, PINGREQ, subscribe, unsubscribe } from '../../support/mqtt/mqtt-packets.ts'
import { placeOn } from '../../support/mqtt/mqtt-places.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/peers/raw-peer.ts'
import { countTurns, endSlicesAtOnce } from '../../support/turns.ts'
import { eventually } from '../../support/waiting.ts'

async function connected(port: number, clientId = 'busy'): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect(clientId, { version: 5 }))
  await peer.readPacket()
  return peer
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

/** More than one packet is looked at, so that some are passed over. */
const FILTERS = FILTERS_PER_PACKET_MAX + 100
const names = Array.from({ length: FILTERS }, (_, i) => `f/${i}`)

test('a SUBSCRIBE is read, and its filters are bound, in many turns', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, { clock, mqtt: { filtersMax: 10 } })
  const peer = await connected(port)
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  const asked = names.map((name) => [name, 1] as const)
  peer.send(subscribe(1, asked, 5))
  const { first, body } = await peer.readPacket()
  t.is(first, 0x90)
  const granted: number[] = Array(10).fill(1)
  t.deepEqual([...body.subarray(3)], [...granted, ...Array<number>(FILTERS - 10).fill(0x97)])
  t.true(turns() >= 2 * FILTERS_PER_PACKET_MAX, `${turns()} turns`)
  peer.end()
})

test('an UNSUBSCRIBE is read, and its filters are let go, in many turns', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, { clock })
  const peer = await connected(port)
  endSlicesAtOnce(t, clock)
  const turns = countTurns(t)
  peer.send(unsubscribe(1, names, 5))
  const { first, body } = await peer.readPacket()
  t.is(first, 0xb0)
  const none: number[] = Array(FILTERS_PER_PACKET_MAX).fill(0x11)
  t.deepEqual([...body.subarray(3)], [...none, ...Array<number>(100).fill(0x83)])
  t.true(turns() >= 2 * FILTERS_PER_PACKET_MAX, `${turns()} turns`)
  peer.end()
})

test('packets behind a SUBSCRIBE that takes many turns wait for it, those of others do not', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, { clock })
  const [peer, other] = [await connected(port), await connected(port, 'other')]
  endSlicesAtOnce(t, clock)
  let isAnswered = false
  peer.send(
    subscribe(
      1,
      names.slice(0, 500).map((name) => [name, 0] as const),
      5,
    ),
    PINGREQ,
  )
  const answered = peer.readPacket().then(({ first }) => {
    isAnswered = true
    t.is(first, 0x90)
  })
  let pings = 0
  for (; !isAnswered; pings++) {
    other.send(PINGREQ)
    await other.readPacket()
  }
  await answered
  t.is((await peer.readPacket()).first, 0xd0)
  t.true(pings > 10, `${pings} pings`)
  peer.end()
  other.end()
})

test('a SUBSCRIBE that turns out to be malformed after many turns closes with the code', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, { clock })
  const peer = await connected(port)
  endSlicesAtOnce(t, clock)
  const asked = names.slice(0, 50).map((name) => [name, 0] as const)
  // The last options have a reserved bit.
  peer.send(subscribe(1, [...asked, ['f', 0x80]], 5))
  const { first, body } = await peer.readPacket()
  t.deepEqual([first, body[0]], [0xe0, 0x81])
})

test('joining one group more does not look at all groups that the client is in', async (t) => {
  let looks = 0
  const { port } = await startMqttOver(t, {
    bend: (broker: EmbeddedBroker): Broker =>
      overridden(broker, {
        groups: overridden(broker.groups, {
          checkReceiving: (
            ...[name, topic, filter]: Parameters<Broker['groups']['checkReceiving']>
          ) => {
            looks++
            return broker.groups.checkReceiving(name, topic, filter)
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
  const catchUp = new CatchUp()
  const place = placeOn('f')
  let isOver = false
  let begun = (): void => {}
  const begins = new Promise<void>((resolve) => {
    begun = resolve
  })
  const waiting = catchUp.wait(new Map([[place, queueOffset(9)]]), begun).then(() => {
    isOver = true
  })
  await begins
  catchUp.brought(CATCH_UP_BYTES_MAX)
  place.next = queueOffset(3)
  catchUp.look(false)
  await Promise.resolve()
  t.false(isOver)
  catchUp.brought(1)
  await waiting
  t.false(catchUp.isUnderWay)
})

test.serial('sessions that go on looking for retained messages share each turn', async (t) => {
  const clock = new FakeClock()
  const { port } = await startMqttOver(t, { clock })
  const count = 20
  const turn = countTurns(t)
  const { match } = TopicTree.prototype
  const looks = new Map<number, number>()
  let left = 5 * count
  TopicTree.prototype.match = () => {
    looks.set(turn(), (looks.get(turn()) ?? 0) + 1)
    return { names: [], seenTo: --left > 0 ? 'on' : undefined }
  }
  t.teardown(() => {
    TopicTree.prototype.match = match
  })
  const peers = await Promise.all(Array.from({ length: count }, (_, i) => connected(port, `c${i}`)))
  endSlicesAtOnce(t, clock)
  for (const peer of peers) peer.send(subscribe(1, [['+/x', 0]], 5))
  for (const peer of peers) t.is((await peer.readPacket()).first, 0x90)
  await eventually(async () => left <= 0 || undefined)
  t.true(Math.max(...looks.values()) <= 4, `${[...looks.values()]}`)
  for (const peer of peers) peer.end()
})

test('filters of many clients that subscribe at once share each turn', async (t) => {
  const clock = new FakeClock()
  const turn = countTurns(t)
  const turns: number[] = []
  const bend = (broker: EmbeddedBroker): Broker =>
    overridden<Broker>(broker, {
      lightQueues: overridden(broker.lightQueues, {
        bind: (...asked) => {
          turns.push(turn())
          return broker.lightQueues.bind(...asked)
        },
      }),
    })
  const { port } = await startMqttOver(t, { clock, bend })
  const count = 20
  const peers = await Promise.all(Array.from({ length: count }, (_, i) => connected(port, `c${i}`)))
  endSlicesAtOnce(t, clock)
  for (const [i, peer] of peers.entries())
    peer.send(
      subscribe(
        1,
        [
          [`f/${i}`, 0],
          [`g/${i}`, 0],
        ],
        5,
      ),
    )
  for (const peer of peers) t.is((await peer.readPacket()).first, 0x90)
  t.is(turns.length, 2 * count)
  t.true(new Set(turns).size >= count, `${new Set(turns).size} turns`)
  for (const peer of peers) peer.end()
})

test('sessions that have changed are saved over many turns', async (t) => {
  const clock = new FakeClock()
  const turn = countTurns(t)
  const turns = new Set<number>()
  const states = {
    saveSoon: async () => {
      turns.add(turn())
    },
  }
  const broker = { states, identity: { brokerName: 'b' } } as unknown as Broker
  endSlicesAtOnce(t, clock)
  const copies = new SessionCopies(broker, clock, silentLogger)
  const count = 20
  for (let i = 0; i < count; i++) {
    const session = new Session(`c${i}`)
    session.expiryMs = 1000
    copies.touch(session)
  }
  await copies.saveDirty()
  t.true(turns.size >= count / 2, `${turns.size} turns`)
})
