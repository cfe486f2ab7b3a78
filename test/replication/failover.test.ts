import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import type { ConfigInput } from '../../src/config.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { mqttClient } from '../support/mqtt/mqtt.ts'
import { freePort, type SpawnedServer, spawnServer } from '../support/server.ts'
import { eventually } from '../support/waiting.ts'

/** Messages that were acknowledged before the master is killed, of each protocol at least. */
const ACKED_MIN = 40
const QUEUES = 2

async function startPair(t: ExecutionContext, master: ConfigInput = {}) {
  const port = await freePort()
  const first = await spawnServer(t, {
    config: { ...master, replication: { enabled: true, port, ...master.replication } },
  })
  const second = await spawnServer(t, {
    config: { broker: { role: 'SLAVE' }, replication: { master: `127.0.0.1:${port}` } },
  })
  return { master: first, slave: second }
}

/** Of a machine that is busy. */
const ANSWER_MS = 60_000
/** Of a send to a master that is gone, which the SDK tries again and again. */
const GIVEN_UP_MS = 2_000

async function clientOf(
  t: ExecutionContext,
  server: SpawnedServer,
  timeoutMs = ANSWER_MS,
): Promise<Client> {
  const broker = server.address('remoting')
  const mq = await connect({ broker, timeoutMs, connectTimeoutMs: ANSWER_MS })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

/** Sends until it fails, one after the other; what was acknowledged. */
async function load(send: (body: string) => Promise<unknown>, name: string, acked: string[]) {
  try {
    for (let i = 0; ; i++) {
      const body = `${name}-${i}`
      await send(body)
      acked.push(body)
    }
  } catch {
    // The master is gone.
  }
}

async function loads(t: ExecutionContext, master: SpawnedServer, acked: Record<string, string[]>) {
  const mq = await clientOf(t, master, GIVEN_UP_MS)
  const mqtt = await mqttClient(t, master.port('mqtt'), 5)
  const amqp = await connectRhea(t, master.port('amqp'))
  const sender = await amqp.sender('T')
  const gone = new Promise<never>((_resolve, reject) => {
    mqtt.client.on('close', () => reject(new Error('closed')))
  })
  gone.catch(() => {})
  const ended = once(amqp.connection, 'disconnected').then(() => {
    throw new Error('disconnected')
  })
  ended.catch(() => {})
  return [
    load((body) => mq.send({ topic: 'T', body }), 'native', acked['native']!),
    load((body) => Promise.race([mqtt.publish('T', body), gone]), 'mqtt', acked['mqtt']!),
    load(
      async (body) => {
        const { kind } = await Promise.race([sender.send({ body }), ended])
        if (kind !== 'accepted') throw new Error(kind)
      },
      'amqp',
      acked['amqp']!,
    ),
  ]
}

/** Every body of the topic, until all that are wanted are there. */
async function consume(t: ExecutionContext, server: SpawnedServer, wanted: ReadonlySet<string>) {
  const mq = await clientOf(t, server)
  const missing = new Set(wanted)
  for await (const delivery of mq.subscribe({ group: 'readers', topic: 'T', from: 'first' })) {
    missing.delete(delivery.text())
    await delivery.ack()
    if (missing.size === 0) break
  }
}

test('what a SYNC_MASTER acknowledged is there when it is killed and its slave promoted', async (t) => {
  const { master, slave } = await startPair(t, {
    broker: { role: 'SYNC_MASTER' },
    replication: { slaveTimeoutMs: 60_000 },
  })
  const admin = await clientOf(t, master)
  await admin.admin.topics.create({ name: 'T', queues: QUEUES })
  const acked: Record<string, string[]> = { native: [], mqtt: [], amqp: [] }
  const loading = await loads(t, master, acked)
  await eventually(async () => Object.values(acked).every(({ length }) => length >= ACKED_MIN))
  await master.kill()
  await Promise.all(loading)
  const atSlave = await clientOf(t, slave)
  // Its connection ends a moment later than the master.
  const epoch = await eventually(async () => {
    try {
      return await atSlave.admin.promote(slave.address('remoting'))
    } catch {
      return undefined
    }
  })
  t.true(epoch > 1000)
  const bodies = Object.values(acked).flat()
  // While its doors change hands connections end.
  await eventually(async () => {
    try {
      const mq = await clientOf(t, slave, GIVEN_UP_MS)
      return await mq.send({ topic: 'T', body: 'after' })
    } catch {
      return undefined
    }
  })
  await consume(t, slave, new Set([...bodies, 'after']))
  const mqtt = await mqttClient(t, slave.port('mqtt'), 5)
  await mqtt.publish('T', 'over MQTT')
  t.pass()
})

test('a slave is not promoted while its master is there, unless it is forced', async (t) => {
  const { master, slave } = await startPair(t)
  const mq = await clientOf(t, master)
  await mq.send({ topic: 'T', body: 'a' })
  const atSlave = await clientOf(t, slave)
  await eventually(async () => /replication\.following/.test(slave.stderr) || undefined)
  await t.throwsAsync(atSlave.admin.promote(slave.address('remoting')), {
    message: /its master .* is there and connected: stop that first/,
  })
  await t.throwsAsync(mq.admin.promote(master.address('remoting')), {
    message: /this broker is the master/,
  })
  const epoch = await atSlave.admin.promote(slave.address('remoting'), { force: true })
  t.true(epoch > 1000)
})

test('a master that was replaced does not come back by following as it is', async (t) => {
  const { master, slave } = await startPair(t)
  const mq = await clientOf(t, master)
  await mq.send({ topic: 'T', body: 'a' })
  await eventually(async () => /replication\.following/.test(slave.stderr) || undefined)
  const atSlave = await clientOf(t, slave)
  await atSlave.admin.promote(slave.address('remoting'), { force: true })
  // It may take a message that its successor does not have, until it is told.
  await mq.send({ topic: 'T', body: 'lost' }, { timeoutMs: GIVEN_UP_MS }).catch(() => {})
  await slave.stop()
  await slave.start()
  await eventually(async () => /replication\.deposed/.test(master.stderr) || undefined)
  const late = mq.send({ topic: 'T', body: 'refused' }, { timeoutMs: GIVEN_UP_MS })
  await t.throwsAsync(late)
})
