// However much an answer holds, the other connections have their turns while it is gathered and
// written.
import test, { type ExecutionContext } from 'ava'
import type { Broker } from '../../../src/port/broker.ts'
import { encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import { newMessage, queueOf } from '../../support/broker.ts'
import { fields, startFrontEnd } from '../../support/native/native-front-end.ts'
import { overridden } from '../../support/overridden.ts'
import { countTurns, endSlicesAtOnce } from '../../support/turns.ts'

const COUNT = 50

/** A broker with topics and groups, each group with a committed offset on each topic. */
async function filled(t: ExecutionContext) {
  const { broker, clock, connect } = await startFrontEnd(t)
  const names = Array.from({ length: COUNT }, (_, i) => `N${i}`)
  for (const name of names) {
    await broker.topics.ensure(name)
    await broker.groups.ensure(name)
    await broker.cursors.commit(name, queueOf(name), 0 as never)
    await broker.cursors.commit('N0', queueOf(name), 0 as never)
  }
  const connection = await connect()
  endSlicesAtOnce(t, clock)
  return { connection, turns: countTurns(t) }
}

for (const [what, code, asked] of [
  ['all topics', 21, {}],
  ['all groups', 201, {}],
  ['all committed offsets', 43, {}],
  ['the progress of a group', 208, { consumerGroup: 'N0' }],
  ['the topics of a group', 343, { group: 'N0' }],
  ['the groups of a topic', 300, { topic: 'N1' }],
] as const) {
  test(`${what} are told over many turns`, async (t) => {
    const { connection, turns } = await filled(t)
    const answer = await connection.request(code, { fields: fields(asked) })
    t.is(answer.code, 0)
    t.regex(answer.body.toString(), /N1/)
    t.true(turns() >= COUNT, `${turns()} turns`)
  })
}

for (const [what, code, asked] of [
  ['the statistics', 202, {}],
  ['the time spans', 303, { group: 'G' }],
  ['a reset by time', 222, { group: 'G', timestamp: '1', isForce: 'true' }],
] as const) {
  test(`${what} of a topic with many queues look at their records over many turns`, async (t) => {
    const { broker, clock, connect } = await startFrontEnd(t)
    const queues = { readQueues: COUNT, writeQueues: COUNT, perm: 6, ordered: false, sysFlag: 0 }
    await broker.topics.put({ name: 'wide', ...queues })
    await broker.groups.ensure('G')
    await broker.publish(
      Array.from({ length: COUNT }, (_, queueId) => newMessage('wide', { queueId })),
    )
    const connection = await connect()
    endSlicesAtOnce(t, clock)
    const turns = countTurns(t)
    const answer = await connection.request(code, { fields: fields({ topic: 'wide', ...asked }) })
    t.is(answer.code, 0)
    t.true(turns() >= COUNT, `${turns()} turns`)
  })
}

test('groups that are changed in one chunk begin each in a turn of its own, and do not wait for each other', async (t) => {
  const turn = countTurns(t)
  const turns: number[] = []
  let allBegun = (): void => {}
  const begun = new Promise<void>((resolve) => {
    allBegun = resolve
  })
  const bend = (broker: Broker): Broker =>
    overridden(broker, {
      groups: overridden(broker.groups, {
        put: () => {
          turns.push(turn())
          if (turns.length === 3) allBegun()
          return begun
        },
      }),
    })
  const { raw } = await startFrontEnd(t, { bend })
  const peer = await raw()
  const update = (name: string): Buffer =>
    encodeCommand(
      requestHeader({ code: 200, opaque: 1, oneWay: false }),
      Buffer.from(JSON.stringify({ groupName: name })),
    )
  peer.send(update('A'), update('B'), update('C'))
  for (let i = 0; i < 3; i++) await peer.read((await peer.read(4)).readInt32BE())
  t.is(new Set(turns).size, 3)
})
