import { once } from 'node:events'
import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { type Clock, systemClock } from '../../src/clock.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import type { TopicDefinition } from '../../src/model/topic.ts'
import { Registrar, type RegistrarOptions } from '../../src/namesrv/registrar.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { LogLines } from '../support/log-lines.ts'
import { startNameServer } from '../support/native/name-server.ts'
import { eventually } from '../support/waiting.ts'

const topic = (name: string): TopicDefinition => ({
  name,
  readQueues: 4,
  writeQueues: 4,
  perm: 6,
  ordered: false,
  sysFlag: 0,
})

/** A broker as far as a registrar sees it: a list of topics that tells of its changes. */
class Topics {
  readonly names = new Set(['A', 'B'])
  perm = 6
  #changed: (() => void) | undefined

  readonly broker = {
    identity: {
      clusterName: 'C',
      brokerName: 'broker-a',
      brokerId: 0,
      storeHost: { ip: 0x7f000001, port: 10911 },
    },
    permission: {
      get: async () => this.perm,
      watch: () => ({ [Symbol.dispose]() {} }),
    },
    topics: {
      list: async () => [...this.names].map(topic),
      watch: (changed: () => void) => {
        this.#changed = changed
        return { [Symbol.dispose]: () => (this.#changed = undefined) }
      },
    },
  }

  add(name: string): void {
    this.names.add(name)
    this.#changed?.()
  }
}

function registrar(
  t: ExecutionContext,
  topics: Topics,
  options: Partial<RegistrarOptions> & { readonly clock?: Clock; readonly log?: Logger },
): Registrar {
  const { clock = systemClock, log = silentLogger, ...rest } = options
  const made = new Registrar(
    { broker: topics.broker as never, clock, log },
    { nameServers: [], advertised: { host: '10.0.0.1', port: 10911 }, ...rest },
  )
  t.teardown(() => made.close())
  return made
}

/** A name server announces nothing that it learns. */
const until = (condition: () => boolean): Promise<true> => eventually(async () => condition())

test('a broker registers with every name server before it has started', async (t) => {
  const [one, two] = [await startNameServer(t), await startNameServer(t)]
  await registrar(t, new Topics(), { nameServers: [one.address, two.address] }).start()
  for (const { nameServer } of [one, two]) {
    t.deepEqual([...nameServer.routes.topics()], ['A', 'B'])
    t.is(nameServer.routes.route('A')!.brokers[0]!.addresses.get(0), '10.0.0.1:10911')
  }
})

test('a new topic is registered at once', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const topics = new Topics()
  await registrar(t, topics, { nameServers: [address] }).start()
  topics.add('N')
  await until(() => [...nameServer.routes.topics()].includes('N'))
  t.pass()
})

test('where the broker is not to be written to routes say so of its topics', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const topics = new Topics()
  const made = registrar(t, topics, { nameServers: [address] })
  await made.start()
  topics.perm = 4
  topics.add('N')
  await made.told()
  t.is(nameServer.routes.route('A')!.queues[0]!.perm, 4)
})

test('queues of a topic are those that the first name server tells that knows it', async (t) => {
  const [one, two] = [await startNameServer(t), await startNameServer(t)]
  const made = registrar(t, new Topics(), { nameServers: [one.address, two.address] })
  t.is(await made.queuesOf('A'), undefined)
  await made.start()
  const queues = (await made.queuesOf('A')) ?? []
  t.deepEqual(
    queues.map(({ brokerName, readQueues }) => [brokerName, readQueues]),
    [['broker-a', 4]],
  )
  await one.nameServer.close(0)
  t.is((await made.queuesOf('A'))?.length, 1)
  t.is(await made.queuesOf('Unknown'), undefined)
})

test('name servers that do not answer are asked for a topic at one time', async (t) => {
  const [told, asked] = [new Set<number>(), new Set<number>()]
  const nameServers: string[] = []
  for (const place of [0, 1]) {
    const silent = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (bytes) => {
        told.add(place)
        if (bytes.includes('"Sought"')) asked.add(place)
      })
      t.teardown(() => socket.destroy())
    }).listen(0, '127.0.0.1')
    t.teardown(() => silent.close())
    await once(silent, 'listening')
    nameServers.push(`127.0.0.1:${(silent.address() as AddressInfo).port}`)
  }
  const made = registrar(t, new Topics(), { nameServers, clock: new FakeClock() })
  void made.start()
  await until(() => told.size === 2)
  void made.queuesOf('Sought')
  await until(() => asked.size === 2)
  t.pass()
})

test('a wait for routes ends when every name server knows them', async (t) => {
  const [one, two] = [await startNameServer(t), await startNameServer(t)]
  const topics = new Topics()
  const made = registrar(t, topics, { nameServers: [one.address, two.address] })
  await made.start()
  topics.add('N')
  await made.told()
  for (const { nameServer } of [one, two]) t.true([...nameServer.routes.topics()].includes('N'))
})

test('a name server that does not answer holds up a wait for routes a second at most', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const clock = new FakeClock()
  const topics = new Topics()
  const made = registrar(t, topics, { nameServers: [address], clock })
  await made.start()
  let letGo = (): void => {}
  const held = new Promise<void>((resolve) => (letGo = resolve))
  const { list } = topics.broker.topics
  topics.broker.topics.list = () => held.then(list)
  topics.add('N')
  const told = made.told()
  clock.advance(1000)
  await told
  t.false([...nameServer.routes.topics()].includes('N'))
  letGo()
})

test('topics that come in a burst are all registered', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const topics = new Topics()
  await registrar(t, topics, { nameServers: [address] }).start()
  for (let i = 0; i < 100; i++) topics.add(`N${i}`)
  await until(() => [...nameServer.routes.topics()].length === 102)
  t.pass()
})

test('a registration waits four times as long as the one before took, half a second at most', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const clock = new FakeClock()
  const topics = new Topics()
  const made = registrar(t, topics, { nameServers: [address], clock })
  const { list } = topics.broker.topics
  let lists = 0
  let tookMs = 0
  topics.broker.topics.list = () => {
    lists++
    clock.advance(tookMs)
    return list()
  }
  tookMs = 50
  await made.start()
  for (const waitMs of [200, 500]) {
    tookMs = 1000
    const before = lists
    topics.add(`N${waitMs}`)
    topics.add(`M${waitMs}`)
    clock.advance(waitMs - 1)
    await new Promise((resolve) => setImmediate(resolve))
    t.is(lists, before)
    clock.advance(1)
    await until(() => [...nameServer.routes.topics()].includes(`M${waitMs}`))
    await made.told()
    t.is(lists, before + 1)
  }
})

test('a name server that closes as soon as it has answered is told again half a second later', async (t) => {
  const { port } = await startNameServer(t)
  let connections = 0
  const proxy = createServer((socket) => {
    connections++
    const upstream = connectTo(port, '127.0.0.1')
    for (const end of [socket, upstream]) end.on('error', () => {})
    socket.pipe(upstream)
    upstream.once('data', (answer) => {
      socket.end(answer)
      upstream.destroy()
    })
  }).listen(0, '127.0.0.1')
  t.teardown(() => proxy.close())
  await once(proxy, 'listening')
  const clock = new FakeClock()
  const nameServers = [`127.0.0.1:${(proxy.address() as AddressInfo).port}`]
  const made = registrar(t, new Topics(), { nameServers, clock })
  const idle = clock.pending
  await made.start()
  const timers = clock.pending
  await until(() => clock.pending > Math.max(idle, timers) || connections > 1)
  t.is(connections, 1)
  clock.advance(500)
  await until(() => connections === 2)
})

test('a stop waits for no registration that is due later', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const clock = new FakeClock()
  const topics = new Topics()
  const made = registrar(t, topics, { nameServers: [address], clock })
  const { list } = topics.broker.topics
  topics.broker.topics.list = () => {
    clock.advance(50)
    return list()
  }
  await made.start()
  topics.add('N')
  await made.close()
  await until(() => [...nameServer.routes.topics()].length === 0)
  t.pass()
})

test('a stop waits for no name server that is still dialled', async (t) => {
  // It takes the connection, and says nothing of TLS.
  const mute = createServer()
  const dialled = once(mute, 'connection')
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  t.teardown(() => mute.close())
  const { port } = mute.address() as AddressInfo
  const made = registrar(t, new Topics(), {
    ...{ nameServers: [`127.0.0.1:${port}`], clock: new FakeClock() },
    tls: () => ({}),
  })
  const started = made.start()
  const [socket] = (await dialled) as [Socket]
  await made.close()
  await started
  await once(socket.resume(), 'close')
  t.pass()
})

test('two masters of one name tell of each other, once', async (t) => {
  const { address } = await startNameServer(t)
  const clock = new FakeClock()
  const logs = [new LogLines(), new LogLines()]
  const hosts = ['10.0.0.1', '10.0.0.2']
  const masters = hosts.map((host, index) => {
    const nameServers = [address]
    const advertised = { host, port: 10911 }
    return registrar(t, new Topics(), { nameServers, advertised, clock, log: logs[index]! })
  })
  for (const master of masters) await master.start()
  const told = () =>
    logs.map((log) => log.lines.filter(({ evt }) => evt === 'registrar.two_masters'))
  t.deepEqual(told(), [[], []])
  for (let round = 0; round < 4; round++) {
    clock.advance(30_000)
    for (const master of masters) await master.told()
    await until(() => told()[0]!.length > 0)
  }
  for (const [index, lines] of told().entries()) {
    t.true(lines.length <= 1)
    for (const line of lines) t.is(line['other'], `${hosts[1 - index]}:10911`)
  }
})

test('news of topics are not held up by a look for other masters', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  let looks = 0
  const { routes } = nameServer
  const brokers = routes.brokers.bind(routes)
  routes.brokers = () => {
    looks++
    return brokers()
  }
  const topics = new Topics()
  const own = registrar(t, topics, { nameServers: [address] })
  await own.start()
  for (const name of ['C', 'D']) {
    topics.add(name)
    await own.told()
  }
  t.deepEqual([...routes.topics()], ['A', 'B', 'C', 'D'])
  t.is(looks, 0)
})

test('a name server that is away is tried again and costs the others nothing', async (t) => {
  const away = await startNameServer(t)
  const { port } = away
  await away.close()
  const there = await startNameServer(t)
  const nameServers = [away.address, there.address]
  await registrar(t, new Topics(), { nameServers, periodMs: 50 }).start()
  t.deepEqual([...there.nameServer.routes.topics()], ['A', 'B'])
  const back = await startNameServer(t, { port })
  await until(() => [...back.nameServer.routes.topics()].length === 2)
  t.pass()
})

test('a restarted name server is told again at once, not after a period', async (t) => {
  const first = await startNameServer(t)
  await registrar(t, new Topics(), { nameServers: [first.address], periodMs: 3_600_000 }).start()
  await first.close()
  const second = await startNameServer(t, { port: first.port })
  await until(() => [...second.nameServer.routes.topics()].length === 2)
  t.pass()
})

test('a name server that was away for long is told within two seconds when it is back', async (t) => {
  const away = await startNameServer(t)
  await away.close()
  const clock = new FakeClock()
  let failures = 0
  const failed = (): void => void failures++
  const log = { ...silentLogger, warn: failed, debug: failed }
  await registrar(t, new Topics(), { nameServers: [away.address], clock, log }).start()
  for (let rounds = 1; rounds <= 8; rounds++) {
    t.is(failures, rounds)
    clock.advance(30_000)
    await until(() => failures > rounds)
  }
  const back = await startNameServer(t, { port: away.port })
  clock.advance(2_000)
  await until(() => [...back.nameServer.routes.topics()].length === 2)
  t.is(failures, 9)
})

test('heartbeats keep the broker registered beyond its expiry', async (t) => {
  const clock = new FakeClock()
  const { address, nameServer } = await startNameServer(t, { clock, idleMs: 1e9 })
  const { routes } = nameServer
  const register = routes.register.bind(routes)
  let registrations = 0
  routes.register = (registration) => {
    registrations++
    return register(registration)
  }
  await registrar(t, new Topics(), { nameServers: [address], clock }).start()
  const timers = clock.pending
  for (let rounds = 1; rounds <= 10; rounds++) {
    t.is(registrations, rounds)
    clock.advance(30_000)
    // Answered, too: the request's own timeout is gone.
    await until(() => registrations > rounds && clock.pending === timers)
  }
  t.deepEqual([...routes.topics()], ['A', 'B'])
  clock.advance(29_000)
  t.deepEqual([...routes.topics()], ['A', 'B'])
})

test('a broker that closes unregisters', async (t) => {
  const { address, nameServer } = await startNameServer(t)
  const made = registrar(t, new Topics(), { nameServers: [address] })
  await made.start()
  await made.close()
  t.deepEqual([...nameServer.routes.topics()], [])
})

test('without an advertised host clients are told the one that they dialled', async (t) => {
  const { address, connect } = await startNameServer(t)
  await registrar(t, new Topics(), { nameServers: [address], advertised: { port: 1234 } }).start()
  const connection = await connect()
  const answer = await connection.request(105, { fields: new Map([['topic', 'A']]) })
  t.regex(answer.body.toString(), /"0":"127\.0\.0\.1:1234"/)
})
