import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { RECORD_BYTES, ReadBudget } from '../../../src/gateway/remoting/read-budget.ts'
import { fields, send, startFrontEnd } from '../../support/native-front-end.ts'
import { overridden } from '../../support/overridden.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('reads beyond the budget wait in line, and leave the event loop a turn in between', async (t) => {
  const budget = new ReadBudget(2 * RECORD_BYTES, () => 0)
  let ran = 0
  const reads = Array.from({ length: 6 }, () =>
    budget.within(RECORD_BYTES, async () => {
      ran++
    }),
  )
  for (let i = 0; i < 50; i++) await undefined
  t.is(ran, 2)
  await turn()
  t.is(ran, 4)
  await Promise.all(reads)
  t.is(ran, 6)
})

test('who waits in line when the peer goes is told', async (t) => {
  const budget = new ReadBudget(RECORD_BYTES, () => 0)
  const first = budget.within(RECORD_BYTES, turn)
  const second = budget.within(RECORD_BYTES, turn)
  budget.close()
  await t.throwsAsync(second, { instanceOf: BrokerError, code: 'ABORTED' })
  await first
})

test('a read that fails gives its bytes back', async (t) => {
  const budget = new ReadBudget(RECORD_BYTES, () => 0)
  await t.throwsAsync(budget.within(RECORD_BYTES, () => Promise.reject(new Error('the disk'))))
  t.is(await budget.within(RECORD_BYTES, async () => 'read'), 'read')
})

test('a peer has few records read at once, however many questions it asks', async (t) => {
  let now = 0
  let most = 0
  const { connect } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, {
        pull: async (request) => {
          most = Math.max(most, ++now)
          await turn()
          now--
          return broker.pull(request)
        },
      }),
  })
  const connection = await connect()
  await send(connection, { topic: 'T' })
  const asked = fields({ topic: 'T', queueId: 0 })
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => connection.request(32, { fields: asked })),
  )
  t.true(answers.every((answer) => Number(answer.fields.get('timestamp')) > 0))
  t.true(most <= 16, `${most} records were read at once`)
})
