import test from 'ava'
import { ClientTable } from '../../src/broker/clients.ts'
import type { MixedGroups } from '../../src/broker/consume/mixed-groups.ts'
import { BROKER_DEFAULTS } from '../../src/broker/options.ts'
import type { ClientRegistration, ConsumerRegistration } from '../../src/model/client.ts'
import type { QueueName } from '../../src/model/message.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { EVERY_TAG, parseTagFilter, tagFilterOf } from '../../src/model/tag-filter.ts'
import {
  bodiesOf,
  codeOf,
  newMessage,
  queueOf,
  receiptsOf,
  receiveRequest,
  startBroker,
} from '../support/broker.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'

const consumer = (shape: Partial<ConsumerRegistration> = {}): ConsumerRegistration => ({
  group: 'billing',
  model: 'clustering',
  mode: 'queue-assigned',
  subscriptions: [{ topic: 'orders', filter: EVERY_TAG, version: 1 }],
  consumeType: 'CONSUME_PASSIVELY',
  consumeFrom: 'CONSUME_FROM_LAST_OFFSET',
  ...shape,
})

const client = (id: string, ...consumers: ConsumerRegistration[]): ClientRegistration => ({
  clientId: id,
  connectionId: `connection of ${id}`,
  protocol: 'remoting',
  address: '127.0.0.1:1',
  language: 'JAVA',
  version: 1,
  consumers,
  producerGroups: ['makers'],
})

test('a registration creates its groups and their retry topics', async (t) => {
  const { broker } = await startBroker(t)
  await broker.clients.register(client('c1', consumer()))
  t.truthy(await broker.groups.get('billing'))
  t.is((await broker.topics.get('%RETRY%billing'))?.readQueues, 1)
  t.deepEqual(await broker.clients.consumerIds('billing'), ['c1'])
})

test('without creation on first use a registration needs its group', async (t) => {
  const { broker } = await startBroker(t, { autoCreateGroups: false })
  t.is(await codeOf(broker.clients.register(client('c1', consumer()))), 'GROUP_NOT_FOUND')
  t.is(await codeOf(broker.receive(receiveRequest('orders', 'billing'))), 'GROUP_NOT_FOUND')
  t.deepEqual(await broker.clients.list(), [])
})

test('consumer ids are sorted and without doubles', async (t) => {
  const { broker } = await startBroker(t)
  await broker.clients.register(client('b', consumer()))
  await broker.clients.register(client('a', consumer()))
  await broker.clients.register({ ...client('a', consumer()), connectionId: 'another' })
  t.deepEqual(await broker.clients.consumerIds('billing'), ['a', 'b'])
  await broker.clients.unregister('another')
  t.deepEqual(await broker.clients.consumerIds('billing'), ['a', 'b'])
})

test('news of a group come when members or subscriptions change, and only then', async (t) => {
  const { broker } = await startBroker(t)
  const news: string[] = []
  const watch = broker.clients.watch((group) => news.push(group))
  await broker.clients.register(client('a', consumer()))
  await broker.clients.register(client('a', consumer()))
  t.deepEqual(news, ['billing'])
  const filter = tagFilterOf(['eu'])
  const changed = consumer({ subscriptions: [{ topic: 'orders', filter, version: 2 }] })
  await broker.clients.register(client('a', changed))
  await broker.clients.register(client('a', changed, consumer({ group: 'audit' })))
  t.deepEqual(news.splice(0), ['billing', 'billing', 'audit'])
  await broker.clients.unregister('connection of a', 'audit')
  await broker.clients.unregister('connection of a', 'audit')
  t.deepEqual(await broker.clients.consumerIds('billing'), ['a'])
  await broker.clients.unregister('connection of a')
  await broker.clients.unregister('connection of a')
  t.deepEqual(news, ['audit', 'billing'])
  t.deepEqual(await broker.clients.list(), [])
  watch[Symbol.dispose]()
  await broker.clients.register(client('a', consumer()))
  t.is(news.length, 2)
})

test('a client that is silent for two minutes is forgotten, one that is not stays', async (t) => {
  const { broker, clock } = await startBroker(t)
  await broker.clients.register(client('silent', consumer()))
  await broker.clients.register(client('alive', consumer()))
  clock.advance(110_000)
  await broker.clients.register(client('alive', consumer()))
  const news: string[] = []
  broker.clients.watch((group) => news.push(group))
  clock.advance(20_000)
  t.deepEqual(await broker.clients.consumerIds('billing'), ['alive'])
  t.deepEqual(news, ['billing'])
})

test('a group that changes its mode goes on where it stood', async (t) => {
  const { broker } = await startBroker(t)
  const bodies = ['a', 'b', 'c', 'd']
  await broker.publish(bodies.map((body) => newMessage('orders', { queueId: 0, body })))
  const received = await broker.receive(receiveRequest('orders', 'billing'))
  await broker.ack(receiptsOf(received.slice(0, 1)))
  await broker.ack(receiptsOf(received.slice(2, 3)))
  await broker.release(receiptsOf([received[1]!, received[3]!]))
  await broker.clients.register(client('n', consumer()))
  t.is((await broker.cursors.committed('billing', queueOf('orders'))) as number | undefined, 1)
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(3))
  await broker.cursors.commit('billing', queueOf('orders'), queueOffset(2))
  await broker.clients.unregister('connection of n')
  t.deepEqual(bodiesOf(await broker.receive(receiveRequest('orders', 'billing'))), ['d'])
})

test('retries that wait to be handed out again are still there after a change of the mode', async (t) => {
  const { broker } = await startBroker(t)
  const receive = () => broker.receive(receiveRequest('orders', 'billing'))
  await broker.publish([newMessage('orders', { body: 'a' })])
  await broker.nack(receiptsOf(await receive()), 0)
  await broker.release(receiptsOf(await receive()))
  await broker.clients.register(client('n', consumer()))
  t.is(
    (await broker.cursors.committed('billing', queueOf('%RETRY%billing'))) as number | undefined,
    0,
  )
  await broker.clients.unregister('connection of n')
  t.deepEqual(bodiesOf(await receive()), ['a'])
})

test('one client holds a queue until it lets go, leaves, or its lease runs out', async (t) => {
  const { broker, clock } = await startBroker(t)
  const [q0, q1] = [queueOf('orders', 0), queueOf('orders', 1)]
  await broker.topics.ensure('orders')
  await broker.clients.register(client('a', consumer()))
  await broker.clients.register(client('b', consumer()))
  const lock = (id: string, ...queues: QueueName[]) => broker.queueLocks.lock('billing', id, queues)
  t.deepEqual(await lock('a', q0), [q0])
  t.deepEqual(await lock('b', q0, q1), [q1])
  await broker.queueLocks.unlock('billing', 'b', [q0])
  t.deepEqual(await lock('b', q0), [])
  await broker.queueLocks.unlock('billing', 'a', [q0])
  t.deepEqual(await lock('b', q0), [q0])
  clock.advance(59_000)
  t.deepEqual(await lock('b', q0), [q0])
  t.deepEqual(await lock('a', q0), [])
  clock.advance(60_000)
  t.deepEqual(await lock('a', q0, q1), [q0, q1])
  await broker.clients.unregister('connection of a')
  t.deepEqual(await lock('b', q0, q1), [q0, q1])
})

test('a client keeps its locks while another connection of it is there', async (t) => {
  const { broker } = await startBroker(t)
  const queue = queueOf('orders')
  await broker.topics.ensure('orders')
  await broker.clients.register(client('a', consumer()))
  await broker.clients.register({ ...client('a', consumer()), connectionId: 'second' })
  await broker.queueLocks.lock('billing', 'a', [queue])
  await broker.clients.unregister('second')
  t.deepEqual(await broker.queueLocks.lock('billing', 'b', [queue]), [])
})

test('the locks of a deleted topic do not hold the queues of its namesake', async (t) => {
  const { broker } = await startBroker(t)
  const queue = queueOf('orders')
  await broker.topics.ensure('orders')
  await broker.clients.register(client('a', consumer()))
  await broker.clients.register(client('b', consumer()))
  await broker.queueLocks.lock('billing', 'a', [queue])
  await broker.topics.delete('orders')
  await broker.topics.ensure('orders')
  t.deepEqual(await broker.queueLocks.lock('billing', 'b', [queue]), [queue])
})

type Parts = ConstructorParameters<typeof ClientTable>[0]

function startClients(): { readonly clients: ClientTable; readonly log: LogLines } {
  const log = new LogLines()
  const none = { isSaved: () => true, isLocking: () => false, retire: () => {} }
  const mixed = {
    ...{ look: async () => {}, check: () => {}, join: () => {}, leave: () => {}, update: () => {} },
    ...{ share: () => undefined, hasNatives: () => true, close: () => {} },
  }
  const clients = new ClientTable({
    groups: none as unknown as Parts['groups'],
    locks: none as unknown as Parts['locks'],
    receiver: none as unknown as Parts['receiver'],
    mixed: mixed as unknown as MixedGroups,
    clock: new FakeClock(),
    options: BROKER_DEFAULTS,
    log,
  })
  return { clients, log }
}

const member = (
  id: string,
  tags: string,
  shape: Partial<ConsumerRegistration> = {},
): ClientRegistration => ({
  clientId: id,
  connectionId: id,
  protocol: 'remoting',
  address: '127.0.0.1:1',
  language: 'JAVA',
  version: 1,
  producerGroups: [],
  consumers: [
    {
      group: 'billing',
      model: 'clustering',
      mode: 'queue-assigned',
      subscriptions: [{ topic: 'orders', filter: parseTagFilter(tags), version: 1 }],
      consumeType: 'CONSUME_PASSIVELY',
      consumeFrom: 'CONSUME_FROM_LAST_OFFSET',
      ...shape,
    },
  ],
})

const warnings = (log: LogLines): string[] =>
  log.lines.filter((line) => line.evt === 'group.tags_differ').map((line) => String(line['tags']))

test('members of one group with different tags are told of in the log, once', async (t) => {
  const { clients, log } = startClients()
  await clients.register(member('a', 'A'))
  await clients.register(member('b', 'B'))
  await clients.register(member('c', 'C'))
  await clients.register(member('b', 'B'))
  t.deepEqual(warnings(log), ['B'])
})

test('a member that changes its tags is told of as well', async (t) => {
  const { clients, log } = startClients()
  for (const id of ['a', 'b']) await clients.register(member(id, 'A || B'))
  await clients.register(member('b', '*'))
  t.deepEqual(warnings(log), ['*'])
})

test('members with the same tags in another order are not told of', async (t) => {
  const { clients, log } = startClients()
  await clients.register(member('a', 'A || B'))
  await clients.register(member('b', 'B||A'))
  t.deepEqual(log.lines, [])
})

test('members that broadcast lose nothing and are not told of', async (t) => {
  const { clients, log } = startClients()
  await clients.register(member('a', 'A', { model: 'broadcasting' }))
  await clients.register(member('b', 'B', { model: 'broadcasting' }))
  t.deepEqual(log.lines, [])
})

test('a group is told of again when it came anew', async (t) => {
  const { clients, log } = startClients()
  for (const round of [1, 2]) {
    await clients.register(member('a', 'A'))
    await clients.register(member('b', 'B'))
    t.is(warnings(log).length, round)
    for (const id of ['a', 'b']) clients.unregister(id)
  }
})

test('a registration of one group more looks at that one alone', async (t) => {
  const { broker } = await startBroker(t)
  let looks = 0
  const counted = (group: string): ConsumerRegistration =>
    Object.defineProperty(consumer({ group }), 'subscriptions', {
      get: () => {
        looks++
        return [{ topic: 'orders', filter: EVERY_TAG, version: 1 }]
      },
    })
  const consumers = Array.from({ length: 100 }, (_, i) => counted(`group-${i}`))
  await broker.clients.register(client('c1', ...consumers))
  looks = 0
  await broker.clients.register(client('c1', ...consumers, consumer({ group: 'more' })))
  t.true(looks <= consumers.length, `${looks} looks`)
  t.deepEqual(await broker.clients.consumerIds('more'), ['c1'])
  t.deepEqual(await broker.clients.consumerIds('group-0'), ['c1'])
  looks = 0
  await broker.clients.register(client('c1', ...consumers.slice(1)))
  t.true(looks <= consumers.length, `${looks} looks`)
  t.deepEqual(await broker.clients.consumerIds('more'), [])
  t.deepEqual(await broker.clients.consumerIds('group-0'), [])
  t.deepEqual(await broker.clients.consumerIds('group-1'), ['c1'])
})
