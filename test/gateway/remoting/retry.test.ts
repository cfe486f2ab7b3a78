import test from 'ava'
import { decodeMessages } from '../../../src/remoting/message.ts'
import { fields, heartbeat, pull, send, startFrontEnd } from '../../support/native-front-end.ts'
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
  t.is((await back({ offset: offset + 3 })).code, 22)
  t.is((await back({ offset: -5 })).code, 29)
  t.is((await back({ offset: 9_999_999_999 })).code, 22)
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
  t.regex(answer.remark!, /transactional messages are not served/)
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
