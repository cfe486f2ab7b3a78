// What native clients read of messages that came by another protocol, whose records lack what the
// broker adds.
import test, { type ExecutionContext } from 'ava'
import { offsetMessageId } from '../../../src/model/message-id.ts'
import { recordsOf, SYS_FLAG } from '../../../src/model/record.ts'
import { REQUEST } from '../../../src/remoting/codes.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { PushAnswer } from '../../../src/remoting/connection.ts'
import { newMessage, pullRequest } from '../../support/broker.ts'
import {
  fields,
  heartbeat,
  type Pulled,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { PopClient } from '../../support/native/pop-client.ts'
import { decodeMessages, type WireMessage } from '../../support/native/wire-message.ts'
import { eventually } from '../../support/waiting.ts'

const OURS = ['DefaultCluster', 'DefaultRegion', 'true']

const ours = ({ properties }: WireMessage): (string | undefined)[] =>
  ['CLUSTER', 'MSG_REGION', 'TRACE_ON'].map((name) => properties.get(name))

async function started(t: ExecutionContext) {
  const front = await startFrontEnd(t)
  const foreign = newMessage('T', { queueId: 0, properties: { KEYS: 'k', colour: 'red' } })
  const [receipt] = await front.broker.publish([foreign])
  if (receipt instanceof Error) throw receipt
  return { ...front, receipt: receipt!, connection: await front.connect() }
}

test('a message of another protocol is stored without them, a native one with them', async (t) => {
  const { broker, connection } = await started(t)
  await send(connection, { topic: 'T', e: 0 })
  const { records } = await broker.pull(pullRequest('T'))
  const all = [...recordsOf(records)]
  t.deepEqual(
    all.map(({ sysFlag }) => sysFlag & SYS_FLAG.ownProperties),
    [SYS_FLAG.ownProperties, 0],
  )
  t.deepEqual(
    all.map((record) => record.property('CLUSTER')),
    [undefined, 'DefaultCluster'],
  )
})

test('a pull shows both kinds with them', async (t) => {
  const { connection } = await started(t)
  await send(connection, { topic: 'T', e: 0 })
  const all = decodeMessages((await pull(connection, { topic: 'T' })).body)
  t.deepEqual(all.map(ours), [OURS, OURS])
  t.is(all[0]?.properties.get('colour'), 'red')
})

for (const name of ['CLUSTER', 'MSG_REGION', 'TRACE_ON']) {
  test(`a condition over ${name} selects both kinds`, async (t) => {
    const { connection } = await started(t)
    await send(connection, { topic: 'T', e: 0 })
    const wanted: Pulled = { topic: 'T', subscription: `${name} IS NOT NULL` }
    const answer = await pull(connection, { ...wanted, expressionType: 'SQL92' })
    t.is(decodeMessages(answer.body).length, 2)
  })
}

test('a POP shows them, also when the message comes again', async (t) => {
  const { connection, clock } = await started(t)
  const client = new PopClient(connection, 'T', 'G')
  const [first] = await client.take()
  t.deepEqual(ours(first!.message), OURS)
  await clock.advanceAsync(10_000)
  const again = await eventually(async () => (await client.take())[0])
  t.is(again.message.reconsumeTimes, 1)
  t.deepEqual(ours(again.message), OURS)
})

const found = (answer: Command): (string | undefined)[][] => decodeMessages(answer.body).map(ours)

test('a message that is looked up by its key or its place has them', async (t) => {
  const { connection, receipt } = await started(t)
  const times = { beginTimestamp: 0, endTimestamp: Number.MAX_SAFE_INTEGER }
  const query = fields({ topic: 'T', key: 'k', maxNum: 8, ...times })
  t.deepEqual(found(await connection.request(REQUEST.queryMessage, { fields: query })), [OURS])
  const place = fields({ offset: receipt.position })
  t.deepEqual(found(await connection.request(REQUEST.viewMessageById, { fields: place })), [OURS])
})

test('a message that an operator has consumed once more has them', async (t) => {
  const { connection, receipt, connect } = await started(t)
  const asked: Command[] = []
  const onPush = (command: Command): PushAnswer | undefined => {
    if (command.code !== REQUEST.consumeMessageDirectly) return undefined
    asked.push(command)
    return { code: 0 }
  }
  await heartbeat(await connect({ onPush }), 'c', [{ group: 'G', topics: { T: '*' } }])
  const msgId = offsetMessageId(receipt.storeHost, receipt.position)
  const wanted = fields({ consumerGroup: 'G', clientId: 'c', topic: 'T', msgId })
  await connection.request(REQUEST.consumeMessageDirectly, { fields: wanted })
  t.deepEqual(found(asked[0]!), [OURS])
})
