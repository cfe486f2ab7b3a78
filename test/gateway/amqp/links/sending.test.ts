// Sending with an unmodified rhea client: to one topic, to a tag, to a queue, by relay; what is
// accepted is in the log, and what is not is told why.
import test from 'ava'
import rhea from 'rhea'
import { BrokerError } from '../../../../src/errors.ts'
import { BODY_BYTES_DEFAULT } from '../../../../src/model/limits.ts'
import type { NewMessage } from '../../../../src/model/message.ts'
import { type RecordView, recordsOf } from '../../../../src/model/record.ts'
import { EVERY_TAG } from '../../../../src/model/tag-filter.ts'
import type { Broker } from '../../../../src/port/broker.ts'
import { startAmqp } from '../../../support/amqp/amqp-server.ts'
import { connectRhea, next } from '../../../support/amqp/rhea-client.ts'
import { overridden } from '../../../support/overridden.ts'

async function stored(broker: Broker, topic: string): Promise<RecordView[]> {
  const records: RecordView[] = []
  for (const range of await broker.topics.ranges(topic)) {
    const request = { ...range, offset: range.minOffset, maxMessages: 10_000, maxBytes: 1 << 26 }
    const result = await broker.pull({ ...request, filter: EVERY_TAG, waitMs: 0 })
    records.push(...recordsOf(result.records))
  }
  return records
}

test('a message is accepted and then in the log, with tag, keys, ordering key and properties', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const outcome = await sender.send({
    subject: 'TagA',
    group_id: 'order-17',
    application_properties: { color: 'red', KEYS: 'k1 k2' },
    body: 'hello',
  })
  t.is(outcome.kind, 'accepted')
  const [record, ...others] = await stored(broker, 'orders')
  t.is(others.length, 0)
  t.is(record?.body.toString(), 'hello')
  t.is(record?.property('TAGS'), 'TagA')
  t.is(record?.property('KEYS'), 'k1 k2')
  t.is(record?.property('__SHARDINGKEY'), 'order-17')
  t.is(record?.property('color'), 'red')
})

test('a thousand messages of one key keep their order', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const outcomes = []
  for (let i = 0; i < 1000; i++) {
    outcomes.push(sender.send({ group_id: 'one', body: String(i) }))
    if (i % 100 === 99) await Promise.all(outcomes)
  }
  t.true((await Promise.all(outcomes)).every(({ kind }) => kind === 'accepted'))
  const bodies = (await stored(broker, 'orders')).map((record) => Number(record.body))
  t.deepEqual(
    bodies,
    Array.from({ length: 1000 }, (_, i) => i),
  )
})

test('what came in one chunk is one publish', async (t) => {
  const sizes: number[] = []
  const { port } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, {
        publish: (messages) => {
          sizes.push(messages.length)
          return real.publish(messages)
        },
      }),
  })
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  await Promise.all(Array.from({ length: 300 }, (_, i) => sender.send({ body: String(i) })))
  t.is(
    sizes.reduce((sum, size) => sum + size, 0),
    300,
  )
  t.true(sizes.length < 100, `${sizes.length} publishes`)
})

test('settled messages are stored without an answer', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender({ target: 'orders', snd_settle_mode: 1 })
  t.is(sender.link.snd_settle_mode, 1)
  for (let i = 0; i < 10; i++) sender.link.send({ body: String(i) })
  const last = await client.sender('orders')
  await last.send({ body: 'last' })
  t.is((await stored(broker, 'orders')).length, 11)
})

test('a message of several frames arrives whole', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port, { max_frame_size: 4096 })
  const sender = await client.sender('orders')
  const body = Buffer.alloc(1_000_000, 'abcdefg')
  const outcome = await sender.send({
    body: client.connection.container.message.data_section(body),
  })
  t.is(outcome.kind, 'accepted')
  const [record] = await stored(broker, 'orders')
  t.deepEqual(record?.body, body)
})

test('a message beyond the limit costs its link, and the connection goes on', async (t) => {
  const { port } = await startAmqp(t, { limits: { messageBytesMax: 100_000 } })
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  t.is(Number(sender.link.max_message_size), 100_000)
  const closed = next(sender.link as never, 'sender_error')
  void sender.send({ body: Buffer.alloc(200_000) })
  await closed
  t.like(sender.link.error, { condition: 'amqp:link:message-size-exceeded' })
  const again = await client.sender('orders')
  t.is((await again.send({ body: 'x' })).kind, 'accepted')
})

test('the largest body is taken, and one byte more is rejected in words', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const send = (bytes: number) =>
    sender.send({ body: rhea.message.data_section(Buffer.alloc(bytes, 'x')) })
  t.is((await send(BODY_BYTES_DEFAULT)).kind, 'accepted')
  t.like(await send(BODY_BYTES_DEFAULT + 1), { kind: 'rejected' })
  const [record, ...others] = await stored(broker, 'orders')
  t.is(record?.body.length, BODY_BYTES_DEFAULT)
  t.is(others.length, 0)
})

test('the limit holds for a message of one frame too', async (t) => {
  const { port, broker } = await startAmqp(t, { limits: { messageBytesMax: 1000 } })
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const closed = next(sender.link as never, 'sender_error')
  void sender.send({ body: 'x'.repeat(1000) })
  await closed
  t.like(sender.link.error, { condition: 'amqp:link:message-size-exceeded' })
  t.deepEqual(await stored(broker, 'orders'), [])
})

test('properties may be longer than names', async (t) => {
  const { port } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const subject = 'all about coffee '.repeat(50)
  const sent = { subject, reply_to: 'a'.repeat(600), group_id: 'g'.repeat(600), body: 'x' }
  t.is((await sender.send(sent)).kind, 'accepted')
  const receiver = await client.receiver('orders')
  const [message] = await receiver.accept(1)
  t.like(message, sent)
})

test('a target names tag and queue', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('/topics/orders/tags/TagC/queues/2')
  await sender.send({ body: 'x' })
  const [record] = await stored(broker, 'orders')
  t.is(record?.queueId, 2)
  t.is(record?.property('TAGS'), 'TagC')
})

test('a link without a target goes by each message', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender({ target: {} })
  t.is((await sender.send({ to: 'orders', body: 'x' })).kind, 'accepted')
  t.is((await sender.send({ to: '/topics/bills/tags/T1', body: 'y' })).kind, 'accepted')
  t.is((await stored(broker, 'orders')).length, 1)
  t.is((await stored(broker, 'bills'))[0]?.property('TAGS'), 'T1')
  const lost = await sender.send({ body: 'z' })
  t.is(lost.kind, 'rejected')
  t.is(lost.error?.condition, 'amqp:not-found')
  const nowhere = await sender.send({ to: '/nodes/x', body: 'z' })
  t.is(nowhere.error?.condition, 'amqp:not-found')
})

test('a missing topic is refused with the grammar when topics are not made', async (t) => {
  const { port } = await startAmqp(t, { broker: { autoCreateTopics: false } })
  const client = await connectRhea(t, port)
  const error = await t.throwsAsync(client.sender('orders') as Promise<never>, { any: true })
  t.like(error, { condition: 'amqp:not-found' })
  t.regex(String((error as { description?: string }).description), /\/topics\/T/)
  const relay = await client.sender({ target: {} })
  t.is((await relay.send({ to: 'orders', body: 'x' })).error?.condition, 'amqp:not-found')
})

test('names that no client may send to are refused', async (t) => {
  const { port } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const cases: [string, string][] = [
    ['/nodes/x', 'amqp:not-found'],
    ['orders::billing', 'amqp:not-found'],
    ['SCHEDULE_TOPIC_XXXX', 'amqp:unauthorized-access'],
    ['/topics/orders/queues/99', 'amqp:not-found'],
    ['t'.repeat(200), 'amqp:invalid-field'],
  ]
  for (const [target, condition] of cases) {
    const error = await t.throwsAsync(
      client.sender(target) as Promise<never>,
      { any: true },
      target,
    )
    t.like(error, { condition }, target)
  }
})

test("another broker's nodes are not found, and no topic is made of them", async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const before = await broker.topics.list()
  for (const node of ['$cbs', '$management', 'orders/$management']) {
    for (const attach of [() => client.sender(node), () => client.receiver(node)]) {
      const error = await t.throwsAsync(attach() as Promise<never>, { any: true }, node)
      t.like(error, { condition: 'amqp:not-found' }, node)
    }
    const relay = await client.sender({ target: {} })
    t.is((await relay.send({ to: node, body: 'x' })).error?.condition, 'amqp:not-found')
  }
  t.deepEqual(await broker.topics.list(), before)
})

const failures: [BrokerError, string, string | undefined][] = [
  [new BrokerError('TOPIC_NOT_FOUND', 'gone'), 'rejected', 'amqp:not-found'],
  [new BrokerError('READ_ONLY', 'the disk is full'), 'rejected', 'amqp:resource-limit-exceeded'],
  [new BrokerError('BUSY', 'later'), 'rejected', 'amqp:resource-limit-exceeded'],
  [
    new BrokerError('MESSAGE_TOO_LARGE', 'too large'),
    'rejected',
    'amqp:link:message-size-exceeded',
  ],
]

for (const [failure, kind, condition] of failures) {
  test(`a message that fails with ${failure.code} is ${kind}`, async (t) => {
    const { port } = await startAmqp(t, {
      wrap: (real) =>
        overridden(real, { publish: async (messages) => messages.map(() => failure) }),
    })
    const client = await connectRhea(t, port)
    const sender = await client.sender('orders')
    const outcome = await sender.send({ body: 'x' })
    t.is(outcome.kind as string, kind)
    t.is(outcome.error?.condition, condition)
    if (condition !== undefined) t.is(outcome.error?.description, failure.message)
  })
}

test('a broker that fails as a whole refuses every message of the batch', async (t) => {
  const { port } = await startAmqp(t, {
    wrap: (real) =>
      overridden(real, { publish: () => Promise.reject(new BrokerError('CLOSED', 'going')) }),
  })
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const outcomes = await Promise.all([1, 2, 3].map(() => sender.send({ body: 'x' })))
  t.true(outcomes.every(({ kind }) => kind === 'rejected'))
})

test('outcomes of one batch reach the messages they are for', async (t) => {
  const { port } = await startAmqp(t, {
    wrap: (real) => overridden(real, { publish: (messages) => publishOdd(real, messages) }),
  })
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const sent = Array.from({ length: 40 }, (_, i) => sender.send({ body: String(i) }))
  const outcomes = await Promise.all(sent)
  t.deepEqual(
    outcomes.map(({ kind }) => kind),
    outcomes.map((_, i) => (i % 2 === 1 ? 'accepted' : 'rejected')),
  )
})

test('a bad message alone is refused', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const bad = await sender.send(Buffer.from('no sections'), 0)
  t.is(bad.kind, 'rejected')
  t.is(bad.error?.condition, 'amqp:decode-error')
  t.is((await sender.send({ body: 'good' })).kind, 'accepted')
  t.is((await stored(broker, 'orders')).length, 1)
})

test('credit comes in a window and again while messages are stored', async (t) => {
  const { port, broker } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const first = sender.link as unknown as { credit: number }
  t.true(first.credit > 0 && first.credit <= 2000)
  for (let round = 0; round < 5; round++) {
    const sent = Array.from({ length: 1000 }, () => sender.send({ group_id: 'k', body: 'x' }))
    await Promise.all(sent)
  }
  const ranges = await broker.topics.ranges('orders')
  t.is(
    ranges.reduce((sum, { maxOffset }) => sum + maxOffset, 0),
    5000,
  )
})

test('a relay whose messages are all refused keeps its credit', async (t) => {
  const { port } = await startAmqp(t)
  const client = await connectRhea(t, port)
  const sender = await client.sender({ target: {} })
  for (let round = 0; round < 5; round++) {
    const sent = Array.from({ length: 900 }, () => sender.send({ to: '/nodes/x', body: 'x' }))
    t.true((await Promise.all(sent)).every(({ kind }) => kind === 'rejected'))
  }
  t.is((await sender.send({ to: 'orders', body: 'x' })).kind, 'accepted')
})

test('a broker that is behind grants no more credit than the bytes under way allow', async (t) => {
  let came = 0
  const { port } = await startAmqp(t, {
    limits: { unstoredBytesTotalMax: 65_536 },
    wrap: (real) =>
      overridden(real, {
        publish: (messages) => {
          came += messages.length
          return new Promise(() => {})
        },
      }),
  })
  const client = await connectRhea(t, port)
  const sender = await client.sender('orders')
  const link = sender.link as unknown as { credit: number }
  const body = Buffer.alloc(1000)
  for (let i = 0; i < 2000 && link.credit > 0; i++) {
    void sender.send({ body })
    if (i % 200 === 199) await roundTrip(client.connection)
  }
  await roundTrip(client.connection)
  t.is(came, 2000)
  t.is(link.credit, 0)
})

/** Everything sent before has been read by the other side, and its answer is here. */
async function roundTrip(connection: { create_session(): unknown }): Promise<void> {
  const session = connection.create_session() as { begin(): void; close(): void }
  const opened = next(session as never, 'session_open')
  session.begin()
  await opened
  session.close()
}

/** Stores the messages with an odd body and refuses the others. */
async function publishOdd(
  broker: Broker,
  messages: readonly NewMessage[],
): ReturnType<Broker['publish']> {
  const isOdd = ({ body }: NewMessage): boolean => Number(Buffer.from(body)) % 2 === 1
  const results = [...(await broker.publish(messages.filter(isOdd)))]
  return messages.map((message) =>
    isOdd(message) ? results.shift()! : new BrokerError('MESSAGE_INVALID', 'even'),
  )
}
