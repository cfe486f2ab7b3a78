// Requests that clients and operators size, as large as they may be. Topics and groups that all of
// them need are made by the first.
import { connectAsync } from 'mqtt'
import { connect } from '../../src/client/index.ts'
import { systemClock } from '../../src/clock.ts'
import { encodeBatchBody } from '../../src/remoting/batch-body.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { encodeHeartbeat } from '../../src/remoting/requests/clients.ts'
import { amqpRequests } from './amqp.ts'
import { AT_A_TIME, count, inBatches } from './in-batches.ts'
import { mqttRequests } from './mqtt.ts'

export type Ports = Readonly<Record<'remoting' | 'http' | 'mqtt' | 'amqp' | 'nameServer', number>>

export interface Request<Prepared = never> {
  readonly name: string
  readonly rounds?: number
  prepare?(round: number): Promise<Prepared>
  run(round: number, prepared: Prepared): Promise<unknown>
}

const host = '127.0.0.1'
const TIMEOUT_MS = 60_000
const TOPICS = 5_000
const GROUPS = 4_000
/** As many as a heartbeat has room for. */
const GROUPS_OF_CLIENT = 400
/** As many as a topic may have. */
const QUEUES = 1024
const BATCH = 32_000
const HALVES = 20_000
const HELD = 20_000
/** In 32 KiB. */
const PROPERTIES = 5_000
const KEY_VALUES = 9_000

export function requests(ports: Ports): readonly Request<unknown>[] {
  const nameServers = `${host}:${ports.nameServer}`
  let native: RemotingConnection | undefined
  const ask = async (
    code: number,
    fields: Readonly<Record<string, string | number>> = {},
    body?: Uint8Array,
    port = ports.remoting,
  ): Promise<void> => {
    const own = port === ports.remoting
    // One that was silent for two minutes is closed.
    const connection =
      (own && native?.isOpen === true ? native : undefined) ??
      (await dial({ host, port, clock: systemClock }))
    if (own) native = connection
    const strings = Object.entries(fields).map(([name, value]) => [name, String(value)] as const)
    const { code: answered, remark } = await connection.request(code, {
      ...{ fields: new Map(strings), body, timeoutMs: TIMEOUT_MS },
    })
    if (answered !== 0) console.error(`request ${code} was answered ${answered}: ${remark}`)
    if (!own) connection.close()
  }
  const get = async (path: string): Promise<void> => {
    await (await fetch(`http://${host}:${ports.http}${path}`)).text()
  }
  const heartbeat = (clientId: string, groups: readonly string[], topic: string): Promise<void> =>
    ask(REQUEST.heartbeat, {}, beatOf(clientId, groups, topic))
  const putTopic = (topic: string, queues: number): Promise<void> =>
    ask(REQUEST.updateTopic, {
      ...{ topic, defaultTopic: 'TBW102', readQueueNums: queues, writeQueueNums: queues, perm: 6 },
      ...{ topicFilterType: 'SINGLE_TAG', order: 'false' },
    })
  const commit = (topic: string, consumerGroup: string, queueId: number): Promise<void> =>
    ask(REQUEST.updateConsumerOffset, { topic, consumerGroup, queueId, commitOffset: 1 })
  const sendTo = (topic: string, queueId: number): Promise<void> =>
    ask(REQUEST.sendMessage, { ...sendFields(topic), queueId }, Buffer.from('a message'))
  const batch = encodeBatchBody(
    count(BATCH).map(() => ({ flag: 0, body: Buffer.alloc(64), properties: Buffer.alloc(0) })),
  )
  const makeTopics = (): Promise<void> => inBatches(TOPICS, (n) => putTopic(`topic-${n}`, 8))
  const makeGroups = async (): Promise<void> => {
    for (let from = 0; from < GROUPS; from += GROUPS_OF_CLIENT) {
      const groups = count(GROUPS_OF_CLIENT).map((n) => `group-${from + n}`)
      await heartbeat(`readers-${from}`, groups, 'topic-1')
    }
  }
  const wide = async (): Promise<void> => {
    await putTopic('wide', QUEUES)
    await heartbeat('reader-of-wide', ['readers'], 'wide')
    await inBatches(QUEUES, async (queueId) => {
      await sendTo('wide', queueId)
      await commit('wide', 'readers', queueId)
    })
  }
  return [
    ...(amqpRequests(ports.amqp) as unknown as readonly Request<unknown>[]),
    ...mqttRequests(ports.mqtt),
    {
      name: `groups, made by six heartbeats of ${GROUPS_OF_CLIENT}`,
      run: (round) =>
        inBatches(3, (n) =>
          heartbeat(
            `maker-${round}-${n}`,
            count(1000).map((i) => `g-${round}-${n}-${i}`),
            'made',
          ),
        ),
    },
    {
      name: `topics, made ${AT_A_TIME} at a time`,
      rounds: 1,
      run: makeTopics,
    },
    {
      name: `offsets of ${GROUPS} groups`,
      rounds: 1,
      run: async () => {
        await makeGroups()
        await inBatches(GROUPS, (n) => commit(`topic-${n % TOPICS}`, `group-${n}`, n % 8))
      },
    },
    {
      name: `a native batch of ${BATCH}`,
      run: () => ask(REQUEST.sendBatchMessage, { ...lettered('batches'), m: 'true' }, batch),
    },
    {
      name: `ends of ${HALVES} half messages`,
      prepare: async () => {
        const client = await connect({
          ...{ nameServers, producerGroup: 'halves', timeoutMs: TIMEOUT_MS },
          checkTransaction: () => 'unknown',
        })
        const halves: (() => void)[] = []
        const ended = count(HALVES).map(
          () =>
            new Promise<void>((over, failed) => {
              client
                .transaction({ topic: 'halves', body: 'x' }, () => {
                  return new Promise<void>((go) => halves.push(go))
                })
                .then(() => over(), failed)
            }),
        )
        while (halves.length < HALVES) await new Promise((go) => setTimeout(go, 50))
        return { client, halves, ended }
      },
      run: async (_round, prepared) => {
        const { client, halves, ended } = prepared as {
          client: Awaited<ReturnType<typeof connect>>
          halves: (() => void)[]
          ended: Promise<void>[]
        }
        for (const go of halves) go()
        await Promise.all(ended)
        await client.close()
      },
    },
    {
      name: `${AT_A_TIME} messages of ${PROPERTIES} properties each: stored, and read by MQTT`,
      rounds: 1,
      run: async () => {
        const client = await connectAsync({ host, port: ports.mqtt, protocolVersion: 5 })
        let left = AT_A_TIME
        const all = new Promise<void>((over) => {
          client.on('message', () => {
            if (--left === 0) over()
          })
        })
        await client.subscribeAsync('many', { qos: 0 })
        const i = count(PROPERTIES)
          .map((n) => `${n.toString(36)}\u0001x`)
          .join('\u0002')
        await inBatches(AT_A_TIME, () =>
          ask(REQUEST.sendMessageV2, { ...lettered('many'), i }, Buffer.from('x')),
        )
        await all
        await client.endAsync()
      },
    },
    {
      name: `${KEY_VALUES} configuration values of the name server`,
      rounds: 1,
      prepare: () =>
        inBatches(KEY_VALUES, (n) =>
          ask(
            REQUEST.putKvConfig,
            { namespace: 'n', key: `k${n}`, value: 'v'.repeat(100) },
            undefined,
            ports.nameServer,
          ),
        ),
      run: () => ask(REQUEST.getKvList, { namespace: 'n' }, undefined, ports.nameServer),
    },
    {
      name: `a topic with ${HELD} held pulls: deleted`,
      prepare: async (round) => {
        await putTopic(`held-${round}`, 8)
        const connections: RemotingConnection[] = []
        for (const _ of count(10)) {
          connections.push(await dial({ host, port: ports.remoting, clock: systemClock }))
        }
        const pull = new Map(
          Object.entries(pullFields(`held-${round}`)).map(([name, value]) => [name, String(value)]),
        )
        const answers = count(HELD).map((n) =>
          connections[n % 10]!.request(REQUEST.pullMessage, {
            fields: pull,
            timeoutMs: TIMEOUT_MS,
          }),
        )
        await new Promise((go) => setTimeout(go, 2000))
        return { connections, answers }
      },
      run: async (round, prepared) => {
        const { connections, answers } = prepared as {
          connections: RemotingConnection[]
          answers: Promise<unknown>[]
        }
        await ask(REQUEST.deleteTopic, { topic: `held-${round}` })
        await Promise.all(answers)
        for (const connection of connections) connection.close()
      },
    },
    {
      name: `a topic of ${QUEUES} queues: made, sent to, read, and deleted`,
      rounds: 1,
      run: wide,
    },
    { name: 'statistics of its queues', run: () => ask(REQUEST.getTopicStats, { topic: 'wide' }) },
    {
      name: 'time spans of its queues',
      run: () => ask(REQUEST.queryConsumeTimeSpan, { topic: 'wide', group: 'readers' }),
    },
    {
      name: 'its progress',
      run: () => ask(REQUEST.getConsumeStats, { consumerGroup: 'readers' }),
    },
    {
      name: 'a reset by time in it',
      run: () =>
        ask(REQUEST.resetOffset, {
          ...{ topic: 'wide', group: 'readers', timestamp: Date.now(), isForce: 'true' },
        }),
    },
    { name: 'all topics', run: () => ask(REQUEST.getAllTopicConfig) },
    { name: 'all groups', run: () => ask(REQUEST.getAllGroupConfig) },
    { name: 'all offsets', run: () => ask(REQUEST.getAllConsumerOffset) },
    {
      name: 'progress of all groups',
      run: () => ask(REQUEST.getBrokerConsumeStats, { isOrder: 'false' }),
    },
    {
      name: 'the groups of a topic',
      run: () => ask(REQUEST.queryTopicConsumers, { topic: 'topic-1' }),
    },
    { name: 'the state of the broker', run: () => ask(REQUEST.getBrokerRuntimeInfo) },
    {
      name: 'all topics of the name server',
      run: () => ask(REQUEST.getAllTopics, {}, undefined, ports.nameServer),
    },
    { name: 'a scrape', run: () => get('/metrics') },
    { name: 'a page of the API: topics', run: () => get('/api/v1/topics?max=1000&all=true') },
    { name: 'a page of the API: groups', run: () => get('/api/v1/groups?max=1000') },
    { name: 'a page of the API: sessions', run: () => get('/api/v1/mqtt/sessions?max=1000') },
    { name: 'numbers of the API', run: () => get('/api/v1/numbers') },
    {
      name: `deletion of a topic on which ${GROUPS} groups have places`,
      prepare: async () => {
        await makeGroups()
        await putTopic('shared', 8)
        await inBatches(GROUPS, (n) => commit('shared', `group-${n}`, n % 8))
      },
      run: () => ask(REQUEST.deleteTopic, { topic: 'shared' }),
    },
    {
      name: `deletion of a group with places on ${TOPICS} topics`,
      rounds: 1,
      prepare: async () => {
        await makeTopics()
        await heartbeat('reader-of-all', ['everywhere'], 'topic-1')
        await inBatches(TOPICS, (n) => commit(`topic-${n}`, 'everywhere', 0))
      },
      run: () => ask(REQUEST.deleteGroup, { groupName: 'everywhere', cleanOffset: 'true' }),
    },
  ]
}

const beatOf = (clientId: string, groups: readonly string[], topic: string): Buffer => {
  const subscription = { codeSet: [], expressionType: 'TAG', subString: '*', subVersion: 1 }
  const consumers = groups.map((groupName) => ({
    ...{ consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET', consumeType: 'CONSUME_PASSIVELY' },
    ...{ groupName, messageModel: 'CLUSTERING' },
    subscriptions: [{ ...subscription, tagsSet: [], topic }],
  }))
  return encodeHeartbeat({ clientId, consumers, producerGroups: [], withoutSub: false })
}

/** SEND_MESSAGE_V2's. */
const lettered = (topic: string) =>
  Object.fromEntries(
    Object.values(sendFields(topic)).map((value, at) => [String.fromCharCode(97 + at), value]),
  )

const sendFields = (topic: string) => ({
  ...{ producerGroup: 'senders', topic, defaultTopic: 'TBW102', defaultTopicQueueNums: 8 },
  ...{ queueId: 0, sysFlag: 0, bornTimestamp: 0, flag: 0 },
})

const pullFields = (topic: string) => ({
  ...{ consumerGroup: 'holders', topic, queueId: 0, queueOffset: 0, maxMsgNums: 32 },
  ...{
    sysFlag: 6,
    commitOffset: 0,
    suspendTimeoutMillis: 30_000,
    subscription: '*',
    subVersion: 1,
  },
})
