// Receiving with an unmodified rhea client: as a consumer group with every outcome, as broadcast, from
// one queue at an offset; credit, drain and what a reader that stops costs.
import test, { type ExecutionContext } from 'ava'
import rhea from 'rhea'
import { systemClock } from '../../../src/clock.ts'
import type { Broker } from '../../../src/gateway/gateway.ts'
import { ANY_QUEUE, type NewMessage } from '../../../src/model/message.ts'
import { encodeProperties } from '../../../src/model/properties.ts'
import { type AmqpServer, startAmqp } from '../../support/amqp-server.ts'
import {
  bodyText,
  connectRhea,
  type Message,
  next,
  type RheaClient,
  type RheaReceiver,
} from '../../support/rhea-client.ts'
import { eventually } from '../../support/waiting.ts'

/** rhea's typings leave it out. */
const accepted = (rhea.message as unknown as { accepted(): { described(): object } })
  .accepted()
  .described()

interface Setup extends AmqpServer {
  readonly client: RheaClient
}

async function setup(t: ExecutionContext): Promise<Setup> {
  const server = await startAmqp(t)
  return { ...server, client: await connectRhea(t, server.port) }
}

/** As another protocol's client would. */
async function publish(
  broker: Broker,
  topic: string,
  bodies: readonly string[],
  properties: Record<string, string> = {},
  queueId = ANY_QUEUE,
): Promise<void> {
  const messages = bodies.map(
    (body): NewMessage => ({
      topic,
      queueId,
      body: Buffer.from(body),
      properties: encodeProperties(Object.entries(properties)),
      flag: 0,
      sysFlag: 0,
      bornTimestamp: systemClock.now(),
      bornHost: { ip: 0, port: 0 },
      reconsumeTimes: 0,
      createTopic: true,
    }),
  )
  for (const result of await broker.publish(messages)) {
    if (result instanceof Error) throw result
  }
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`)
const texts = (messages: readonly Message[]): string[] => messages.map(bodyText).sort()

const inFlight = async (broker: Broker, group: string): Promise<number> => {
  const lags = await broker.groups.lags(group)
  return lags.reduce((sum, lag) => sum + lag.inFlight, 0)
}

const lag = async (broker: Broker, group: string): Promise<number> => {
  const lags = await broker.groups.lags(group)
  return lags.reduce((sum, one) => sum + one.lag, 0)
}

test('a message of another protocol is shown in words of AMQP', async (t) => {
  const { broker, client } = await setup(t)
  const properties = {
    TAGS: 'TagA',
    KEYS: 'k1',
    __SHARDINGKEY: 'o-1',
    UNIQ_KEY: 'ID1',
    color: 'red',
  }
  await publish(broker, 'orders', ['hello'], properties)
  const receiver = await client.receiver('/topics/orders/groups/billing')
  const [message] = await receiver.accept(1)
  t.is(bodyText(message!), 'hello')
  t.like(message, {
    subject: 'TagA',
    group_id: 'o-1',
    message_id: 'ID1',
    to: 'orders',
    delivery_count: 0,
    application_properties: { KEYS: 'k1', color: 'red' },
  })
  t.like(message!.message_annotations, {
    'x-opt-rmq-topic': 'orders',
    'x-opt-rmq-tag': 'TagA',
    'x-opt-rmq-keys': 'k1',
    'x-opt-rmq-offset': 0,
  })
  t.regex(message!.message_annotations!['x-opt-rmq-msg-id'] as string, /^7F000001[0-9A-F]{24}$/)
})

test('an AMQP message comes as it was sent', async (t) => {
  const { client } = await setup(t)
  const receiver = await client.receiver('orders')
  const sender = await client.sender('orders')
  const sent = {
    message_id: 'm-1',
    subject: 'TagA',
    correlation_id: 'c-1',
    group_id: 'g',
    group_sequence: 3,
    application_properties: { a: 1, b: true },
    body: { list: [1, 'two', null] },
  }
  await sender.send(sent)
  const [got] = await receiver.accept(1)
  t.like(got, sent)
})

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

test('undeliverable here, and nobody else is there: dead letter', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['x'])
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  const { delivery } = await receiver.take()
  delivery?.modified({ delivery_failed: true, undeliverable_here: true })
  const dead = await client.receiver('/groups/g/dlq')
  t.is(bodyText((await dead.accept(1))[0]!), 'x')
})

for (const [what, leave] of [
  ['detach', async (receiver: RheaReceiver) => receiver.detach()],
  [
    'the end of the session',
    async ({ link }: RheaReceiver) => {
      const closed = next(link.session as never, 'session_close')
      link.session.close()
      await closed
    },
  ],
  [
    'the end of the connection',
    async ({ link }: RheaReceiver) => {
      const closed = next(link.connection as never, 'connection_close')
      link.connection.close()
      await closed
    },
  ],
  [
    'the loss of the connection',
    async ({ link }: RheaReceiver) => {
      ;(link.connection as unknown as { socket: { destroy(): void } }).socket.destroy()
    },
  ],
] as const) {
  test(`after ${what} what was not settled comes to the next one, counted`, async (t) => {
    const { broker, client, port } = await setup(t)
    await publish(broker, 'orders', numbered(5))
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
      [1, 1, 1, 1, 1],
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

test('broadcast gives everyone everything, from now on', async (t) => {
  const { broker, client, port } = await setup(t)
  await publish(broker, 'orders', ['before'])
  const other = await connectRhea(t, port)
  const receivers = [
    await client.receiver('/topics/orders/broadcast'),
    await other.receiver('/topics/orders/broadcast'),
    await other.receiver({ source: { address: 'orders', capabilities: ['topic'] } }),
  ]
  for (const receiver of receivers) receiver.credit(10)
  await publish(broker, 'orders', numbered(10))
  for (const receiver of receivers) {
    t.deepEqual(texts(await receiver.accept(10)), numbered(10).sort())
  }
})

test('one queue is read from an offset, in order', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(10), {}, 2)
  await publish(broker, 'orders', ['elsewhere'], {}, 1)
  const cases: [string, string][] = [
    ['first', 'm0'],
    ['7', 'm7'],
    ['last', 'm9'],
    ['@0', 'm0'],
  ]
  for (const [offset, first] of cases) {
    const receiver = await client.receiver(`/topics/orders/queues/2?offset=${offset}`)
    t.is(bodyText((await receiver.accept(1))[0]!), first, offset)
  }
  const all = await client.receiver('/topics/orders/queues/2')
  t.deepEqual((await all.accept(10)).map(bodyText), numbered(10))
  const from = await client.receiver('/topics/orders/queues/2?offset=next')
  from.credit(1)
  await publish(broker, 'orders', ['new'], {}, 2)
  t.is(bodyText((await from.take()).message), 'new')
})

test('an offset and tags can be given as filters, which are echoed', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', ['a'], { TAGS: 'A' }, 0)
  await publish(broker, 'orders', ['b'], { TAGS: 'B' }, 0)
  const filter = {
    'rmq:tags': rhea.types.wrap_described('B', 'rmq:tags'),
    'rmq:offset-spec': rhea.types.wrap_described('first', 'rmq:offset-spec'),
    'other:filter': rhea.types.wrap_described('x', 'other:filter'),
  }
  const address = '/topics/orders/queues/0?offset=next&tag=A'
  const receiver = await client.receiver({ source: { address, filter } })
  t.deepEqual(Object.keys(receiver.link.source.filter ?? {}).sort(), [
    'rmq:offset-spec',
    'rmq:tags',
  ])
  t.is(bodyText((await receiver.accept(1))[0]!), 'b')
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

test('no credit, no message; as much as there is credit', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(10))
  const receiver = await client.receiver('orders::g')
  receiver.credit(3)
  for (let i = 0; i < 3; i++) await receiver.take()
  await eventually(async () => ((await inFlight(broker, 'g')) === 3 ? true : undefined))
  t.is(receiver.backlog, 0)
})

test('drain uses the credit up, with and without messages', async (t) => {
  const { broker, client } = await setup(t)
  await publish(broker, 'orders', numbered(3))
  const receiver = await client.receiver('orders::g')
  receiver.credit(100)
  await receiver.drain()
  t.is(receiver.backlog, 3)
  t.is((receiver.link as unknown as { credit: number }).credit, 0)
  await receiver.drain()
  receiver.credit(10)
  await publish(broker, 'orders', ['later'])
  for (let i = 0; i < 3; i++) await receiver.take()
  t.is(bodyText((await receiver.take()).message), 'later')
})

test('a reader that waits is given what arrives', async (t) => {
  const { broker, client } = await setup(t)
  const receiver = await client.receiver('orders::g')
  receiver.credit(1)
  await new Promise((resolve) => setImmediate(resolve))
  await publish(broker, 'orders', ['x'])
  t.is(bodyText((await receiver.take()).message), 'x')
})

test('a large message comes in frames the client takes', async (t) => {
  const { broker, port } = await setup(t)
  const body = 'abcdefghij'.repeat(100_000)
  await publish(broker, 'orders', [body, 'small'], {}, 0)
  const client = await connectRhea(t, port, { max_frame_size: 1024 })
  const receiver = await client.receiver('/topics/orders/queues/0')
  t.deepEqual((await receiver.accept(2)).map(bodyText), [body, 'small'])
})

test('a message larger than the session window comes as the window opens', async (t) => {
  const { broker, port } = await setup(t)
  const body = 'x'.repeat(1_500_000)
  await publish(broker, 'orders', [body], {}, 0)
  const client = await connectRhea(t, port, { max_frame_size: 512 })
  const receiver = await client.receiver('/topics/orders/queues/0')
  // rhea announces 2048 frames and says no more until a delivery is whole.
  const session = receiver.link.session as unknown as {
    _write_flow(): void
    connection: { on(event: string, listener: () => void): void }
  }
  receiver.credit(1)
  const nudge = setInterval(() => session._write_flow(), 20)
  t.teardown(() => clearInterval(nudge))
  t.is(bodyText((await receiver.take()).message).length, body.length)
})

test('a topic that is not there is made for a reader, or refused with the grammar', async (t) => {
  const { broker, client } = await setup(t)
  await client.receiver('/topics/fresh/groups/g')
  t.truthy(await broker.topics.get('fresh'))
  const closed = await startAmqp(t, { broker: { autoCreateTopics: false } })
  const other = await connectRhea(t, closed.port)
  const error = await t.throwsAsync(other.receiver('nowhere') as Promise<never>, { any: true })
  t.like(error, { condition: 'amqp:not-found' })
  t.regex(String((error as { description?: string }).description), /\/topics\/T\/groups\/G/)
})

test('sources that are not offered are refused in words', async (t) => {
  const { client } = await setup(t)
  const cases: [unknown, string][] = [
    ['/nodes/x', 'amqp:not-found'],
    ['/topics/orders/queues/77', 'amqp:not-found'],
    ['orders?offset=tomorrow', 'amqp:invalid-field'],
    [{ source: { dynamic: true } }, 'amqp:not-implemented'],
  ]
  for (const [source, condition] of cases) {
    const error = await t.throwsAsync(client.receiver(source as string) as Promise<never>, {
      any: true,
    })
    t.like(error, { condition }, JSON.stringify(source))
  }
})

test('a group that native consumers have by queue is refused', async (t) => {
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
        subscriptions: [],
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

test('a message nobody settles goes to another when its lock runs out', async (t) => {
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
