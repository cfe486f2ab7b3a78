import { connect as connectTcp } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { troubles } from '../../src/cli/status.ts'
import { connect } from '../../src/client/index.ts'
import { systemClock } from '../../src/clock.ts'
import type { ConfigInput } from '../../src/config.ts'
import { silentLogger } from '../../src/log.ts'
import { type RecordView, recordsOf } from '../../src/model/record.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import { type Command, isResponse } from '../../src/remoting/command.ts'
import { dial, type RemotingConnection } from '../../src/remoting/connection.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'

const fields = (values: Record<string, string | number>): Map<string, string> =>
  new Map(Object.entries(values).map(([name, value]) => [name, String(value)]))

async function startPair(t: ExecutionContext, config: ConfigInput = {}) {
  const master = await startServer(t, {
    config: { ...config, replication: { enabled: true, port: 0, ...config.replication } },
  })
  const slave = await startServer(t, {
    config: { broker: { role: 'SLAVE' }, replication: { master: master.address('replication') } },
  })
  return { master, slave }
}

async function native(t: ExecutionContext, server: TestServer): Promise<RemotingConnection> {
  const connection = await dial({
    host: '127.0.0.1',
    port: server.port('remoting'),
    clock: systemClock,
  })
  t.teardown(() => connection.close())
  return connection
}

const pull = (connection: RemotingConnection, offset: number): Promise<Command> =>
  connection.request(REQUEST.pullMessage, {
    timeoutMs: 60_000,
    fields: fields({
      ...{ consumerGroup: 'g', topic: 'T', queueId: 0, queueOffset: offset, maxMsgNums: 32 },
      // The subscription is in the request.
      ...{ sysFlag: 4, commitOffset: 0, suspendTimeoutMillis: 0, subscription: '*' },
      ...{ subVersion: 0, expressionType: 'TAG' },
    }),
  })

const bodiesOf = ({ body }: Command): string[] =>
  [...recordsOf(body)].map((record: RecordView) => record.body.toString())

async function publish(t: ExecutionContext, server: TestServer, ...bodies: string[]) {
  const mq = await connect({ broker: server.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await mq.admin.topics.create({ name: 'T', queues: 1 })
  for (const body of bodies) await mq.send({ topic: 'T', body })
}

test('a slave serves what its master stored, topics and groups made since among it', async (t) => {
  const { master, slave } = await startPair(t)
  await publish(t, master, 'a', 'b')
  const atMaster = await native(t, master)
  t.deepEqual(bodiesOf(await pull(atMaster, 0)), ['a', 'b'])
  await atMaster.request(REQUEST.updateConsumerOffset, {
    fields: fields({ consumerGroup: 'g', topic: 'T', queueId: 0, commitOffset: 2 }),
  })
  const atSlave = await native(t, slave)
  const found = await eventually(async () => {
    const answer = await pull(atSlave, 0)
    return answer.code === RESPONSE.success ? answer : undefined
  })
  t.deepEqual(bodiesOf(found), ['a', 'b'])
  // Until the commit is there, the group begins at 0.
  await eventually(async () => {
    const answer = await atSlave.request(REQUEST.queryConsumerOffset, {
      fields: fields({ consumerGroup: 'g', topic: 'T', queueId: 0 }),
    })
    return answer.fields.get('offset') === '2'
  })
  const max = await atSlave.request(REQUEST.getMaxOffset, {
    fields: fields({ topic: 'T', queueId: 0 }),
  })
  t.is(max.fields.get('offset'), '2')
})

async function copies(server: TestServer): Promise<Record<string, unknown>> {
  const answer = await fetch(`http://${server.address('http')}/api/v1/replication`)
  return (await answer.json()) as Record<string, unknown>
}

test('both tell of each other, over HTTP and among the values of the native protocol', async (t) => {
  const { master, slave } = await startPair(t)
  await publish(t, master, 'a')
  const told = await eventually(async () => {
    const { replicas } = (await copies(master)) as { replicas: Record<string, unknown>[] }
    const { confirmedTo } = replicas[0] ?? {}
    const { syncedEnd } = await copies(master)
    return confirmedTo === syncedEnd ? replicas[0] : undefined
  })
  t.is(told['brokerId'], 1)
  t.true(told['isInSync'])
  const { isMaster, master: followed } = await copies(slave)
  t.false(isMaster)
  t.like(followed, { address: master.address('replication'), isConnected: true })
  const mq = await connect({ broker: master.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  const atMaster = await mq.admin.brokerState(master.address('remoting'))
  t.is(atMaster.values['replicationSlave1'], '127.0.0.1, in sync, 0 bytes behind')
  t.is(atMaster.numbers['trivet_replication_slave_in_sync{broker_id="1"}'], 1)
  const atSlave = await mq.admin.brokerState(slave.address('remoting'))
  t.regex(atSlave.values['replicationMaster'] ?? '', /, connected, \d+ bytes behind$/)
  t.deepEqual(troubles(atSlave), [])
})

test('a slave refuses what would change anything, as RocketMQ does', async (t) => {
  const { master, slave } = await startPair(t)
  await publish(t, master, 'a')
  const atSlave = await native(t, slave)
  const sent = await atSlave.request(REQUEST.sendMessageV2, {
    body: Buffer.from('x'),
    fields: fields({
      ...{ a: 'p', b: 'T', c: 'TBW102', d: 4, e: 0, f: 0, g: 1, h: 0, i: '', j: 0, k: 'false' },
      m: 'false',
    }),
  })
  t.is(sent.code, RESPONSE.systemBusy)
  t.regex(sent.remark ?? '', /^\[REJECTREQUEST\]system busy, start flow control for a while/)
  const locked = await atSlave.request(REQUEST.lockQueues, {
    body: Buffer.from(
      JSON.stringify({
        ...{ clientId: 'c', consumerGroup: 'g' },
        mqSet: [{ brokerName: 'broker-a', queueId: 0, topic: 'T' }],
      }),
    ),
  })
  t.not(locked.code, RESPONSE.success)
  const made = await atSlave.request(REQUEST.updateTopic, {
    fields: fields({
      ...{ topic: 'Other', defaultTopic: 'TBW102', readQueueNums: 1, writeQueueNums: 1, perm: 6 },
      ...{ topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: 'false' },
    }),
  })
  t.not(made.code, RESPONSE.success)
  t.true(isResponse(made))
})

test('MQTT and AMQP clients of a slave are closed at once', async (t) => {
  const { slave } = await startPair(t)
  for (const name of ['mqtt', 'amqp'] as const) {
    const socket = connectTcp({ host: '127.0.0.1', port: slave.port(name) })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('close', resolve))
  }
  t.pass()
})

test('a slave of an older start goes on without its master, and serves', async (t) => {
  const { master, slave } = await startPair(t)
  await publish(t, master, 'a')
  await pull(await native(t, master), 0)
  const atSlave = await native(t, slave)
  await eventually(async () => {
    const answer = await pull(atSlave, 0)
    return answer.code === RESPONSE.success ? answer : undefined
  })
  await Promise.all([master.server.close(), slave.server.close()])
  const again = await startServer(t, {
    config: {
      ...{ dataDir: slave.config.dataDir, broker: { role: 'SLAVE' } },
      replication: { master: slave.config.replication.master },
    },
  })
  t.deepEqual(bodiesOf(await pull(await native(t, again), 0)), ['a'])
})

test('an empty slave that waits for its master can be stopped', async (t) => {
  const gone = await startServer(t, { config: { replication: { enabled: true, port: 0 } } })
  const master = gone.address('replication')
  await gone.server.close()
  const stop = new AbortController()
  const log = {
    ...silentLogger,
    warn: (fields: object) => {
      if ('evt' in fields && fields.evt === 'replication.waiting') stop.abort()
    },
  }
  const config = { broker: { role: 'SLAVE' }, replication: { master } } as const
  const started = startServer(t, { config, log, signal: stop.signal })
  t.is(await started.catch((error: unknown) => error), stop.signal.reason)
})

test('an empty slave with the address of other clients names the setting that is wrong', async (t) => {
  const other = await startServer(t)
  const master = other.address('remoting')
  const started = startServer(t, {
    config: { broker: { role: 'SLAVE' }, replication: { master } },
  })
  await t.throwsAsync(started, { message: /^replication\.master \S+ does not take this slave: / })
})
