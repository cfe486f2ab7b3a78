// Expiry and priority, which the header of a message says and the broker obeys.
import test from 'ava'
import { PROPERTY } from '../../../src/model/properties.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import { connectRhea } from '../../support/amqp/rhea-client.ts'
import { newMessage, pullRequest, topicOf } from '../../support/broker.ts'
import { FakeClock } from '../../support/fake-clock.ts'

test('the ttl of a message is obeyed, and counted down on its way out', async (t) => {
  const clock = new FakeClock()
  const { port, broker } = await startAmqp(t, { clock })
  await broker.topics.put(topicOf('orders', 1))
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  for (const ttl of [4000, 60_000]) await sender.send({ ttl, durable: true, body: `${ttl}` })
  clock.advance(5000)
  const receiver = await client.receiver('orders::G')
  const [message] = await receiver.accept(1)
  t.is(message!.body, '60000')
  t.is(Number(message!.ttl), 55_000)
  t.true(message!.durable)
})

test('an absolute expiry time is obeyed where there is no ttl, and comes as it was sent', async (t) => {
  const clock = new FakeClock()
  const { port, broker } = await startAmqp(t, { clock })
  await broker.topics.put(topicOf('orders', 1))
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const at = (ms: number): Date => new Date(clock.now() + ms)
  const late = at(60_000)
  await sender.send({ absolute_expiry_time: at(4000), body: 'gone' })
  await sender.send({ absolute_expiry_time: late, body: 'here' })
  await sender.send({ absolute_expiry_time: at(4000), ttl: 60_000, body: 'the ttl wins' })
  clock.advance(5000)
  const receiver = await client.receiver('orders::G')
  const [here, wins] = await receiver.accept(2)
  t.is(here!.body, 'here')
  t.deepEqual(here!.absolute_expiry_time, late)
  t.is(wins!.body, 'the ttl wins')
})

test('a time that is further off than any record can say is none', async (t) => {
  const { port } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  await sender.send({ absolute_expiry_time: new Date(8_640_000_000_000_000), body: 'for ever' })
  const receiver = await client.receiver('orders::G')
  t.is((await receiver.accept(1))[0]!.body, 'for ever')
})

test('a message of another protocol that expires has a ttl, at each attempt of what is left', async (t) => {
  const clock = new FakeClock()
  const { port, broker } = await startAmqp(t, { clock })
  await broker.topics.put(topicOf('orders', 1))
  const properties = { TRIVET_TTL_MS: '60000', [PROPERTY.priority]: '12' }
  await broker.publish([newMessage('orders', { properties, body: 'x' })])
  const expiresMs = clock.now() + 60_000
  const client = await connectRhea(t, port)
  const receiver = await client.receiver('orders::G')
  for (const leftMs of [59_000, 58_000]) {
    clock.advance(1000)
    receiver.credit(1)
    const { message, delivery } = await receiver.take()
    t.is(Number(message.ttl), leftMs)
    t.deepEqual(message.absolute_expiry_time, new Date(expiresMs))
    t.is(Number(message.priority), 9)
    delivery?.modified({ delivery_failed: true })
  }
})

for (const [priority, queueId] of [
  [0, 0],
  [2, 2],
  [9, 3],
] as const) {
  test(`a message of priority ${priority} goes to queue ${queueId} of four, and keeps it`, async (t) => {
    const { port, broker } = await startAmqp(t)
    await broker.topics.put(topicOf('orders', 4))
    const client = await connectRhea(t, port)
    const sender = await client.sender('orders')
    await sender.send({ priority, body: 'x' })
    const { records } = await broker.pull(pullRequest('orders', { queueId }))
    const [record] = [...recordsOf(records)]
    t.is(record?.property(PROPERTY.priority), String(priority))
    const receiver = await client.receiver('orders::G')
    t.is(Number((await receiver.accept(1))[0]!.priority), priority)
  })
}

test("AMQP's own default is no priority, and a group-id comes before one", async (t) => {
  const { port, broker } = await startAmqp(t)
  await broker.topics.put(topicOf('orders', 4))
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  await sender.send({ priority: 4, body: 'x' })
  for (const priority of [0, 9]) await sender.send({ priority, group_id: 'k', body: 'x' })
  const queues = new Set<number>()
  for (const range of await broker.topics.ranges('orders')) {
    const { queueId } = range
    const { records } = await broker.pull(pullRequest('orders', { queueId }))
    for (const record of recordsOf(records)) {
      t.is(record.property(PROPERTY.priority), undefined)
      if (record.property(PROPERTY.orderingKey) === 'k') queues.add(record.queueId)
    }
  }
  t.is(queues.size, 1)
})
