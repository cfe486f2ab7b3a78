import test, { type ExecutionContext } from 'ava'
import { nextTurn } from '../../../src/clock.ts'
import { RecordView } from '../../../src/model/record.ts'
import { TABLE_BYTES_MAX } from '../../../src/remoting/answer-bytes.ts'
import { REQUEST } from '../../../src/remoting/codes.ts'
import { type Command, encodeCommand, requestHeader } from '../../../src/remoting/command.ts'
import type { PushAnswer, RemotingConnection } from '../../../src/remoting/connection.ts'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import { LogLines } from '../../support/log-lines.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { decodeMessages } from '../../support/native/wire-message.ts'
import { eventually } from '../../support/waiting.ts'

async function failing(t: Parameters<typeof startFrontEnd>[0]) {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*', '%RETRY%G': '*' } }])
  const sent = await send(connection, { topic: 'T', properties: { TAGS: 'A', KEYS: 'k' } })
  const msgId = sent.fields.get('msgId')!
  const offset = Number.parseInt(msgId.slice(16), 16)
  const back = (values: Record<string, string | number>) =>
    connection.request(36, {
      fields: fields({
        offset,
        group: 'G',
        delayLevel: 0,
        originMsgId: msgId,
        originTopic: 'T',
        ...values,
      }),
    })
  return { ...front, connection, msgId, offset, back }
}

test('a message sent back comes by the retry topic after ten seconds, as itself', async (t) => {
  const { connection, back, clock, msgId } = await failing(t)
  t.is((await back({})).code, 0)
  const held = pull(connection, { topic: '%RETRY%G', sysFlag: 6, suspendMs: 29_000 })
  await clock.advanceAsync(9_900)
  await clock.advanceAsync(200)
  const [message] = decodeMessages((await held).body)
  t.is(message!.topic, '%RETRY%G')
  t.is(message!.reconsumeTimes, 1)
  t.is(message!.properties.get('RETRY_TOPIC'), 'T')
  t.is(message!.properties.get('ORIGIN_MESSAGE_ID'), msgId)
  t.is(message!.properties.get('TAGS'), 'A')
  t.is(message!.properties.get('KEYS'), 'k')
  t.is(message!.body.toString(), 'body')
})

for (const [what, values] of [
  ['a negative delay level', { delayLevel: -1 }],
  ["a limit of the sender's that is reached", { maxReconsumeTimes: 0 }],
] as const) {
  test(`${what} sends it to the dead letters`, async (t) => {
    const { connection, back } = await failing(t)
    t.is((await back(values)).code, 0)
    const answer = await eventually(async () => {
      const pulled = await pull(connection, { topic: '%DLQ%G', group: 'Reader' })
      return pulled.code === 0 ? pulled : undefined
    })
    t.is(decodeMessages(answer.body)[0]!.properties.get('RETRY_TOPIC'), 'T')
  })
}

test('sending back what is no message, or no more, is refused', async (t) => {
  const { back, offset } = await failing(t)
  for (const wrong of [offset + 3, -5, 9_999_999_999]) {
    const { code, remark } = await back({ offset: wrong })
    t.deepEqual([code, remark], [1, `look message by offset failed, ${wrong}`])
  }
})

test('a consumer that re-sends to the retry topic itself is counted and limited', async (t) => {
  const { connection } = await failing(t)
  const again = await send(connection, {
    topic: '%RETRY%G',
    j: 1,
    l: 2,
    properties: { RETRY_TOPIC: 'T' },
  })
  t.is(again.code, 0)
  const [message] = decodeMessages((await pull(connection, { topic: '%RETRY%G' })).body)
  t.is(message!.reconsumeTimes, 1)
  const tooOften = await send(connection, {
    topic: '%RETRY%G',
    j: 3,
    l: 2,
    properties: { RETRY_TOPIC: 'T' },
  })
  t.is(tooOften.code, 0)
  t.is((await pull(connection, { topic: '%DLQ%G', group: 'Reader' })).code, 0)
})

test('a transaction that was not begun is answered with what is the matter', async (t) => {
  const { connection } = await failing(t)
  const answer = await connection.request(37, {
    fields: fields({
      producerGroup: 'PG',
      tranStateTableOffset: 0,
      commitLogOffset: 0,
      commitOrRollback: 8,
      msgId: 'X',
    }),
  })
  t.not(answer.code, 0)
  t.regex(answer.remark!, /Find prepared transaction message failed/)
})

test('a user that may not read a message cannot have it sent to the retry topic of a group', async (t) => {
  const none = { admin: false, publish: [], create: [] }
  const front = await startFrontEnd(t, {
    users: {
      root: { ...none, admin: true, consume: [], secretKey: 'root-secret' },
      spy: { ...none, consume: ['G', 'T'], secretKey: 'spy-secret' },
    },
  })
  const root = await front.connect({
    credentials: { accessKey: 'root', secretKey: 'root-secret' },
  })
  const spy = await front.connect({ credentials: { accessKey: 'spy', secretKey: 'spy-secret' } })
  await front.broker.groups.ensure('G')
  const codes: number[] = []
  for (const topic of ['secret', 'T']) {
    const msgId = (await send(root, { topic })).fields.get('msgId')!
    const offset = Number.parseInt(msgId.slice(16), 16)
    const asked = { offset, group: 'G', delayLevel: -1, originMsgId: msgId, originTopic: topic }
    codes.push((await spy.request(36, { fields: fields(asked) })).code)
  }
  t.deepEqual(codes, [16, 0])
})

test('a copy for the retry topic may say only of a topic that its sender consumes that it comes from there', async (t) => {
  const none = { admin: false, publish: [], create: [] }
  const front = await startFrontEnd(t, {
    users: { spy: { ...none, consume: ['G', 'T'], secretKey: 'spy-secret' } },
  })
  const spy = await front.connect({ credentials: { accessKey: 'spy', secretKey: 'spy-secret' } })
  await front.broker.groups.ensure('G')
  const copyOf = async (text: string): Promise<number> => {
    const sent = await send(spy, { topic: '%RETRY%G', i: text })
    return sent.code
  }
  t.is(await copyOf('RETRY_TOPIC\u0001T\u0002'), 0)
  t.is(await copyOf('RETRY_TOPIC\u0001secret\u0002'), 16)
  t.is(await copyOf('RETRY_TOPIC\u0001T\u0002RETRY_TOPIC\u0001secret\u0002'), 16)
  t.is(await copyOf('RETRY_TOPIC\u0001secret\u0002RETRY_TOPIC\u0001T'), 16)
})

// What mqadmin and the dashboard ask of a member of a group, by way of the broker.

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

test('where members are is told of those that answer', async (t) => {
  const table = '{"messageQueueTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:7}}'
  const { admin } = await member(t, ({ code, fields: asked }) =>
    code === 221 && asked.get('topic') === 'T' ? { code: 0, body: Buffer.from(table) } : undefined,
  )
  const ask = (clientAddr: string): Promise<Command> =>
    admin.request(223, { fields: fields({ group: 'G', topic: 'T', clientAddr }) })
  const told =
    '{"consumerTable":{"c1":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:7}},"messageQueueTable":{}}'
  t.is((await ask('')).body.toString(), told)
  t.is((await ask('c1')).body.toString(), told)
  t.is((await ask('c2')).body.toString(), '{"consumerTable":{},"messageQueueTable":{}}')
  const none = await admin.request(223, { fields: fields({ group: 'H', topic: 'T' }) })
  t.is(none.remark, 'No Any Consumer online in the consumer group: [H]')
})

test('a member whose answer about its place is none is left out', async (t) => {
  const { admin } = await member(t, () => ({ code: 0, body: Buffer.from('none') }))
  const answer = await admin.request(223, { fields: fields({ group: 'G', topic: 'T' }) })
  t.is(answer.code, 0)
  t.is(answer.body.toString(), '{"consumerTable":{},"messageQueueTable":{}}')
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

test("a member's fields are not passed on: one caller's codec may have no room for them", async (t) => {
  const { admin } = await member(t, () => ({
    code: 0,
    fields: fields({ ['x'.repeat(70_000)]: 1 }),
  }))
  const answer = await askInfo(admin)
  t.is(answer.code, 0)
  t.is(answer.fields.size, 0)
})

test('an answer that is longer than clients take is refused in words', async (t) => {
  let length = TABLE_BYTES_MAX
  const { admin } = await member(t, () => ({ code: 0, body: Buffer.alloc(length) }))
  t.is((await askInfo(admin)).body.length, length)
  length++
  const refused = await askInfo(admin)
  t.not(refused.code, 0)
  t.regex(refused.remark!, /would have 16773121 bytes/)
})

test('a caller that goes before the answer is no fault to log', async (t) => {
  const log = new LogLines()
  const { connect, gateway, raw } = await startFrontEnd(t, { log })
  const silent = await raw()
  const group = { groupName: 'G', consumeType: 'CONSUME_PASSIVELY', messageModel: 'CLUSTERING' }
  const body = jsonBody({
    ...{ clientID: 'c1', producerDataSet: [] },
    consumerDataSet: [{ ...group, consumeFromWhere: '', subscriptionDataSet: [] }],
  })
  silent.send(encodeCommand(requestHeader({ code: REQUEST.heartbeat, opaque: 1 }), body))
  await silent.read(8)
  const admin = await connect()
  const gone = t.throwsAsync(askInfo(admin), { code: 'CLOSED' })
  // Answered behind it, so the member has been asked.
  t.is((await admin.request(REQUEST.getBrokerSystemTopics)).code, 0)
  admin.close()
  await gone
  while (gateway.connections > 1) await nextTurn()
  await nextTurn()
  t.deepEqual(log.events(), [])
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
