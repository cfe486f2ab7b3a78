// The unmodified Java client of Apache RocketMQ 5.5 and mqadmin against our server in a process of its own.
import type { ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import {
  bodyOf,
  type ClientEvent,
  type ForeignClient,
  type Got,
} from '../support/foreign-client.ts'
import { java, javaClientMissing, mqadmin } from '../support/java-client.ts'
import {
  eachGotTwice,
  either,
  groupByQueue,
  untilShared,
  withBody,
} from '../support/load/members.ts'
import { needing, serverForAll } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('every test with the Java client', missing)

const server = serverForAll(missing)

const nameServer = (): string => server().address('nameServer')

/**
 * A consumer that starts before its topic exists may look for it only half a minute later
 * (docs/decisions/routes-of-unknown-topics.md).
 */
async function withTopic(topic: string): Promise<{ nameServer: string; topic: string }> {
  await using client = await connect({ nameServers: nameServer() })
  await client.admin.topics.create({ name: topic, queues: 4 })
  return { nameServer: nameServer(), topic }
}

const indexes = (messages: readonly Got[]): number[] =>
  messages.map((message) => Number(message.properties['index'])).sort((a, b) => a - b)
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

function noFailures(events: readonly ClientEvent[]): ClientEvent[] {
  return events.filter((event) => event.event === 'failed')
}

for (const mode of ['sync', 'async', 'oneway'] as const) {
  testJava(`${mode} sends reach a concurrent push consumer whole`, async (t) => {
    const topic = `Java_${mode}`
    const common = await withTopic(topic)
    const consumer = await java(t, 'push', { ...common, group: `G_${mode}` })
    await consumer.ready()
    const producer = await java(t, 'produce', { ...common, mode, count: 20, tags: 'TagA,TagB' })
    t.deepEqual(noFailures(await producer.ends()), [])
    const got = await consumer.receives(20)
    t.deepEqual(indexes(got), upTo(20))
    const fifth = got.find((message) => message.properties['index'] === '5')!
    t.is(bodyOf(fifth), 'message-5')
    t.is(fifth.tag, 'TagB')
    t.is(fifth.keys, 'key-5')
    t.is(fifth.topic, topic)
    t.is(fifth.properties['text'], 'grüße 中文 😀')
    t.is(fifth.properties['UNIQ_KEY'], fifth.msgId)
    if (mode !== 'oneway') {
      const sent = producer.of('sent')
      t.true(sent.every((event) => event['status'] === 'SEND_OK'))
      t.deepEqual(
        sent.map((event) => event['msgId']).sort(),
        got.map((message) => message.msgId).sort(),
      )
    }
  })
}

testJava('the binary header codec carries the same', async (t) => {
  const common = await withTopic('JavaBinary')
  const binary = ['-Drocketmq.serialize.type=ROCKETMQ']
  const consumer = await java(
    t,
    'push',
    { ...common, group: 'G_binary', expression: 'TagA' },
    binary,
  )
  await consumer.ready()
  for (const mode of ['sync', 'batch']) {
    const producer = await java(t, 'produce', { ...common, mode, count: 10, tags: 'TagA' }, binary)
    t.deepEqual(noFailures(await producer.ends()), [])
  }
  const got = await consumer.receives(20)
  t.deepEqual(
    indexes(got),
    [...upTo(10), ...upTo(10)].sort((a, b) => a - b),
  )
  t.is(got[0]!.properties['text'], 'grüße 中文 😀')
})

testJava('a batch is stored as its messages', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaBatch' }
  const producer = await java(t, 'produce', { ...common, mode: 'batch', count: 10, tags: 'TagA' })
  t.deepEqual(noFailures(await producer.ends()), [])
  const [sent] = producer.of('sent')
  t.is(String(sent!['offsetMsgId']).split(',').length, 10)
  const consumer = await java(t, 'push', { ...common, group: 'G_batch' })
  const got = await consumer.receives(10)
  t.deepEqual(indexes(got), upTo(10))
  t.is(new Set(got.map((message) => message.queueId)).size, 1)
})

testJava('a body that the client compresses arrives as it was', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaLarge' }
  const producer = await java(t, 'produce', { ...common, count: 2, bodyBytes: 100_000 })
  t.deepEqual(noFailures(await producer.ends()), [])
  const consumer = await java(t, 'push', { ...common, group: 'G_large' })
  const got = await consumer.receives(2)
  t.deepEqual(
    got.map((message) => bodyOf(message).length),
    [100_000, 100_000],
  )
})

testJava('a body over 4 MiB is refused with the reason', async (t) => {
  const options = { nameServer: nameServer(), topic: 'JavaTooLarge', bodyBytes: 4_194_305 }
  const producer = await java(t, 'produce', options)
  await producer.ends()
  t.is(producer.of('failed')[0]?.['code'], 13)
})

testJava('a tag expression selects', async (t) => {
  const common = await withTopic('JavaTags')
  const consumer = await java(t, 'push', {
    ...common,
    group: 'G_tags',
    expression: 'TagA || TagC',
  })
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, count: 30, tags: 'TagA,TagB,TagC' })
  t.deepEqual(noFailures(await producer.ends()), [])
  const got = await consumer.receives(20)
  t.deepEqual(
    indexes(got),
    upTo(30).filter((i) => i % 3 !== 1),
  )
})

testJava('clients with the VIP channel send and receive', async (t) => {
  const common = await withTopic('JavaVip')
  const vip = ['-Dcom.rocketmq.sendMessageWithVIPChannel=true']
  const consumer = await java(t, 'push', { ...common, group: 'G_vip' }, vip)
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, count: 4 }, vip)
  t.deepEqual(noFailures(await producer.ends()), [])
  t.deepEqual(indexes(await consumer.receives(4)), upTo(4))
})

testJava('a trace has what the producer and what the consumer say', async (t) => {
  const common = { ...(await withTopic('JavaTrace')), trace: true }
  const consumer = await java(t, 'push', { ...common, group: 'G_trace' })
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, count: 1 })
  t.deepEqual(noFailures(await producer.ends()), [])
  await consumer.receives(1)
  // What it has not told yet it tells when it ends.
  await consumer.stop()
  const client = await connect({ nameServers: [nameServer()] })
  t.teardown(() => client.close())
  const said = new Set<string>()
  const queues = await client.queues('RMQ_SYS_TRACE_TOPIC')
  for (const { queueId } of queues) {
    const pulled = await client.pull({ topic: 'RMQ_SYS_TRACE_TOPIC', queueId, offset: 0 })
    for (const { body } of pulled.messages) {
      for (const part of Buffer.from(body).toString().split('\u0002'))
        said.add(part.split('\u0001')[0]!)
    }
  }
  said.delete('')
  t.deepEqual([...said].sort(), ['Pub', 'SubAfter', 'SubBefore'])
})

testJava('a delayed message says its level, and a failed one that of its retry', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaLevels' }
  const producer = await java(t, 'produce', { ...common, count: 1, delayLevel: 1 })
  t.deepEqual(noFailures(await producer.ends()), [])
  const consumer = await java(t, 'push', {
    ...common,
    group: 'G_levels',
    failures: 1,
    retryLevel: 2,
  })
  const [first, second] = await consumer.receives(2)
  t.is(first!.properties['DELAY'], '1')
  t.is(first!.properties['REAL_TOPIC'], 'JavaLevels')
  t.is(second!.properties['DELAY'], '2')
})

testJava('consumers of one group share the queues, and take over from one that ends', async (t) => {
  const common = await withTopic('JavaCluster')
  const group = { ...common, group: 'G_cluster' }
  const [one, two] = await Promise.all([
    java(t, 'push', { ...group, instance: 'one' }),
    java(t, 'push', { ...group, instance: 'two' }),
  ])
  await Promise.all([one.ready(), two.ready()])
  await untilShared([one, two], nameServer(), 'JavaCluster')
  const send = async (count: number, body: string): Promise<void> => {
    const producer = await java(t, 'produce', { ...common, count, body })
    t.deepEqual(noFailures(await producer.ends()), [])
  }
  await send(40, 'shared')
  const shared = (): readonly Got[] => [one, two].flatMap((c) => withBody(c, 'shared'))
  await either([one, two], 'all came', () => shared().length >= 40)
  t.deepEqual(indexes(shared()), upTo(40))
  await one.stop()
  await send(8, 'alone')
  await two.until('it took over', () => withBody(two, 'alone').length >= 8)
  t.deepEqual(indexes(withBody(two, 'alone')), upTo(8))
})

testJava('every broadcasting consumer gets every message', async (t) => {
  const common = await withTopic('JavaBroadcast')
  const group = { ...common, group: 'G_broadcast', broadcasting: true }
  const consumers = await Promise.all([
    java(t, 'push', { ...group, instance: 'one' }),
    java(t, 'push', { ...group, instance: 'two' }),
  ])
  await Promise.all(consumers.map((consumer) => consumer.ready()))
  const producer = await java(t, 'produce', { ...common, count: 12 })
  t.deepEqual(noFailures(await producer.ends()), [])
  for (const consumer of consumers) t.deepEqual(indexes(await consumer.receives(12)), upTo(12))
})

testJava('orderly consumers keep the order of each queue and retry in place', async (t) => {
  const common = await withTopic('JavaOrdered')
  const group = { ...common, group: 'G_ordered', orderly: true, failures: 1 }
  const consumers = await Promise.all([
    java(t, 'push', { ...group, instance: 'one' }),
    java(t, 'push', { ...group, instance: 'two' }),
  ])
  await Promise.all(consumers.map((consumer) => consumer.ready()))
  await membersOf('G_ordered', 2)
  const producer = await java(t, 'produce', { ...common, mode: 'ordered', count: 16 })
  t.deepEqual(noFailures(await producer.ends()), [])
  await eachGotTwice(consumers, 16)
  for (const consumer of consumers) {
    for (const messages of groupByQueue(consumer.got).values()) {
      const order = messages.map((message) => message.queueOffset)
      t.deepEqual(
        order,
        order.toSorted((a, b) => a - b),
        'a queue was delivered out of order',
      )
    }
  }
  t.is(new Set(consumers.flatMap((c) => c.got.map((m) => m.msgId))).size, 16)
})

testJava('a failed message comes again after its delay, with its topic and a count', async (t) => {
  const common = await withTopic('JavaRetry')
  const consumer = await java(t, 'push', {
    ...common,
    group: 'G_retry',
    failures: 1,
    retryLevel: 1,
  })
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, count: 3, tags: 'TagA' })
  t.deepEqual(noFailures(await producer.ends()), [])
  const got = await consumer.receives(6)
  const again = got.filter((message) => message.reconsumeTimes === 1)
  t.deepEqual(indexes(again), upTo(3))
  t.true(again.every((message) => message.topic === 'JavaRetry' && message.tag === 'TagA'))
})

/** Reads them once there are any. */
async function deadLetters(t: ExecutionContext, group: string): Promise<ForeignClient> {
  const topic = `%DLQ%${group}`
  await eventually(async () => {
    const route = await mqadmin('topicRoute', '-n', nameServer(), '-t', topic)
    return route.includes('readQueueNums') || undefined
  })
  const at = { nameServer: nameServer(), topic, group: `${group}_reader` }
  return java(t, 'lite-pull', { ...at, assign: true })
}

testJava('a message that fails too often is dead-lettered', async (t) => {
  const common = await withTopic('JavaDead')
  const consumer = await java(t, 'push', {
    ...common,
    group: 'G_dead',
    failures: 100,
    retryLevel: 1,
    maxReconsumeTimes: 1,
  })
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, count: 1 })
  t.deepEqual(noFailures(await producer.ends()), [])
  await consumer.receives(2)
  const reader = await deadLetters(t, 'G_dead')
  const [dead] = await reader.receives(1)
  t.is(bodyOf(dead!), 'message-0')
  t.is(consumer.got.length, 2)
})

testJava('a message that an orderly consumer gives up is dead-lettered at once', async (t) => {
  const common = await withTopic('JavaGivenUp')
  const consumer = await java(t, 'push', {
    ...common,
    group: 'G_given_up',
    orderly: true,
    failures: 100,
    maxReconsumeTimes: 1,
  })
  await consumer.ready()
  const producer = await java(t, 'produce', { ...common, count: 1 })
  t.deepEqual(noFailures(await producer.ends()), [])
  await consumer.receives(2)
  const reader = await deadLetters(t, 'G_given_up')
  const [dead] = await reader.receives(1)
  t.is(bodyOf(dead!), 'message-0')
  t.is(consumer.got.length, 2)
})

testJava('a delayed message comes not before its time', async (t) => {
  const common = await withTopic('JavaDelay')
  const consumer = await java(t, 'push', { ...common, group: 'G_delay' })
  await consumer.ready()
  const byLevel = await java(t, 'produce', { ...common, count: 1, delayLevel: 2, body: 'level' })
  const byTime = await java(t, 'produce', { ...common, count: 1, delayMs: 4000, body: 'time' })
  t.deepEqual(noFailures([...(await byLevel.ends()), ...(await byTime.ends())]), [])
  for (const message of await consumer.receives(2)) {
    const wanted = bodyOf(message).startsWith('level') ? 5000 : 4000
    t.true(message.delayMs >= wanted - 1000, `${bodyOf(message)} came after ${message.delayMs} ms`)
    t.true(message.delayMs < wanted + 30_000)
  }
})

testJava('a lite pull consumer reads by subscription and by assignment', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaLitePull' }
  const producer = await java(t, 'produce', { ...common, count: 25 })
  t.deepEqual(noFailures(await producer.ends()), [])
  const consumers = await Promise.all([
    java(t, 'lite-pull', { ...common, group: 'G_lite' }),
    java(t, 'lite-pull', { ...common, group: 'G_lite_assign', assign: true }),
  ])
  for (const consumer of consumers) t.deepEqual(indexes(await consumer.receives(25)), upTo(25))
})

testJava('a group goes on where it stopped', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaResume', group: 'G_resume' }
  const send = async (body: string): Promise<void> => {
    const producer = await java(t, 'produce', { ...common, group: 'PG', count: 5, body })
    t.deepEqual(noFailures(await producer.ends()), [])
  }
  await send('first')
  const before = await java(t, 'push', common)
  await before.receives(5)
  await before.stop()
  await send('second')
  const after = await java(t, 'push', common)
  const got = await after.receives(5)
  t.deepEqual(
    got.map(bodyOf).sort(),
    upTo(5).map((i) => `second-${i}`),
  )
})

testJava('mqadmin sees the cluster, its topics and the progress of a group', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaAdmin' }
  const producer = await java(t, 'produce', { ...common, count: 4, tags: 'TagA' })
  t.deepEqual(noFailures(await producer.ends()), [])
  const consumer = await java(t, 'push', { ...common, group: 'G_admin' })
  await consumer.receives(4)
  const at = ['-n', nameServer()] as const
  t.regex(
    await mqadmin('clusterList', ...at),
    /DefaultCluster\s+broker-a\s+0\s+127\.0\.0\.1:\d+\s+V5_3_3/,
  )
  t.regex(await mqadmin('topicList', ...at), /^JavaAdmin$/m)
  t.regex(await mqadmin('topicRoute', ...at, '-t', 'JavaAdmin'), /"readQueueNums":4/)
  t.regex(await mqadmin('topicStatus', ...at, '-t', 'JavaAdmin'), /broker-a\s+0\s+0\s+\d+/)
  t.regex(await mqadmin('consumerConnection', ...at, '-g', 'G_admin'), /JavaAdmin\s+\*/)
  await consumer.stop()
  const progress = await mqadmin('consumerProgress', ...at, '-g', 'G_admin')
  t.regex(progress, /Diff Total: 0/)
  const sent = producer.of('sent')[0]!
  t.regex(
    await mqadmin('queryMsgById', ...at, '-t', 'JavaAdmin', '-i', String(sent['offsetMsgId'])),
    /key-0/,
  )
  t.regex(await mqadmin('queryMsgByKey', ...at, '-t', 'JavaAdmin', '-k', 'key-1'), /\d/)
  await mqadmin(
    'updateTopic',
    ...at,
    '-b',
    server().address('remoting'),
    '-t',
    'JavaMade',
    '-r',
    '3',
    '-w',
    '3',
  )
  t.regex(await mqadmin('topicRoute', ...at, '-t', 'JavaMade'), /"readQueueNums":3/)
  await mqadmin('deleteTopic', ...at, '-c', 'DefaultCluster', '-t', 'JavaMade')
  t.false(/^JavaMade$/m.test(await mqadmin('topicList', ...at)))
})

testJava('mqadmin hears which attribute of a topic this broker does not have', async (t) => {
  const make = (topic: string, attributes: string): Promise<string> =>
    mqadmin(
      ...['updateTopic', '-n', nameServer(), '-b', server().address('remoting'), '-t', topic],
      ...['-a', attributes],
    )
  t.regex(await make('JavaFifo', '+message.type=FIFO'), /create topic to .* success/)
  const refused = await make('JavaQueueType', '+queue.type=BatchCQ')
  t.regex(refused, /has the attribute 'queue\.type=BatchCQ'/)
  t.notRegex(refused, /success/)
})

testJava('mqadmin reads a group back as it set it', async (t) => {
  const at = ['-n', nameServer(), '-g', 'G_kept'] as const
  const set = ['-r', '3', '-m', 'false', '-i', '2', '-w', '4', '-a', 'false'] as const
  await mqadmin('updateSubGroup', ...at, '-b', server().address('remoting'), ...set)
  const shown = await mqadmin('getConsumerConfig', ...at)
  const kept = { retryMaxTimes: 3, consumeFromMinEnable: false, brokerId: 2 }
  const more = { whichBrokerWhenConsumeSlowly: 4, notifyConsumerIdsChangedEnable: false }
  for (const [name, value] of Object.entries({ ...kept, ...more })) {
    t.regex(shown, new RegExp(`^${name} += {2}${value}$`, 'm'))
  }
})

testJava('mqadmin changes groups and moves them', async (t) => {
  const common = { nameServer: nameServer(), topic: 'JavaMoved' }
  const at = ['-n', nameServer()] as const
  const broker = ['-b', server().address('remoting')] as const
  await mqadmin('updateSubGroup', ...at, ...broker, '-g', 'G_moved', '-r', '3')
  const producer = await java(t, 'produce', { ...common, count: 6 })
  t.deepEqual(noFailures(await producer.ends()), [])
  const consumer = await java(t, 'push', { ...common, group: 'G_moved' })
  await consumer.receives(6)
  const moved = await mqadmin(
    ...['resetOffsetByTime', ...at, '-g', 'G_moved', '-t', 'JavaMoved', '-s', '0', '-f', 'true'],
  )
  t.regex(moved, /JavaMoved/)
  await consumer.receives(12)
  t.deepEqual(
    indexes(consumer.got),
    [...upTo(6), ...upTo(6)].sort((a, b) => a - b),
  )
  const skipped = await mqadmin('skipAccumulatedMessage', ...at, '-g', 'G_moved', '-t', 'JavaMoved')
  for (let queueId = 0; queueId < 4; queueId++) {
    t.regex(skipped, new RegExp(`broker-a\\s+${queueId}\\s+[1-9]`))
  }
  await consumer.stop()
  t.is(consumer.got.length, 12)
  const wiped = await mqadmin('wipeWritePerm', ...at, '-b', 'broker-a')
  t.regex(wiped, /wipe write perm of broker\[broker-a\].*OK, [1-9]/)
  t.regex(await mqadmin('topicRoute', ...at, '-t', 'JavaMoved'), /"perm":4/)
  t.regex(await mqadmin('addWritePerm', ...at, '-b', 'broker-a'), /OK, [1-9]/)
  t.regex(await mqadmin('topicRoute', ...at, '-t', 'JavaMoved'), /"perm":6/)
  await mqadmin('deleteSubGroup', ...at, ...broker, '-g', 'G_moved')
  const gone = await mqadmin('consumerConnection', ...at, '-g', 'G_moved')
  t.regex(gone, /not online|not exist/i)
})

testJava('requests are signed, and only granted topics are served', async (t) => {
  const secured = await spawnServer(t, {
    config: {
      users: {
        writer: { secretKey: '12345678', publish: ['Granted'], create: ['Granted'] },
        reader: { secretKey: '87654321', consume: ['Granted', 'G_acl'] },
      },
    },
  })
  const common = { nameServer: secured.address('nameServer'), topic: 'Granted' }
  const writer = { accessKey: 'writer', secretKey: '12345678' }
  const reader = { accessKey: 'reader', secretKey: '87654321', group: 'G_acl' }
  const produced = await java(t, 'produce', { ...common, ...writer, count: 3, bodyBytes: 200_000 })
  t.deepEqual(noFailures(await produced.ends()), [])
  const consumer = await java(t, 'push', { ...common, ...reader })
  t.deepEqual(indexes(await consumer.receives(3)), upTo(3))
  const refused = [
    await java(t, 'produce', { ...common, count: 1 }),
    await java(t, 'produce', { ...common, ...writer, secretKey: 'wrong-key', count: 1 }),
    await java(t, 'produce', { ...common, ...writer, topic: 'Other', count: 1 }),
  ]
  for (const producer of refused) {
    await producer.ends()
    t.is(producer.of('sent').length, 0)
    t.is(producer.of('failed').length, 1)
  }
})

/** Registrations tell when the clients can have shared the queues. */
async function membersOf(group: string, count: number): Promise<void> {
  await eventually(async () => {
    const out = await mqadmin('consumerConnection', '-n', nameServer(), '-g', group)
    return (out.match(/V5_5_0/g) ?? []).length >= count || undefined
  })
}
