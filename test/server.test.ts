import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import test from 'ava'
import { connect as connectClient } from '../src/client/index.ts'
import { systemClock } from '../src/clock.ts'
import { BrokerError } from '../src/errors.ts'
import { PROTOCOLS } from '../src/listening.ts'
import { REQUEST, RESPONSE } from '../src/remoting/codes.ts'
import { dial } from '../src/remoting/connection.ts'
import { LogLines } from './support/log-lines.ts'
import { RawPeer } from './support/peers/raw-peer.ts'
import { freePort, isFree, spawnServer, startServer } from './support/server.ts'
import { eventually } from './support/waiting.ts'

async function canConnect(port: number, host = '127.0.0.1'): Promise<boolean> {
  const socket = connect(port, host)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

test('a server that waits for a name server that does not answer can be stopped', async (t) => {
  const stop = new AbortController()
  const silent = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => stop.abort())
    t.teardown(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  t.teardown(() => silent.close())
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const started = startServer(t, {
    config: { broker: { nameServers: [`127.0.0.1:${port}`] } },
    signal: stop.signal,
  })
  t.is(await started.catch((error: unknown) => error), stop.signal.reason)
})

test('one process listens for every front-end, and closing frees every port', async (t) => {
  // Where no other test listens, so that a port that was freed stays free.
  const host = '127.0.0.3'
  const { server } = await startServer(t, {
    config: Object.fromEntries(PROTOCOLS.map((name) => [name, { host }])),
  })
  t.deepEqual(
    server.addresses.map((address) => address.name).filter((name) => name !== 'vip'),
    [...PROTOCOLS],
  )
  for (const { port } of server.addresses) t.true(await canConnect(port, host))
  await server.close()
  await server.close()
  for (const { port } of server.addresses) t.false(await canConnect(port, host))
})

test('peers that hang cost a stop one deadline, however many ports they hold', async (t) => {
  const { server } = await startServer(t, { config: { stopDeadlineMs: 3000 } })
  for (const { port } of server.addresses) {
    const peer = await RawPeer.connect(port)
    t.teardown(() => peer.end())
    // It does not even see that the other side ended.
    peer.pause()
  }
  const startedMs = performance.now()
  await server.close()
  // Two deadlines would be six seconds.
  t.true(performance.now() - startedMs < 5900)
})

test('a front-end that is disabled does not listen', async (t) => {
  const { server } = await startServer(t, { config: { amqp: { enabled: false } } })
  t.deepEqual(
    server.addresses.map((address) => address.name).filter((name) => name !== 'vip'),
    ['nameServer', 'remoting', 'mqtt', 'http'],
  )
})

/** A free port with another free one two below it. */
async function twoFreePorts(): Promise<number> {
  for (;;) {
    const port = await freePort()
    if (await isFree(port - 2)) return port
  }
}

test('the native front-end listens two ports below as well, and closing frees both', async (t) => {
  const port = await twoFreePorts()
  const { server } = await startServer(t, { config: { remoting: { port } } })
  t.is(server.address('vip').port, port - 2)
  const connection = await dial({ host: '127.0.0.1', port: port - 2, clock: systemClock })
  t.teardown(() => connection.close())
  const fields = new Map([
    ['topic', 'TBW102'],
    ['queueId', '0'],
  ])
  t.is((await connection.request(30, { fields })).code, 0)
  connection.close()
  await server.close()
  t.false(await canConnect(port - 2))
})

test('a VIP port in use does not stop the start, and the log says what to do', async (t) => {
  const port = await twoFreePorts()
  const holder = createServer().listen(port - 2, '127.0.0.1')
  await once(holder, 'listening')
  t.teardown(() => holder.close())
  const log = new LogLines()
  const { server } = await startServer(t, { config: { remoting: { port } }, log })
  t.throws(() => server.address('vip'))
  t.true(await canConnect(port))
  t.deepEqual(
    log.lines.filter(({ evt }) => evt === 'server.vip_port').map((line) => line['port']),
    [port - 2],
  )
})

test('a front-end may be configured to the port two below', async (t) => {
  const port = await twoFreePorts()
  const ports = { remoting: { port }, mqtt: { port: port - 2 } }
  const { server } = await startServer(t, { config: ports })
  t.is(server.address('mqtt').port, port - 2)
})

test('the VIP port can be switched off', async (t) => {
  const port = await twoFreePorts()
  await startServer(t, { config: { remoting: { port, vipChannel: false } } })
  t.false(await canConnect(port - 2))
})

test('a port in use opens nothing at all', async (t) => {
  const first = await startServer(t)
  const error = await t.throwsAsync(
    startServer(t, { config: { amqp: { port: first.port('amqp') } } }),
    { instanceOf: BrokerError, code: 'CONFIG_INVALID' },
  )
  t.regex(error.message, /amqp cannot listen on 127\.0\.0\.1:\d+: another process listens there/)
})

test('a bind beyond loopback without users refuses to start', async (t) => {
  const error = await t.throwsAsync(startServer(t, { config: { mqtt: { host: '0.0.0.0' } } }), {
    instanceOf: BrokerError,
    code: 'CONFIG_INVALID',
  })
  t.regex(error.message, /mqtt\.host = 0\.0\.0\.0 would open the broker to the network/)
  t.regex(error.message, /--insecure-open-to-the-network/)
})

test('a child process comes up, stops in order on SIGTERM and comes up again on its ports', async (t) => {
  const child = await spawnServer(t)
  const port = child.port('mqtt')
  t.true(await canConnect(port))
  t.is(await child.stop(), 0)
  t.regex(child.stderr, /"evt":"server\.stopped"/)
  await child.start()
  t.is(child.port('mqtt'), port)
  t.true(await canConnect(port))
  await child.kill()
  t.false(await canConnect(port))
})

test('a data directory that cannot be used ends the start with what to do, and no stack', async (t) => {
  const error = await t.throwsAsync(spawnServer(t, { config: { dataDir: '/dev/null/data' } }))
  t.regex(error.message, /^trivet start ended with 2:\n/)
  t.regex(
    error.message,
    /the data directory '\/dev\/null\/data' cannot be used \(ENOTDIR: .*name another directory\n$/,
  )
})

test('a second process on the same data directory is refused, and the first goes on', async (t) => {
  const first = await spawnServer(t)
  const error = await t.throwsAsync(spawnServer(t, { config: { dataDir: first.dataDir } }))
  t.regex(error.message, /^trivet start ended with 1:\n/)
  t.regex(error.message, new RegExp(`is in use by process ${first.pid}; stop that process`))
  t.true(await canConnect(first.port('mqtt')))
  await first.kill()
  await t.notThrowsAsync(
    spawnServer(t, { config: { dataDir: first.dataDir } }),
    'free after a kill',
  )
})

test('a second signal ends the process at once, while the first still waits', async (t) => {
  const child = await spawnServer(t, { config: { stopDeadlineMs: 60_000 } })
  // It never closes its side, so a farewell in order takes a moment.
  const client = connect({ port: child.port('remoting'), host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => client.destroy())
  await once(client, 'connect')
  // Another signal than the second one: two of a kind may come as one.
  process.kill(child.pid, 'SIGINT')
  // Two that wait together may be taken in any order.
  await eventually(async () => (/server\.stopping/.test(child.stderr) ? true : undefined))
  t.is(await child.stop(), 143)
  t.regex(child.stderr, /server\.stopping/)
  t.notRegex(child.stderr, /server\.stopped/)
})

test('the listeners share the connections that the open files allow, and each has some of its own', async (t) => {
  // 320 connections, of which each of six listeners keeps 16 for itself.
  const mqtt = { silentMs: 120_000, connectTimeoutMs: 120_000 }
  const server = await spawnServer(t, { openFiles: 640, config: { mqtt } })
  const asked = 300
  let refused = 0
  for (let i = 0; i < asked; i++) {
    const socket = connect(server.port('mqtt'), '127.0.0.1')
    t.teardown(() => socket.destroy())
    socket.on('error', () => {}).on('close', () => refused++)
    await once(socket, 'connect')
  }
  await eventually(async () => (refused >= asked - 240 ? true : undefined))
  const peer = await RawPeer.connect(server.port('amqp'))
  const header = Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1')
  peer.send(header)
  t.deepEqual(await peer.read(8), header)
  t.is(refused, asked - 240)
  peer.end()
})

test('a broker of its own registers with every name server that is there', async (t) => {
  const log = new LogLines()
  const first = await startServer(t, { role: 'namesrv' })
  const second = await startServer(t, { role: 'namesrv' })
  const nobody = '127.0.0.1:9'
  const nameServers = [first.address('nameServer'), nobody, second.address('nameServer')]
  const broker = await startServer(t, { role: 'broker', config: { broker: { nameServers } }, log })
  for (const nameServer of [first.address('nameServer'), second.address('nameServer')]) {
    await using client = await connectClient({ nameServers: nameServer })
    const [entry] = await client.admin.brokers()
    t.is(entry?.addresses.get(0), broker.address('remoting'))
    const { topic } = await client.send({ topic: 'roles', body: 'through either' })
    t.is(topic, 'roles')
  }
  t.true(JSON.stringify(log.lines).includes(nobody), 'the one that is away is told of')
})

test('a broker without any name server says that RocketMQ clients will not find it', async (t) => {
  const log = new LogLines()
  await startServer(t, { role: 'broker', log })
  t.true(log.events().includes('server.no_name_server'))
})

test('an advertised address that does not lead here is told of at the start', async (t) => {
  const log = new LogLines()
  await startServer(t, {
    // Reserved for documentation: nothing answers there.
    config: { mqtt: { advertisedHost: '192.0.2.1' }, remoting: { advertisedHost: 'localhost' } },
    log,
  })
  const told = await eventually(async () => {
    const lines = log.lines.filter(({ evt }) => evt === 'server.advertised_unreachable')
    return lines.length > 0 ? lines : undefined
  })
  t.deepEqual(
    told.map(({ listener }) => listener),
    ['mqtt'],
  )
  t.regex(String(told[0]!['address']), /^192\.0\.2\.1:\d+$/)
})

test('a client that makes or deletes a topic finds it so at the name server at once', async (t) => {
  const server = await startServer(t)
  const at = (name: 'nameServer' | 'remoting') => ({ host: '127.0.0.1', port: server.port(name) })
  const broker = await dial({ ...at('remoting'), clock: systemClock })
  t.teardown(() => broker.close())
  const names = await dial({ ...at('nameServer'), clock: systemClock })
  t.teardown(() => names.close())
  const route = async (topic: string): Promise<number> => {
    const fields = new Map([
      ['topic', topic],
      ['acceptStandardJsonOnly', 'true'],
    ])
    return (await names.request(REQUEST.getRoute, { fields })).code
  }
  const queues = { readQueueNums: '2', writeQueueNums: '2', perm: '6', order: 'false' }
  const kind = { defaultTopic: 'TBW102', topicFilterType: 'SINGLE_TAG' }
  for (let i = 0; i < 5; i++) {
    const topic = `Made${i}`
    const fields = new Map(Object.entries({ topic, ...queues, ...kind }))
    t.is((await broker.request(REQUEST.updateTopic, { fields })).code, 0)
    t.is(await route(topic), 0)
    const gone = { fields: new Map([['topic', topic]]) }
    t.is((await broker.request(REQUEST.deleteTopic, gone)).code, 0)
    t.is(await route(topic), RESPONSE.topicNotExist)
  }
})
