// What mqadmin and the dashboard ask of a member of a group, by way of the broker.
import test, { type ExecutionContext } from 'ava'
import { RecordView } from '../../../src/model/record.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { PushAnswer, RemotingConnection } from '../../../src/remoting/connection.ts'
import { fields, heartbeat, send, startFrontEnd } from '../../support/native-front-end.ts'

const RUNNING_INFO = 307
const CONSUME_DIRECTLY = 309

/** A member of the group G whose client answers so. */
async function member(t: ExecutionContext, onPush: (command: Command) => PushAnswer | undefined) {
  const { connect, clock } = await startFrontEnd(t)
  const consumer = await connect({ onPush })
  await heartbeat(consumer, 'c1', [{ group: 'G', topics: { T: '*' } }])
  return { consumer, clock, admin: await connect() }
}

const askInfo = (admin: RemotingConnection, clientId = 'c1', more = {}): Promise<Command> =>
  admin.request(RUNNING_INFO, {
    fields: fields({ consumerGroup: 'G', clientId, jstackEnable: false, ...more }),
    timeoutMs: 60_000,
  })

test("a member's running information is its own answer", async (t) => {
  const asked: Command[] = []
  const { admin } = await member(t, (command) => {
    if (command.code !== RUNNING_INFO) return undefined
    asked.push(command)
    return { code: 0, body: Buffer.from('{"jstack":""}') }
  })
  const answer = await askInfo(admin, 'c1', { AccessKey: 'not for others', Signature: 'x' })
  t.is(answer.code, 0)
  t.is(answer.body.toString(), '{"jstack":""}')
  t.deepEqual(
    [...asked[0]!.fields],
    [
      ['consumerGroup', 'G'],
      ['clientId', 'c1'],
      ['jstackEnable', 'false'],
    ],
  )
})

test('a member that refuses is heard in its own words, one that is not there in ours', async (t) => {
  const { admin } = await member(t, () => ({ code: 1, remark: 'in its own words' }))
  const refused = await askInfo(admin)
  t.is(refused.code, 1)
  t.is(refused.remark, 'in its own words')
  const missing = await askInfo(admin, 'c2')
  t.is(missing.code, 1)
  t.regex(missing.remark!, /<G> <c2> not online/)
})

test('a client that does not know the question says so', async (t) => {
  const { admin } = await member(t, () => undefined)
  t.is((await askInfo(admin)).code, 3)
})

test('a member that goes away is an answer too', async (t) => {
  let consumer: RemotingConnection | undefined
  const joined = await member(t, ({ code }) => {
    if (code === RUNNING_INFO) consumer!.close()
    return undefined
  })
  consumer = joined.consumer
  const answer = await askInfo(joined.admin)
  t.not(answer.code, 0)
  t.regex(answer.remark!, /the client is gone/)
})

test('a message that a member consumes once more comes to it whole', async (t) => {
  const records: Buffer[] = []
  const asked: Command[] = []
  const { admin } = await member(t, (command) => {
    if (command.code !== CONSUME_DIRECTLY) return undefined
    asked.push(command)
    records.push(Buffer.from(command.body))
    return { code: 0, body: Buffer.from('{"consumeResult":"CR_SUCCESS"}') }
  })
  const sent = await send(admin, { topic: 'T', body: Buffer.from('again') })
  const msgId = sent.fields.get('msgId')!
  const answer = await admin.request(CONSUME_DIRECTLY, {
    fields: fields({ consumerGroup: 'G', clientId: 'c1', msgId, topic: 'T' }),
  })
  t.is(answer.body.toString(), '{"consumeResult":"CR_SUCCESS"}')
  t.is(new RecordView(records[0]!).body.toString(), 'again')
  t.is(asked[0]!.fields.get('brokerName'), 'broker-a')
  const missing = `${msgId.slice(0, 16)}000000000FFFFFFF`
  const none = await admin.request(CONSUME_DIRECTLY, {
    fields: fields({ consumerGroup: 'G', clientId: 'c1', msgId: missing }),
  })
  t.not(none.code, 0)
})
