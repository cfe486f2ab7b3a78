import test, { type ExecutionContext } from 'ava'
import { groupDefaults } from '../../../src/model/group.ts'
import type { Command } from '../../../src/remoting/command.ts'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import {
  type FrontEndOptions,
  fields,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { PopClient, popped } from '../../support/native/pop-client.ts'
import { eventually } from '../../support/waiting.ts'

async function popping(t: ExecutionContext, messages = 0, options: FrontEndOptions = {}) {
  const front = await startFrontEnd(t, options)
  const connection = await front.connect()
  await front.broker.topics.ensure('T')
  for (let n = 0; n < messages; n++) {
    await send(connection, { topic: 'T', e: 0, body: Buffer.from(`m${n}`) })
  }
  return { ...front, connection, client: new PopClient(connection, 'T', 'G') }
}

const bodies = (taken: Awaited<ReturnType<PopClient['take']>>): string[] =>
  taken.map(({ message }) => message.body.toString())

test('a POP hands out messages of every queue, and an acknowledged one does not come again', async (t) => {
  const { connection, client, clock } = await popping(t)
  for (const queueId of [0, 1, 2, 3]) await send(connection, { topic: 'T', e: queueId })
  const taken = await client.take()
  t.deepEqual(taken.map(({ message }) => message.queueId).sort(), [0, 1, 2, 3])
  for (const { handle } of taken) t.is((await client.ack(handle)).code, 0)
  await clock.advanceAsync(20_000)
  t.is((await client.pop()).code, 210)
})

test('the answer names its time and offsets as clients read them', async (t) => {
  const { client, clock } = await popping(t, 3)
  const answer = await client.pop({ maxMsgNums: 2, queueId: 0 })
  t.is(answer.remark, 'FOUND')
  t.is(answer.fields.get('popTime'), String(clock.now()))
  t.is(answer.fields.get('invisibleTime'), '10000')
  t.is(answer.fields.get('startOffsetInfo'), '0 0 0')
  t.is(answer.fields.get('msgOffsetInfo'), '0 0 0,1')
  t.is(popped(answer)[0]!.message.properties.get('POP_CK'), undefined)
})

test('a message that is not acknowledged comes again at its time, by the retry topic', async (t) => {
  const { client, clock } = await popping(t, 1)
  const poppedAt = clock.now()
  t.is((await client.take()).length, 1)
  const held = client.pop({ pollTime: 60_000 })
  await eventually(async () => Number((await client.polling(-1)).fields.get('pollingNum')) === 1)
  await clock.advanceAsync(9_999)
  t.is((await client.pop()).code, 210)
  await clock.advanceAsync(1)
  const answer = await held
  const [again] = popped(answer)
  t.is(again!.message.topic, 'T')
  t.is(again!.message.body.toString(), 'm0')
  t.is(again!.message.reconsumeTimes, 1)
  t.is(again!.message.properties.get('1ST_POP_TIME'), String(poppedAt))
  t.is(again!.message.properties.get('ORIGIN_GROUP'), 'G')
  t.is(again!.handle, `0 ${answer.fields.get('popTime')} 10000 0 1 broker-a 0 0`)
  t.is((await client.ack(again!.handle)).code, 0)
  await clock.advanceAsync(20_000)
  t.is((await client.pop()).code, 210)
})

test('after the last attempt of the group a message is a dead letter', async (t) => {
  const { broker, client, clock } = await popping(t, 1)
  const group = await broker.groups.ensure('G')
  await broker.groups.put({ ...group, retryTimesMax: 2 })
  for (const attempt of [0, 1, 2]) {
    const [taken] = await eventually(async () => {
      const found = await client.take()
      return found.length > 0 ? found : undefined
    })
    t.is(taken!.message.reconsumeTimes, attempt)
    await clock.advanceAsync(10_000)
  }
  const dead = await eventually(async () => {
    const ranges = await broker.topics.ranges('%DLQ%G').catch(() => [])
    return ranges.find(({ maxOffset }) => maxOffset > 0)
  })
  t.is(Number(dead.maxOffset), 1)
  t.is((await client.pop()).code, 210)
})

test('a changed time begins again, under a new handle alone', async (t) => {
  const { client, clock } = await popping(t, 1)
  const [taken] = await client.take()
  await clock.advanceAsync(9_000)
  const changed = await client.change(taken!.handle, 10_000)
  t.is(changed.code, 0)
  t.is(changed.fields.get('popTime'), String(clock.now()))
  await client.ack(taken!.handle)
  await clock.advanceAsync(9_000)
  t.is((await client.pop()).code, 210)
  await clock.advanceAsync(1_000)
  const [again] = await eventually(async () => {
    const found = await client.take()
    return found.length > 0 ? found : undefined
  })
  t.is(again!.message.reconsumeTimes, 1)
})

test('handed back unseen, a message comes again without a failed attempt', async (t) => {
  const { client, clock } = await popping(t, 1)
  const [taken] = await client.take()
  await client.change(taken!.handle, 1_000, { suspend: true })
  await clock.advanceAsync(1_000)
  const [again] = await client.take()
  t.is(again!.message.reconsumeTimes, 0)
})

test('a handle that holds no longer settles nothing, and is answered as by Apache', async (t) => {
  const { client, clock } = await popping(t, 1)
  const [first] = await client.take()
  await clock.advanceAsync(10_000)
  const [second] = await eventually(async () => {
    const found = await client.take()
    return found.length > 0 ? found : undefined
  })
  t.is((await client.ack(first!.handle)).code, 0)
  t.is((await client.change(first!.handle, 0)).code, 0)
  t.is((await client.pop()).code, 210)
  t.is((await client.ack(second!.handle)).code, 0)
  t.is((await client.ack(second!.handle)).code, 0)
})

for (const [what, forge] of [
  ['of another time', (handle: string) => handle.replace(/ (\d+)/, (_, time) => ` ${time - 1}`)],
  ['of time 0', (handle: string) => handle.replace(/ \d+/, ' 0')],
] as const) {
  test(`a handle ${what} settles nothing`, async (t) => {
    const { client, clock } = await popping(t, 1)
    const [taken] = await client.take()
    t.is((await client.ack(forge(taken!.handle))).code, 0)
    t.is((await client.batchAck([forge(taken!.handle)])).code, 0)
    await clock.advanceAsync(10_000)
    t.is((await eventually(() => client.take().then((found) => found[0] && found))).length, 1)
  })
}

test('the handle of one group settles nothing in another', async (t) => {
  const { connection, client, clock } = await popping(t, 1)
  const other = new PopClient(connection, 'T', 'Other')
  const [taken] = await client.take()
  t.is((await other.take()).length, 1)
  await clock.advanceAsync(1)
  await other.ack(taken!.handle.replace(/ \d+/, ` ${clock.now()}`))
  await clock.advanceAsync(10_000)
  t.is((await eventually(() => other.take().then((found) => found[0] && found))).length, 1)
})

for (const [what, values, code] of [
  ['an offset beyond the queue', { offset: 5 }, 208],
  ['a queue that is not there', { queueId: 9 }, 13],
  ['no handle', { extraInfo: 'nonsense' }, 1],
  ['an unknown topic', { topic: 'Nowhere' }, 17],
] as const) {
  test(`${what} is refused with ${code}`, async (t) => {
    const { client } = await popping(t, 1)
    const [taken] = await client.take()
    t.is((await client.ack(taken!.handle, values)).code, code)
    t.is((await client.change(taken!.handle, 1000, values)).code, code)
  })
}

for (const [what, values, code] of [
  ['more than 32 messages', { maxMsgNums: 33 }, 29],
  ['a queue that is not there', { queueId: 4 }, 29],
  ['a topic that is not there', { topic: 'Nowhere' }, 17],
  ['a condition that cannot be read', { exp: 'a =', expType: 'SQL92' }, 23],
  ['no time', { invisibleTime: 0 }, 210],
] as const) {
  test(`a POP of ${what} is answered with ${code}`, async (t) => {
    const { client } = await popping(t, 1)
    t.is((await client.pop(values)).code, code)
  })
}

test('a POP whose client has given up takes nothing', async (t) => {
  const { client, clock } = await popping(t, 1)
  const late = await client.pop({ bornTime: clock.now() - 2_000, pollTime: 1_000 })
  t.is(late.code, 210)
  t.is((await client.take({ bornTime: clock.now() - 1_400, pollTime: 1_000 })).length, 1)
})

test('a held POP is answered by the next message, or shortly before its time is over', async (t) => {
  const { connection, client, clock } = await popping(t)
  const held = client.pop({ pollTime: 15_000 })
  await eventually(async () => Number((await client.polling(-1)).fields.get('pollingNum')) === 1)
  await send(connection, { topic: 'T' })
  const [taken] = popped(await held)
  await client.ack(taken!.handle)
  const empty = client.pop({ pollTime: 15_000 })
  await eventually(async () => Number((await client.polling(-1)).fields.get('pollingNum')) === 1)
  await clock.advanceAsync(14_950)
  t.is((await empty).code, 210)
})

test('too many held POPs of one group on one queue are told so, and the others answered', async (t) => {
  const { client, clock } = await popping(t)
  const answers = Promise.all(
    Array.from({ length: 1030 }, () => client.pop({ queueId: 0, pollTime: 15_000 })),
  )
  await eventually(async () => Number((await client.polling(0)).fields.get('pollingNum')) === 1024)
  t.is((await client.pop({ queueId: 1, pollTime: 0 })).code, 210)
  await clock.advanceAsync(15_000)
  const codes = (await answers).map(({ code }) => code)
  t.is(codes.filter((code) => code === 209).length, 6)
  t.is(codes.filter((code) => code === 210).length, 1024)
})

test('a POP or notification beyond what the broker holds is told so as well', async (t) => {
  const { client, clock } = await popping(t, 0, { broker: { heldReceivesMax: 1 } })
  const held = client.pop({ pollTime: 15_000 })
  await eventually(async () => Number((await client.polling(-1)).fields.get('pollingNum')) === 1)
  t.is((await client.pop({ pollTime: 15_000 })).code, 209)
  t.is((await client.notify({ pollTime: 15_000 })).fields.get('pollingFull'), 'true')
  await clock.advanceAsync(15_000)
  t.is((await held).code, 210)
})

test('tags and conditions select what is popped', async (t) => {
  const { connection, client } = await popping(t)
  const other = new PopClient(connection, 'T', 'Conditions')
  for (const tag of ['A', 'B', 'A']) {
    await send(connection, { topic: 'T', properties: { TAGS: tag, n: tag === 'A' ? '1' : '2' } })
  }
  const tagged = await client.take({ exp: 'A', expType: 'TAG' })
  t.deepEqual(
    tagged.map(({ message }) => message.properties.get('TAGS')),
    ['A', 'A'],
  )
  const chosen = await other.take({ exp: 'n > 1', expType: 'SQL92' })
  t.deepEqual(
    chosen.map(({ message }) => message.properties.get('TAGS')),
    ['B'],
  )
})

test('acknowledged together, messages of several queues and of the retry topic do not come again', async (t) => {
  const { connection, client, clock } = await popping(t, 2)
  await send(connection, { topic: 'T', e: 3 })
  t.is((await client.take({ queueId: 0, maxMsgNums: 1 })).length, 1)
  await clock.advanceAsync(10_000)
  const taken: Awaited<ReturnType<typeof client.take>> = []
  await eventually(async () => taken.push(...(await client.take())) === 3)
  t.deepEqual(taken.map(({ message }) => message.reconsumeTimes).sort(), [0, 0, 1])
  t.is((await client.batchAck(taken.map(({ handle }) => handle))).code, 0)
  await clock.advanceAsync(20_000)
  t.is((await client.pop()).code, 210)
})

test('acknowledgements that come together are each answered for themselves', async (t) => {
  const { connection, client, clock } = await popping(t, 3)
  const other = new PopClient(connection, 'T', 'Other')
  const taken = await client.take()
  const foreign = await other.take({ maxMsgNums: 1 })
  const [first, second, third] = taken.map(({ handle }) => handle)
  const answers = await Promise.all([
    client.ack(first!),
    client.ack(second!.replace(/ \d+/, ' 7')),
    other.ack(foreign[0]!.handle),
    client.ack(first!),
    client.ack(third!, { offset: 9 }),
    client.ack('7'),
    client.ack(third!),
  ])
  t.deepEqual(
    answers.map(({ code }) => code),
    [0, 0, 0, 0, 208, 1, 0],
  )
  await clock.advanceAsync(10_000)
  const again = await eventually(() => client.take().then((found) => found[0] && found))
  t.deepEqual(bodies(again), ['m1'])
})

test('a batch of more deliveries than one request can be about is refused', async (t) => {
  const { connection } = await popping(t)
  const batch = (count: number) =>
    connection.request(200_151, {
      body: jsonBody({ acks: Array.from({ length: count }, () => ({})) }),
    })
  t.is((await batch(4096)).code, 0)
  const refused = await batch(4097)
  t.is(refused.code, 29)
  t.regex(refused.remark!, /more than 4096 deliveries/)
})

test('a batch without acknowledgements is told that there was no message', async (t) => {
  const { client } = await popping(t)
  t.is((await client.batchAck([])).code, 208)
})

test('in order, a queue waits for what was popped of it, and an attempt is served again', async (t) => {
  const { client, clock } = await popping(t, 3)
  const first = await client.take({ order: true, attemptId: 'a1' })
  t.deepEqual(bodies(first), ['m0'])
  t.is(first[0]!.handle.split(' ')[3], '999')
  t.is((await client.pop({ order: true, attemptId: 'a2' })).code, 210)
  await clock.advanceAsync(5)
  const same = await client.take({ order: true, attemptId: 'a1' })
  t.deepEqual(bodies(same), ['m0'])
  t.not(same[0]!.handle, first[0]!.handle)
  await client.ack(first[0]!.handle)
  t.is((await client.pop({ order: true, attemptId: 'a2' })).code, 210)
  await client.ack(same[0]!.handle)
  t.deepEqual(bodies(await client.take({ order: true, attemptId: 'a2' })), ['m1'])
})

test('in order, what failed comes again in its place, with its count', async (t) => {
  const { client, clock } = await popping(t, 2)
  const [taken] = await client.take({ order: true })
  await client.change(taken!.handle, 1_000)
  await clock.advanceAsync(1_000)
  const answer = await client.pop({ order: true })
  t.is(popped(answer)[0]!.message.body.toString(), 'm0')
  t.is(popped(answer)[0]!.message.reconsumeTimes, 0)
  t.is(answer.fields.get('orderCountInfo'), '0 qo0%0 1;0 0 0')
})

test('a topic of priorities is popped from its highest queue down', async (t) => {
  const { broker, connection, client } = await popping(t)
  const topic = (await broker.topics.get('T'))!
  await broker.topics.put({ ...topic, attributes: { 'message.type': 'PRIORITY' } })
  for (const priority of ['1', '3', '0', '2', '3']) {
    await send(connection, { topic: 'T', properties: { _SYS_MSG_PRIORITY_: priority } })
  }
  const taken = await client.take({ maxMsgNums: 3 })
  t.deepEqual(
    taken.map(({ message }) => message.queueId),
    [3, 3, 2],
  )
  const rest = await client.take()
  t.deepEqual(
    rest.map(({ message }) => message.queueId),
    [1, 0],
  )
})

test("a group's priority.factor says how often priorities count", async (t) => {
  const { broker, connection, client } = await popping(t)
  const topic = (await broker.topics.get('T'))!
  await broker.topics.put({ ...topic, attributes: { 'message.type': 'PRIORITY' } })
  const firstOf = async (factor: string): Promise<number[]> => {
    const group = (await broker.groups.get('G')) ?? groupDefaults('G')
    await broker.groups.put({ ...group, attributes: { 'priority.factor': factor } })
    const queues: number[] = []
    for (let i = 0; i < 4; i++) {
      for (const priority of ['0', '1', '2', '3']) {
        await send(connection, { topic: 'T', properties: { _SYS_MSG_PRIORITY_: priority } })
      }
      const [first] = await client.take({ maxMsgNums: 1 })
      queues.push(first!.message.queueId)
    }
    return queues
  }
  t.deepEqual(await firstOf('100'), [3, 3, 3, 3])
  t.true((await firstOf('50')).filter((queue) => queue === 3).length >= 2)
  t.true(new Set(await firstOf('0')).size > 1)
})

test('a notification tells of a message without taking it', async (t) => {
  const { connection, client } = await popping(t)
  const has = async (values = {}) => (await client.notify(values)).fields.get('hasMsg')
  t.is(await has(), 'false')
  const held = has({ pollTime: 15_000 })
  await eventually(async () => Number((await client.polling(-1)).fields.get('pollingNum')) === 1)
  await send(connection, { topic: 'T' })
  t.is(await held, 'true')
  t.is(await has(), 'true')
  t.is((await client.take()).length, 1)
  t.is(await has(), 'false')
})

for (const [initMode, expected] of [
  [0, ['m0', 'm1', 'm2']],
  [1, ['m2']],
] as const) {
  test(`asking for a notification leaves to the first POP where the group starts: ${initMode}`, async (t) => {
    const { connection, client } = await popping(t, 2)
    t.is((await client.notify()).fields.get('hasMsg'), 'true')
    t.is((await client.notify({ exp: 'other' })).fields.get('hasMsg'), 'false')
    const first = await client.take({ initMode })
    await send(connection, { topic: 'T', body: Buffer.from('m2') })
    const all = [...first, ...(await client.take({ initMode }))]
    t.deepEqual(bodies(all).sort(), expected)
    t.is((await client.notify()).fields.get('hasMsg'), 'false')
  })
}

test('what was popped before a crash comes again, and its handle settles nothing', async (t) => {
  const { client, crash } = await popping(t, 2)
  const [acked, open] = await client.take()
  await client.ack(acked!.handle)
  const after = await crash()
  const again = new PopClient(await after.connect(), 'T', 'G')
  t.is((await again.ack(open!.handle)).code, 0)
  t.true(bodies(await again.take()).includes('m1'))
})

test('the way that a group is to read a topic may be said before there is a member', async (t) => {
  const { connection, broker } = await popping(t)
  const body = Buffer.from('{"topic":"T","consumerGroup":"New","mode":"POP"}')
  t.is((await connection.request(401, { body })).code, 0)
  t.true((await broker.groups.get('New')) !== undefined)
})

test('how a group is to read a topic is forgotten with either, and the settings are bounded', async (t) => {
  const { connection, broker } = await popping(t)
  const set = (topic: string, consumerGroup: string): Promise<Command> => {
    const body = Buffer.from(JSON.stringify({ topic, consumerGroup, mode: 'POP' }))
    return connection.request(401, { body })
  }
  const settings = async (): Promise<string[]> => {
    const ids: string[] = []
    for await (const page of broker.states.list('request-mode/'))
      ids.push(...page.map(({ id }) => id))
    return ids.sort()
  }
  await broker.topics.ensure('Other')
  for (const topic of ['T', 'Other']) for (const group of ['A', 'B']) await set(topic, group)
  await connection.request(207, { fields: fields({ groupName: 'A', cleanOffset: 'true' }) })
  t.deepEqual(await settings(), ['request-mode/B/Other', 'request-mode/B/T'])
  await connection.request(215, { fields: fields({ topic: 'Other' }) })
  t.deepEqual(await settings(), ['request-mode/B/T'])
  const mode = (await broker.states.load('request-mode/B/T'))!.value
  const more = Array.from({ length: 4095 }, (_, i) => `request-mode/old-${i}/T`)
  await Promise.all(more.map((id) => broker.states.save(id, mode)))
  const refused = await set('T', 'C')
  t.is(refused.code, 215)
  t.regex(refused.remark!, /4096 settings/)
  t.is((await set('T', 'B')).code, 0)
})

test('a client may pop only topics and groups that it may consume', async (t) => {
  const none = { admin: false, publish: [], create: [] }
  const front = await startFrontEnd(t, {
    users: {
      root: { ...none, admin: true, consume: [], secretKey: 'root-secret' },
      own: { ...none, consume: ['T', 'G'], secretKey: 'own-secret' },
    },
  })
  const connect = (accessKey: string) =>
    front.connect({ credentials: { accessKey, secretKey: `${accessKey}-secret` } })
  const root = await connect('root')
  await front.broker.topics.ensure('T')
  await send(root, { topic: 'T' })
  const own = await connect('own')
  const client = new PopClient(own, 'T', 'G')
  const [taken] = await client.take()
  const foreign = new PopClient(own, 'T', 'Foreign')
  const codes = [
    foreign.pop(),
    foreign.ack(taken!.handle),
    foreign.change(taken!.handle, 1),
    foreign.batchAck([taken!.handle]),
    foreign.notify(),
    foreign.polling(0),
    new PopClient(own, 'Other', 'G').pop(),
    client.ack(taken!.handle, { topic: '%RETRY%G_Other' }),
    own.request(401, {
      fields: fields({}),
      body: Buffer.from('{"topic":"T","consumerGroup":"G"}'),
    }),
  ]
  for (const { code } of await Promise.all(codes)) t.is(code, 16)
  t.is((await client.ack(taken!.handle)).code, 0)
})
