// The table in docs/operate/security.md, row by row: a user with what the row says and no more is
// served, and one that lacks any of it, whatever else is granted, is refused.
import test, { type ExecutionContext } from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { requestTable } from '../../../src/gateway/remoting/requests/table.ts'
import { groupDefaults } from '../../../src/model/group.ts'
import { offsetMessageId } from '../../../src/model/message-id.ts'
import { nameServerRequests } from '../../../src/namesrv/requests.ts'
import { encodeBatchBody } from '../../../src/remoting/batch-body.ts'
import { REQUEST, RESPONSE } from '../../../src/remoting/codes.ts'
import type { Command } from '../../../src/remoting/command.ts'
import type { RemotingConnection } from '../../../src/remoting/connection.ts'
import { jsonBody } from '../../../src/remoting/json/json-emitter.ts'
import { encodeGroupConfig } from '../../../src/remoting/requests/groups.ts'
import {
  fields,
  heartbeat,
  type NativeFrontEnd,
  pull,
  send,
  startFrontEnd,
} from '../../support/native/native-front-end.ts'
import { textOf } from '../../support/sources/sources.ts'
import type { Teardown } from '../../support/temp-dir.ts'

const TOPIC = 'orders'
const GROUP = 'billing'

interface Row {
  readonly request: string
  readonly code: number
  /** 'consume group', ..., 'admin'; empty for "nothing". */
  readonly needs: readonly string[]
  /** One of them is enough. */
  readonly isAny: boolean
}

function rowsUnder(heading: string): readonly Row[] {
  const [, table = ''] = textOf('docs/operate/security.md').split(heading)
  const rows = table.split('\n\n')[0]!.matchAll(/^\| ([^|]+) \| (\d+) \| ([^|]+) \|$/gm)
  return [...rows].map(([, request = '', code, needs = '']) => ({
    request,
    code: Number(code),
    isAny: needs.startsWith('one of '),
    needs: [...needs.matchAll(/`(\w+)`(?: (topic|group))?/g)].map(
      ([, action, kind]) => `${action}${kind === undefined ? '' : ` ${kind}`}`,
    ),
  }))
}

const ROWS = rowsUnder('| RocketMQ request |')
const ITEM = { flag: 0, body: Buffer.from('x'), properties: Buffer.alloc(0) }
const SENDS = [REQUEST.sendMessage, REQUEST.sendMessageV2, REQUEST.sendBatchMessage]

test('the table has every request that the broker serves, and no other', (t) => {
  const codes = new Set(ROWS.map(({ code }) => code))
  t.deepEqual([...codes].sort(), [...requestTable.keys(), ...SENDS].sort())
})

test('the table of the name server has every request that it serves, and no other', (t) => {
  const codes = rowsUnder("| name server's request |").map(({ code }) => code)
  t.deepEqual(codes.sort(), [...nameServerRequests.keys()].sort())
})

const NAMES_OF = { group: [GROUP, 'new-group'], topic: [TOPIC, 'new-topic'] } as const

/** A user with everything but admin, less what `without` says. */
function everythingBut(without: readonly string[]): User {
  const grants = (action: string): string[] =>
    Object.entries(NAMES_OF).flatMap(([kind, names]) =>
      without.includes(`${action} ${kind}`) ? [] : [...names],
    )
  const [publish, consume, create] = ['publish', 'consume', 'create'].map(grants)
  return {
    admin: false,
    secretKey: 'secret-key',
    publish: publish!,
    consume: consume!,
    create: create!,
  }
}

function nothingBut(needs: readonly string[]): User {
  const grants = (action: string): string[] =>
    needs.flatMap((need) => {
      if (need === `${action} topic`) return [TOPIC, 'new-topic']
      return need === `${action} group` ? [GROUP, 'new-group'] : []
    })
  const admin = needs.includes('admin')
  const [publish, consume, create] = ['publish', 'consume', 'create'].map(grants)
  return { admin, secretKey: 'secret-key', publish: publish!, consume: consume!, create: create! }
}

interface Scene {
  readonly front: NativeFrontEnd
  readonly messageId: string
  readonly position: number
  readonly halfPosition: number
}

async function ask({
  connection,
  row,
  scene,
}: {
  connection: RemotingConnection
  row: Row
  scene: Scene
}): Promise<Command> {
  const { code, request } = row
  const isNew = request.includes('a new')
  const queue = { brokerName: 'broker-a', queueId: 0, topic: TOPIC }
  const lock = jsonBody({ clientId: 'c', consumerGroup: GROUP, mqSet: [queue] })
  const all = {
    ...{ topic: isNew ? 'new-topic' : TOPIC, group: GROUP, consumerGroup: GROUP, groupName: GROUP },
    ...{ producerGroup: GROUP, clientID: 'c', queueId: 0, commitOffset: 0, timestamp: 0 },
    ...{ isForce: true, key: 'k', maxNum: 1, beginTimestamp: 0, endTimestamp: 1, delayLevel: 1 },
    ...{ defaultTopic: 'TBW102', readQueueNums: 2, writeQueueNums: 2, perm: 6, order: false },
    ...{ topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, offset: scene.position },
    ...{ originMsgId: scene.messageId, originTopic: TOPIC, unitMode: false, maxReconsumeTimes: 3 },
    ...{
      tranStateTableOffset: 0,
      commitLogOffset: scene.halfPosition,
      commitOrRollback: 8,
      fromTransactionCheck: false,
    },
    ...{ username: 'kim', subject: 'User:kim' },
    ...{ msgId: scene.messageId, transactionId: 'x', clientId: 'c', recallHandle: 'x' },
    ...{ isOrder: false, index: 0, count: 1, compareGroup: GROUP, srcGroup: GROUP },
    ...{ destGroup: GROUP, READ_AHEAD_MODE: 0, E_T: 'F' },
    ...{ maxMsgNums: 1, invisibleTime: 60_000, pollTime: 0, bornTime: 0, initMode: 0 },
    ...(request.includes('of a group')
      ? { statsName: 'GROUP_GET_NUMS', statsKey: `${TOPIC}@${GROUP}` }
      : { statsName: 'TOPIC_PUT_NUMS', statsKey: TOPIC }),
  }
  switch (code) {
    case REQUEST.sendMessageV2:
    case REQUEST.sendReplyV2:
      return send(connection, { topic: TOPIC, code })
    case REQUEST.sendBatchMessage:
      return send(connection, { topic: TOPIC, code, m: true, body: encodeBatchBody([ITEM]) })
    case REQUEST.sendMessage:
    case REQUEST.sendReply: {
      const long = { defaultTopicQueueNums: 4, sysFlag: 0, bornTimestamp: 1, flag: 0 }
      return connection.request(code, {
        fields: fields({ ...all, ...long }),
        body: Buffer.from('x'),
      })
    }
    case REQUEST.pullMessage:
    case REQUEST.litePullMessage:
      return pull(connection, { topic: TOPIC, group: GROUP, code })
    case REQUEST.heartbeat:
      return heartbeat(connection, 'c', [{ group: GROUP, topics: { [TOPIC]: '*' } }])
    case REQUEST.checkClientConfig: {
      const subscriptionData = { topic: TOPIC, subString: '*', expressionType: 'TAG' }
      return connection.request(code, {
        body: jsonBody({ clientId: 'c', group: GROUP, subscriptionData }),
      })
    }
    case REQUEST.updateTopics: {
      const topic = { topicName: isNew ? 'new-topic' : TOPIC, readQueueNums: 2, writeQueueNums: 2 }
      return connection.request(code, { body: jsonBody({ topicConfigList: [topic] }) })
    }
    case REQUEST.updateGroups: {
      const group = { groupName: isNew ? 'new-group' : GROUP, retryMaxTimes: 5 }
      return connection.request(code, { body: jsonBody({ groupConfigList: [group] }) })
    }
    case REQUEST.updateGroup: {
      const group = { ...groupDefaults(isNew ? 'new-group' : GROUP), retryTimesMax: 5 }
      return connection.request(code, { body: encodeGroupConfig(group) })
    }
    case REQUEST.createUser:
    case REQUEST.updateUser:
      return connection.request(code, { fields: fields(all), body: jsonBody({ password: 'pw' }) })
    case REQUEST.createAcl:
    case REQUEST.updateAcl:
      return connection.request(code, { fields: fields(all), body: jsonBody(KIMS_ACL) })
    case REQUEST.ackMessage:
    case REQUEST.changeInvisibleTime: {
      const popTime = scene.front.clock.now()
      const handle = { extraInfo: `0 ${popTime} 60000 0 0 broker-a 0 0`, offset: 0 }
      return connection.request(code, { fields: fields({ ...all, ...handle }) })
    }
    case REQUEST.batchAckMessage: {
      const ack = { c: GROUP, t: TOPIC, r: '0', so: 0, q: 0, rq: 0, pt: 1, it: 60_000, b: 'AQ==' }
      return connection.request(code, { body: jsonBody({ brokerName: 'broker-a', acks: [ack] }) })
    }
    case REQUEST.queryAssignment: {
      const query = { clientId: 'c', strategyName: 'AVG', messageModel: 'CLUSTERING' }
      return connection.request(code, {
        body: jsonBody({ topic: TOPIC, consumerGroup: GROUP, ...query }),
      })
    }
    case REQUEST.setRequestMode: {
      const mode = { mode: 'PULL', popShareQueueNum: 0 }
      return connection.request(code, {
        body: jsonBody({ topic: TOPIC, consumerGroup: GROUP, ...mode }),
      })
    }
    case REQUEST.lockQueues:
    case REQUEST.unlockQueues:
      return connection.request(code, { body: lock })
    default:
      return connection.request(code, { fields: fields(all) })
  }
}

const ENTRY = { resource: `Topic:${TOPIC}`, actions: ['Pub'], decision: 'Allow' }
const KIMS_ACL = { policies: [{ entries: [ENTRY] }] }

/** The user that requests about users name. */
async function makeKim(admin: RemotingConnection): Promise<void> {
  const ofKim = fields({ username: 'kim', subject: 'User:kim' })
  const user = { fields: ofKim, body: jsonBody({ password: 'kims password' }) }
  await admin.request(REQUEST.createUser, user)
  await admin.request(REQUEST.createAcl, { fields: ofKim, body: jsonBody(KIMS_ACL) })
}

/** A broker with something to ask for, and users by their access keys, all with one secret. */
async function sceneOf(
  t: Teardown,
  users: Readonly<Record<string, User>>,
  isOfUsers: boolean,
): Promise<Scene> {
  const root = { ...nothingBut(['admin']), secretKey: 'root-secret' }
  const front = await startFrontEnd(t, { users: { root, ...users } })
  const admin = await front.connect({
    credentials: { accessKey: 'root', secretKey: 'root-secret' },
  })
  if (isOfUsers) await makeKim(admin)
  const sent = await send(admin, { topic: TOPIC })
  await heartbeat(admin, 'root', [{ group: GROUP, topics: { [TOPIC]: '*' } }])
  await pull(admin, { topic: TOPIC, group: GROUP, sysFlag: 5, commitOffset: 0 })
  const messageId = sent.fields.get('msgId')!
  const position = Number.parseInt(messageId.slice(16), 16)
  const properties = { TRAN_MSG: 'true', PGROUP: GROUP }
  const half = await send(admin, { topic: TOPIC, properties })
  const halfPosition = Number.parseInt(half.fields.get('msgId')!.slice(16), 16)
  return { front, messageId, position, halfPosition }
}

const connectAs = (scene: Scene, accessKey: string): Promise<RemotingConnection> =>
  scene.front.connect({ credentials: { accessKey, secretKey: 'secret-key' } })

async function scene(
  t: ExecutionContext,
  user: User,
  isOfUsers = false,
): Promise<[Scene, RemotingConnection]> {
  const at = await sceneOf(t, { tried: user }, isOfUsers)
  t.is(at.messageId, offsetMessageId(at.front.store.storeHost, at.position as never))
  return [at, await connectAs(at, 'tried')]
}

/** Answered without them to users that lack the right. */
const PARTIAL = 'GET_BROKER_CONFIG: its other settings'

test(`${PARTIAL}: without admin they are left out`, async (t) => {
  const [, connection] = await scene(t, everythingBut(['admin']))
  const { code, body } = await connection.request(REQUEST.getBrokerConfig, {})
  t.is(code, 0)
  t.regex(body.toString(), /^brokerName=/m)
  t.notRegex(body.toString(), /flushDiskType/)
})

/** Of each row: the needs of which one user lacks all. */
const lackedOf = ({ needs, isAny }: Row): readonly (readonly string[])[] =>
  isAny ? [needs] : needs.map((need) => [need])

const lacking = (missing: readonly string[]): string =>
  `lacks-${missing.join('-')}`.replaceAll(' ', '-')

// What is refused changes nothing, so that all refusals are of one broker.
let refusing: Scene
const leftovers: (() => unknown)[] = []
test.before(async () => {
  const users = ROWS.flatMap(lackedOf).map((missing) => [lacking(missing), everythingBut(missing)])
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  refusing = await sceneOf(later, Object.fromEntries(users), true)
})
test.after.always(async () => {
  for (const end of leftovers) await end()
})

for (const row of ROWS) {
  const name = `${row.request} (${row.code})`
  const isOfUsers = row.request.startsWith('AUTH_') && row.code !== REQUEST.createUser
  const single = row.needs.map((need) => [need])
  for (const needs of row.isAny ? single : [row.needs]) {
    test(`${name}: what the table says is enough: ${needs.join(', ') || 'nothing'}`, async (t) => {
      const [at, connection] = await scene(t, nothingBut(needs), isOfUsers)
      const { code, remark } = await ask({ connection, row, scene: at })
      t.not(code, RESPONSE.noPermission, remark)
      // A request that was not understood shows nothing about rights.
      t.not(code, RESPONSE.invalidParameter, remark)
    })
  }

  if (row.request === PARTIAL) continue
  for (const missing of lackedOf(row)) {
    test(`${name}: everything but ${missing.join(', ')} is not enough`, async (t) => {
      const connection = await connectAs(refusing, lacking(missing))
      const { code, remark } = await ask({ connection, row, scene: refusing })
      connection.close()
      t.is(code, RESPONSE.noPermission, remark)
      t.regex(remark ?? '', /^user 'lacks-\S+' may not /)
    })
  }
}

test('to create again what is there already, exactly as it is, takes no more than to create it', async (t) => {
  const [, connection] = await scene(t, nothingBut(['create topic', 'consume group']))
  const topic = {
    ...{ topic: 'new-topic', defaultTopic: 'TBW102', readQueueNums: 2, writeQueueNums: 2, perm: 6 },
    ...{ topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false },
  }
  const group = encodeGroupConfig({ ...groupDefaults('new-group'), retryTimesMax: 5 })
  for (let i = 0; i < 2; i++) {
    t.is((await connection.request(REQUEST.updateTopic, { fields: fields(topic) })).code, 0)
    t.is((await connection.request(REQUEST.updateGroup, { body: group })).code, 0)
  }
})

test('a group shows of its topics those alone that the caller may consume', async (t) => {
  const [, connection] = await scene(t, nothingBut(['consume group']))
  const asked = fields({ consumerGroup: GROUP, group: GROUP })
  const statistics = await connection.request(REQUEST.getConsumeStats, { fields: asked })
  t.false(statistics.body.toString().includes(TOPIC))
  const topics = await connection.request(REQUEST.queryConsumerTopics, { fields: asked })
  t.false(topics.body.toString().includes(TOPIC))
})
