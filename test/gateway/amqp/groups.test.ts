// Receiving as a consumer group with an unmodified rhea client: competing, every outcome, the order
// of consumers, and what is refused.
import test from 'ava'
import rhea from 'rhea'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import { bodyText, connectRhea, next, type RheaReceiver } from '../../support/amqp/rhea-client.ts'
import { eventually } from '../../support/waiting.ts'
import { inFlight, lag, numbered, publish, setup, texts } from './receiving.ts'

/** rhea's typings leave it out. */
const accepted = (rhea.message as unknown as { accepted(): { described(): object } })
  .accepted()
  .described()

test('accepted messages are done, for a later reader too', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(10))
  const receiver = await client.receiver('orders::billing')
  t.deepEqual(texts(await receiver.accept(10)), numbered(10).sort())
  await eventually(async () => ((await lag(broker, 'billing')) === 0 ? true : undefined))
  await receiver.detach()
  const again = await client.receiver('orders::billing')
  again.credit(10)
  await again.drain()
  t.is(again.backlog, 0)
})

test('a bare topic is shared by its readers, a group by its own', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(3))
  const plain = await client.receiver('orders')
  const group = await client.receiver('/topics/orders/groups/billing')
  t.deepEqual(texts(await plain.accept(3)), numbered(3))
  t.deepEqual(texts(await group.accept(3)), numbered(3))
  t.truthy(await broker.groups.get('q-orders'))
})

test('an address that says how it is shared goes before a capability', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(2))
  const source = { address: 'queue://orders', capabilities: ['topic'] }
  t.deepEqual(texts(await (await client.receiver({ source })).accept(2)), numbered(2))
})

test('two receivers of a group compete: every message once', async (t) => {
  const { broker, client, port } = await setup(t)
  const other = await connectRhea(t, port)
  const receivers = [await client.receiver('orders::g'), await other.receiver('orders::g')]
  const got: string[] = []
  const all = new Promise<void>((resolve) => {
    for (const { link } of receivers) {
      link.on('message', ({ message, delivery }) => {
        delivery?.accept()
        link.add_credit(1)
        if (got.push(bodyText(message!)) === 500) resolve()
      })
      link.add_credit(10)
    }
  })
  await publish(broker, 'orders', numbered(500))
  await all
  t.is(new Set(got).size, 500)
  t.true(
    receivers.every(
      ({ link }) => (link as unknown as { delivery_count: number }).delivery_count > 0,
    ),
  )
})

test('released comes again at once, without a count', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  const receiver = await client.receiver('orders::g')
  receiver.credit(2)
  const first = await receiver.take()
  first.delivery?.release()
  const second = await receiver.take()
  t.is(bodyText(second.message), 'x')
  t.is(second.message.delivery_count, 0)
  t.true(second.message.first_acquirer)
  second.delivery?.accept()
  t.pass()
})

test('modified as failed comes again after a delay, with its count', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'], { color: 'red' })
  const receiver = await client.receiver('orders::g')
  receiver.credit(2)
  const first = await receiver.take()
  first.delivery?.modified({
    delivery_failed: true,
    message_annotations: { 'x-opt-delivery-time': Date.now() + 50 } as never,
  })
  const second = await receiver.take()
  t.is(bodyText(second.message), 'x')
  t.is(second.message.delivery_count, 1)
  t.false(second.message.first_acquirer)
  t.like(second.message, { to: 'orders', application_properties: { color: 'red' } })
})

test('modified without a failure is a release', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  const receiver = await client.receiver('orders::g')
  receiver.credit(2)
  const first = await receiver.take()
  first.delivery?.modified({ delivery_failed: false })
  t.is((await receiver.take()).message.delivery_count, 0)
})

test('rejected goes to the dead letters with its reason', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['bad'], { color: 'red' })
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  const { delivery } = await receiver.take()
  delivery?.reject({ condition: 'app:broken', description: 'cannot read it' })
  await eventually(async () => ((await broker.topics.get('%DLQ%g')) ? true : undefined))
  const dead = await client.receiver('/groups/g/dlq')
  const [message] = await dead.accept(1)
  t.is(bodyText(message!), 'bad')
  t.like(message!.application_properties, { color: 'red' })
  t.like(message!.message_annotations, {
    'x-opt-rmq-topic': 'orders',
    'x-opt-rmq-dlq-reason': 'app:broken: cannot read it',
  })
})

for (const [what, counted, leave] of [
  ['detach', 0, async (receiver: RheaReceiver) => receiver.detach()],
  [
    'a detach for an error',
    1,
    async ({ link }: RheaReceiver) => {
      const closed = next(link as never, 'receiver_close')
      link.close({ condition: 'app:broken', description: 'cannot read it' })
      await closed
    },
  ],
  [
    'the end of the session',
    0,
    async ({ link }: RheaReceiver) => {
      const closed = next(link.session as never, 'session_close')
      link.session.close()
      await closed
    },
  ],
  [
    'the end of the session for an error',
    1,
    async ({ link }: RheaReceiver) => {
      const closed = next(link.session as never, 'session_close')
      link.session.close({ condition: 'app:broken', description: 'cannot read it' })
      await closed
    },
  ],
  [
    'the end of the connection',
    0,
    async ({ link }: RheaReceiver) => {
      const closed = next(link.connection as never, 'connection_close')
      link.connection.close()
      await closed
    },
  ],
  [
    'the end of the connection for an error',
    1,
    async ({ link }: RheaReceiver) => {
      const closed = next(link.connection as never, 'connection_close')
      link.connection.close({ condition: 'app:broken', description: 'cannot read it' })
      await closed
    },
  ],
  [
    'the loss of the connection',
    1,
    async ({ link }: RheaReceiver) => {
      ;(link.connection as unknown as { socket: { destroy(): void } }).socket.destroy()
    },
  ],
] as const) {
  test(`after ${what} what was not settled comes to the next one, ${counted} of it counted`, async (t) => {
    const { broker, client, port } = await setup(t)
    await publish(broker, 'orders', numbered(5), {}, 0)
    const receiver = await client.receiver('orders::g')
    receiver.credit(5)
    for (let i = 0; i < 5; i++) await receiver.take()
    await leave(receiver)
    const other = await connectRhea(t, port)
    const heir = await other.receiver('orders::g')
    const messages = await heir.accept(5)
    t.deepEqual(texts(messages), numbered(5))
    t.deepEqual(
      messages.map(({ delivery_count }) => delivery_count),
      [counted, 0, 0, 0, 0],
    )
  })
}

test('messages sent settled are done when they are sent', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(5))
  const receiver = await client.receiver({ source: 'orders::g', snd_settle_mode: 1 })
  t.is(receiver.link.snd_settle_mode, 1)
  receiver.credit(5)
  for (let i = 0; i < 5; i++) t.true((await receiver.take()).delivery?.remote_settled)
  await eventually(async () => ((await lag(broker, 'g')) === 0 ? true : undefined))
  t.is(await inFlight(broker, 'g'), 0)
})

test('a receiver that settles second is answered', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  const receiver = await client.receiver({ source: 'orders::g', rcv_settle_mode: 1 })
  t.is(receiver.link.rcv_settle_mode, 1)
  receiver.credit(1)
  const { delivery } = await receiver.take()
  const settled = next(receiver.link as never, 'settled')
  delivery?.update(false, accepted)
  await settled
  await eventually(async () => ((await lag(broker, 'g')) === 0 ? true : undefined))
  t.pass()
})

test('tags select', async (t) => {
  const { broker, client } = await setup(t)
  for (const tag of ['A', 'B', 'C']) await publish(broker, 'orders', [tag], { TAGS: tag })
  const receiver = await client.receiver('orders::g?tag=A||C')
  t.deepEqual(texts(await receiver.accept(2)), ['A', 'C'])
  receiver.credit(1)
  await receiver.drain()
  t.is(receiver.backlog, 0)
})

test('an ordered group hands out one message of a queue after the other', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(3), {}, 0)
  const receiver = await client.receiver('/topics/orders/groups/g/queues/0')
  receiver.credit(3)
  for (const expected of numbered(3)) {
    const { message, delivery } = await receiver.take()
    t.is(bodyText(message), expected)
    t.is(receiver.backlog, 0)
    delivery?.accept()
  }
})

test('a group whose native members subscribe to another topic is refused', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  await broker.groups.ensure('native')
  await broker.clients.register({
    clientId: 'java-1',
    connectionId: 'c-1',
    protocol: 'remoting',
    address: '127.0.0.1:1',
    language: 'JAVA',
    version: 0,
    consumers: [
      {
        group: 'native',
        model: 'clustering',
        mode: 'queue-assigned',
        subscriptions: [{ topic: 'invoices', filter: EVERY_TAG, version: 1 }],
        consumeType: 'CONSUME_PASSIVELY',
        consumeFrom: 'CONSUME_FROM_FIRST_OFFSET',
      },
    ],
    producerGroups: [],
  })
  const error = await t.throwsAsync(client.receiver('orders::native') as Promise<never>, {
    any: true,
  })
  t.like(error, { condition: 'amqp:illegal-state' })
})

test('consumers are in the client registry while they are there', async (t) => {
  const { broker, client } = await setup(t)
  const receiver = await client.receiver('orders::g')
  const clients = await broker.clients.list()
  t.like(clients[0], { protocol: 'amqp', consumers: [{ group: 'g', mode: 'per-message' }] })
  await receiver.detach()
  await eventually(async () => ((await broker.clients.list()).length === 0 ? true : undefined))
  t.pass()
})

test('a message that is not settled goes to another when its lock runs out', async (t) => {
  const server = await startAmqp(t, { limits: { lockMs: 1000 } })
  const client = await connectRhea(t, server.port)
  await publish(server.broker, 'orders', ['x'])
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  const { delivery } = await receiver.take()
  const other = await client.receiver('orders::g')
  t.is(bodyText((await other.accept(1))[0]!), 'x')
  delivery?.accept()
})

test('a group that begins with the next message begins at the attach', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['before'])
  const receiver = await client.receiver('orders::g?offset=next')
  await publish(broker, 'orders', ['after'])
  t.deepEqual((await receiver.accept(1)).map(bodyText), ['after'])
})

test('a durable subscription keeps its place, named by client and link', async (t) => {
  const { broker, port } = await setup(t)
  const attach = {
    name: 'sub',
    source: { address: 'orders', durable: 2, expiry_policy: 'never', capabilities: ['topic'] },
  }
  const first = await connectRhea(t, port, { container_id: 'client-1' })
  await publish(broker, 'orders', ['before'])
  const receiver = await first.receiver(attach)
  await publish(broker, 'orders', ['one', 'two'])
  t.is((await receiver.accept(1)).length, 1)
  await eventually(async () => ((await lag(broker, 'client-1%2Esub')) === 1 ? true : undefined))
  await first.close()
  await publish(broker, 'orders', ['three'])
  const again = await connectRhea(t, port, { container_id: 'client-1' })
  t.is((await (await again.receiver(attach)).accept(2)).length, 2)
})

test('a shared subscription is shared by its links', async (t) => {
  const { broker, client } = await setup(t)
  const capabilities = ['topic', 'shared', 'global']
  const source = { address: 'orders', durable: 2, expiry_policy: 'never', capabilities }
  const one = await client.receiver({ name: 'sub|global', source })
  const two = await client.receiver({ name: 'sub|global2', source })
  await publish(broker, 'orders', numbered(20))
  const got = [...(await one.accept(10)), ...(await two.accept(10))]
  t.deepEqual(texts(got), numbered(20).sort())
  t.truthy(await broker.groups.get('sub'))
})

test('a second filter for a group in use is refused in words', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  const receiver = await client.receiver('orders::g?tag=A')
  receiver.credit(1)
  const other = await client.receiver('orders::g?tag=B')
  const refused = next(other.link as never, 'receiver_error')
  other.credit(1)
  await refused
  t.like(other.link.error, { condition: 'amqp:illegal-state' })
})
