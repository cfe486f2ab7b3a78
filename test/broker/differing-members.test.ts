import test from 'ava'
import { ClientTable } from '../../src/broker/clients.ts'
import { GroupModes } from '../../src/broker/definitions/group-modes.ts'
import { BROKER_DEFAULTS } from '../../src/broker/options.ts'
import type { ClientRegistration, ConsumerRegistration } from '../../src/model/client.ts'
import { parseTagFilter } from '../../src/model/tag-filter.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'

type Parts = ConstructorParameters<typeof ClientTable>[0]

function startClients(): { readonly clients: ClientTable; readonly log: LogLines } {
  const log = new LogLines()
  const none = { isSaved: () => true, isLocking: () => false, retire: () => {} }
  const clients = new ClientTable({
    groups: none as unknown as Parts['groups'],
    locks: none as unknown as Parts['locks'],
    receiver: none as unknown as Parts['receiver'],
    modes: new GroupModes(() => false),
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
