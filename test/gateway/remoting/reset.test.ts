// An operator moves a group while its members go on: the first pull is sent to the new place, and
// what a member still commits of the old one changes nothing.
import test, { type ExecutionContext } from 'ava'
import { queueOffset } from '../../../src/model/positions.ts'
import { EVERY_TAG } from '../../../src/model/tag-filter.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { decodeQueuePositions } from '../../../src/remoting/requests/reset.ts'
import { drain, queueOf } from '../../support/broker.ts'
import {
  fields,
  heartbeat,
  type NativeFrontEnd,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'

interface Scene extends NativeFrontEnd {
  /** The member, connected again to the broker as a kill left it. */
  restart(): Promise<Scene>
  readonly connection: RemotingConnection
  reset(asked: Readonly<Record<string, string | number | boolean>>): Promise<Command>
  commit(offset: number): Promise<Command>
  committed(): Promise<number | undefined>
}

const offsets = ({ fields: told }: Command): (number | string | undefined)[] => [
  ...['nextBeginOffset', 'minOffset', 'maxOffset'].map((name) => Number(told.get(name))),
]

/** Five messages, all consumed by G. */
async function consumed(t: ExecutionContext): Promise<Scene> {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  for (let i = 0; i < 5; i++) await send(connection, { topic: 'T' })
  const scene = await joined(front, connection)
  await scene.commit(5)
  return scene
}

async function joined(front: NativeFrontEnd, connection: RemotingConnection): Promise<Scene> {
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' } }])
  const commit = (commitOffset: number): Promise<Command> =>
    connection.request(15, {
      fields: fields({ consumerGroup: 'G', topic: 'T', queueId: 0, commitOffset }),
    })
  const all = { group: 'G', topic: 'T', timestamp: 0, isForce: true }
  return {
    ...front,
    connection,
    commit,
    restart: async () => {
      const next = await front.crash()
      return joined(next, await next.connect())
    },
    committed: () => front.broker.cursors.committed('G', queueOf('T')),
    reset: (asked) => connection.request(222, { fields: fields({ ...all, ...asked }) }),
  }
}

test('the next pull of a group that was moved is sent to the new place, once', async (t) => {
  const { connection, reset } = await consumed(t)
  const answer = await reset({})
  t.deepEqual(decodeQueuePositions(answer.body)[0], {
    queue: { brokerName: 'broker-a', queueId: 0, topic: 'T' },
    offset: 0,
  })
  const told = await pull(connection, { topic: 'T', offset: 5 })
  t.is(told.code, 21)
  t.is(told.remark, 'OFFSET_RESET')
  t.deepEqual(offsets(told), [0, 0, 5])
  t.is((await pull(connection, { topic: 'T', offset: 0 })).code, 0)
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 19)
})

test('a pull that is held when its group is moved is told at once', async (t) => {
  const { connection, reset } = await consumed(t)
  const held = pull(connection, { topic: 'T', offset: 5, sysFlag: 6 })
  await reset({})
  const told = await held
  t.is(told.code, 21)
  t.deepEqual(offsets(told), [0, 0, 5])
})

test('a client whose connection broke before it was sent to the new place is sent there by the next', async (t) => {
  const { connection, connect, reset } = await consumed(t)
  await reset({})
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 21)
  connection.close()
  const again = await connect()
  await heartbeat(again, 'c1', [{ group: 'G', topics: { T: '*' } }])
  const told = await pull(again, { topic: 'T', offset: 5 })
  t.is(told.code, 21)
  t.deepEqual(offsets(told), [0, 0, 5])
})

test('what a member at the old place reads and commits does not undo a move that another was told of', async (t) => {
  const { connection, connect, reset, commit, committed } = await consumed(t)
  const other = await connect()
  await heartbeat(other, 'c2', [{ group: 'G', topics: { T: '*' } }])
  await reset({})
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 21)
  await send(connection, { topic: 'T' })
  t.is((await pull(other, { topic: 'T', offset: 5 })).code, 21)
  await commit(6)
  t.is(await committed(), queueOffset(0))
})

test('a member that was sent to the new place and seeks elsewhere commits from there', async (t) => {
  const { connection, reset, commit, committed } = await consumed(t)
  await reset({ queueId: 0, offset: 3 })
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 21)
  t.is((await pull(connection, { topic: 'T', offset: 1, max: 1 })).code, 0)
  await commit(2)
  t.is(await committed(), queueOffset(2))
})

test('a client that begins at the new place is not told of it', async (t) => {
  const { connection, reset } = await consumed(t)
  await reset({})
  t.is((await pull(connection, { topic: 'T', offset: 0 })).code, 0)
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 19)
})

test('a late commit of the old place does not undo a move back', async (t) => {
  const { connection, reset, commit, committed } = await consumed(t)
  await reset({})
  t.is((await commit(5)).code, 0)
  t.is(await committed(), queueOffset(0))
  // A commit that rides on the pull that is told.
  await pull(connection, { topic: 'T', offset: 5, sysFlag: 5, commitOffset: 5 })
  t.is(await committed(), queueOffset(0))
  await commit(5)
  t.is(await committed(), queueOffset(0))
  await pull(connection, { topic: 'T', offset: 0, max: 2 })
  await commit(5)
  t.is(await committed(), queueOffset(0))
  await commit(2)
  t.is(await committed(), queueOffset(2))
})

test('a commit that changes nothing, because no member has followed a move, says so', async (t) => {
  const { connection, connect, reset, commit, committed } = await consumed(t)
  t.is((await commit(5)).remark, undefined)
  await reset({})
  connection.close()
  const tool = await connect()
  const asked = { consumerGroup: 'G', topic: 'T', queueId: 0, commitOffset: 3 }
  const answer = await tool.request(15, { fields: fields(asked) })
  t.is(answer.code, 0)
  t.regex(answer.remark!, /stays at offset 0: it was reset there/)
  t.is(await committed(), queueOffset(0))
  const all = { group: 'G', topic: 'T', timestamp: 0, isForce: true }
  await tool.request(222, { fields: fields({ ...all, queueId: 0, offset: 3 }) })
  t.is(await committed(), queueOffset(3))
})

test('a late commit of the old place does not undo a move ahead', async (t) => {
  const { connection, reset, commit, committed } = await consumed(t)
  await reset({ timestamp: 0 })
  await pull(connection, { topic: 'T', offset: 0, max: 2 })
  await commit(2)
  await reset({ timestamp: -1 })
  await commit(2)
  t.is(await committed(), queueOffset(5))
  t.is((await pull(connection, { topic: 'T', offset: 2 })).code, 21)
  await commit(2)
  t.is(await committed(), queueOffset(5))
  await send(connection, { topic: 'T' })
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 0)
  await commit(6)
  t.is(await committed(), queueOffset(6))
})

test('one queue is moved to an offset, and an offset out of its range is refused', async (t) => {
  const { connection, reset, committed } = await consumed(t)
  await reset({ queueId: 0, offset: 3 })
  t.is(await committed(), queueOffset(3))
  t.is((await pull(connection, { topic: 'T', queueId: 1, offset: 0 })).code, 19)
  const refused = await reset({ queueId: 0, offset: 99 })
  t.is(refused.code, 1)
  t.is(refused.remark, 'Target offset 99 not in consume queue range [0-5]')
  t.is(await committed(), queueOffset(3))
})

test('a group is moved ahead without force as well, as by a broker of Apache', async (t) => {
  const { reset, committed } = await consumed(t)
  await reset({ queueId: 0, offset: 1 })
  await reset({ timestamp: -1, isForce: false })
  t.is(await committed(), queueOffset(5))
})

test('a group that does not exist is not moved', async (t) => {
  const { reset } = await consumed(t)
  t.is((await reset({ group: 'None' })).code, 26)
  t.is((await reset({ topic: 'None' })).code, 17)
})

test('members that broadcast are not sent anywhere', async (t) => {
  const { connection, reset } = await consumed(t)
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' }, model: 'BROADCASTING' }])
  await reset({})
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 19)
})

test("the place of a group's members that receive per message moves, also on their light queues", async (t) => {
  const { broker, reset } = await consumed(t)
  const { topic } = await broker.lightQueues.bind('T/+/#', 'G')
  await broker.cursors.commit('G', queueOf(topic), queueOffset(0))
  const answer = await reset({ timestamp: -1 })
  const moved = decodeQueuePositions(answer.body).map(({ queue }) => queue.topic)
  t.true(moved.includes(topic))
})

test('a reset that per-message members went on from is not told to a client that comes later', async (t) => {
  const { broker, connection, reset } = await consumed(t)
  await broker.clients.unregister('none')
  await reset({})
  await connection.request(35, { fields: fields({ clientID: 'c1', consumerGroup: 'G' }) })
  const received = await broker.receive({
    ...{
      topic: 'T',
      queueId: 0,
      group: 'G',
      filter: EVERY_TAG,
    },
    ...{
      maxMessages: 10,
      maxBytes: 1_000_000,
      invisibleMs: 10_000,
      ordered: false,
      startAt: 'first',
    },
    ...{ waitMs: 0, clientId: 'm', memberId: 'm' },
  })
  t.is(received.length, 5)
  await broker.ack(received.map(({ receipt }) => receipt))
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 19)
})

test('a late commit after a restart does not undo a move, and the member is sent to the new place', async (t) => {
  const before = await consumed(t)
  await before.reset({})
  const { connection, commit, committed } = await before.restart()
  t.is((await commit(5)).code, 0)
  t.is(await committed(), queueOffset(0))
  const told = await pull(connection, { topic: 'T', offset: 5 })
  t.is(told.code, 21)
  t.deepEqual(offsets(told), [0, 0, 5])
})

test('a member that followed a move commits from there after a restart', async (t) => {
  const before = await consumed(t)
  await before.reset({})
  await pull(before.connection, { topic: 'T', offset: 5 })
  await pull(before.connection, { topic: 'T', offset: 0, max: 2 })
  before.clock.advance(1000)
  await drain(before)
  const { commit, committed } = await before.restart()
  await commit(5)
  t.is(await committed(), queueOffset(0))
  await commit(2)
  t.is(await committed(), queueOffset(2))
})

test('a move that members followed is forgotten, also after a restart', async (t) => {
  const before = await consumed(t)
  await before.reset({})
  await pull(before.connection, { topic: 'T', offset: 5 })
  await pull(before.connection, { topic: 'T', offset: 0, max: 2 })
  await before.commit(0)
  before.clock.advance(1000)
  await drain(before)
  const { connection, commit, committed } = await before.restart()
  t.is((await pull(connection, { topic: 'T', offset: 5 })).code, 19)
  await commit(5)
  t.is(await committed(), queueOffset(5))
})
