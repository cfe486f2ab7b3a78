// What becomes of a message by what its receiver says, or by the way in which the receiver goes:
// with an unmodified rhea client, and for frames that rhea does not write with a peer made of
// bytes.
import test from 'ava'
import { EVERY_TAG } from '../../../../src/model/tag-filter.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { startAmqp } from '../../../support/amqp/amqp-server.ts'
import {
  attachReceiver,
  begin,
  connectRaw,
  flow,
  frame,
  handshake,
  messages,
} from '../../../support/amqp/raw-amqp.ts'
import { bodyText, connectRhea, type RheaReceiver } from '../../../support/amqp/rhea-client.ts'
import { eventually } from '../../../support/waiting.ts'
import { inFlight, numbered, publish, setup, texts } from '../receiving.ts'

const RETRIES = 16

const kill = ({ link }: RheaReceiver): void =>
  (link.connection as unknown as { socket: { destroy(): void } }).socket.destroy()

/** The broker has noticed that the receivers of the group are gone. */
const nothingHeld = (broker: Broker, group: string): Promise<true> =>
  eventually(async () => ((await inFlight(broker, group)) === 0 ? true : undefined))

/** Holds as much as it may, takes the first of it. */
async function life(t: Parameters<typeof connectRhea>[0], port: number) {
  const client = await connectRhea(t, port)
  const receiver = await client.receiver('orders::g')
  receiver.credit(100)
  const first = await receiver.take()
  return { receiver, first }
}

test('fifty receivers that settle one message of a hundred and crash dead-letter nothing', async (t) => {
  const { broker, port } = await startAmqp(t)
  await publish(broker, 'orders', numbered(100))
  for (let i = 0; i < 50; i++) {
    const { receiver, first } = await life(t, port)
    first.delivery?.accept()
    const left = 99 - i
    await eventually(async () => ((await inFlight(broker, 'g')) === left ? true : undefined))
    kill(receiver)
    await nothingHeld(broker, 'g')
  }
  t.is(await broker.topics.get('%DLQ%g'), undefined)
  const client = await connectRhea(t, port)
  const rest = await (await client.receiver('orders::g')).accept(50)
  t.true(rest.every(({ delivery_count: count = 0 }) => count <= 1))
})

test('a message that every receiver crashes on is a dead letter in the end, and nothing else is', async (t) => {
  const { broker, port } = await startAmqp(t)
  await publish(broker, 'orders', numbered(100), {}, 0)
  for (let i = 0; i <= RETRIES; i++) {
    const { receiver, first } = await life(t, port)
    t.is(bodyText(first.message), 'm0')
    t.is(first.message.delivery_count, i)
    kill(receiver)
    await nothingHeld(broker, 'g')
  }
  const client = await connectRhea(t, port)
  const dead = await client.receiver('/groups/g/dlq')
  t.deepEqual(texts(await dead.accept(1)), ['m0'])
  const rest = await (await client.receiver('orders::g')).accept(99)
  t.true(rest.every(({ delivery_count }) => delivery_count === 0))
})

test('a broker that stops counts nothing', async (t) => {
  const { broker, port, close, gateway } = await startAmqp(t)
  await publish(broker, 'orders', numbered(5), {}, 0)
  const client = await connectRhea(t, port)
  const receiver = await client.receiver('orders::g')
  receiver.credit(5)
  for (let i = 0; i < 5; i++) await receiver.take()
  await gateway.close(1000)
  const again = await broker.receive({
    ...{ topic: 'orders', queueId: 0, group: 'g', maxMessages: 5, maxBytes: 1 << 20 },
    filter: EVERY_TAG,
    ...{ invisibleMs: 1000, ordered: false, startAt: 'first', waitMs: 0, memberId: 'next' },
  })
  t.deepEqual(
    again.map(({ attempt }) => attempt),
    [1, 1, 1, 1, 1],
  )
  await close()
})

test('a message beyond what a link takes counts nothing of what the link has', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['a', 'x'.repeat(5000)], {}, 0)
  const receiver = await client.receiver({ source: 'orders::g', max_message_size: 1000 })
  const closed = new Promise((resolve) => receiver.link.once('receiver_close', resolve))
  receiver.credit(2)
  await receiver.take()
  await closed
  // The large one has failed and comes later.
  const other = await client.receiver('orders::g')
  const [message] = await other.accept(1)
  t.is(bodyText(message!), 'a')
  t.falsy(message!.delivery_count)
})

test('the first failure brings a message back at once, before what is behind it', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(3), {}, 0)
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  const first = await receiver.take()
  first.delivery?.modified({ delivery_failed: true })
  const again = await receiver.accept(3)
  t.deepEqual(again.map(bodyText), numbered(3))
  t.deepEqual(
    again.map(({ delivery_count }) => delivery_count),
    [1, 0, 0],
  )
})

test('undeliverable here: the message waits for another link, and the link goes on', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(3), {}, 0)
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  const first = await receiver.take()
  first.delivery?.modified({ undeliverable_here: true })
  t.deepEqual(texts(await receiver.accept(2)), ['m1', 'm2'])
  receiver.credit(1)
  await receiver.drain()
  t.is(receiver.backlog, 0)
  const other = await client.receiver('orders::g')
  const [message] = await other.accept(1)
  t.is(bodyText(message!), 'm0')
  t.is(message!.delivery_count, 0)
})

test('undeliverable here and failed counts, and a link that attaches again is another one', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  const options = { name: 'mine', source: 'orders::g' }
  const receiver = await client.receiver(options)
  receiver.credit(1)
  const { delivery } = await receiver.take()
  delivery?.modified({ delivery_failed: true, undeliverable_here: true })
  receiver.credit(1)
  await receiver.drain()
  t.is(receiver.backlog, 0)
  await receiver.detach()
  const again = await client.receiver(options)
  const [message] = await again.accept(1)
  t.is(message!.delivery_count, 1)
  t.is(await broker.topics.get('%DLQ%g'), undefined)
})

test('annotations of a modified outcome are merged with what the message has', async (t) => {
  const { client } = await setup(t)
  const sender = await client.sender('orders')
  await sender.send({ message_annotations: { own: 'kept', both: 'sent' } as never, body: 'x' })
  await sender.send({ message_annotations: { own: 'kept', both: 'sent' } as never, body: 'y' })
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  const first = await receiver.take()
  const annotations = { both: 'changed', tries: 1, 'x-opt-rmq-topic': 'forged' }
  first.delivery?.modified({ message_annotations: annotations as never })
  receiver.credit(1)
  const second = await receiver.take()
  t.like(second.message.message_annotations, {
    own: 'kept',
    both: 'changed',
    tries: 1,
    'x-opt-rmq-topic': 'orders',
  })
  // Added to what was said before, and kept in the copy of a later retry.
  const more = { tries: 2, why: 'slow', 'x-opt-delivery-time': Date.now() }
  second.delivery?.modified({ delivery_failed: true, message_annotations: more as never })
  receiver.credit(2)
  const third = await receiver.take()
  const fourth = await receiver.take()
  const [retried, other] = bodyText(third.message) === 'x' ? [third, fourth] : [fourth, third]
  t.like(retried.message.message_annotations, {
    own: 'kept',
    both: 'changed',
    tries: 2,
    why: 'slow',
    'x-opt-rmq-topic': 'orders',
  })
  t.is(other.message.message_annotations?.['both'], 'sent')
  t.is(other.message.message_annotations?.['tries'], undefined)
})

test('annotations beyond the limit are left out, and those before them stay', async (t) => {
  const { client } = await setup(t)
  const sender = await client.sender('orders')
  await sender.send({ body: 'x' })
  const receiver = await client.receiver('orders::g')
  const modify = async (annotations: object) => {
    receiver.credit(1)
    const { delivery } = await receiver.take()
    delivery?.modified({ message_annotations: annotations as never })
  }
  await modify({ small: 'kept' })
  await modify({ large: 'l'.repeat(3072) })
  receiver.credit(1)
  const { message } = await receiver.take()
  t.is(message.message_annotations?.['small'], 'kept')
  t.is(message.message_annotations?.['large'], undefined)
})

test('an outcome that is longer than a frame of its receiver comes back without its words', async (t) => {
  const { broker, port } = await startAmqp(t)
  await publish(broker, 'orders', ['x'])
  const peer = await connectRaw(t, port)
  const credit = flow({ handle: 0, link_credit: 1 })
  peer.send(handshake({ max_frame_size: 512 }), begin(), attachReceiver(0, 'orders::g'), credit)
  await peer.frame('transfer')
  const message_annotations = { large: 'l'.repeat(1000) }
  const state = messages.modified({ message_annotations }).described()
  peer.send(frame('disposition', { role: true, first: 0, settled: false, state }))
  const { fields } = await peer.frame('disposition')
  t.like(fields, { role: false, first: 0, settled: true, state: { value: null } })
  t.true(peer.longest <= 512)
})
