import { deflateSync } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { Slice, systemClock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import {
  bool,
  int,
  layout,
  long,
  named,
  optional,
  readFields,
  text,
  writeFields,
} from '../../src/remoting/layout.ts'
import { decodeHeartbeat, encodeHeartbeat } from '../../src/remoting/requests/clients.ts'
import {
  decodeConsumeStats,
  decodeGroupTable,
  encodeConsumeStats,
} from '../../src/remoting/requests/groups.ts'
import { decodeCommittedOffsets } from '../../src/remoting/requests/offsets.ts'
import {
  decodeLockedQueues,
  decodeLockRequest,
  encodeLockRequest,
} from '../../src/remoting/requests/queue-locks.ts'
import { decodeRegistration, encodeRegistration } from '../../src/remoting/requests/registration.ts'
import { decodeQueuePositions } from '../../src/remoting/requests/reset.ts'
import { decodeClusterInfo, decodeRoute, encodeRoute } from '../../src/remoting/requests/route.ts'
import { decodeTopicStats, encodeTopicStats } from '../../src/remoting/requests/topics.ts'

const SHAPE = layout({
  topic: named('b', text),
  queueId: int,
  offset: long,
  order: bool,
  limit: optional(int),
  note: optional(text),
})

test('fields come back as they went in, under their wire names', (t) => {
  const values = fc.record(
    {
      topic: fc.string(),
      queueId: fc.integer(),
      offset: fc.maxSafeInteger(),
      order: fc.boolean(),
      limit: fc.integer(),
      note: fc.string(),
    },
    { requiredKeys: ['topic', 'queueId', 'offset', 'order'], noNullPrototype: true },
  )
  fc.assert(
    fc.property(values, (given) => {
      const fields = writeFields(SHAPE, given)
      t.is(fields.get('b'), given.topic)
      t.false(fields.has('topic'))
      t.deepEqual(readFields(SHAPE, fields), given as never)
    }),
  )
})

const refused = (changed: Record<string, string | undefined>): string => {
  const fields = new Map([
    ['b', 'T'],
    ['queueId', '1'],
    ['offset', '2'],
    ['order', 'true'],
  ])
  for (const [name, value] of Object.entries(changed)) {
    if (value === undefined) fields.delete(name)
    else fields.set(name, value)
  }
  try {
    readFields(SHAPE, fields)
    return 'read'
  } catch (error) {
    return error instanceof BrokerError && error.code === 'ARGUMENT_INVALID'
      ? error.message
      : 'thrown'
  }
}

test('a field that is missing or malformed is named', (t) => {
  t.is(refused({}), 'read')
  t.is(refused({ b: undefined }), "the request lacks the field 'b'")
  t.is(refused({ queueId: '' }), "the request lacks the field 'queueId'")
  t.regex(refused({ queueId: '2147483648' }), /'queueId' is '2147483648'; a 32-bit integer is due/)
  t.regex(refused({ offset: '1e3' }), /'offset' is '1e3'; an integer is due/)
  t.regex(refused({ limit: 'x' }), /'limit'/)
})

test('an empty optional number is absent, an empty text is empty', (t) => {
  t.is(refused({ limit: '' }), 'read')
  t.is(refused({ b: '' }), 'read')
})

test('a value beyond 53 bits is rounded, not refused: it is an open end', (t) => {
  t.is(refused({ offset: '9223372036854775807' }), 'read')
})

test('the largest long is written as one that Java reads', (t) => {
  t.is(long.print(Number('9223372036854775807')), '9223372036854775807')
  t.is(long.print(Number('-9223372036854775808')), '-9223372036854775808')
})

// Bodies of requests: what we write in the form that foreign readers demand, what we read in the
// form that foreign writers send.

const slice = new Slice(systemClock)
const body = (text: string): Buffer => Buffer.from(text)

// As Java 4.9.8, Go 2.1 and ali-ons 3.12 send them.
const HEARTBEATS = {
  java: '{"clientID":"10.0.0.9@1234#5678","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","subVersion":1700000000000,"tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":0,"producerDataSet":[{"groupName":"PG"}],"withoutSub":false}',
  aliOns:
    '{"clientID":"10.0.0.9@1234","producerDataSet":[],"consumerDataSet":[{"groupName":"G","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[{"topic":"T","subString":"TagA","classFilterMode":false,"tagsSet":["TagA"],"codeSet":[2598919],"subVersion":1700000000000}],"unitMode":false}]}',
} as const

for (const [client, text] of Object.entries(HEARTBEATS)) {
  test(`a heartbeat of ${client} is read`, (t) => {
    const { clientId, consumers } = decodeHeartbeat(body(text))
    t.regex(clientId, /^10\.0\.0\.9@1234/)
    t.deepEqual(consumers, [
      {
        groupName: 'G',
        consumeType: 'CONSUME_PASSIVELY',
        messageModel: 'CLUSTERING',
        consumeFromWhere: 'CONSUME_FROM_LAST_OFFSET',
        subscriptions: [
          {
            topic: 'T',
            subString: 'TagA',
            expressionType: 'TAG',
            subVersion: 1_700_000_000_000,
            tagsSet: ['TagA'],
            codeSet: [2_598_919],
          },
        ],
      },
    ])
  })
}

test('a heartbeat comes back as it went in', (t) => {
  const heartbeat = decodeHeartbeat(body(HEARTBEATS.java))
  t.deepEqual(decodeHeartbeat(encodeHeartbeat(heartbeat)), heartbeat)
})

test('a heartbeat with members missing takes the defaults', (t) => {
  const { consumers, producerGroups } = decodeHeartbeat(
    body('{"clientID":"c","consumerDataSet":[{"groupName":"G"}]}'),
  )
  t.deepEqual(producerGroups, [])
  t.is(consumers[0]!.messageModel, 'CLUSTERING')
  t.deepEqual(consumers[0]!.subscriptions, [])
})

test("a route of an older name server, with unquoted keys and its old member's name, is read", (t) => {
  const route = decodeRoute(
    body(
      '{"brokerDatas":[{"brokerAddrs":{0:"10.0.0.1:10911",1:"10.0.0.2:10911"},"brokerName":"b","cluster":"C"}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":8,"topicSynFlag":2,"writeQueueNums":4}]}',
    ),
  )
  t.deepEqual(
    [...route.brokers[0]!.addresses],
    [
      [0, '10.0.0.1:10911'],
      [1, '10.0.0.2:10911'],
    ],
  )
  t.deepEqual(route.queues, [
    { brokerName: 'b', readQueues: 8, writeQueues: 4, perm: 6, topicSysFlag: 2 },
  ])
  t.deepEqual(decodeRoute(encodeRoute(route)), route)
})

test('a cluster that refers to the same broker twice is read', (t) => {
  const info = decodeClusterInfo(
    body(
      '{"brokerAddrTable":{"a":{"brokerAddrs":{"0":"x:1"},"brokerName":"a","cluster":"C"},"b":{"$ref":"$.brokerAddrTable.a"}},"clusterAddrTable":{"C":["a","b"]}}',
    ),
  )
  t.deepEqual(
    info.brokers.map(({ addresses }) => addresses.get(0)),
    ['x:1', 'x:1'],
  )
})

test('tables with queues as keys are written and read as fastjson does', async (t) => {
  const queue = { brokerName: 'b', queueId: 3, topic: 'T' }
  const stats = [{ queue, minOffset: 1, maxOffset: 9, lastUpdateTimestamp: 5 }]
  t.is(
    encodeTopicStats(stats, 0.5).toString(),
    '{"offsetTable":{{"brokerName":"b","queueId":3,"topic":"T"}:{"lastUpdateTimestamp":5,"maxOffset":9,"minOffset":1}},"topicPutTps":0.5}',
  )
  t.deepEqual(decodeTopicStats(encodeTopicStats(stats, 0)), stats)
  const progress = [{ queue, brokerOffset: 9, consumerOffset: 4, pullOffset: 6, lastTimestamp: 8 }]
  t.deepEqual(decodeConsumeStats(await encodeConsumeStats(progress, 0.5, slice)), progress)
  t.deepEqual(
    decodeQueuePositions(body('{"offsetTable":{{"brokerName":"b","queueId":3,"topic":"T"}:7}}')),
    [{ queue, offset: 7 }],
  )
})

test('committed offsets are read with unquoted queue ids', (t) => {
  t.deepEqual(
    decodeCommittedOffsets(body('{"offsetTable":{"T@G":{0:5,1:7},"%RETRY%G@G":{0:1}}}')),
    [
      { group: 'G', topic: 'T', queueId: 0, offset: 5 },
      { group: 'G', topic: 'T', queueId: 1, offset: 7 },
      { group: 'G', topic: '%RETRY%G', queueId: 0, offset: 1 },
    ],
  )
})

test('locks come back as they went in', (t) => {
  const queues = [{ brokerName: 'b', queueId: 1, topic: 'T' }]
  const request = { clientId: 'c', consumerGroup: 'G', queues }
  t.deepEqual(decodeLockRequest(encodeLockRequest(request)), request)
  t.deepEqual(
    decodeLockedQueues(body('{"lockOKMQSet":[{"brokerName":"b","queueId":1,"topic":"T"}]}')),
    queues,
  )
})

test('a registration comes back as it went in', async (t) => {
  const table = {
    version: { counter: 3, stateVersion: 1, timestamp: 7 },
    topics: [
      { name: '__proto__', readQueues: 8, writeQueues: 4, perm: 6, ordered: true, sysFlag: 1 },
      { name: 'T', readQueues: 1, writeQueues: 1, perm: 4, ordered: false, sysFlag: 0 },
    ],
  }
  t.deepEqual(await decodeRegistration(await encodeRegistration(table, slice), slice), table)
})

test('a registration of very many topics is refused', async (t) => {
  const version = Buffer.from('{}')
  const lengths = [Buffer.alloc(4), Buffer.alloc(4)] as const
  lengths[0].writeInt32BE(version.length)
  lengths[1].writeInt32BE(60_001)
  const line = Buffer.from('\0\0\0\x07t 4 4 6')
  const bytes = Buffer.concat([lengths[0], version, lengths[1], ...Array(60_001).fill(line)])
  await t.throwsAsync(decodeRegistration(deflateSync(bytes), slice), {
    message: /more than 60000 topics/,
  })
})

test('a group table takes the defaults for what an older broker leaves out', (t) => {
  const [group] = decodeGroupTable(
    body(
      '{"dataVersion":{"counter":1},"subscriptionGroupTable":{"G":{"groupName":"G","consumeEnable":false}}}',
    ),
  )
  t.deepEqual(group, {
    name: 'G',
    consumeEnabled: false,
    broadcastEnabled: true,
    retryQueues: 1,
    retryTimesMax: 16,
  })
})
