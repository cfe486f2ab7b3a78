import test, { type ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { systemClock } from '../../src/clock.ts'
import { REQUEST, RESPONSE } from '../../src/remoting/codes.ts'
import type { Command } from '../../src/remoting/command.ts'
import { dial } from '../../src/remoting/connection.ts'
import { connectRhea } from '../support/amqp/rhea-client.ts'
import { runCommand } from '../support/command-line.ts'
import { mqttClient } from '../support/mqtt/mqtt.ts'
import { startServer, type TestServer } from '../support/server.ts'

/** A SYNC_MASTER that no slave follows. */
const startAlone = (t: ExecutionContext, replication: Record<string, number> = {}) =>
  startServer(t, {
    config: {
      broker: { role: 'SYNC_MASTER' },
      replication: { enabled: true, port: 0, slaveTimeoutMs: 50, ...replication },
    },
  })

async function send(t: ExecutionContext, server: TestServer, topic: string): Promise<Command> {
  const to = { host: '127.0.0.1', port: server.port('remoting'), clock: systemClock }
  const connection = await dial(to)
  t.teardown(() => connection.close())
  const fields = {
    ...{ a: 'p', b: topic, c: 'TBW102', d: '4', e: '0', f: '0', g: '1', h: '0', i: '', j: '0' },
    ...{ k: 'false', m: 'false' },
  }
  return connection.request(REQUEST.sendMessageV2, {
    ...{ body: Buffer.from('x'), fields: new Map(Object.entries(fields)), timeoutMs: 60_000 },
  })
}

test('native: what no slave has is answered with SLAVE_NOT_AVAILABLE and its place', async (t) => {
  const server = await startAlone(t)
  const first = await send(t, server, 'T')
  t.is(first.code, RESPONSE.slaveNotAvailable)
  t.is(first.fields.get('queueOffset'), '0')
  t.regex(first.fields.get('msgId') ?? '', /^[0-9A-F]{32}$/)
  t.regex(first.remark ?? '', /0 of 1 slaves are connected/)
  const second = await send(t, server, 'T')
  t.is(second.fields.get('queueOffset'), '1')
})

test('the SDK says in its result what no slave has', async (t) => {
  const server = await startAlone(t)
  const mq = await connect({ broker: server.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  t.is((await mq.send({ topic: 'T', body: 'x' })).status, 'not-replicated')
  const both = [
    { topic: 'T', body: 'x' },
    { topic: 'T', body: 'y' },
  ]
  for (const { status } of await mq.sendBatch(both)) t.is(status, 'not-replicated')
  const single = await startServer(t)
  const other = await connect({ broker: single.address('remoting') })
  t.teardown(() => other.close({ deadlineMs: 0 }))
  t.is((await other.send({ topic: 'T', body: 'x' })).status, 'stored')
})

test('`trivet pub` does not pass it for acknowledged', async (t) => {
  const server = await startAlone(t)
  const at = ['--name-server', server.address('nameServer')]
  const { code, terminal } = await runCommand(['pub', 'T', 'x', ...at])
  t.not(code, 0)
  t.regex(terminal.errors, /too few slaves have it/)
})

test('native: with too few copies in sync a message is refused in the words of RocketMQ', async (t) => {
  const server = await startAlone(t, { inSyncReplicas: 1, inSyncReplicasMin: 2 })
  const answer = await send(t, server, 'T')
  t.is(answer.code, RESPONSE.systemError)
  t.regex(answer.remark ?? '', /in-sync replicas not enough/)
  t.is(answer.fields.get('msgId'), undefined)
})

test('MQTT 5 is told by the PUBACK; at QoS 2 its connection ends without a PUBREC', async (t) => {
  const server = await startAlone(t)
  const client = await mqttClient(t, server.port('mqtt'), 5)
  const error = await t.throwsAsync<Error & { code?: number }>(client.publish('T', 'x'))
  t.is(error?.code, 0x83)
  const packets: string[] = []
  client.client.on('packetreceive', ({ cmd }) => packets.push(cmd))
  const closed = new Promise((resolve) => client.client.once('close', () => resolve(undefined)))
  void client.publish('T', 'x', { qos: 2 }).catch(() => {})
  await closed
  t.false(packets.includes('pubrec'))
})

test('MQTT 3.1.1 gets no PUBACK, and its connection ends', async (t) => {
  const server = await startAlone(t)
  const client = await mqttClient(t, server.port('mqtt'), 4)
  const packets: string[] = []
  client.client.on('packetreceive', ({ cmd }) => packets.push(cmd))
  const closed = new Promise((resolve) => client.client.once('close', () => resolve(undefined)))
  void client.publish('T', 'x').catch(() => {})
  await closed
  t.deepEqual(packets, [])
})

test('AMQP: the message is rejected, with what is the matter', async (t) => {
  const server = await startAlone(t)
  // An attachment to a topic that is not there would be refused for the same reason.
  await send(t, server, 'T')
  const client = await connectRhea(t, server.port('amqp'))
  const sender = await client.sender('T')
  const { kind, error } = await sender.send({ body: 'x' })
  t.is(kind, 'rejected')
  t.is(error?.condition, 'amqp:internal-error')
  t.regex(error?.description ?? '', /stored here, and may be lost with this machine/)
})
