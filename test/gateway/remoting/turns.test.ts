// However much an answer holds, the other connections have their turns while it is gathered and written.
import test, { type ExecutionContext } from 'ava'
import { fields, startFrontEnd } from '../../support/native-front-end.ts'
import { countTurns, endSlicesAtOnce } from '../../support/turns.ts'

const COUNT = 50

/** A broker with topics and groups, each group with a committed offset on each topic. */
async function filled(t: ExecutionContext) {
  const { broker, clock, connect } = await startFrontEnd(t)
  const names = Array.from({ length: COUNT }, (_, i) => `N${i}`)
  for (const name of names) {
    await broker.topics.ensure(name)
    await broker.groups.ensure(name)
    await broker.cursors.commit(name, name, 0, 0 as never)
    await broker.cursors.commit('N0', name, 0, 0 as never)
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
