// Receiving with an unmodified rhea client: how messages look, broadcast, one queue at an offset,
// credit and drain.
import test from 'ava'
import rhea from 'rhea'
import { startAmqp } from '../../../support/amqp/amqp-server.ts'
import { bodyText, connectRhea } from '../../../support/amqp/rhea-client.ts'
import { eventually } from '../../../support/waiting.ts'
import { inFlight, numbered, publish, setup, texts } from '../receiving.ts'

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

test('a condition can be given in the address or as a filter', async (t) => {
  const { broker, client } = await setup(t)
  for (const price of ['9', '10', '11']) await publish(broker, 'orders', [price], { price }, 0)
  const address = `/topics/orders/queues/0?offset=first&sql=${encodeURIComponent('price > 9')}`
  const byAddress = await client.receiver(address)
  t.deepEqual((await byAddress.accept(2)).map(bodyText), ['10', '11'])
  const filter = { 'rmq:sql': rhea.types.wrap_described('price < 10', 'rmq:sql') }
  const byFilter = await client.receiver({ source: { address: 'orders::cheap', filter } })
  t.deepEqual((await byFilter.accept(1)).map(bodyText), ['9'])
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
    [{ source: { address: 'orders', filter: rhea.filter.selector('n >') } }, 'amqp:invalid-field'],
  ]
  for (const [source, condition] of cases) {
    const error = await t.throwsAsync(client.receiver(source as string) as Promise<never>, {
      any: true,
    })
    t.like(error, { condition }, JSON.stringify(source))
  }
})
