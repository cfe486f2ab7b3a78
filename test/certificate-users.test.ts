// Mutual TLS where the client's certificate names its user: every protocol, and what a client
// cannot do with it.

import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import test, { type ExecutionContext } from 'ava'
import mqtt, { type IClientOptions } from 'mqtt'
import rhea, { type Connection, type ConnectionOptions } from 'rhea'
import { UserStore } from '../src/access/user-store.ts'
import { connect } from '../src/client/index.ts'
import { systemClock } from '../src/clock.ts'
import type { ConfigInput } from '../src/config.ts'
import { SaslExchange } from '../src/gateway/amqp/sasl.ts'
import { certificateUser } from '../src/net/certificate-user.ts'
import { pem, SERVER_TLS } from './support/certificates.ts'
import { cheapHash } from './support/cheap-password.ts'
import { StillSocket } from './support/peers/still-socket.ts'
import { startServer, type TestServer } from './support/server.ts'

const PASSWORD = 'open sesame'

/** `client.pem` is for the common name "client"; there is no user "server". */
const config = (): ConfigInput => ({
  tls: { ...SERVER_TLS, clientCertificates: 'optional', userFrom: 'commonName' },
  users: {
    client: { publish: ['orders'], consume: ['orders', 'readers'], create: ['orders'] },
    other: { password: cheapHash(PASSWORD), secretKey: PASSWORD, admin: true },
  },
})

/** With the topics `orders` and `secrets`. */
async function start(t: ExecutionContext, mqttSettings: ConfigInput['mqtt'] = {}) {
  const server = await startServer(t, { config: { ...config(), mqtt: mqttSettings } })
  const nameServers = server.address('nameServer')
  const auth = { accessKey: 'other', secretKey: PASSWORD }
  await using admin = await connect({ nameServers, auth })
  for (const name of ['orders', 'secrets']) await admin.admin.topics.create({ name })
  return server
}

const identity = (name: string) => ({
  ca: pem('ca.pem'),
  cert: pem(`${name}.pem`),
  key: pem(`${name}.key`),
})

const mqttTo = (server: TestServer, options: IClientOptions) =>
  mqtt.connectAsync(`mqtts://127.0.0.1:${server.port('mqtt')}`, {
    ...options,
    reconnectPeriod: 0,
    protocolVersion: 5,
  })

test('a certificate is the user of an MQTT client, with its rights', async (t) => {
  const server = await start(t)
  const device = await mqttTo(server, identity('client'))
  t.teardown(() => device.end(true))
  await device.publishAsync('orders', 'mine', { qos: 1 })
  const error = await t.throwsAsync(device.publishAsync('secrets', 'not mine', { qos: 1 }))
  t.regex(error!.message, /Not authorized/)
})

test('an MQTT client may say its user name, but not that of another without a password', async (t) => {
  const server = await start(t)
  const own = await mqttTo(server, { ...identity('client'), username: 'client' })
  t.teardown(() => own.end(true))
  await t.throwsAsync(mqttTo(server, { ...identity('client'), username: 'other' }), {
    message: /Bad User Name/,
  })
  const login = { ...identity('client'), username: 'other', password: PASSWORD }
  const another = await mqttTo(server, login)
  t.teardown(() => another.end(true))
  await t.notThrowsAsync(another.publishAsync('secrets', 'as an admin', { qos: 1 }))
})

test('the user name of a certificate is the client id where user names are', async (t) => {
  const server = await start(t, { usernameAsClientId: true })
  const first = await mqttTo(server, { ...identity('client'), clientId: 'a' })
  t.teardown(() => first.end(true))
  const gone = new Promise((resolve) => first.once('close', () => resolve(undefined)))
  const second = await mqttTo(server, { ...identity('client'), clientId: 'b' })
  t.teardown(() => second.end(true))
  await gone
  t.true(second.connected)
})

test('a certificate that names no user lets nothing in', async (t) => {
  const server = await start(t)
  await t.throwsAsync(mqttTo(server, identity('server')), { message: /Bad User Name/ })
})

function dialAmqp(server: TestServer, options: object): Connection {
  const container = rhea.create_container()
  const at = { host: '127.0.0.1', port: server.port('amqp'), reconnect: false as const }
  // rhea's types know no transport but these words.
  return container.connect({ ...at, transport: 'tls', ...options } as ConnectionOptions)
}

test('SASL EXTERNAL is the user of the certificate, with its rights', async (t) => {
  const server = await start(t)
  const connection = dialAmqp(server, { ...identity('client'), enable_sasl_external: true })
  t.teardown(() => connection.close())
  const sender = connection.open_sender('orders')
  await once(sender, 'sendable')
  sender.send({ body: 'mine' })
  await once(sender, 'accepted')
  const denied = connection.open_sender('secrets')
  const [{ sender: refused }] = await once(denied, 'sender_error')
  t.regex(refused.error.description, /may not publish/)
})

test('SASL EXTERNAL is offered to clients with a certificate alone', (t) => {
  const auth = new UserStore({}, systemClock)
  const offered = (socket: StillSocket): string =>
    new SaslExchange(auth, socket).mechanismsFrame().toString('latin1')
  const certified = new StillSocket()
  certified.certifiedUser = 'client'
  t.true(offered(certified).includes('EXTERNAL'))
  t.false(offered(new StillSocket()).includes('EXTERNAL'))
})

test('SASL EXTERNAL refuses a certificate that names no user', async (t) => {
  const server = await start(t)
  const connection = dialAmqp(server, { ...identity('server'), enable_sasl_external: true })
  const [{ error }] = await once(connection, 'connection_error')
  t.regex(String(error?.message ?? error), /Failed to authenticate/)
})

test('a native client that signs nothing is the user of its certificate', async (t) => {
  const server = await start(t)
  const mq = await connect({ nameServers: server.address('nameServer'), tls: identity('client') })
  t.teardown(() => mq.close())
  await mq.send({ topic: 'orders', body: 'mine' })
  await t.throwsAsync(mq.send({ topic: 'secrets', body: 'not mine' }), {
    message: /may not publish topic 'secrets'/,
  })
})

test('names of certificates are taken where they can be read in one way only', (t) => {
  const named = (subject: string, subjectAltName?: string) =>
    ({ subject, subjectAltName }) as X509Certificate
  const from = (certificate: X509Certificate) =>
    (['commonName', 'dns', 'email', 'uri'] as const).map((one) => certificateUser(certificate, one))
  t.deepEqual(from(new X509Certificate(pem('server.pem'))), [
    'server',
    'localhost',
    undefined,
    undefined,
  ])
  const all = named('O=Example\nCN=device 7', 'DNS:d7.example, email:d7@example, URI:urn:d7')
  t.deepEqual(from(all), ['device 7', 'd7.example', 'd7@example', 'urn:d7'])
  t.deepEqual(from(named('CN=one\nCN=two', 'DNS:one, DNS:two')), Array(4).fill(undefined))
  const quoted = named('O=Example', 'URI:"urn:x, DNS:admin, email:admin"')
  t.deepEqual(from(quoted), Array(4).fill(undefined))
  t.deepEqual(from(named('CN=', undefined as never)), Array(4).fill(undefined))
})
