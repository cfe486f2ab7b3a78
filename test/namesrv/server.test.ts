import { connect as connectTcp } from 'node:net'
import { deflateSync } from 'node:zlib'
import test, { type ExecutionContext } from 'ava'
import { silentLogger } from '../../src/log.ts'
import { crc32 } from '../../src/model/crc32.ts'
import { NameServer } from '../../src/namesrv/server.ts'
import { type Command, encodeCommand, requestHeader } from '../../src/remoting/command.ts'
import type { RemotingConnection } from '../../src/remoting/connection.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { GENEROUS_LIMITS } from '../support/front-end.ts'
import { LogLines } from '../support/log-lines.ts'
import { startNameServer } from '../support/native/name-server.ts'
import { RawPeer } from '../support/peers/raw-peer.ts'
import { StillSocket } from '../support/peers/still-socket.ts'

const fields = (values: Record<string, string>): Map<string, string> =>
  new Map(Object.entries(values))

const BROKER = {
  brokerName: 'broker-a',
  brokerAddr: '10.0.0.1:10911',
  clusterName: 'DefaultCluster',
  haServerAddr: '10.0.0.1:10912',
  brokerId: '0',
}
const topicConfig = (topicName: string): object => ({
  order: false,
  perm: 6,
  readQueueNums: 8,
  topicFilterType: 'SINGLE_TAG',
  topicName,
  topicSysFlag: 0,
  writeQueueNums: 8,
})
const bodyOf = (...topics: string[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      filterServerList: [],
      topicConfigSerializeWrapper: {
        dataVersion: { counter: 1, stateVersion: 0, timestamp: 5 },
        topicConfigTable: Object.fromEntries(topics.map((name) => [name, topicConfig(name)])),
      },
    }),
  )

const register = (
  connection: RemotingConnection,
  changed: Record<string, string> = {},
  body = bodyOf('T1', 'T2'),
): Promise<Command> => connection.request(103, { fields: fields({ ...BROKER, ...changed }), body })

async function route(connection: RemotingConnection, topic: string): Promise<Command> {
  return connection.request(105, { fields: fields({ topic }) })
}

async function started(t: ExecutionContext): Promise<RemotingConnection> {
  const { connect } = await startNameServer(t)
  const connection = await connect()
  t.is((await register(connection)).code, 0)
  return connection
}

test('a route is the compact JSON that every client reads', async (t) => {
  const connection = await started(t)
  const answer = await route(connection, 'T1')
  t.is(answer.code, 0)
  t.is(
    answer.body.toString(),
    '{"brokerDatas":[{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a",' +
      '"cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{},' +
      '"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}',
  )
})

test('a missing topic is answered with code 17, which clients build on', async (t) => {
  const connection = await started(t)
  const answer = await route(connection, 'nowhere')
  t.is(answer.code, 17)
  t.regex(answer.remark!, /No topic route info in name server for the topic: nowhere/)
})

test('an illegal topic name is refused with a reason', async (t) => {
  const connection = await started(t)
  const answer = await route(connection, 'a/b')
  t.is(answer.code, 29)
  t.regex(answer.remark!, /"a\/b" has a character/)
})

test('an unspecified host is answered with the one that the client dialled', async (t) => {
  const { connect } = await startNameServer(t)
  const connection = await connect()
  await register(connection, { brokerAddr: '0.0.0.0:10911' })
  t.regex((await route(connection, 'T1')).body.toString(), /"0":"127\.0\.0\.1:10911"/)
})

test('a broker that unregisters is gone at once', async (t) => {
  const connection = await started(t)
  t.is((await connection.request(104, { fields: fields(BROKER) })).code, 0)
  t.is((await route(connection, 'T1')).code, 17)
})

test("a broker's lost connection takes its routes along", async (t) => {
  const { connect, nameServer } = await startNameServer(t)
  const broker = await connect()
  const client = await connect()
  await register(broker)
  t.is((await route(client, 'T1')).code, 0)
  broker.close()
  while (nameServer.connections > 1) await new Promise((resolve) => setImmediate(resolve))
  t.is((await route(client, 'T1')).code, 17)
})

test('a silent broker expires, one that sends heartbeats stays', async (t) => {
  const clock = new FakeClock()
  const { connect } = await startNameServer(t, { clock, idleMs: 1e9 })
  const connection = await connect()
  await register(connection, { heartbeatTimeoutMillis: '60000' })
  clock.advance(50_000)
  await register(connection, { heartbeatTimeoutMillis: '60000' })
  clock.advance(50_000)
  t.is((await route(connection, 'T1')).code, 0)
  clock.advance(15_000)
  t.is((await route(connection, 'T1')).code, 17)
})

test('a data version query tells what changed and counts as a heartbeat', async (t) => {
  const clock = new FakeClock()
  const { connect } = await startNameServer(t, { clock, idleMs: 1e9 })
  const connection = await connect()
  const ask = (counter: number): Promise<Command> =>
    connection.request(322, {
      fields: fields(BROKER),
      body: Buffer.from(JSON.stringify({ counter, stateVersion: 0, timestamp: 5 })),
    })
  t.is((await ask(1)).fields.get('changed'), 'true')
  await register(connection)
  clock.advance(100_000)
  t.is((await ask(1)).fields.get('changed'), 'false')
  t.is((await ask(2)).fields.get('changed'), 'true')
  clock.advance(100_000)
  t.is((await route(connection, 'T1')).code, 0)
})

test('a compressed registration is read, said or not', async (t) => {
  const { connect } = await startNameServer(t)
  const connection = await connect()
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value)
    const length = Buffer.alloc(4)
    length.writeInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  const count = Buffer.alloc(4)
  count.writeInt32BE(2)
  const body = deflateSync(
    Buffer.concat([
      text('{"counter":1,"stateVersion":0,"timestamp":5}'),
      count,
      text('TC 16 8 6 SINGLE_TAG {}'),
      text('TD 1 1 4 SINGLE_TAG'),
      text('[]'),
    ]),
  )
  t.is((await register(connection, { compressed: 'false' }, body)).code, 0)
  t.regex(
    (await route(connection, 'TC')).body.toString(),
    /"readQueueNums":16,.*"writeQueueNums":8/,
  )
  t.is((await register(connection, {}, body.subarray(0, 20))).code, 29)
})

test('a registration with a wrong checksum is refused', async (t) => {
  const { connect } = await startNameServer(t)
  const connection = await connect()
  const sum = crc32(bodyOf('T1', 'T2')) & 0x7fffffff
  t.is((await register(connection, { bodyCrc32: String(sum) })).code, 0)
  const refused = await register(connection, { bodyCrc32: String(sum ^ 1) })
  t.is(refused.code, 1)
  t.is(refused.remark, 'crc32 not match')
})

test('a slave is told where its master is', async (t) => {
  const connection = await started(t)
  const answer = await register(connection, { brokerId: '1', brokerAddr: '10.0.0.2:10911' })
  t.is(answer.fields.get('masterAddr'), '10.0.0.1:10911')
  t.is(answer.fields.get('haServerAddr'), '10.0.0.1:10912')
})

test('cluster, topics and system topics are listed', async (t) => {
  const connection = await started(t)
  t.is(
    (await connection.request(106)).body.toString(),
    '{"brokerAddrTable":{"broker-a":{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"broker-a",' +
      '"cluster":"DefaultCluster","enableActingMaster":false}},"clusterAddrTable":{"DefaultCluster":["broker-a"]}}',
  )
  t.is((await connection.request(206)).body.toString(), '{"topicList":["T1","T2"]}')
  const ofCluster = await connection.request(224, { fields: fields({ cluster: 'DefaultCluster' }) })
  t.is(ofCluster.body.toString(), '{"topicList":["T1","T2"]}')
  t.is(
    (await connection.request(304)).body.toString(),
    '{"brokerAddr":"10.0.0.1:10911","topicList":["DefaultCluster","broker-a"]}',
  )
})

test('a topic is deleted from the routes', async (t) => {
  const connection = await started(t)
  t.is((await connection.request(216, { fields: fields({ topic: 'T1' }) })).code, 0)
  t.is((await route(connection, 'T1')).code, 17)
  t.is((await route(connection, 'T2')).code, 0)
})

test('write permission is wiped and added again', async (t) => {
  const connection = await started(t)
  const brokerName = fields({ brokerName: 'broker-a' })
  t.is((await connection.request(205, { fields: brokerName })).fields.get('wipeTopicCount'), '2')
  t.regex((await route(connection, 'T1')).body.toString(), /"perm":4/)
  t.is((await connection.request(327, { fields: brokerName })).fields.get('addTopicCount'), '2')
  t.regex((await route(connection, 'T1')).body.toString(), /"perm":6/)
})

test('key-values are put, got, listed and deleted', async (t) => {
  const connection = await started(t)
  const at = { namespace: 'ORDER_TOPIC_CONFIG', key: '__proto__' }
  t.is((await connection.request(101, { fields: fields(at) })).code, 22)
  t.is((await connection.request(219, { fields: fields(at) })).code, 22)
  await connection.request(100, { fields: fields({ ...at, value: 'broker-a:4' }) })
  t.is((await connection.request(101, { fields: fields(at) })).fields.get('value'), 'broker-a:4')
  t.is(
    (await connection.request(219, { fields: fields(at) })).body.toString(),
    '{"table":{"__proto__":"broker-a:4"}}',
  )
  t.is((await register(connection)).body.toString(), '{"table":{"__proto__":"broker-a:4"}}')
  t.is((await connection.request(102, { fields: fields(at) })).code, 0)
  t.is((await connection.request(101, { fields: fields(at) })).code, 22)
})

test('an unknown request is answered with code 3 and the connection lives on', async (t) => {
  const connection = await started(t)
  const answer = await connection.request(9999)
  t.is(answer.code, 3)
  t.is(answer.remark, ' request type 9999 not supported')
  t.is((await route(connection, 'T1')).code, 0)
})

test('a missing field is named', async (t) => {
  const connection = await started(t)
  const answer = await connection.request(105)
  t.is(answer.code, 29)
  t.is(answer.remark, "the request lacks the field 'topic'")
})

test('a one-way request is served and not answered', async (t) => {
  const connection = await started(t)
  connection.oneWay(104, { fields: fields(BROKER) })
  t.is((await route(connection, 'T1')).code, 17)
})

test('where there are users, only admins and the own broker change routes; anyone reads them', async (t) => {
  const grants = { admin: false, publish: ['*'], consume: ['*'], create: ['*'] }
  const trusted = { accessKey: 'own', secretKey: 'own-secret' }
  const { connect } = await startNameServer(t, {
    trusted,
    users: {
      root: { ...grants, admin: true, secretKey: 'root-secret' },
      user: { ...grants, secretKey: 'user-secret' },
    },
  })
  const strangers = [
    await connect(),
    await connect({ accessKey: 'user', secretKey: 'user-secret' }),
    await connect({ accessKey: 'root', secretKey: 'guessed-it' }),
    await connect({ accessKey: 'own', secretKey: 'guessed-it' }),
  ]
  for (const stranger of strangers) t.is((await register(stranger)).code, 16)
  t.is((await register(await connect(trusted))).code, 0)
  t.is((await register(await connect({ accessKey: 'root', secretKey: 'root-secret' }))).code, 0)
  for (const stranger of strangers) {
    t.is((await route(stranger, 'T1')).code, 0)
    t.is((await stranger.request(104, { fields: fields(BROKER) })).code, 16)
    t.is((await stranger.request(205, { fields: fields({ brokerName: 'broker-a' }) })).code, 16)
  }
  t.is((await route(strangers[0]!, 'T1')).code, 0)
})

test('wrong signatures beyond the first few are answered late, and routes at once', async (t) => {
  const clock = new FakeClock()
  const user = { admin: true, publish: [], consume: [], create: [], secretKey: 'root-secret' }
  const { connect } = await startNameServer(t, { clock, users: { root: user } })
  const liar = await connect({ accessKey: 'root', secretKey: 'guessed-it' })
  for (let guess = 0; guess < 20; guess++) t.is((await register(liar)).code, 16)
  let isAnswered = false
  const late = register(liar).then((answer) => {
    isAnswered = true
    return answer
  })
  const unread = t.throwsAsync(register(liar), { code: 'UNREACHABLE' })
  t.is((await route(await connect(), 'T1')).code, 17)
  t.false(isAnswered)
  while (!isAnswered) {
    clock.advance(250)
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.is((await late).code, 16)
  await unread
})

test('an answer does not wait for the end of the turn, where it would be behind those to bulk work', async (t) => {
  const nameServer = new NameServer({ clock: new FakeClock(), log: silentLogger })
  const socket = new StillSocket()
  nameServer.accept(socket)
  const ask = (topic: string): Buffer =>
    encodeCommand(requestHeader({ code: 105, opaque: 1, fields: fields({ topic }) }))
  socket.receive(ask('T1'), ask('T2'))
  t.is(socket.written.length, 1, 'the answers to one chunk are one write')
  t.regex(socket.written[0]!.toString(), /topic: T1.*topic: T2/s)
})

test('a topic is registered for brokers that are here and for no others', async (t) => {
  const connection = await started(t)
  const queues = (brokerName: string) => ({
    ...{ brokerName, readQueueNums: 4, writeQueueNums: 4, perm: 6, topicSynFlag: 0 },
  })
  const registerTopic = (topic: string, ...brokers: string[]): Promise<Command> =>
    connection.request(217, {
      fields: fields({ topic }),
      body: Buffer.from(JSON.stringify({ brokerDatas: [], queueDatas: brokers.map(queues) })),
    })
  t.is((await registerTopic('New', 'broker-a', 'nobody')).code, 0)
  t.is((await registerTopic('Void', 'nobody')).code, 0)
  t.is((await route(connection, 'New')).code, 0)
  const topics = (await connection.request(206)).body.toString()
  t.true(topics.includes('New'))
  t.false(topics.includes('Void'), topics)
})

const HEADER_OF_FRAME = Buffer.from('00ffffff00000010', 'hex')

test('strangers may not claim large frames where there are users, but for a few at a time', async (t) => {
  const user = { admin: true, publish: [], consume: [], create: [], secretKey: 'root-secret' }
  const root = { accessKey: 'root', secretKey: 'root-secret' }
  const { port, connect } = await startNameServer(t, { users: { root: user } })
  const beyond = await RawPeer.connect(port)
  beyond.send(HEADER_OF_FRAME)
  t.is((await beyond.closed()).length, 0)
  const names = Array.from({ length: 2000 }, (_, i) => `a-topic-with-some-longer-name-${i}`)
  t.is((await register(await connect(root), {}, bodyOf(...names))).code, 0)
})

test('a peer that asks for much is answered as fast as it reads', async (t) => {
  const { port, connect } = await startNameServer(t)
  const names = Array.from({ length: 5000 }, (_, i) => `a-topic-with-some-longer-name-${i}`)
  t.is((await register(await connect(), {}, bodyOf(...names))).code, 0)
  const answerBytes = (await (await connect()).request(206)).body.length
  const peer = connectTcp({ port, host: '127.0.0.1' })
  t.teardown(() => peer.destroy())
  // More than the listener lets wait for one connection.
  const count = Math.ceil((1.1 * GENEROUS_LIMITS.unsentBytesMax) / answerBytes)
  for (let opaque = 0; opaque < count; opaque++) {
    peer.write(encodeCommand(requestHeader({ code: 206, opaque })))
  }
  const other = await connect()
  for (let i = 0; i < 100; i++) t.is((await route(other, names[0]!)).code, 0)
  let bytes = 0
  for await (const chunk of peer) {
    bytes += (chunk as Buffer).length
    if (bytes > count * answerBytes) break
  }
  t.true(bytes > count * answerBytes, `${bytes} bytes of ${count} answers`)
})

test('a peer that has sent no whole command is let go after its time, one that has stays', async (t) => {
  const clock = new FakeClock()
  const { nameServer, port, connect } = await startNameServer(t, { clock, introductionMs: 10_000 })
  const client = await connect()
  await route(client, 'T1')
  const peer = await RawPeer.connect(port)
  t.teardown(() => peer.end())
  peer.send([0])
  while (nameServer.connections < 2) await new Promise((resolve) => setImmediate(resolve))
  // Its byte was read once a later request of the other is answered.
  await route(client, 'T1')
  clock.advance(5_000)
  t.is(nameServer.connections, 2)
  // A further byte is no command either.
  peer.send([0])
  clock.advance(5_000)
  while (nameServer.connections > 1) await new Promise((resolve) => setImmediate(resolve))
  t.is((await route(client, 'T1')).code, 17)
})

test('brokers that come and go in great numbers do not fill the log', async (t) => {
  const log = new LogLines()
  const { connect } = await startNameServer(t, { log })
  const connections = await Promise.all([connect(), connect(), connect()])
  for (const [at, connection] of connections.entries()) {
    for (let i = 0; i < 50; i++) {
      const brokerName = `made-${at}-${i}`
      t.is((await register(connection, { brokerName, brokerAddr: `10.1.${at}.${i}:1` })).code, 0)
    }
  }
  const lines = log.lines.filter(({ evt }) => evt === 'namesrv.broker_registered')
  t.is(lines.length, 100)
})

test('a list that is longer than clients take is refused in words', async (t) => {
  const { connect, nameServer } = await startNameServer(t)
  const name = 'T'.repeat(127)
  nameServer.routes.topics = function* () {
    for (let i = 0; i < 140_000; i++) yield name
  }
  const connection = await connect()
  const answer = await connection.request(206)
  t.is(answer.code, 29)
  t.regex(answer.remark!, /bytes, and clients take/)
  t.is((await connection.request(106)).code, 0)
})

test('settings of the name server may be said again as they are, and not changed', async (t) => {
  const connection = await started(t)
  const update = (text: string): Promise<Command> =>
    connection.request(318, { body: Buffer.from(text) })
  const shown = (await connection.request(319)).body.toString()
  t.regex(shown, /^orderMessageEnable=false$/m)
  t.is((await update(shown)).code, 0)
  const changed = await update('orderMessageEnable=true')
  t.is(changed.code, 29)
  t.regex(changed.remark!, /'orderMessageEnable' of this name server cannot be changed/)
})
