import test from 'ava'
import { BrokerError } from '../../../src/errors.ts'
import { RECORD_BYTES, ReadBudget } from '../../../src/gateway/remoting/read-budget.ts'
import { encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import { fields, send, startFrontEnd } from '../../support/native-front-end.ts'
import { overridden } from '../../support/overridden.ts'
import { latch } from '../../support/waiting.ts'

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

test('a read that waits in line when the peer goes is refused', async (t) => {
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

test('a peer that is slow to take its pulls is answered a question about one record before them', async (t) => {
  const pulls = latch(3)
  const questions = latch(2)
  const { connect, raw } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, {
        pull: async (request) => {
          const result = await broker.pull(request)
          const { count } = request.maxMessages === 1 ? questions : pulls
          count()
          return result
        },
        sendBack: async (wanted) => {
          await broker.sendBack(wanted)
          questions.count()
        },
      }),
  })
  const healthy = await connect()
  const bodies = Array.from({ length: 5 }, () => Buffer.alloc(200_000))
  for (const body of bodies) await send(healthy, { topic: 'T', body })
  const sent = await send(healthy, { topic: 'T', e: 1 })
  const peer = await raw()
  peer.pause()
  const request = (code: number, opaque: number, values: Parameters<typeof fields>[0]): Buffer =>
    encodeCommand(requestHeader({ code, opaque, fields: fields(values) }))
  for (let opaque = 0; opaque < 64; opaque++) {
    const read = { consumerGroup: 'G', topic: 'T', queueId: 0, queueOffset: 0, maxMsgNums: 32 }
    const how = { sysFlag: 4, commitOffset: 0, suspendTimeoutMillis: 0, subscription: '*' }
    peer.send(request(11, opaque, { ...read, ...how, subVersion: 0, maxMsgBytes: 1_000_000 }))
  }
  await pulls.reached
  const offset = Number.parseInt(sent.fields.get('msgId')!.slice(16), 16)
  peer.send(
    request(14, 64, { consumerGroup: 'New', topic: 'T', queueId: 0 }),
    request(36, 65, { group: 'G', offset, delayLevel: 3, originMsgId: '', originTopic: 'T' }),
  )
  await questions.reached
  t.pass()
})
