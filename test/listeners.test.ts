// The listeners of one process: what they share, and which may be open to a network.
import test from 'ava'
import mqtt from 'mqtt'
import rhea from 'rhea'
import { systemClock } from '../src/clock.ts'
import { type ConfigInput, configOf } from '../src/config.ts'
import { checkExposure } from '../src/exposure.ts'
import { firstListener, openListeners } from '../src/listeners.ts'
import { PROTOCOLS } from '../src/listening.ts'
import { LiveCertificates } from '../src/live-certificates.ts'
import { silentLogger } from '../src/log.ts'
import { Numbers } from '../src/numbers/numbers.ts'
import { Parts } from '../src/parts.ts'
import { freePort, startServer } from './support/server.ts'
import { eventually } from './support/waiting.ts'

test('what brings bulk work takes its turns together, and the name server waits for none of it', async (t) => {
  const parts = new Parts(silentLogger)
  t.teardown(() => parts.close())
  const free = { port: 0 }
  const remoting = { port: await freePort() }
  const config = configOf({ remoting, nameServer: free, mqtt: free, amqp: free, http: free })
  const numbers = new Numbers()
  const certificates = new LiveCertificates(config.tls, silentLogger, systemClock)
  t.teardown(() => certificates.close())
  const listeners = await openListeners('start', {
    config,
    certificates,
    log: silentLogger,
    clock: systemClock,
    parts,
    numbers,
  })
  const { turn } = firstListener(listeners, 'remoting')!.options
  t.truthy(turn)
  t.is(firstListener(listeners, 'mqtt')?.options.turn, turn)
  t.is(firstListener(listeners, 'amqp')?.options.turn, turn)
  t.not(firstListener(listeners, 'nameServer')?.options.turn, turn)
})

// Several addresses of one protocol are doors to one gateway.

const portsOf = (server: { addresses: readonly { name: string; port: number }[] }, name: string) =>
  server.addresses.filter((address) => address.name === name).map(({ port }) => port)

test('a client that comes by another MQTT port takes its session over, and its will is sent once', async (t) => {
  const { server } = await startServer(t, {
    config: { listeners: [{ protocol: 'mqtt', port: 0 }] },
  })
  const [own, further] = portsOf(server, 'mqtt')
  t.not(own, further)
  const wills: string[] = []
  const watcher = await mqtt.connectAsync(`mqtt://127.0.0.1:${own}`)
  t.teardown(() => watcher.end(true))
  watcher.on('message', (_, payload) => void wills.push(payload.toString()))
  await watcher.subscribeAsync('wills', { qos: 1 })

  const options = { clientId: 'one', protocolVersion: 5, reconnectPeriod: 0 } as const
  const will = { topic: 'wills', payload: Buffer.from('gone'), qos: 1, retain: false } as const
  const properties = { sessionExpiryInterval: 600 }
  const first = await mqtt.connectAsync(`mqtt://127.0.0.1:${own}`, { ...options, properties, will })
  await first.subscribeAsync('kept', { qos: 1 })
  let isTakenOver = false
  first.on('disconnect', ({ reasonCode }) => {
    isTakenOver = reasonCode === 0x8e
  })

  const second = mqtt.connect(`mqtt://127.0.0.1:${further}`, {
    ...options,
    properties,
    clean: false,
  })
  t.teardown(() => second.end(true))
  const received: string[] = []
  second.on('message', (_, payload) => void received.push(payload.toString()))
  const present = await new Promise((resolve) =>
    second.once('connect', ({ sessionPresent }) => resolve(sessionPresent)),
  )
  t.true(present)
  await eventually(async () => isTakenOver || undefined)
  await eventually(async () => wills.length > 0 || undefined)
  await watcher.publishAsync('kept', 'after', { qos: 1 })
  await eventually(async () => received.length > 0 || undefined)
  await watcher.publishAsync('wills', 'end', { qos: 1 })
  await eventually(async () => wills.includes('end') || undefined)
  t.deepEqual(wills, ['gone', 'end'])
  t.deepEqual(received, ['after'])
})

test('a link that is attached by another AMQP port is the same link', async (t) => {
  const { server } = await startServer(t, {
    config: { listeners: [{ protocol: 'amqp', port: 0 }] },
  })
  const container = rhea.create_container({ id: 'one' })
  const links = portsOf(server, 'amqp').map((port) => {
    const connection = container.connect({ host: '127.0.0.1', port, reconnect: false })
    return { connection, port }
  })
  t.is(links.length, 2)
  t.teardown(() => {
    for (const { connection } of links) connection.close()
  })
  const [first, second] = links
  const source = { address: 'news', durable: 2, expiry_policy: 'never' }
  const receiver = first!.connection.open_receiver({ name: 'one-link', source })
  await new Promise((resolve) => receiver.once('receiver_open', resolve))
  const stolen = new Promise<string>((resolve) => {
    receiver.once('receiver_error', ({ receiver: one }: { receiver: typeof receiver }) =>
      resolve((one.error as unknown as { condition: string }).condition),
    )
  })
  const again = second!.connection.open_receiver({ name: 'one-link', source })
  await new Promise((resolve) => again.once('receiver_open', resolve))
  t.is(await stolen, 'amqp:link:stolen')
})

test('a port of another protocol is none of a gateway that is not enabled', async (t) => {
  const { server } = await startServer(t, {
    config: { amqp: { enabled: false }, listeners: [{ protocol: 'amqp', port: 0 }] },
  })
  t.deepEqual(portsOf(server, 'amqp'), [])
})

const USERS = { ada: { secretKey: 'secret-of-ada' } }

const check = (input: ConfigInput): void => checkExposure(configOf(input))

for (const name of PROTOCOLS) {
  for (const host of ['0.0.0.0', '::', '10.0.0.7', 'broker.example.org', '127.0.0.1.example.org']) {
    test(`${name} on ${host} is refused without users`, (t) => {
      const error = t.throws(() => check({ [name]: { host } }), { code: 'CONFIG_INVALID' })
      t.true(error.message.includes(`${name}.host = ${host}`))
      t.notThrows(() => check({ [name]: { host }, users: USERS }))
      t.notThrows(() => check({ [name]: { host }, insecureOpenToTheNetwork: true }))
      t.notThrows(() => check({ [name]: { host, enabled: false } }))
    })
  }

  for (const host of ['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1', 'localhost']) {
    test(`${name} on ${host} needs no users`, (t) => {
      t.notThrows(() => check({ [name]: { host } }))
    })
  }
}

test('a further address beyond loopback is refused without users as well', (t) => {
  const listeners = [
    { protocol: 'mqtt', port: 1884 },
    { protocol: 'amqp', host: '0.0.0.0', port: 5673 },
  ] as const
  const error = t.throws(() => check({ listeners: [...listeners] }), { code: 'CONFIG_INVALID' })
  t.true(error.message.includes('listeners.1.host = 0.0.0.0'))
  t.false(error.message.includes('listeners.0'))
  t.notThrows(() => check({ listeners: [...listeners], amqp: { enabled: false } }))
})
