// Messages that very many filters select: a few of them at a time, however many came at once.
import test from 'ava'
import { LightFeeds, TURN_RECORDS_MAX } from '../../../src/gateway/mqtt/deliver/light-feed.ts'
import { FAN_OUT_MAX, FanOut } from '../../../src/gateway/mqtt/publish/fan-out.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { startMqttOver } from '../../support/mqtt-over-broker.ts'
import { connect, publish, subscribe } from '../../support/mqtt-packets.ts'
import { overridden } from '../../support/overridden.ts'
import { RawPeer } from '../../support/raw-peer.ts'

test('messages that few filters select are not held back', (t) => {
  const fanOut = new FanOut()
  fanOut.add(FAN_OUT_MAX)
  t.false(fanOut.isCrowded(fanOut.weight(8)))
  t.true(fanOut.isCrowded(fanOut.weight(9)))
})

test('a message of any weight is taken when nothing else is under way', (t) => {
  const fanOut = new FanOut()
  t.false(fanOut.isCrowded(fanOut.weight(10 * FAN_OUT_MAX)))
})

test('messages that wait go ahead of later ones, in turn, as far as there is room', (t) => {
  const fanOut = new FanOut()
  fanOut.add(FAN_OUT_MAX)
  const went: number[] = []
  for (const i of [1, 2, 3]) {
    fanOut.wait(() => {
      went.push(i)
      fanOut.add(FAN_OUT_MAX / 2)
    })
  }
  t.true(fanOut.isCrowded(10))
  fanOut.remove(FAN_OUT_MAX)
  t.deepEqual(went, [1, 2])
  fanOut.remove(FAN_OUT_MAX / 2)
  t.deepEqual(went, [1, 2, 3])
})

/** As many as are allowed to a session: every mix of names and wildcards over ten levels. */
const FILTERS = Array.from({ length: 1_000 }, (_, i) =>
  Array.from({ length: 10 }, (_, level) => (i & (1 << level) ? '+' : 'c')).join('/'),
)
const NAME = Array(10).fill('c').join('/')
const COUNT = 40

test('a burst that a thousand filters select is published in parts, acknowledged and delivered in order', async (t) => {
  const parts: number[] = []
  const { port } = await startMqttOver(t, {
    bend: (broker: Broker) =>
      overridden(broker, {
        publish: (messages, ...rest) => {
          parts.push(messages.length)
          return broker.publish(messages, ...rest)
        },
      }),
  })
  const subscriber = await RawPeer.connect(port)
  subscriber.send(
    connect('subscriber'),
    subscribe(
      1,
      FILTERS.map((filter) => [filter, 0]),
    ),
  )
  await subscriber.readPacket()
  await subscriber.readPacket()
  const publisher = await RawPeer.connect(port)
  const ids = Array.from({ length: COUNT }, (_, i) => i + 1)
  publisher.send(connect('publisher'), ...ids.map((id) => publish(NAME, `${id}`, { qos: 1, id })))
  await publisher.readPacket()
  for (const id of ids) t.deepEqual([...(await publisher.readPacket()).body], [0, id])
  for (const id of ids) {
    const { body } = await subscriber.readPacket()
    t.is(body.subarray(2 + NAME.length).toString(), `${id}`)
  }
  t.true(Math.max(...parts) <= FAN_OUT_MAX / FILTERS.length, `${parts}`)
  subscriber.end()
  publisher.end()
})

test('no turn reads more than its share of records for all feeds, and the rest is read in order', async (t) => {
  const feeds = new LightFeeds({} as Broker, () => {})
  const reads: number[] = []
  for (let i = 0; i < 5; i++) feeds.inTurn(TURN_RECORDS_MAX / 2, () => reads.push(i))
  t.deepEqual(reads, [0, 1])
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(reads, [0, 1, 2, 3])
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(reads, [0, 1, 2, 3, 4])
})
