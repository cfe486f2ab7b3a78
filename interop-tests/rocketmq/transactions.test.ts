// The same transactions by the same frames, asked of Apache RocketMQ and of us: where we answer or
// deliver otherwise, docs/reference/compatibility.md says so.
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { splitAddress } from '../../src/model/host.ts'
import { parseOffsetMessageId } from '../../src/model/message-id.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import type { Command } from '../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { fields, pull, send } from '../../test/support/native/native-front-end.ts'
import { spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: transactions beside Apache RocketMQ, because ${missing}\n`)
  test.skip(`Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testBoth = missing === undefined ? test : test.skip

const COMMIT = 8
const ROLLBACK = 12

async function open(t: ExecutionContext, address: string): Promise<RemotingConnection> {
  const connection = await dial({ ...splitAddress(address), clock: systemClock })
  t.teardown(() => connection.close())
  return connection
}

const half = (connection: RemotingConnection, topic: string): Promise<Command> =>
  send(connection, {
    ...{
      topic,
      f: 4,
      g: Date.now(),
      properties: { TRAN_MSG: 'true', PGROUP: 'PG', UNIQ_KEY: topic },
    },
  })

async function end(
  connection: RemotingConnection,
  sent: Command,
  commitOrRollback: number,
  changed: Readonly<Record<string, string | number>> = {},
): Promise<string> {
  const { position } = parseOffsetMessageId(sent.fields.get('msgId')!)
  const answer = await connection.request(REQUEST.endTransaction, {
    fields: fields({
      ...{ producerGroup: 'PG', commitOrRollback, msgId: 'x', transactionId: 'x' },
      tranStateTableOffset: sent.fields.get('queueOffset')!,
      ...{ commitLogOffset: position, fromTransactionCheck: false, ...changed },
    }),
  })
  return `${answer.code}${answer.remark === undefined ? '' : ` ${answer.remark}`}`
}

async function endOf(connection: RemotingConnection, topic: string): Promise<number> {
  const answer = await pull(connection, { topic })
  return Number(answer.fields.get('maxOffset') ?? 0)
}

let fences = 0

/** Apache's queues are behind its log for a moment, and follow it in its order. */
async function count(connection: RemotingConnection, topic: string): Promise<number> {
  const fence = `Fence${++fences}`
  await send(connection, { topic: fence })
  await eventually(async () => (await endOf(connection, fence)) > 0 || undefined)
  return endOf(connection, topic)
}

/** What a broker answers and delivers. */
async function answers(connection: RemotingConnection) {
  const twice = await half(connection, 'Twice')
  const undone = await half(connection, 'Undone')
  const wrong = await half(connection, 'Wrong')
  return {
    transactionId: twice.fields.get('transactionId'),
    before: await count(connection, 'Twice'),
    commits: [await end(connection, twice, COMMIT), await end(connection, twice, COMMIT)],
    committed: await count(connection, 'Twice'),
    rollback: (await end(connection, undone, ROLLBACK)).slice(0, 1),
    late: (await end(connection, undone, COMMIT)).slice(0, 1),
    undone: await count(connection, 'Undone'),
    wrong: [
      await end(connection, wrong, COMMIT, { producerGroup: 'Others' }),
      await end(connection, wrong, COMMIT, { tranStateTableOffset: 77 }),
      await end(connection, wrong, COMMIT, { commitLogOffset: 1 }),
    ],
  }
}

testBoth('a second end is where we differ from Apache RocketMQ, and nothing else is', async (t) => {
  const apache = await startApacheRocketmq()
  t.teardown(() => apache.stop())
  const server = await spawnServer(t)
  const theirs = await answers(await open(t, apache.broker))
  const ours = await answers(await open(t, server.address('remoting')))
  const { committed, late, undone, ...same } = theirs
  t.deepEqual({ committed, late, undone }, { committed: 2, late: '0', undone: 1 })
  t.deepEqual(ours, { ...same, committed: 1, late: '1', undone: 0 })
})
