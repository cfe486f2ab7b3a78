// The questions of mqadmin and the dashboard about progress, rates and upkeep.
import test from 'ava'
import { tagHash } from '../../../src/model/tag-filter.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import { parseObject } from '../../../src/remoting/json/json-members.ts'
import { decodeGroupTable } from '../../../src/remoting/requests/groups.ts'
import { receiveRequest } from '../../support/broker.ts'
import {
  fields,
  heartbeat,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'

const ask = (
  connection: RemotingConnection,
  code: number,
  values: Readonly<Record<string, string | number | boolean>> = {},
): Promise<Command> => connection.request(code, { fields: fields(values) })

test('a list of topics is made whole, or not at all', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  const put = (...topics: readonly object[]): Promise<Command> =>
    connection.request(18, { body: jsonBody({ topicConfigList: topics as never }) })
  const two = { readQueueNums: 2, writeQueueNums: 3, perm: 6 }
  const fifo = { topicName: 'B', ...two, attributes: { '+message.type': 'FIFO' } }
  t.is((await put({ topicName: 'A', ...two }, fifo)).code, 0)
  t.is((await broker.topics.get('A'))?.writeQueues, 3)
  t.deepEqual((await broker.topics.get('B'))?.attributes, { 'message.type': 'FIFO' })
  t.is((await put({ topicName: 'C', ...two }, { topicName: 'no name', ...two })).code, 29)
  t.is(await broker.topics.get('C'), undefined)
})

test('a list of groups is made whole, or not at all', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  const put = (...groups: readonly object[]): Promise<Command> =>
    connection.request(225, { body: jsonBody({ groupConfigList: groups as never }) })
  t.is((await put({ groupName: 'A', retryMaxTimes: 5 }, { groupName: 'B' })).code, 0)
  const table = decodeGroupTable((await connection.request(201)).body)
  t.is(table.find(({ name }) => name === 'A')?.retryTimesMax, 5)
  t.true(table.some(({ name }) => name === 'B'))
  t.is((await put({ groupName: 'C' }, { groupName: 'D', attributes: { '+a': 'b' } })).code, 1)
  t.is(await broker.groups.get('C'), undefined)
})

test('progress and rates of a group, in all its forms', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 3; i++) await send(connection, { topic: 'T', queueId: 0 })
  await heartbeat(connection, 'c', [{ group: 'G', topics: { T: '*' } }])
  await pull(connection, { topic: 'T', group: 'G', maxMsgNums: 2 })
  await ask(connection, 15, { consumerGroup: 'G', topic: 'T', queueId: 0, commitOffset: 2 })
  await clock.advance(1000)
  const inBroker = (await ask(connection, 317, { isOrder: false })).body.toString()
  t.regex(inBroker, /"G":\[\{"consumeTps":2,"offsetTable":\{\{"brokerName":"broker-a",/)
  t.regex(inBroker, /"brokerOffset":3,"consumerOffset":2/)
  t.regex(inBroker, /"totalDiff":1,/)
  const ordered = (await ask(connection, 317, { isOrder: true })).body.toString()
  t.regex(ordered, /"G":\[\]/)
  const ofGroup = (await ask(connection, 208, { consumerGroup: 'G' })).body.toString()
  t.regex(ofGroup, /^\{"consumeTps":2,/)
  t.notRegex(ofGroup, /%RETRY%/)
  const spans = JSON.parse((await ask(connection, 303, { group: 'G', topic: 'T' })).body.toString())
  const [span] = spans.consumeTimeSpanSet
  t.is(span.messageQueue.queueId, 0)
  t.is(span.consumeTimeStamp, span.maxTimeStamp)
  t.is(span.delayTime, 1000)
  t.is((await ask(connection, 303, { group: 'G', topic: 'Missing' })).code, 17)
})

test('how many messages a topic got and a group was given of late', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  let connection = await connect()
  const stats = async (statsName: string, statsKey: string): Promise<Record<string, unknown>> =>
    JSON.parse((await ask(connection, 315, { statsName, statsKey })).body.toString())
  await send(connection, { topic: 'T', queueId: 0 })
  await clock.advance(90_000)
  for (let i = 0; i < 6; i++) await send(connection, { topic: 'T', queueId: 0 })
  await heartbeat(connection, 'c', [{ group: 'G', topics: { T: '*' } }])
  await pull(connection, { topic: 'T', group: 'G', maxMsgNums: 32 })
  const stored = await stats('TOPIC_PUT_NUMS', 'T')
  t.deepEqual(stored['statsMinute'], { avgpt: 0, sum: 6, tps: 0.1 })
  t.like(stored['statsHour'], { sum: 7 })
  t.like(stored['statsDay'], { sum: 7 })
  const shown = (await ask(connection, 202, { topic: 'T' })).body.toString()
  t.regex(shown, /"topicPutTps":0.1\}/)
  t.like((await stats('GROUP_GET_NUMS', 'T@G'))['statsHour'], { sum: 7 })
  await clock.advance(3_600_000)
  connection = await connect()
  t.like((await stats('GROUP_GET_NUMS', 'T@G'))['statsMinute'], { sum: 0 })
  t.like((await stats('TOPIC_PUT_NUMS', 'T'))['statsMinute'], { sum: 0 })
  for (const [name, key] of [
    ['TOPIC_PUT_NUMS', 'Missing'],
    ['GROUP_GET_NUMS', 'T@Missing'],
    ['Other', 'T'],
  ] as const) {
    const answer = await ask(connection, 315, { statsName: name, statsKey: key })
    t.is(answer.code, 1)
    t.is(answer.remark, `The stats <${name}> <${key}> not exist`)
  }
})

test('a group goes on where another is whose offsets it was given', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  for (const topic of ['T', 'U']) {
    for (let i = 0; i < 3; i++) await send(connection, { topic, queueId: 0 })
  }
  const topics = { T: '*', U: '*' }
  await heartbeat(connection, 'c', [{ group: 'From', topics }, { group: 'To' }])
  for (const topic of ['T', 'U']) {
    await ask(connection, 15, { consumerGroup: 'From', topic, queueId: 0, commitOffset: 2 })
  }
  const placeIn = (topic: string): Promise<number | undefined> =>
    broker.cursors.committed('To', { topic, brokerName: 'broker-a', queueId: 0 })
  const clone = { srcGroup: 'From', destGroup: 'To' }
  t.is((await ask(connection, 314, { ...clone, topic: 'T', offline: false })).code, 0)
  t.deepEqual([await placeIn('T'), await placeIn('U')], [2, undefined])
  t.is((await ask(connection, 314, { ...clone, topic: '', offline: false })).code, 0)
  t.is(await placeIn('U'), 2)
  t.is((await ask(connection, 314, { ...clone, destGroup: 'New' })).code, 0)
  t.true((await broker.groups.get('New')) !== undefined)
})

test('how far the slowest of all groups is, queue by queue', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (let i = 0; i < 5; i++) await send(connection, { topic: 'T', queueId: 0 })
  const groups = ['A', 'B', 'C']
  await heartbeat(
    connection,
    'c',
    groups.map((group) => ({ group, topics: { T: '*' } })),
  )
  for (const [i, consumerGroup] of groups.entries()) {
    await ask(connection, 15, { consumerGroup, topic: 'T', queueId: 0, commitOffset: i + 1 })
  }
  const slowest = async (compareGroup: string, filterGroups: string): Promise<string> =>
    (await ask(connection, 308, { topic: 'T', compareGroup, filterGroups })).body.toString()
  t.is(await slowest('C', ''), '{"correctionOffsets":{"0":1}}')
  t.is(await slowest('C', 'A'), '{"correctionOffsets":{"0":2}}')
  t.is(await slowest('A', 'A'), '{"correctionOffsets":{"0":9223372036854775807}}')
})

test('the entries of a queue, and what a group selects of them', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const tag of ['A', 'B', 'A']) {
    await send(connection, { topic: 'T', queueId: 0, i: `TAGS\u0001${tag}\u0002` })
  }
  await heartbeat(connection, 'c', [{ group: 'G', topics: { T: 'A' } }])
  const asked = { topic: 'T', queueId: 0, index: 1, count: 9 }
  const plain = JSON.parse((await ask(connection, 321, asked)).body.toString())
  t.deepEqual([plain.minQueueIndex, plain.maxQueueIndex], [0, 3])
  t.deepEqual(
    plain.queueData.map(({ tagsCode }: { tagsCode: number }) => tagsCode),
    [tagHash('B'), tagHash('A')],
  )
  const ofGroup = JSON.parse(
    (await ask(connection, 321, { ...asked, consumerGroup: 'G' })).body.toString(),
  )
  t.deepEqual(
    ofGroup.queueData.map((entry: { eval: boolean }) => entry.eval),
    [false, true],
  )
  t.is(ofGroup.subscriptionData.subString, 'A')
  const offline = (await ask(connection, 321, { ...asked, consumerGroup: 'H' })).body.toString()
  t.regex(offline, /"filterData":"H@T is not online!"/)
  t.is((await ask(connection, 321, { ...asked, count: 1025 })).code, 29)
})

test('all producers by group', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  await heartbeat(connection, 'c', [], ['P', 'Q'])
  const { data } = JSON.parse((await ask(connection, 328)).body.toString())
  t.deepEqual(Object.keys(data), ['P', 'Q'])
  t.is(data.P[0].clientId, 'c')
  t.regex(data.P[0].remoteIP, /^\/127\.0\.0\.1:\d+$/)
})

test('a setting may be said again as it is, and is changed in the configuration alone', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  const update = (text: string): Promise<Command> =>
    connection.request(25, { body: Buffer.from(text) })
  t.is((await update('autoCreateTopicEnable=true\nbrokerPermission=6\n')).code, 0)
  const changed = await update('defaultTopicQueueNums=9')
  t.is(changed.code, 29)
  t.regex(changed.remark!, /'defaultTopicQueueNums' is 4; change it in the configuration/)
  t.regex((await update('noSuchThing=1')).remark!, /no setting 'noSuchThing' that mqadmin could/)
})

test('a broker whose writing is taken away refuses sends, and goes on with what it has', async (t) => {
  const { connect, broker } = await startFrontEnd(t)
  const connection = await connect()
  const update = (perm: string): Promise<Command> =>
    connection.request(25, { body: Buffer.from(`brokerPermission=${perm}`) })
  await send(connection, { topic: 'T' })
  t.is((await update('4')).code, 0)
  const refused = await send(connection, { topic: 'T' })
  t.is(refused.code, 16)
  t.regex(refused.remark!, /the broker\[.*\] sending message is forbidden/)
  t.regex((await ask(connection, 26)).body.toString(), /^brokerPermission=4$/m)
  const read = await pull(connection, { topic: 'T', group: 'G', sysFlag: 4, subscription: '*' })
  t.is(read.code, 0)
  const [received] = await broker.receive(receiveRequest('T', 'workers'))
  t.deepEqual(await broker.deadLetter([received!.receipt], 'poison'), [null])
  t.is((await update('2')).code, 0)
  t.is((await pull(connection, { topic: 'T', group: 'G', sysFlag: 4, subscription: '*' })).code, 16)
  t.is((await update('0')).code, 29)
  t.is((await update('6')).code, 0)
  t.is((await send(connection, { topic: 'T' })).code, 0)
})

test('the upkeep that a broker of files, slaves and engines needs is done or answered in words', async (t) => {
  const { connect } = await startFrontEnd(t)
  const connection = await connect()
  for (const code of [306, 316, 329, 908, 2002, 354, 200_056]) {
    t.is((await ask(connection, code)).code, 0, String(code))
  }
  t.is((await ask(connection, 2004, { READ_AHEAD_MODE: 0 })).code, 0)
  t.is((await ask(connection, 5001, { E_T: 'F' })).code, 0)
  const ha = parseObject((await ask(connection, 907)).body)
  t.is(ha.get('master'), true)
  t.is(ha.get('inSyncSlaveNums'), 0)
  t.deepEqual(parseObject((await ask(connection, 2003)).body).get('configTable'), new Map())
  t.is(parseObject((await ask(connection, 200_074)).body).get('storeType'), 'default')
  const refused: readonly (readonly [number, Record<string, string>, RegExp])[] = [
    [2001, {}, /not slowed down by group/],
    [513, {}, /no static topics/],
    [353, {}, /grants/],
    [45, {}, /no topic of their own/],
    [60, {}, /no file of their own/],
    [1007, {}, /only for controllerMode/],
    [2004, { READ_AHEAD_MODE: '1' }, /'1' is not possible/],
    [5001, { E_T: 'R' }, /no engine 'R'/],
  ]
  for (const [code, values, sentence] of refused) {
    const answer = await ask(connection, code, values)
    t.not(answer.code, 3, String(code))
    t.regex(answer.remark ?? '', sentence, String(code))
  }
})
