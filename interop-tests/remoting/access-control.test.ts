// Users and ACLs of Apache RocketMQ 5.5.0 beside ours: made by the same commands of mqadmin, and then
// the same requests, by clients with right and wrong credentials, are answered alike but for what is
// named here.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { systemClock } from '../../src/clock.ts'
import { parseOffsetMessageId } from '../../src/model/message-id.ts'
import type { Command } from '../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { jsonBody } from '../../src/remoting/json/json-emitter.ts'
import type { Credentials } from '../../src/remoting/signature.ts'
import { fields, heartbeat, pull, send } from '../../test/support/native/native-front-end.ts'
import { spawnServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { askMqadmin, javaClientMissing } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = (await javaClientMissing()) ?? (await apacheRocketmqMissing())
const testBoth = needing('access control beside Apache RocketMQ', missing)

const ROOT = { accessKey: 'root', secretKey: 'secret-of-root' }
const AUTH = 'org.apache.rocketmq.auth'
const WITH_USERS = {
  authenticationEnabled: 'true',
  authenticationProvider: `${AUTH}.authentication.provider.DefaultAuthenticationProvider`,
  authenticationMetadataProvider: `${AUTH}.authentication.provider.LocalAuthenticationMetadataProvider`,
  authorizationEnabled: 'true',
  authorizationProvider: `${AUTH}.authorization.provider.DefaultAuthorizationProvider`,
  authorizationMetadataProvider: `${AUTH}.authorization.provider.LocalAuthorizationMetadataProvider`,
  initAuthenticationUser: JSON.stringify({ username: ROOT.accessKey, password: ROOT.secretKey }),
  innerClientAuthenticationCredentials: JSON.stringify(ROOT),
}

const [TOPIC, GROUP] = ['AclTopic', 'G_acl']

/** Rights by user: resources, actions, decision. */
const ACLS: Readonly<Record<string, readonly (readonly [string, string, string])[]>> = {
  plain: [],
  sender: [['Topic:Acl*', 'Pub', 'Allow']],
  reader: [
    [`Topic:${TOPIC}`, 'Sub', 'Allow'],
    [`Group:${GROUP}`, 'Sub', 'Allow'],
  ],
  halfreader: [[`Topic:${TOPIC}`, 'Sub', 'Allow']],
  looker: [
    [`Topic:${TOPIC}`, 'Get', 'Allow'],
    [`Group:${GROUP}`, 'Get', 'Allow'],
  ],
  denied: [
    ['Topic:*', 'Pub,Sub', 'Allow'],
    ['Group:*', 'Sub', 'Allow'],
    [`Topic:${TOPIC}`, 'Pub', 'Deny'],
  ],
  maker: [
    ['Topic:*', 'Create,Update,Delete', 'Allow'],
    ['Group:*', 'Create,Update,Delete', 'Allow'],
  ],
  all: [
    ['Topic:*', 'All', 'Allow'],
    ['Group:*', 'All', 'Allow'],
  ],
  cluster: [['Cluster:*', 'All', 'Allow']],
  disabled: [['Topic:*', 'All', 'Allow']],
}

const passwordOf = (user: string): string => `password-of-${user}`

/** `position`: of a message of the topic. */
type Ask = (connection: RemotingConnection, user: string, position: number) => Promise<Command>

const asking =
  (code: number, values: Record<string, string | number | boolean> = {}, body?: object): Ask =>
  (connection) =>
    connection.request(code, {
      fields: fields(values),
      timeoutMs: 20_000,
      ...(body !== undefined && { body: jsonBody(body as never) }),
    })

const QUEUE = { topic: TOPIC, queueId: 0 }
const AT = { ...QUEUE, consumerGroup: GROUP }
const PLACE = { clientId: 'c', consumerGroup: GROUP, mqSet: [{ ...QUEUE, brokerName: 'broker-a' }] }
const NEW_TOPIC = {
  ...{ defaultTopic: 'TBW102', readQueueNums: 1, writeQueueNums: 1, perm: 6, order: false },
  ...{ topicFilterType: 'SINGLE_TAG', topicSysFlag: 0 },
}

const REQUESTS: Readonly<Record<string, Ask>> = {
  'send 310': (connection) => send(connection, { topic: TOPIC }),
  'send 310 to a retry topic': (connection) => send(connection, { topic: `%RETRY%${GROUP}` }),
  'pull 11': (connection) => pull(connection, { topic: TOPIC, group: GROUP }),
  'heartbeat 34 of a consumer': (connection, user) =>
    heartbeat(connection, user, [{ group: GROUP, topics: { [TOPIC]: '*' } }]),
  'heartbeat 34 of a producer': (connection, user) => heartbeat(connection, user, [], ['P_acl']),
  'unregister 35': asking(35, { clientID: 'c', consumerGroup: GROUP }),
  'consumers 38': asking(38, { consumerGroup: GROUP }),
  'query offset 14': asking(14, AT),
  'commit 15': asking(15, { ...AT, commitOffset: 0 }),
  'lock 41': asking(41, {}, PLACE),
  'unlock 42': asking(42, {}, PLACE),
  'send back 36': (connection, user, offset) =>
    asking(36, { group: GROUP, offset, delayLevel: 0, unitMode: false })(connection, user, offset),
  'pop 200050': asking(200_050, {
    ...{ topic: TOPIC, consumerGroup: GROUP, queueId: -1, maxMsgNums: 1, invisibleTime: 10_000 },
    ...{ pollTime: 0, bornTime: Date.now() + 60_000, initMode: 0 },
  }),
  'end of queue 30': asking(30, QUEUE),
  'beginning of queue 31': asking(31, QUEUE),
  'search 29': asking(29, { ...QUEUE, timestamp: 0 }),
  'earliest 32': asking(32, QUEUE),
  'by key 12': asking(12, {
    topic: TOPIC,
    key: 'k',
    maxNum: 1,
    beginTimestamp: 0,
    endTimestamp: 1e15,
  }),
  'by position 33': (connection, user, offset) =>
    asking(33, { offset, topic: TOPIC })(connection, user, offset),
  'topic config 351': asking(351, { topic: TOPIC }),
  'group config 352': asking(352, { group: GROUP }),
  'topic stats 202': asking(202, { topic: TOPIC }),
  'connections 203': asking(203, { consumerGroup: GROUP }),
  'progress 208': asking(208, { consumerGroup: GROUP, topic: TOPIC }),
  'consumers of a topic 300': asking(300, { topic: TOPIC }),
  'reset 222': asking(222, { topic: TOPIC, group: GROUP, timestamp: 0, isForce: true }),
  'make a topic 17': (connection, user, at) =>
    asking(17, { topic: `Made_${user}`, ...NEW_TOPIC })(connection, user, at),
  'change a topic 17': asking(17, { topic: TOPIC, ...NEW_TOPIC }),
  'delete a topic 215': (connection, user, at) =>
    asking(215, { topic: `Made_${user}` })(connection, user, at),
  'make a group 200': (connection, user, at) =>
    asking(200, {}, { groupName: `G_made_${user}` })(connection, user, at),
  'delete a group 207': (connection, user, at) =>
    asking(207, { groupName: `G_made_${user}`, cleanOffset: false })(connection, user, at),
  'all topics 21': asking(21),
  'all groups 201': asking(201),
  'all offsets 43': asking(43),
  'configuration 26': asking(26),
  'runtime 28': asking(28),
  'make a user 3001': (connection, user) => makeUser(connection, `by_${user}`),
  'get a user 3004': asking(3004, { username: 'plain' }),
  'list users 3005': asking(3005, { filter: '' }),
  'get an ACL 3009': asking(3009, { subject: 'User:sender' }),
  'list ACLs 3010': asking(3010, {}),
}

function makeUser(connection: RemotingConnection, username: string): Promise<Command> {
  const user = { username, password: passwordOf(username), userType: 'Normal' }
  return asking(3001, { username }, user)(connection, '', 0)
}

interface Difference {
  readonly refuses: 'Apache' | 'ours'
  readonly to: string
}

const byApache = (to: string): Difference => ({ refuses: 'Apache', to })
const byUs = (to: string): Difference => ({ refuses: 'ours', to })
const READERS = byApache('reader halfreader denied')
const MEMBERS = byApache('reader denied')
const ALL_BUT_ROOT = byUs('plain sender reader halfreader looker denied maker all')
const CLUSTER = byUs('cluster')

/** Requests that one refuses to some users, and the other serves them. */
const DIFFERENCES: Readonly<Record<string, Difference>> = {
  'unregister 35': byApache('plain sender halfreader looker maker cluster'),
  // What a consumer may receive, it may look at.
  'end of queue 30': READERS,
  'beginning of queue 31': READERS,
  'search 29': READERS,
  'earliest 32': READERS,
  'by position 33': READERS,
  'topic stats 202': READERS,
  'consumers of a topic 300': READERS,
  'group config 352': MEMBERS,
  'connections 203': MEMBERS,
  'progress 208': MEMBERS,
  'topic config 351': byApache('sender reader halfreader denied maker'),
  // Apache checks nothing.
  'make a group 200': byUs('plain sender reader halfreader looker cluster'),
  'all topics 21': ALL_BUT_ROOT,
  'all groups 201': ALL_BUT_ROOT,
  'all offsets 43': ALL_BUT_ROOT,
  'runtime 28': ALL_BUT_ROOT,
  // The place of a group is moved by what consumes, or may look as well.
  'commit 15': byUs('maker'),
  'reset 222': byUs('maker'),
  'make a user 3001': CLUSTER,
  'get a user 3004': CLUSTER,
  'list users 3005': CLUSTER,
  'get an ACL 3009': CLUSTER,
  'list ACLs 3010': CLUSTER,
}

/** What is printed; of what fails the code. The first admin is shown by one of the two alone. */
function outcomeOf(output: string): string {
  const code = /CODE: (-?\d+)/.exec(output)?.[1]
  if (code !== undefined) return `code ${code}`
  return (
    output
      .split('\n')
      // No source addresses: none, or an empty list.
      .map((line) => line.replaceAll(/\s+/g, ' ').replace(' [] ', ' null ').trim())
      .filter((line) => line !== '' && !line.startsWith('root '))
      .join('\n')
  )
}

const COMMANDS = [
  'createUser -u second -p secret -t Super',
  'createUser -u second -p again',
  'createUser -u third -p secret',
  'createUser -u fourth -p secret -t Nothing',
  'updateUser -u second -t Normal',
  'updateUser -u third -s disable',
  'updateUser -u nobody -p x',
  'getUser -u third',
  'getUser -u nobody',
  'listUser -f hir',
  'createAcl -s User:nobody -r Topic:a -a Pub -d Allow',
  'createAcl -s User:second -r Topic:a,Group:b -a Pub,Sub -d Allow',
  'createAcl -s User:second -r Topic:a -a Sub -d Deny',
  'updateAcl -s User:second -r Topic:c -a Get -d Allow',
  'createAcl -s User:second -r Nothing:a -a Pub -d Allow',
  'createAcl -s User:second -r Topic:a -a Fly -d Allow',
  'createAcl -s User:second -r Topic:a -a Pub -d Maybe',
  'createAcl -s Group:second -r Topic:a -a Pub -d Allow',
  'createAcl -s User:second -r Topic:d -a Pub -d Allow -i 10.0.0.1',
  'deleteAcl -s User:second -r Topic:d',
  'getAcl -s User:second',
  'getAcl -s User:third',
  'getAcl -s User:nobody',
  'listAcl -s sec',
  'listAcl -r Group:b',
  'deleteAcl -s User:second -r Group:b',
  'deleteAcl -s User:second -r Topic:nothing',
  'listAcl -s second',
  'deleteAcl -s User:second',
  'deleteUser -u fourth',
  'deleteUser -u second',
  'deleteUser -u second',
  'listUser',
] as const

/** Apache's outcome, and ours. */
const OUTCOMES: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  'createUser -u fourth -p secret -t Nothing': ['create user to BROKER success.', 'code 29'],
  'createAcl -s User:second -r Nothing:a -a Pub -d Allow': ['code 16', 'code 29'],
  'createAcl -s User:second -r Topic:a -a Fly -d Allow': ['code 16', 'code 29'],
  'createAcl -s User:second -r Topic:a -a Pub -d Maybe': ['code 16', 'code 29'],
  'createAcl -s Group:second -r Topic:a -a Pub -d Allow': ['code 1', 'code 29'],
  'createAcl -s User:second -r Topic:d -a Pub -d Allow -i 10.0.0.1': [
    'create acl to BROKER success.',
    'code 29',
  ],
}

/** The option of a JVM whose mqadmin signs so. */
async function signing(t: ExecutionContext, credentials?: Credentials): Promise<string> {
  const home = await tempDir(t)
  await mkdir(join(home, 'conf'))
  if (credentials !== undefined) {
    const { accessKey, secretKey } = credentials
    const text = `accessKey: ${accessKey}\nsecretKey: ${secretKey}\n`
    await writeFile(join(home, 'conf', 'tools.yml'), text)
  }
  return `-Drocketmq.home.dir=${home}`
}

let theirs: string
let ours: string
const leftovers: (() => unknown)[] = []

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  const apache = await startApacheRocketmq({ broker: WITH_USERS })
  leftovers.unshift(() => apache.stop())
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  const users = { root: { admin: true, secretKey: ROOT.secretKey } }
  const server = await spawnServer(later, { config: { users } })
  theirs = apache.broker
  ours = server.address('remoting')
})
test.after.always(async () => {
  for (const end of leftovers) await end()
})

testBoth('mqadmin makes, shows and removes users and rights alike', async (t) => {
  t.timeout(900_000)
  const root = await signing(t, ROOT)
  const run = async (words: string, broker: string, option = root): Promise<string> => {
    const { output } = await askMqadmin([...words.split(' '), '-b', broker], [option])
    return outcomeOf(String(output).replaceAll(broker, 'BROKER'))
  }
  for (const words of COMMANDS) {
    const seen = [await run(words, theirs), await run(words, ours)]
    t.deepEqual(seen, [...(OUTCOMES[words] ?? [seen[0]!, seen[0]!])], words)
  }
  for (const wrong of [{ ...ROOT, secretKey: 'guessed' }, { ...ROOT, accessKey: 'x' }, undefined]) {
    const option = await signing(t, wrong)
    for (const broker of [theirs, ours]) t.is(await run('listUser', broker, option), 'code 16')
  }
})

/** Who is refused what. */
async function refusals(broker: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const [host = '', port] = broker.split(':')
  const open = (credentials?: Credentials): Promise<RemotingConnection> =>
    dial({ host, port: Number(port), clock: systemClock, ...(credentials && { credentials }) })
  const root = await open(ROOT)
  await asking(17, { topic: TOPIC, ...NEW_TOPIC })(root, '', 0)
  await asking(200, {}, { groupName: GROUP })(root, '', 0)
  await heartbeat(root, 'c', [{ group: GROUP, topics: { [TOPIC]: '*' } }])
  const sent = await send(root, { topic: TOPIC })
  const { position } = parseOffsetMessageId(sent.fields.get('msgId')!)
  for (const [user, entries] of Object.entries(ACLS)) {
    await makeUser(root, user)
    for (const [resource, actions, decision] of entries) {
      const entry = { resource, actions: actions.split(','), decision }
      const acl = {
        subject: `User:${user}`,
        policies: [{ policyType: 'Custom', entries: [entry] }],
      }
      await asking(3006, { subject: `User:${user}` }, acl)(root, '', 0)
    }
  }
  const disabled = { username: 'disabled', userStatus: 'disable' }
  await asking(3002, { username: 'disabled' }, disabled)(root, '', 0)
  const refused = new Map<string, string[]>()
  const ask = async (name: string, user: string, credentials?: Credentials): Promise<void> => {
    const connection = await open(credentials)
    const { code } = await REQUESTS[name]!(connection, user, position)
    if (code === 16) refused.set(name, [...(refused.get(name) ?? []), user])
    connection.close()
  }
  for (const name of Object.keys(REQUESTS)) {
    await ask(name, 'root', ROOT)
    for (const user of Object.keys(ACLS)) {
      await ask(name, user, { accessKey: user, secretKey: passwordOf(user) })
    }
  }
  // Few: many wrong signatures are answered later and later.
  for (const name of ['send 310', 'pull 11', 'heartbeat 34 of a consumer', 'commit 15']) {
    await ask(name, 'an unsigned request')
    await ask(name, 'a wrong key', { ...ROOT, secretKey: 'guessed' })
    await ask(name, 'an unknown user', { ...ROOT, accessKey: 'stranger' })
  }
  root.close()
  return refused
}

testBoth('clients are refused the same, but for what is named', async (t) => {
  t.timeout(600_000)
  const [expected, found] = [await refusals(theirs), await refusals(ours)]
  const differ: Record<string, Difference> = {}
  for (const name of Object.keys(REQUESTS)) {
    const [apaches, own] = [expected.get(name) ?? [], found.get(name) ?? []]
    const stricter = own.filter((user) => !apaches.includes(user))
    const laxer = apaches.filter((user) => !own.includes(user))
    if (stricter.length > 0) differ[name] = byUs(stricter.join(' '))
    if (laxer.length > 0) differ[name] = byApache(laxer.join(' '))
  }
  t.deepEqual(differ, DIFFERENCES)
  for (const user of ['an unsigned request', 'a wrong key', 'an unknown user', 'disabled']) {
    t.true(found.get('send 310')!.includes(user), user)
  }
})
