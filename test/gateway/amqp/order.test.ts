// The order of one sender: the messages of one link stand in one queue of a topic, and the only
// receiver of a group has them as they were sent, over a topic of four queues.
import test from 'ava'
import type { Broker } from '../../../src/port/broker.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import { bodyText, connectRhea, type RheaReceiver } from '../../support/amqp/rhea-client.ts'
import { numbered, setup } from './receiving.ts'

/** The queues of the topic that hold messages. */
async function queuesUsed(broker: Broker, topic: string): Promise<number[]> {
  const ranges = await broker.topics.ranges(topic)
  return ranges.filter(({ maxOffset }) => maxOffset > 0).map(({ queueId }) => queueId)
}

/** Takes and accepts, in the order in which they come. */
async function bodies(receiver: RheaReceiver, count: number, credit: number): Promise<string[]> {
  const came: string[] = []
  receiver.credit(credit)
  while (came.length < count) {
    const { message, delivery } = await receiver.take()
    delivery?.accept()
    receiver.credit(1)
    came.push(bodyText(message))
  }
  return came
}

for (const credit of [1, 100]) {
  test(`what one sender awaits one by one comes in order, with a credit of ${credit}`, async (t) => {
    const { client } = await setup(t)
    const sender = await client.sender('orders')
    for (const body of numbered(100)) await sender.send({ body })
    t.deepEqual(await bodies(await client.receiver('orders'), 100, credit), numbered(100))
  })

  test(`what one sender sends without waiting comes in order, with a credit of ${credit}`, async (t) => {
    const { client } = await setup(t)
    const sender = await client.sender('orders')
    await Promise.all(numbered(1000).map((body) => sender.send({ body })))
    t.deepEqual(await bodies(await client.receiver('orders'), 1000, credit), numbered(1000))
  })
}

test('messages that are released come again before those behind them', async (t) => {
  const { client } = await setup(t)
  const sender = await client.sender('orders')
  for (const body of numbered(20)) await sender.send({ body })
  const receiver = await client.receiver('orders')
  receiver.credit(1)
  const first = await receiver.take()
  first.delivery?.release()
  t.deepEqual(await bodies(receiver, 20, 1), numbered(20))
})

test('what a lost connection held comes again in order', async (t) => {
  const { client, port } = await setup(t)
  const sender = await client.sender('orders')
  for (const body of numbered(50)) await sender.send({ body })
  const lost = await connectRhea(t, port)
  const receiver = await lost.receiver('orders')
  receiver.credit(30)
  for (let i = 0; i < 30; i++) await receiver.take()
  ;(lost.connection as unknown as { socket: { destroy(): void } }).socket.destroy()
  t.deepEqual(await bodies(await client.receiver('orders'), 50, 10), numbered(50))
})

test('a large message that is released is not overtaken by a small one', async (t) => {
  const { client } = await setup(t)
  const sender = await client.sender('orders')
  const large = 'l'.repeat(700_000)
  const sent = [large, `${large}+`, 'small']
  for (const body of sent) await sender.send({ body })
  const receiver = await client.receiver('orders')
  receiver.credit(2)
  const first = await receiver.take()
  const second = await receiver.take()
  first.delivery?.release()
  second.delivery?.release()
  t.deepEqual(
    (await bodies(receiver, 3, 3)).map((body) => body.length),
    sent.map((body) => body.length),
  )
})

test('a link that comes back under its name finds its queue, and many links spread', async (t) => {
  const { broker, port } = await startAmqp(t)
  for (let round = 0; round < 3; round++) {
    const client = await connectRhea(t, port, { container_id: 'till-7' })
    const sender = await client.sender({ name: 'sales', target: 'orders' })
    await sender.send({ body: String(round) })
    await client.close()
  }
  t.is((await queuesUsed(broker, 'orders')).length, 1)
  const client = await connectRhea(t, port, { container_id: 'till-8' })
  for (let i = 0; i < 32; i++) {
    const sender = await client.sender({ name: `link-${i}`, target: 'spread' })
    await sender.send({ body: 'x' })
  }
  t.is((await queuesUsed(broker, 'spread')).length, 4)
})

test('a relay link has one queue of each topic it sends to', async (t) => {
  const { broker, client } = await setup(t)
  const relay = await client.sender({ target: {} })
  for (const body of numbered(20)) {
    await relay.send({ to: 'orders', body })
    await relay.send({ to: 'bills', body })
  }
  t.is((await queuesUsed(broker, 'orders')).length, 1)
  t.is((await queuesUsed(broker, 'bills')).length, 1)
  t.deepEqual(await bodies(await client.receiver('bills'), 20, 5), numbered(20))
})

test('a group-id chooses the queue, whichever link sends', async (t) => {
  const { broker, client } = await setup(t)
  for (let i = 0; i < 8; i++) {
    const sender = await client.sender({ name: `link-${i}`, target: 'orders' })
    await sender.send({ group_id: 'order-17', body: 'x' })
  }
  t.is((await queuesUsed(broker, 'orders')).length, 1)
  const sender = await client.sender('spread')
  for (let i = 0; i < 32; i++) await sender.send({ group_id: `order-${i}`, body: 'x' })
  t.is((await queuesUsed(broker, 'spread')).length, 4)
})
