import test from 'ava'
import type { QueueLag } from '../../../src/model/message.ts'
import { queueOffset } from '../../../src/model/positions.ts'
import { TABLE_BYTES_MAX } from '../../../src/remoting/answer-bytes.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import {
  decodeConsumerConnections,
  decodeConsumeStats,
  decodeGroupConfig,
  decodeGroupTable,
  decodeProducerConnections,
  encodeGroupConfig,
} from '../../../src/remoting/requests/groups.ts'
import { decodeTable } from '../../../src/remoting/requests/key-values.ts'
import { decodeQueuePositions } from '../../../src/remoting/requests/reset.ts'
import { decodeTopicList } from '../../../src/remoting/requests/route.ts'
import {
  decodeGroupList,
  decodeTopicConfig,
  decodeTopicStats,
  decodeTopicTable,
} from '../../../src/remoting/requests/topics.ts'
import { queueOf } from '../../support/broker.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { overridden } from '../../support/overridden.ts'
import { eventually } from '../../support/waiting.ts'

const made = { topic: 'Made', defaultTopic: 'TBW102', readQueueNums: 3, writeQueueNums: 2 }
const rest = { perm: 6, topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: true }

test('a topic is made, shown, changed and deleted', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const show = (): Promise<Command> =>
    connection.request(351, { fields: fields({ topic: 'Made' }) })
  t.is((await show()).code, 17)
  t.is((await connection.request(17, { fields: fields({ ...made, ...rest }) })).code, 0)
  t.deepEqual(decodeTopicConfig((await show()).body), {
    name: 'Made',
    readQueues: 3,
    writeQueues: 2,
    perm: 6,
    ordered: true,
    sysFlag: 0,
  })
  await connection.request(17, { fields: fields({ ...made, ...rest, perm: 4 }) })
  t.is(decodeTopicConfig((await show()).body).perm, 4)
  t.is((await send(connection, { topic: 'Made' })).code, 16)
  const table = decodeTopicTable((await connection.request(21)).body)
  t.true(table.topics.some((topic) => topic.name === 'Made'))
  for (let i = 0; i < 2; i++) {
    t.is((await connection.request(215, { fields: fields({ topic: 'Made' }) })).code, 0)
  }
  t.is((await show()).code, 17)
})

test('a request that makes or deletes a topic is answered when the name servers know', async (t) => {
  const releases: (() => void)[] = []
  const told = (): Promise<void> => new Promise((release) => releases.push(release))
  const { connect } = await startFrontEnd(t, {
    routes: { told, isKnown: true, queuesOf: async () => undefined },
  })
  const [one, other] = [await connect(), await connect()]
  const changes = [
    { code: 17, fields: fields({ ...made, ...rest }), after: 0 },
    { code: 215, fields: fields({ topic: 'Made' }), after: 17 },
  ]
  for (const [i, { code, fields: values, after }] of changes.entries()) {
    let isAnswered = false
    const change = one.request(code, { fields: values }).then((answer) => {
      isAnswered = true
      return answer
    })
    const show = { fields: fields({ topic: 'Made' }) }
    while ((await other.request(351, show)).code !== after);
    t.false(isAnswered)
    const release = await eventually(async () => releases[i])
    release()
    t.is((await change).code, 0)
  }
})

for (const attributes of [
  ...['', '+message.type=FIFO', '+queue.type=SimpleCQ,+message.type=NORMAL'],
  ...['TRANSACTION', 'PRIORITY', 'LITE', 'MIXED'].map((type) => `+message.type=${type}`),
]) {
  test(`a topic is made with the attributes '${attributes}', and shows them`, async (t) => {
    const { connect, broker } = await startFrontEnd(t)
    const connection = await connect()
    const asked = fields({ ...made, ...rest, attributes })
    t.is((await connection.request(17, { fields: asked })).code, 0)
    t.is((await broker.topics.get('Made'))?.readQueues, 3)
    const shown = await connection.request(351, { fields: fields({ topic: 'Made' }) })
    const { attributes: kept } = JSON.parse(shown.body.toString()) as { attributes: object }
    const given = attributes.split(',').filter((one) => one !== '')
    t.deepEqual(kept, Object.fromEntries(given.map((one) => one.slice(1).split('='))))
  })
}

test('the type of messages of a topic survives an update that does not name it, and a restart', async (t) => {
  const { connect, broker, reopen } = await startFrontEnd(t)
  const connection = await connect()
  const put = (attributes: string, perm: number): Promise<Command> =>
    connection.request(17, { fields: fields({ ...made, ...rest, perm, attributes }) })
  await put('+message.type=FIFO', 6)
  await put('', 4)
  t.deepEqual((await broker.topics.get('Made'))?.attributes, { 'message.type': 'FIFO' })
  await put('+message.type=DELAY', 6)
  const again = await reopen()
  t.deepEqual((await again.broker.topics.get('Made'))?.attributes, { 'message.type': 'DELAY' })
})

test('a topic of more than one tag is refused in words, and not made', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  const asked = fields({ ...made, ...rest, topicFilterType: 'MULTI_TAG' })
  const answer = await connection.request(17, { fields: asked })
  t.is(answer.code, 29)
  t.regex(answer.remark!, /no filter type 'MULTI_TAG'/)
  t.is(await broker.topics.get('Made'), undefined)
})

/** A configuration as mqadmin of 5.x writes it, with nothing as by default. */
const groupConfig = {
  attributes: {},
  brokerId: 2,
  consumeBroadcastEnable: false,
  consumeEnable: false,
  consumeFromMinEnable: false,
  consumeMessageOrderly: true,
  consumeTimeoutMinute: 30,
  groupName: 'G',
  groupRetryPolicy: { type: 'CUSTOMIZED' },
  groupSysFlag: 1,
  notifyConsumerIdsChangedEnable: false,
  retryMaxTimes: 5,
  retryQueueNums: 2,
  whichBrokerWhenConsumeSlowly: 3,
}

test('a group is shown as it was made, after a crash too, and as by default once it is made so', async (t) => {
  const front = await startFrontEnd(t)
  const connection = await front.connect()
  const put = (config: object): Promise<Command> =>
    connection.request(200, { body: Buffer.from(JSON.stringify(config)) })
  const shownBy = async (by: RemotingConnection): Promise<object> =>
    JSON.parse((await by.request(352, { fields: fields({ group: 'G' }) })).body.toString())
  t.is((await put(groupConfig)).code, 0)
  t.deepEqual(await shownBy(connection), groupConfig)
  const again = await front.crash()
  t.deepEqual(await shownBy(await again.connect()), groupConfig)
  await put({ groupName: 'G' })
  t.deepEqual(await shownBy(connection), {
    ...{ attributes: {}, groupName: 'G', groupRetryPolicy: { type: 'CUSTOMIZED' } },
    ...{ brokerId: 0, whichBrokerWhenConsumeSlowly: 1, groupSysFlag: 0 },
    ...{ consumeEnable: true, consumeBroadcastEnable: true, consumeFromMinEnable: true },
    ...{ consumeMessageOrderly: false, consumeTimeoutMinute: 15 },
    ...{ notifyConsumerIdsChangedEnable: true, retryMaxTimes: 16, retryQueueNums: 1 },
  })
})

for (const [field, value] of [
  ['groupRetryPolicy', { type: 'EXPONENTIAL', exponentialRetryPolicy: { initial: 1000 } }],
  ['subscriptionDataSet', [{ topic: 'T', expressionType: 'TAG', expression: '*', version: 1 }]],
] as const) {
  test(`a group with a ${field} of its own is refused by that name, and not made`, async (t) => {
    const { connect, broker } = await startFrontEnd(t)
    const connection = await connect()
    const body = Buffer.from(JSON.stringify({ ...groupConfig, [field]: value }))
    const answer = await connection.request(200, { body })
    t.is(answer.code, 29)
    t.regex(answer.remark!, new RegExp(`no ${field}`))
    t.is(await broker.groups.get('G'), undefined)
  })
}

test('the attribute priority.factor of a group is kept, shown, changed and taken away', async (t) => {
  const started = await startFrontEnd(t)
  const connection = await started.connect()
  const put = async (attributes: Record<string, string>, more = {}) => {
    const body = Buffer.from(JSON.stringify({ ...groupConfig, ...more, attributes }))
    return (await connection.request(200, { body })).code
  }
  const shown = async (): Promise<unknown> => {
    const { body } = await connection.request(352, { fields: fields({ group: 'G' }) })
    return (JSON.parse(body.toString()) as { attributes: object }).attributes
  }
  t.is(await put({ '+priority.factor': '30' }), 0)
  t.deepEqual(await shown(), { 'priority.factor': '30' })
  t.is(await put({}, { retryMaxTimes: 3 }), 0)
  t.deepEqual(await shown(), { 'priority.factor': '30' })
  const again = await started.crash()
  t.deepEqual((await again.broker.groups.get('G'))?.attributes, { 'priority.factor': '30' })
  t.is(await put({ '-priority.factor': '' }), 0)
  t.deepEqual(await shown(), {})
})

for (const [attribute, value, code] of [
  ['+priority.factor', '101', 1],
  ['+priority.factor', 'x', 1],
  ['priority.factor', '5', 1],
  ['-priority.factor', '', 1],
  ['+no.such', '5', 1],
  ['+lite.bind.topic', 'T', 29],
  ['+lite.sub.model', 'Shared', 29],
] as const) {
  test(`a group with '${attribute}=${value}' is refused by that name, and not made`, async (t) => {
    const { connect, broker } = await startFrontEnd(t)
    const connection = await connect()
    const body = Buffer.from(JSON.stringify({ ...groupConfig, attributes: { [attribute]: value } }))
    const answer = await connection.request(200, { body })
    t.is(answer.code, code, answer.remark)
    t.is(await broker.groups.get('G'), undefined)
  })
}

test('a topic with an attribute that is true of none here is refused by its name, and not made', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  for (const attribute of [
    ...['+queue.type=BatchCQ', '+cleanup.policy=COMPACTION', '+reserve.time=60'],
    '+lite.topic.expiration=5',
  ]) {
    const asked = fields({ ...made, ...rest, attributes: `+message.type=NORMAL,${attribute}` })
    const answer = await connection.request(17, { fields: asked })
    t.is(answer.code, 29, attribute)
    t.true(answer.remark!.includes(`the attribute '${attribute.slice(1)}'`), answer.remark)
  }
  t.is(await broker.topics.get('Made'), undefined)
})

for (const [what, attributes, remark] of [
  ['is not known', '+colour=red', /^unsupported key: colour$/],
  ['has a value of its own making', '+message.type=BOGUS', /^value is not in set: \[.*PRIORITY/],
  ['is no number', '+reserve.time=long', /^For input string: "long"$/],
  ['is out of range', '+reserve.time=-2', /^value is not in range\(-1, 9223372036854775807\)$/],
  ['is set without a sign', 'message.type=FIFO', /^add\/alter attribute format is wrong: message/],
  ['is taken away without a sign', 'message.type', /^delete attribute format is wrong: message/],
  ['is there twice', '+message.type=FIFO,+message.type=DELAY', /^key duplication: \+message/],
  ['has two signs', '++message.type=FIFO', /^kv string format wrong\.$/],
  ['is taken from a new topic', '-message.type', /^only add attribute is supported while creating/],
] as const) {
  test(`an attribute of a topic that ${what} is refused in the words of Apache's broker`, async (t) => {
    const { connect, broker } = await startFrontEnd(t)
    const connection = await connect()
    const answer = await connection.request(17, {
      fields: fields({ ...made, ...rest, attributes }),
    })
    t.is(answer.code, 1)
    t.regex(answer.remark!, remark)
    t.is(await broker.topics.get('Made'), undefined)
  })
}

test('of a topic that is there, attributes change and go as with Apache', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  const update = (attributes: string): Promise<Command> =>
    connection.request(17, { fields: fields({ ...made, ...rest, attributes }) })
  await update('+message.type=FIFO,+queue.type=SimpleCQ')
  const unchangeable = await update('+queue.type=SimpleCQ')
  t.regex(unchangeable.remark!, /^attempt to update an unchangeable attribute. key: queue.type$/)
  t.regex((await update('-reserve.time')).remark!, /^attempt to delete a nonexistent key: reserve/)
  t.is((await update('-message.type')).code, 0)
  t.deepEqual((await broker.topics.get('Made'))?.attributes, { 'queue.type': 'SimpleCQ' })
})

test('a topic that makes no sense, or belongs to the machinery, is refused', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const changed of [
    { topic: 'a/b' },
    { readQueueNums: 0 },
    { readQueueNums: 99_999 },
    { perm: 64 },
  ]) {
    const answer = await connection.request(17, {
      fields: fields({ ...made, ...rest, ...changed }),
    })
    t.is(answer.code, 29, JSON.stringify(changed))
  }
  t.is((await connection.request(215, { fields: fields({ topic: 'TBW102' }) })).code, 16)
})

test("a topic's queues are measured", async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 3; i++) await send(connection, { topic: 'T', e: 1 })
  const answer = await connection.request(202, { fields: fields({ topic: 'T' }) })
  // The form that Java's reader demands: objects as keys.
  t.regex(
    answer.body.toString(),
    /^\{"offsetTable":\{\{"brokerName":"broker-a","queueId":0,"topic":"T"\}:\{/,
  )
  const stats = decodeTopicStats(answer.body)
  t.deepEqual(stats[1], {
    queue: { brokerName: 'broker-a', queueId: 1, topic: 'T' },
    minOffset: 0,
    maxOffset: 3,
    lastUpdateTimestamp: clock.now(),
  })
  t.is((await connection.request(202, { fields: fields({ topic: 'None' }) })).code, 17)
})

test('a group is made, shown and deleted', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const show = (): Promise<Command> => connection.request(352, { fields: fields({ group: 'G' }) })
  t.is((await show()).code, 26)
  const group = {
    name: 'G',
    consumeEnabled: true,
    broadcastEnabled: false,
    retryQueues: 1,
    retryTimesMax: 3,
  }
  t.is((await connection.request(200, { body: encodeGroupConfig(group) })).code, 0)
  t.deepEqual(decodeGroupConfig((await show()).body), group)
  t.deepEqual(
    decodeGroupTable((await connection.request(201)).body).filter(({ name }) => name === 'G'),
    [group],
  )
  for (let i = 0; i < 2; i++) {
    t.is((await connection.request(207, { fields: fields({ groupName: 'G' }) })).code, 0)
  }
  t.is((await show()).code, 26)
  t.is(
    (await connection.request(200, { body: encodeGroupConfig({ ...group, name: 'a b' }) })).code,
    29,
  )
})

test('the progress of a group is measured', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 3; i++) await send(connection, { topic: 'T' })
  await pull(connection, { topic: 'T', sysFlag: 5, commitOffset: 2 })
  const answer = await connection.request(208, {
    fields: fields({ consumerGroup: 'G', topic: 'T' }),
  })
  const [progress] = decodeConsumeStats(answer.body).filter(({ queue }) => queue.queueId === 0)
  t.deepEqual(progress, {
    queue: { brokerName: 'broker-a', queueId: 0, topic: 'T' },
    brokerOffset: 3,
    consumerOffset: 2,
    pullOffset: 2,
    lastTimestamp: clock.now(),
  })
})

test('mqadmin skips what a group has not consumed: it names no offset by -1', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 3; i++) await send(connection, { topic: 'T' })
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: '*' } }])
  const skip = { group: 'G', topic: 'T', queueId: -1, offset: -1, timestamp: -1, isForce: true }
  const answer = await connection.request(222, { fields: fields(skip) })
  t.deepEqual(
    decodeQueuePositions(answer.body).map(({ queue, offset }) => [queue.queueId, offset]),
    [
      [0, 3],
      [1, 0],
      [2, 0],
      [3, 0],
    ],
  )
  t.is(await broker.cursors.committed('G', queueOf('T')), 3 as never)
})

test('the connected clients are listed', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const of = (code: number, values: Record<string, string>): Promise<Command> =>
    connection.request(code, { fields: fields(values) })
  t.is((await of(203, { consumerGroup: 'G' })).code, 206)
  t.is((await of(204, { producerGroup: 'PG' })).code, 1)
  await heartbeat(connection, 'c1', [{ group: 'G', topics: { T: 'A || B' } }], ['PG'])
  const consumers = decodeConsumerConnections((await of(203, { consumerGroup: 'G' })).body)
  t.is(consumers.connections[0]?.clientId, 'c1')
  t.regex(consumers.connections[0]!.clientAddr, /^127\.0\.0\.1:\d+$/)
  t.is(consumers.messageModel, 'CLUSTERING')
  t.is(consumers.subscriptions[0]?.subString, 'A || B')
  t.is(decodeProducerConnections((await of(204, { producerGroup: 'PG' })).body)[0]?.clientId, 'c1')
  t.deepEqual(decodeGroupList((await of(300, { topic: 'T' })).body), ['G'])
  t.true(decodeTopicList((await of(343, { group: 'G' })).body).includes('T'))
  const subscription = (await of(345, { group: 'G', topic: 'T' })).body.toString()
  t.regex(subscription, /"subString":"A \|\| B"/)
})

test('the broker tells its settings and its state in the words that mqadmin parses', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 3; i++) await send(connection, { topic: 'T' })
  const settings = await connection.request(26)
  t.regex(settings.body.toString(), /^brokerName=broker-a$/m)
  t.regex(settings.body.toString(), /^flushDiskType=SYNC_FLUSH$/m)
  t.truthy(JSON.parse(settings.fields.get('version')!))
  const state = decodeTable((await connection.request(28)).body)
  t.is(state.get('msgPutTotalTodayNow'), '3')
  t.is(state.get('brokerVersionDesc'), 'V5_3_3')
  t.is(state.get('putTps')!.split(' ').length, 3)
  t.is(state.get('getTransferedTps'), state.get('getTransferredTps'))
  // As rocketmq-exporter cuts them up.
  const steps = state.get('putMessageDistributeTime')!.split(' ')
  t.is(steps.length, 13)
  t.is(
    steps.reduce((sum, step) => sum + Number(step.split(':')[1]), 0),
    3,
  )
  t.regex(
    state.get('commitLogDirCapacity')!,
    /^Total : [0-9.]+ [KMGTP]?i?B, Free : [0-9.]+ [KMGTP]?i?B\.$/,
  )
  t.true(Number(state.get('commitLogDiskRatio')) > 0)
  t.is(state.get('trivet_messages_in_total{protocol_type="remoting"}'), '3')
  const system = decodeTopicList((await connection.request(305)).body)
  for (const name of ['TBW102', 'DefaultCluster_REPLY_TOPIC']) t.true(system.includes(name), name)
})

test('an unknown request is answered with code 3', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const code of [0, 22, 9999, 200_070, -7]) {
    const answer = await connection.request(code)
    t.is(answer.code, 3)
    t.is(answer.remark, ` request type ${code} not supported`)
  }
})

for (const [cleanOffset, committed] of [
  [undefined, 2],
  [false, 2],
  [true, undefined],
] as const) {
  test(`deleting a group with cleanOffset ${cleanOffset} leaves the offset ${committed}`, async (t) => {
    const { connect, broker } = await startFrontEnd(t)
    const connection = await connect()
    for (let i = 0; i < 3; i++) await send(connection, { topic: 'T' })
    await pull(connection, { topic: 'T', sysFlag: 5, commitOffset: 2 })
    const asked = { groupName: 'G', ...(cleanOffset !== undefined && { cleanOffset }) }
    t.is((await connection.request(207, { fields: fields(asked) })).code, 0)
    t.is(await broker.groups.get('G'), undefined)
    t.is(await broker.cursors.committed('G', queueOf('T')), committed as never)
  })
}

test('a table that is longer than clients take is refused in words, and a part of it is told', async (t) => {
  const names = ['A', 'B'].map((letter) => letter.repeat(127))
  const lags = names.flatMap((topic) =>
    Array.from({ length: 40_000 }, (_, queueId): QueueLag => {
      const ends = { minOffset: queueOffset(0), maxOffset: queueOffset(0) }
      return { ...queueOf(topic, queueId), ...ends, committedOffset: -1, inFlight: 0, lag: 0 }
    }),
  )
  const { connect } = await startFrontEnd(t, {
    bend: (broker) =>
      overridden(broker, { groups: overridden(broker.groups, { lags: async () => lags }) }),
  })
  const connection = await connect()
  const ask = (asked: Record<string, string>): Promise<Command> =>
    connection.request(208, { fields: fields({ consumerGroup: 'G', ...asked }) })
  const refused = await ask({})
  t.is(refused.code, 29)
  t.regex(refused.remark!, new RegExp(`bytes, and clients take ${TABLE_BYTES_MAX} at most`))
  const part = await ask({ topic: names[1]! })
  t.is(part.code, 0)
  t.is(decodeConsumeStats(part.body).length, 40_000)
})
