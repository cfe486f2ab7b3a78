// What counts as an attempt for a member of a shared subscription: of what a lost client held the
// oldest, of one that said goodbye nothing.
import test from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import { newMessage } from '../../support/broker.ts'
import { startMqttOver } from '../../support/mqtt-over-broker.ts'
import { ack, connect, DISCONNECT, frame, subscribe } from '../../support/mqtt-packets.ts'
import { RawPeer } from '../../support/raw-peer.ts'
import { eventually } from '../../support/waiting.ts'

const RETRIES = 16

const publish = (broker: EmbeddedBroker, count: number) =>
  broker.publish(
    Array.from({ length: count }, (_, i) => newMessage('orders', { queueId: 0, body: `m${i}` })),
  )

const held = async (broker: EmbeddedBroker): Promise<number> => {
  const lags = await broker.groups.lags('workers')
  return lags.reduce((sum, { inFlight }) => sum + inFlight, 0)
}

const isHeld = (broker: EmbeddedBroker, count: number): Promise<true> =>
  eventually(async () => ((await held(broker)) === count ? true : undefined))

/** Joins and takes the first message; answers its packet id too. */
async function life(port: number, name: string) {
  const peer = await RawPeer.connect(port)
  peer.send(connect(name, { version: 5 }), subscribe(1, [['$share/workers/orders/#', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  const { first, body } = await peer.readPacket()
  const topicBytes = body.readUInt16BE(0)
  return { peer, first, packetId: body.readUInt16BE(2 + topicBytes) }
}

/** Attempts of all that is left, as the next consumer sees them. */
async function attempts(broker: EmbeddedBroker, count: number): Promise<number[]> {
  const received = await broker.receive({
    ...{ topic: 'orders', queueId: 0, group: 'workers', filter: EVERY_TAG },
    ...{ maxMessages: count, maxBytes: 1 << 20, invisibleMs: 60_000, ordered: false },
    ...{ startAt: 'first', waitMs: 0, memberId: 'next' },
  })
  return received.map(({ attempt }) => attempt)
}

test('fifty members that acknowledge one message of many and are lost dead-letter nothing', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 80)
  for (let i = 0; i < 50; i++) {
    const { peer, packetId } = await life(port, `life-${i}`)
    const before = await lag(broker)
    peer.send(ack('puback', packetId))
    await eventually(async () => ((await lag(broker)) < before ? true : undefined))
    peer.end()
    await isHeld(broker, 0)
  }
  t.is(await broker.topics.get('%DLQ%workers'), undefined)
  const left = await attempts(broker, 100)
  t.is(left.length, 30)
  t.true(left.every((attempt) => attempt <= 2))
})

test('a message that every member is lost with is a dead letter in the end, and nothing else is', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 20)
  for (let i = 0; i <= RETRIES; i++) {
    const { peer } = await life(port, `life-${i}`)
    peer.end()
    await isHeld(broker, 0)
  }
  const dead = await eventually(async () => {
    if ((await broker.topics.get('%DLQ%workers')) === undefined) return undefined
    const [range] = await broker.topics.ranges('%DLQ%workers')
    return range!.maxOffset > 0 ? range : undefined
  })
  t.is(dead.maxOffset as number, 1)
  const left = await attempts(broker, 100)
  t.is(left.length, 19)
  t.true(left.every((attempt) => attempt === 1))
})

for (const [what, bytes, counted] of [
  ['says goodbye', DISCONNECT, 0],
  ['says goodbye and wants its will published', frame(0xe0, Buffer.of(0x04)), 0],
  ['goes for an error', frame(0xe0, Buffer.of(0x80)), 1],
  ['breaks the protocol', Buffer.of(0xf0, 1, 0x55), 1],
] as const) {
  test(`of what a member held that ${what} ${counted} counts`, async (t) => {
    const { port, broker } = await startMqttOver(t)
    await broker.topics.ensure('orders')
    await joined(port)
    await publish(broker, 5)
    const { peer } = await life(port, 'member')
    await isHeld(broker, 5)
    peer.send(bytes)
    await isHeld(broker, 0)
    t.deepEqual(await attempts(broker, 5), [1 + counted, 1, 1, 1, 1])
  })
}

test('of what a member held that is taken over the oldest counts', async (t) => {
  const { port, broker } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 5)
  await life(port, 'member')
  await isHeld(broker, 5)
  const next = await RawPeer.connect(port)
  next.send(connect('member', { version: 5 }))
  await next.readPacket()
  await isHeld(broker, 0)
  t.deepEqual(await attempts(broker, 5), [2, 1, 1, 1, 1])
  next.end()
})

test('a front-end that stops counts nothing', async (t) => {
  const { port, broker, gateway } = await startMqttOver(t)
  await broker.topics.ensure('orders')
  await joined(port)
  await publish(broker, 5)
  const { peer } = await life(port, 'member')
  await isHeld(broker, 5)
  await gateway.close(1000)
  await isHeld(broker, 0)
  t.deepEqual(await attempts(broker, 5), [1, 1, 1, 1, 1])
  peer.end()
})

/** The group begins where its first member comes. */
async function joined(port: number): Promise<void> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('first', { version: 5 }), subscribe(1, [['$share/workers/orders/#', 1]], 5))
  await peer.readPacket()
  await peer.readPacket()
  peer.send(DISCONNECT)
  await peer.closed()
}

async function lag(broker: EmbeddedBroker): Promise<number> {
  const lags = await broker.groups.lags('workers')
  return lags.reduce((sum, one) => sum + one.lag, 0)
}
