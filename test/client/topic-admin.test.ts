// Topics on several masters, of which one does not answer or fails at the change: nothing is half
// done in silence, and the same call later brings it about.
import test, { type ExecutionContext } from 'ava'
import { Masters } from '../../src/client/admin/masters.ts'
import { TopicAdmin } from '../../src/client/admin/topic-admin.ts'
import type { Directory } from '../../src/client/routes/name-servers.ts'
import type { Outages } from '../../src/client/routes/outages.ts'
import type { Presence } from '../../src/client/routes/presence.ts'
import type { Routes } from '../../src/client/routes/routes.ts'
import { BrokerError } from '../../src/errors.ts'
import { dial } from '../../src/remoting/connection.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startFrontEnd } from '../support/native/native-front-end.ts'
import { overridden } from '../support/overridden.ts'

/** Two masters; what `b` is to change fails while `isFull`, and it is not there while `isAway`. */
async function cluster(t: ExecutionContext) {
  const trouble = { isFull: false, isAway: false }
  const unlessFull = <A extends unknown[], R>(change: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      if (trouble.isFull) throw new BrokerError('READ_ONLY', 'the disk is full')
      return change(...args)
    }
  }
  const a = await startFrontEnd(t)
  const b = await startFrontEnd(t, {
    bend: (real) =>
      overridden(real, {
        topics: overridden(real.topics, {
          put: unlessFull((definition) => real.topics.put(definition)),
          delete: unlessFull((name) => real.topics.delete(name)),
        }),
      }),
  })
  const forgotten: string[] = []
  const directory: Directory = {
    route: async () => undefined,
    brokers: async () =>
      [a, b].map(({ port }, i) => ({
        ...{ cluster: 'c', brokerName: i === 0 ? 'a' : 'b' },
        addresses: new Map([[0, `127.0.0.1:${port}`]]),
      })),
    forgetTopic: async (topic) => void forgotten.push(topic),
  }
  const presence = {
    open: () => undefined,
    connection: async (address: string) => {
      const port = Number(address.split(':')[1])
      if (trouble.isAway && port === b.port) throw new BrokerError('UNREACHABLE', 'it is away')
      const connection = await dial({ host: '127.0.0.1', port, clock: new FakeClock() })
      t.teardown(() => connection.close())
      return connection
    },
  } as unknown as Presence
  const routes = { forget() {}, untilKnown: async () => {} } as unknown as Routes
  const outages = { expect() {} } as unknown as Outages
  const topics = new TopicAdmin(new Masters(directory, presence, outages), directory, routes)
  const has = async (topic: string): Promise<boolean[]> =>
    Promise.all([a, b].map(async ({ broker }) => (await broker.topics.get(topic)) !== undefined))
  return { topics, trouble, has, forgotten, brokers: [a.broker, b.broker] }
}

test('a topic that one master could not make is told by names, and made there when it is asked for again', async (t) => {
  const { topics, trouble, has } = await cluster(t)
  trouble.isFull = true
  const error = await t.throwsAsync(topics.create({ name: 'T' }), { code: 'READ_ONLY' as never })
  t.regex(error?.message ?? '', /^creating 'T': done on 'a', not on 'b' \(.*the disk is full/)
  t.deepEqual(await has('T'), [true, false])
  trouble.isFull = false
  await topics.create({ name: 'T' })
  t.deepEqual(await has('T'), [true, true])
  await t.throwsAsync(topics.create({ name: 'T' }), { code: 'TOPIC_EXISTS' as never })
})

test('a topic that is on one master and another than is asked for is not made on the rest', async (t) => {
  const { topics, has, brokers } = await cluster(t)
  await brokers[0]!.topics.ensure('T')
  await t.throwsAsync(topics.create({ name: 'T', queues: 9 }), { code: 'TOPIC_EXISTS' as never })
  t.deepEqual(await has('T'), [true, false])
})

test('a topic that one master could not delete is told by names, and deleted when it is asked for again', async (t) => {
  const { topics, trouble, has, forgotten } = await cluster(t)
  await topics.create({ name: 'T' })
  trouble.isFull = true
  const error = await t.throwsAsync(topics.delete('T'), { code: 'READ_ONLY' as never })
  t.regex(error?.message ?? '', /^deleting 'T': done on 'a', not on 'b' \(.*the disk is full/)
  t.deepEqual([await has('T'), forgotten], [[false, true], []])
  trouble.isFull = false
  await topics.delete('T')
  t.deepEqual([await has('T'), forgotten], [[false, false], ['T']])
  await t.throwsAsync(topics.delete('T'), { code: 'TOPIC_NOT_FOUND' as never })
})

test('nothing is changed while a master is away, and it says which have the topic', async (t) => {
  const { topics, trouble, has } = await cluster(t)
  await topics.create({ name: 'T' })
  trouble.isAway = true
  const created = await t.throwsAsync(topics.create({ name: 'U' }), {
    code: 'UNREACHABLE' as never,
  })
  t.regex(created?.message ?? '', /'U' was created nowhere, for 'b' does not answer \(it is away/)
  const deleted = await t.throwsAsync(topics.delete('T'), { code: 'UNREACHABLE' as never })
  t.regex(deleted?.message ?? '', /'T' was deleted nowhere, for 'b' .*; of the others 'a' has it$/)
  t.deepEqual(
    [await has('T'), await has('U')],
    [
      [true, true],
      [false, false],
    ],
  )
})
