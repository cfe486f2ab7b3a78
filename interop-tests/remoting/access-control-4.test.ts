// The ACL of RocketMQ 4 (plain_acl.yml) on Apache RocketMQ 4.9.7 beside our users: the same accounts, asked the same by
// the right key, a wrong one, an unknown one and none. Who is refused is the same but for what is named here; each
// says it in its own code and words.
import { systemClock } from '../../src/clock.ts'
import type { Command } from '../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { jsonBody } from '../../src/remoting/json/json-emitter.ts'
import type { Credentials } from '../../src/remoting/signature.ts'
import { fields, heartbeat, pull, send } from '../../test/support/native/native-front-end.ts'
import { spawnServer } from '../../test/support/server.ts'
import { apacheRocketmqMissing, startApacheRocketmq } from '../support/apache-rocketmq.ts'
import { needing } from '../support/needing.ts'

const missing = await apacheRocketmqMissing()
const testBoth = needing('the ACL of RocketMQ 4 beside Apache RocketMQ 4.9.7', missing)

const ROOT = { accessKey: 'rocketmq-root', secretKey: 'secret-of-root' }
const MEMBER = { accessKey: 'member-of-4', secretKey: 'secret-of-member' }
const [TOPIC, GROUP] = ['AclTopic', 'G_acl']

/** `member` may send to and consume the one topic, in the one group; `root` may everything. */
const PLAIN_ACL = `globalWhiteRemoteAddresses: []
accounts:
- accessKey: ${ROOT.accessKey}
  secretKey: ${ROOT.secretKey}
  admin: true
- accessKey: ${MEMBER.accessKey}
  secretKey: ${MEMBER.secretKey}
  admin: false
  defaultTopicPerm: DENY
  defaultGroupPerm: DENY
  topicPerms:
  - ${TOPIC}=PUB|SUB
  groupPerms:
  - ${GROUP}=SUB
`

const USERS = {
  [ROOT.accessKey]: { admin: true, secretKey: ROOT.secretKey },
  [MEMBER.accessKey]: {
    secretKey: MEMBER.secretKey,
    publish: [TOPIC],
    consume: [TOPIC, GROUP],
  },
}

type Ask = (connection: RemotingConnection) => Promise<Command>

const asking =
  (code: number, values: Record<string, string | number | boolean> = {}, body?: object): Ask =>
  (connection) =>
    connection.request(code, {
      fields: fields(values),
      ...(body !== undefined && { body: jsonBody(body as never) }),
    })

const queue = (topic: string) => ({ topic, queueId: 0 })
const place = (topic: string, group: string) => ({ ...queue(topic), consumerGroup: group })
const lock = (topic: string, group: string) => ({
  clientId: 'c',
  consumerGroup: group,
  mqSet: [{ ...queue(topic), brokerName: 'broker-a' }],
})

/** Of a topic and a group. */
const requests = (topic: string, group: string): Readonly<Record<string, Ask>> => ({
  'send 310': (connection) => send(connection, { topic }),
  'send 310 to the retry topic': (connection) => send(connection, { topic: `%RETRY%${group}` }),
  'pull 11': (connection) => pull(connection, { topic, group }),
  'heartbeat 34': (connection) => heartbeat(connection, 'c', [{ group, topics: { [topic]: '*' } }]),
  'unregister 35': asking(35, { clientID: 'c', consumerGroup: group }),
  'send back 36': asking(36, { group, offset: 0, delayLevel: 0, unitMode: false }),
  'consumers 38': asking(38, { consumerGroup: group }),
  'query offset 14': asking(14, place(topic, group)),
  'commit 15': asking(15, { ...place(topic, group), commitOffset: 0 }),
  'lock 41': asking(41, {}, lock(topic, group)),
  'end of queue 30': asking(30, queue(topic)),
  'search 29': asking(29, { ...queue(topic), timestamp: 0 }),
  'by key 12': asking(12, { topic, key: 'k', maxNum: 1, beginTimestamp: 0, endTimestamp: 1e15 }),
  'connections 203': asking(203, { consumerGroup: group }),
})

const ADMIN: Readonly<Record<string, Ask>> = {
  'change a topic 17': asking(17, {
    ...{ topic: TOPIC, defaultTopic: 'TBW102', readQueueNums: 1, writeQueueNums: 1, perm: 6 },
    ...{ topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false },
  }),
  'make a group 200': asking(200, {}, { groupName: GROUP }),
  'delete a topic 215': asking(215, { topic: 'NoSuchTopic' }),
  'configuration 26': asking(26),
}

const CALLERS: Readonly<Record<string, Credentials | undefined>> = {
  root: ROOT,
  member: MEMBER,
  'a wrong key': { ...MEMBER, secretKey: 'secret-of-another' },
  'an unknown user': { ...MEMBER, accessKey: 'stranger-of-4' },
  'no signature': undefined,
}

interface Difference {
  readonly refuses: 'Apache' | 'ours'
  readonly to: string
}

const byApache = (to: string): Difference => ({ refuses: 'Apache', to })
const byUs = (to: string): Difference => ({ refuses: 'ours', to })

/** Requests that one refuses to some callers, and the other serves them. */
const DIFFERENCES: Readonly<Record<string, Difference>> = {
  // To consume a group is to make it.
  'make a group 200': byApache('member'),
  // Apache looks at the group that the sender names as a producer's.
  'send 310 to the retry topic, granted': byApache('member'),
  // A connection takes itself out.
  'unregister 35, not granted': byApache('member'),
  // Apache checks the signature alone.
  'query offset 14, not granted': byUs('member'),
  'lock 41, not granted': byUs('member'),
  'end of queue 30, not granted': byUs('member'),
  'search 29, not granted': byUs('member'),
  'connections 203, not granted': byUs('member'),
}

/** What a send of each is told. */
const WORDS: Readonly<Record<string, readonly [theirs: string, ours: string]>> = {
  'a wrong key': [
    `Check signature failed for accessKey=${MEMBER.accessKey}`,
    'unknown access key or wrong signature',
  ],
  'an unknown user': ['No acl config for stranger-of-4', 'unknown access key or wrong signature'],
  'no signature': [
    'No accessKey is configured',
    'the request is not signed; give the client an access key and a secret key (ACL)',
  ],
}

const REQUESTS: Readonly<Record<string, Ask>> = {
  ...ADMIN,
  ...named('granted', requests(TOPIC, GROUP)),
  ...named('not granted', requests('OtherTopic', 'G_other')),
}

function named(what: string, all: Readonly<Record<string, Ask>>): Record<string, Ask> {
  return Object.fromEntries(Object.entries(all).map(([name, ask]) => [`${name}, ${what}`, ask]))
}

interface Refusals {
  /** Callers that were refused, by request. */
  readonly callers: ReadonlyMap<string, readonly string[]>
  /** What each was told of a send. */
  readonly words: ReadonlyMap<string, string>
  readonly codes: ReadonlySet<number>
}

async function refusals(address: string): Promise<Refusals> {
  const [host = '', port] = address.split(':')
  const callers = new Map<string, string[]>()
  const words = new Map<string, string>()
  const codes = new Set<number>()
  for (const [caller, credentials] of Object.entries(CALLERS)) {
    for (const [name, ask] of Object.entries(REQUESTS)) {
      // A wrong signature is the last command of its connection.
      const connection = await dial({ host, port: Number(port), clock: systemClock, credentials })
      const { code, remark = '' } = await ask(connection)
      connection.close()
      // Apache's 1 stands for anything that went wrong.
      const [, said] = /^\S*AclException: (.*), org\.\S+\(\S+\)$/.exec(remark) ?? []
      if (code !== 16 && said === undefined) continue
      codes.add(code)
      callers.set(name, [...(callers.get(name) ?? []), caller])
      if (name === 'send 310, granted') words.set(caller, said ?? remark)
    }
  }
  return { callers, words, codes }
}

testBoth('clients are refused the same, but for what is named', async (t) => {
  t.timeout(600_000)
  await using apache = await startApacheRocketmq({
    version: '4.9.7',
    broker: { aclEnable: 'true' },
    files: { 'conf/plain_acl.yml': PLAIN_ACL },
  })
  const server = await spawnServer(t, { config: { users: USERS } })
  const theirs = await refusals(apache.broker)
  const ours = await refusals(server.address('remoting'))
  t.deepEqual([[...theirs.codes], [...ours.codes]], [[1], [16]])
  for (const [caller, [said, own]] of Object.entries(WORDS)) {
    t.deepEqual([theirs.words.get(caller), ours.words.get(caller)], [said, own])
  }
  const differ: Record<string, Difference> = {}
  for (const name of Object.keys(REQUESTS)) {
    const [apaches, own] = [theirs.callers.get(name) ?? [], ours.callers.get(name) ?? []]
    const stricter = own.filter((caller) => !apaches.includes(caller))
    const laxer = apaches.filter((caller) => !own.includes(caller))
    if (stricter.length > 0) differ[name] = byUs(stricter.join(' '))
    if (laxer.length > 0) differ[name] = byApache(laxer.join(' '))
  }
  t.deepEqual(differ, DIFFERENCES)
  t.deepEqual(ours.callers.get('send 310, not granted')?.[0], 'member')
})
