// One address for every protocol: clients of each, over TLS and WebSocket too, with the name server
// among them.
import { once } from 'node:events'
import { connect as connectPlain } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import rhea, { type ConnectionOptions } from 'rhea'
import { WebSocket } from 'ws'
import { type Client, type ConnectOptions, connect } from '../src/client/index.ts'
import type { ConfigInput } from '../src/config.ts'
import { configOf } from '../src/config.ts'
import { checkExposure } from '../src/exposure.ts'
import { pem, SERVER_TLS } from './support/certificates.ts'
import { cheapHash } from './support/cheap-password.ts'
import { spawnServer, startServer } from './support/server.ts'

const ONE_PORT: ConfigInput = { any: { port: 0 } }
const TRUSTING = { ca: pem('ca.pem') }

async function native(t: ExecutionContext, options: ConnectOptions): Promise<Client> {
  const mq = await connect(options)
  t.teardown(() => mq.close())
  return mq
}

async function publishByMqtt(t: ExecutionContext, url: string): Promise<void> {
  const client = await mqtt.connectAsync(url, { ...TRUSTING, reconnectPeriod: 0 })
  t.teardown(() => client.end(true))
  await client.publishAsync('orders', url, { qos: 1 })
}

async function sendByAmqp(t: ExecutionContext, options: object): Promise<void> {
  const container = rhea.create_container()
  const connection = container.connect({ ...options, reconnect: false } as ConnectionOptions)
  t.teardown(() => connection.close())
  const sender = connection.open_sender('orders')
  await once(sender, 'sendable')
  sender.send({ body: 'amqp' })
  await once(sender, 'accepted')
}

const storedIn = async (mq: Client, topic: string): Promise<number> => {
  const { queues } = await mq.admin.topics.describe(topic)
  return queues.reduce((sum, queue) => sum + queue.maxOffset, 0)
}

test('every protocol is told at one port, over TLS and WebSocket too', async (t) => {
  const server = await startServer(t, { config: { ...ONE_PORT, tls: SERVER_TLS } })
  const port = server.port('any')
  t.deepEqual(
    server.server.addresses.map(({ name }) => name),
    ['any'],
  )
  const nameServers = `127.0.0.1:${port}`
  const plain = await native(t, { nameServers })
  await plain.send({ topic: 'orders', body: 'native' })
  for (const scheme of ['mqtt', 'mqtts', 'ws', 'wss']) {
    await publishByMqtt(t, `${scheme}://127.0.0.1:${port}`)
  }
  const at = { host: '127.0.0.1', port }
  await sendByAmqp(t, at)
  await sendByAmqp(t, { ...at, transport: 'tls', ...TRUSTING })
  const over = rhea.create_container().websocket_connect(WebSocket as never)
  const details = over(`wss://127.0.0.1:${port}/`, ['amqp'], TRUSTING)
  await sendByAmqp(t, { connection_details: details })
  t.is(await storedIn(plain, 'orders'), 8)
})

test('health is told at the one port, and a WebSocket beside it', async (t) => {
  const server = await startServer(t, { config: ONE_PORT })
  const answer = await fetch(`http://${server.address('any')}/healthz`)
  t.is(answer.status, 200)
  await t.notThrowsAsync(publishByMqtt(t, `ws://${server.address('any')}`))
})

test('native clients come to the one port over TLS as well', async (t) => {
  const tls = { ...SERVER_TLS, clientCertificates: 'required' as const }
  const server = await startServer(t, { config: { any: { port: 0, tls: 'enforcing' }, tls } })
  const identity = { ...TRUSTING, cert: pem('client.pem'), key: pem('client.key') }
  const mq = await native(t, { nameServers: server.address('any'), tls: identity })
  await mq.send({ topic: 'orders', body: 'over TLS' })
  t.is(await storedIn(mq, 'orders'), 1)
})

const ADMIN = { accessKey: 'admin', secretKey: 'the secret of admin' }

test('with users, routes are read by all and told by the broker alone', async (t) => {
  const { accessKey, secretKey } = ADMIN
  const users = { [accessKey]: { secretKey, password: cheapHash('open sesame'), admin: true } }
  const server = await startServer(t, { config: { ...ONE_PORT, users } })
  const nameServers = server.address('any')
  const known = await native(t, { nameServers, auth: ADMIN })
  await known.admin.topics.create({ name: 'orders' })
  await known.send({ topic: 'orders', body: 'signed' })
  const stranger = await native(t, { nameServers })
  await t.throwsAsync(stranger.send({ topic: 'orders', body: 'unsigned' }), {
    message: /not signed/,
  })
})

test('beside addresses of their own, clients of the one port are told to come there', async (t) => {
  const server = await startServer(t, { config: { listeners: [{ protocol: 'any', port: 0 }] } })
  const names = server.server.addresses.map(({ name }) => name)
  t.deepEqual(names.filter((name) => name !== 'vip').toSorted(), [
    'amqp',
    'any',
    'http',
    'mqtt',
    'nameServer',
    'remoting',
  ])
  const told = async (nameServers: string): Promise<readonly string[]> => {
    const mq = await native(t, { nameServers })
    const brokers = await mq.admin.brokers()
    return brokers.map(({ addresses }) => addresses.get(0)!)
  }
  t.deepEqual(await told(server.address('any')), [server.address('any')])
  t.deepEqual(await told(server.address('nameServer')), [server.address('remoting')])
})

test('a protocol that is not enabled is not served at the one port', async (t) => {
  const server = await startServer(t, { config: { ...ONE_PORT, mqtt: { enabled: false } } })
  const port = server.port('any')
  await closedAt(port, Buffer.of(0x10))
  await t.notThrowsAsync(sendByAmqp(t, { host: '127.0.0.1', port }))
})

/** The connection is closed for what it sends. */
async function closedAt(port: number, bytes: Buffer): Promise<void> {
  const socket = connectPlain(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(bytes)
  await once(socket, 'close')
}

test('bytes that no protocol begins with close their connection alone', async (t) => {
  const server = await startServer(t, { config: ONE_PORT })
  await closedAt(server.port('any'), Buffer.from([0xff, 0, 0, 0]))
  await t.notThrowsAsync(publishByMqtt(t, `mqtt://${server.address('any')}`))
})

test('a name server alone has one port too', async (t) => {
  const names = await startServer(t, { role: 'namesrv', config: ONE_PORT })
  const nameServers = [names.address('any')]
  await startServer(t, { role: 'broker', config: { broker: { nameServers } } })
  const mq = await native(t, { nameServers })
  await t.notThrowsAsync(mq.send({ topic: 'orders', body: 'routed' }))
})

test('trivet start --port is the one port', async (t) => {
  const server = await spawnServer(t, { args: ['--port', '0'] })
  const mq = await native(t, { nameServers: server.address('any') })
  await mq.send({ topic: 'orders', body: 'hello' })
  t.throws(() => server.address('mqtt'))
})

test('the one port may be open to the network only with users', (t) => {
  t.throws(() => checkExposure(configOf({ any: { port: 7000, host: '0.0.0.0' } })), {
    message: /any\.host = 0\.0\.0\.0/,
  })
})
