// How far a session got on its queues, and where its messages stand: saved in an earlier form, and
// while the topics behind it change.
import test, { type ExecutionContext } from 'ava'
import type { EmbeddedBroker } from '../../../src/broker/broker.ts'
import { lightQueueTopic } from '../../../src/model/names.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { newMessage, pullRequest, startBroker, topicOf } from '../../support/broker.ts'
import { openGateway, startMqttOver } from '../../support/mqtt-over-broker.ts'
import { connect, subscribe } from '../../support/mqtt-packets.ts'
import { RawPeer } from '../../support/raw-peer.ts'
import { eventually } from '../../support/waiting.ts'

/** A connection to the session, past its CONNACK. */
async function resumed(port: number): Promise<RawPeer> {
  const peer = await RawPeer.connect(port)
  peer.send(connect('c', { clean: false }))
  await peer.readPacket()
  return peer
}

/** The next packets: `dup id payload` or `new id payload` of a PUBLISH to `a`, else `type id`. */
async function packets(peer: RawPeer, count: number): Promise<string[]> {
  const all: string[] = []
  while (all.length < count) {
    const { first, body } = await peer.readPacket()
    const sent = (first & 8) !== 0 ? 'dup' : 'new'
    const isPublish = first >>> 4 === 3
    all.push(isPublish ? `${sent} ${body[4]} ${body.subarray(5)}` : `${first >>> 4} ${body[1]}`)
  }
  return all
}

const send = (broker: EmbeddedBroker, topic: string, bodies: readonly string[]) =>
  broker.publish(bodies.map((body) => newMessage(topic, { queueId: 0, body })))

test('a session of the time with one position for all of it goes on where it was', async (t) => {
  const { broker } = await startBroker(t)
  const owner = 'mqtt/c'
  for (const filter of ['a', '+']) await broker.lightQueues.bind(filter, owner)
  await send(broker, 'a', ['0', '1', '2', '3', '4', '5', '6'])
  const queue = lightQueueTopic('a', true)
  const { records } = await broker.pull(pullRequest(queue))
  const at = [...recordsOf(records)].map(({ position }) => position)
  const subscription = (filter: string) => ({
    ...{ text: filter, filter, queue: lightQueueTopic(filter, true), durable: true, from: 0 },
    ...{ qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
  })
  const saved = {
    ...{ format: 1, epoch: 'e', expiryMs: null, cursor: at[4]! + 1, nextId: 9, nextSerial: 1 },
    subscriptions: [subscription('a'), subscription('+')],
    inFlight: [
      [3, at[2], 1, 1],
      [4, at[3]! + 1, 1, 1],
      [5, 7, 2, 2],
    ],
    inbound: [],
  }
  await broker.states.save('mqtt/session/c', Buffer.from(JSON.stringify(saved)))
  const { port } = await openGateway(t, broker)
  const peer = await resumed(port)
  t.deepEqual(await packets(peer, 4), ['dup 3 2', '6 5', 'new 9 5', 'new 10 6'])
  peer.end()
})

/** A message of `a` is in flight to a session without a connection. */
async function inFlight(t: ExecutionContext) {
  const over = await startMqttOver(t)
  const { broker, gateway, port } = over
  await broker.topics.put(topicOf('a', 1))
  const peer = await resumed(port)
  peer.send(subscribe(1, [['a', 1]]))
  await peer.readPacket()
  await send(broker, 'a', ['first'])
  t.deepEqual(await packets(peer, 1), ['new 1 first'])
  peer.end()
  await eventually(async () => (gateway.connections === 0 ? true : undefined))
  return over
}

test('a topic that is made again has no message that was in flight before', async (t) => {
  const { broker, port } = await inFlight(t)
  await broker.topics.delete('a')
  await broker.topics.put(topicOf('a', 1))
  await send(broker, 'a', ['second'])
  const peer = await resumed(port)
  t.deepEqual(await packets(peer, 1), ['new 2 second'])
  peer.end()
})

test('what is in flight is sent again, also after the topic could not be read for a while', async (t) => {
  const { broker, gateway, port } = await inFlight(t)
  await broker.topics.put({ ...topicOf('a', 1), perm: 2 })
  const early = await resumed(port)
  await send(broker, 'a', ['second'])
  t.deepEqual(await packets(early, 1), ['new 2 second'])
  early.end()
  await eventually(async () => (gateway.connections === 0 ? true : undefined))
  await broker.topics.put({ ...topicOf('a', 1), perm: 6 })
  const late = await resumed(port)
  t.deepEqual(await packets(late, 2), ['dup 1 first', 'dup 2 second'])
  late.end()
})
