// TLS of a whole server: every protocol, its own registration, and settings that cannot be right.
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'ava'
import mqtt from 'mqtt'
import rhea from 'rhea'
import { readCertificates } from '../src/certificates.ts'
import { type ConnectOptions, connect } from '../src/client/index.ts'
import { systemClock } from '../src/clock.ts'
import { type ConfigInput, configOf } from '../src/config.ts'
import { BrokerError } from '../src/errors.ts'
import { checkExposure } from '../src/exposure.ts'
import { LiveCertificates } from '../src/live-certificates.ts'
import { pem, pemFile, SERVER_TLS } from './support/certificates.ts'
import { LogLines } from './support/log-lines.ts'
import { startServer, type TestServer } from './support/server.ts'
import { tempDir } from './support/temp-dir.ts'

const enforcing = { tls: 'enforcing' } as const
const ENFORCED: ConfigInput = {
  tls: { ...SERVER_TLS, clientCertificates: 'required' },
  nameServer: enforcing,
  remoting: enforcing,
  mqtt: enforcing,
  amqp: enforcing,
}
const MUTUAL = { ca: pem('ca.pem'), cert: pem('client.pem'), key: pem('client.key') }

const nameServersOf = (one: TestServer): ConnectOptions => ({
  nameServers: one.address('nameServer'),
})

test('every protocol goes over mutual TLS, and the broker is registered at its own name server', async (t) => {
  const server = await startServer(t, { config: ENFORCED })
  const mq = await connect({ ...nameServersOf(server), tls: MUTUAL })
  t.teardown(() => mq.close())
  await mq.send({ topic: 'orders', body: 'native' })

  const device = await mqtt.connectAsync(`mqtts://127.0.0.1:${server.port('mqtt')}`, MUTUAL)
  t.teardown(() => device.end(true))
  await device.publishAsync('orders', 'mqtt', { qos: 1 })

  const container = rhea.create_container()
  const options = { host: '127.0.0.1', port: server.port('amqp'), reconnect: false as const }
  const connection = container.connect({ ...options, transport: 'tls', ...MUTUAL })
  t.teardown(() => connection.close())
  const sender = connection.open_sender('orders')
  await once(sender, 'sendable')
  sender.send({ body: 'amqp' })
  await once(sender, 'accepted')

  const { queues } = await mq.admin.topics.describe('orders')
  const stored = queues.reduce((sum, queue) => sum + queue.maxOffset, 0)
  t.is(stored, 3)
})

test('a client without TLS is told what may be wrong, and harms no other', async (t) => {
  const server = await startServer(t, { config: ENFORCED })
  const error = await t.throwsAsync(
    connect({ broker: server.address('remoting') }).then((mq) =>
      mq.send({ topic: 'a', body: 'b' }),
    ),
  )
  t.regex(error!.message, /before its first answer; it may ask for TLS/)
  const mq = await connect({ ...nameServersOf(server), tls: MUTUAL })
  t.teardown(() => mq.close())
  await t.notThrowsAsync(mq.send({ topic: 'orders', body: 'served' }))
})

test('a broker registers at a name server elsewhere over mutual TLS', async (t) => {
  const names = await startServer(t, { role: 'namesrv', config: ENFORCED })
  const broker: ConfigInput = {
    tls: SERVER_TLS,
    broker: { nameServers: [names.address('nameServer')], nameServersTls: true },
  }
  await startServer(t, { role: 'broker', config: broker })
  const mq = await connect({ ...nameServersOf(names), tls: MUTUAL })
  t.teardown(() => mq.close())
  await t.notThrowsAsync(mq.send({ topic: 'orders', body: 'over TLS' }))
})

test('a further address may enforce TLS where the own one does not', async (t) => {
  const config: ConfigInput = {
    tls: SERVER_TLS,
    mqtt: { tls: 'disabled' },
    listeners: [{ protocol: 'mqtt', port: 0, tls: 'enforcing' }],
  }
  const { server } = await startServer(t, { config })
  const [own, further] = server.addresses.filter(({ name }) => name === 'mqtt')
  const plain = await mqtt.connectAsync(`mqtt://127.0.0.1:${own!.port}`)
  const secured = await mqtt.connectAsync(`mqtts://127.0.0.1:${further!.port}`, MUTUAL)
  for (const client of [plain, secured]) t.teardown(() => client.end(true))
  t.true(plain.connected && secured.connected)
})

for (const [what, tls, said] of [
  [
    'a missing file',
    { certificate: '/none.pem' },
    /tls\.certificate: .*'\/none\.pem' cannot be read/,
  ],
  ['a file without PEM', { certificate: pemFile('make.sh') }, /has no PEM certificate/],
  [
    'a key in the place of the certificate',
    { certificate: pemFile('server.key') },
    /has no PEM cert/,
  ],
  ['a certificate in the place of the key', { key: pemFile('server.pem') }, /no PEM private key/],
  ['the key of another', { key: pemFile('client.key') }, /is not the key of the certificate in/],
  ['CAs that are none', { ca: pemFile('server.key') }, /tls\.ca: .* has no PEM certificate/],
] as const) {
  test(`${what} is named`, (t) => {
    const config = configOf({ tls: { ...SERVER_TLS, ...tls } })
    const error = t.throws(() => readCertificates(config.tls), {
      instanceOf: BrokerError,
    })
    t.is(error.code, 'CONFIG_INVALID')
    t.regex(error.message, said)
  })
}

test('a damaged certificate is named', async (t) => {
  const file = join(await tempDir(t), 'damaged.pem')
  await writeFile(file, pem('server.pem').replace(/^[^-]{8}/gm, 'AAAAAAAA'))
  const config = configOf({ tls: { ...SERVER_TLS, certificate: file } })
  t.throws(() => readCertificates(config.tls), {
    message: /has a certificate that is damaged, number 1/,
  })
})

test('an expired certificate is said at the start, and does not keep the broker down', (t) => {
  const log = new LogLines()
  const config = configOf({ tls: { ...SERVER_TLS, certificate: pemFile('expired.pem') } })
  const certificates = new LiveCertificates(config.tls, log, systemClock)
  t.teardown(() => certificates.close())
  t.like(log.lines[0], { level: 'error', evt: 'tls.expiry' })
})

test('clients are told that the certificate of the server has expired', async (t) => {
  const tls = { ...SERVER_TLS, certificate: pemFile('expired.pem') }
  const server = await startServer(t, { config: { tls } })
  const dialling = { ca: pem('ca.pem') }
  await t.throwsAsync(connect({ broker: server.address('remoting'), tls: dialling }), {
    message: /certificate has expired/,
  })
})

for (const [what, input, said] of [
  ['enforced TLS without a certificate', { mqtt: enforcing }, /mqtt\.tls.*needs tls\.certificate/],
  [
    'a further address with TLS but no certificate',
    { listeners: [{ protocol: 'amqp', port: 1, tls: 'permissive' }] },
    /listeners\.0\.tls.*needs tls\.certificate/,
  ],
  [
    'a user from certificates that no client shows',
    { tls: { ...SERVER_TLS, userFrom: 'commonName' } },
    /tls\.userFrom.*needs tls\.clientCertificates/,
  ],
  ['a certificate without its key', { tls: { certificate: 'a' } }, /tls\.key.*go together/],
  [
    'client certificates without their CAs',
    { tls: { clientCertificates: 'required' } },
    /tls\.clientCertificates.*needs the CAs/,
  ],
] satisfies readonly (readonly [string, ConfigInput, RegExp])[]) {
  test(`${what} is refused`, (t) => {
    t.throws(() => configOf(input), { message: said })
  })
}

test('mutual TLS that is enforced opens to the network without users, anything less does not', (t) => {
  const mqttAt = (tls: 'permissive' | 'enforcing') => ({ mqtt: { host: '0.0.0.0', tls } })
  const required = { ...SERVER_TLS, clientCertificates: 'required' } as const
  t.notThrows(() => checkExposure(configOf({ tls: required, ...mqttAt('enforcing') })))
  t.throws(() => checkExposure(configOf({ tls: required, ...mqttAt('permissive') })))
  t.throws(() => checkExposure(configOf({ tls: SERVER_TLS, ...mqttAt('enforcing') })))
})
