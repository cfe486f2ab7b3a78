// Whole brokers in this process whose master is elected, over a model of etcd.
import test, { type ExecutionContext } from 'ava'
import mqtt from 'mqtt'
import rhea from 'rhea'
import { type Client, connect } from '../../src/client/index.ts'
import type { ConfigInput } from '../../src/config.ts'
import { LogLines } from '../support/log-lines.ts'
import { FakeEtcd } from '../support/peers/fake-etcd.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { tempDir } from '../support/temp-dir.ts'
import { eventually } from '../support/waiting.ts'

/** Long, so that a test's machine may be slow. */
const LEASE_MS = 6_000

/** No call of it is over before the test would be. */
const unending = ({ endpoint }: FakeEtcd): EtcdInput => ({
  endpoints: Array.from({ length: 16 }, () => endpoint),
  leaseMs: 60_000,
})

type EtcdInput = NonNullable<NonNullable<ConfigInput['replication']>['etcd']>

interface Copy extends TestServer {
  readonly log: LogLines
  readonly dataDir: string
}

async function startCopy(
  t: ExecutionContext,
  etcd: FakeEtcd,
  id: number,
  dataDir?: string,
  election: Partial<EtcdInput> = {},
): Promise<Copy> {
  const log = new LogLines()
  const directory = dataDir ?? (await tempDir(t))
  const server = await startServer(t, {
    log,
    config: {
      dataDir: directory,
      broker: { role: 'SYNC_MASTER', id, autoCreateTopics: true },
      remoting: { vipChannel: false },
      replication: {
        ...{ enabled: true, port: 0 },
        etcd: { endpoints: [etcd.endpoint], founds: id === 1, leaseMs: LEASE_MS, ...election },
      },
    },
  })
  return { ...server, log, dataDir: directory }
}

const inSyncOf = (etcd: FakeEtcd): readonly string[] =>
  (JSON.parse(etcd.find('/state') ?? '{"inSync":[]}') as { inSync: string[] }).inSync

async function startTwo(t: ExecutionContext) {
  const etcd = await FakeEtcd.start(t)
  const copies = [await startCopy(t, etcd, 1), await startCopy(t, etcd, 2)] as const
  await eventually(async () => inSyncOf(etcd).length === 2)
  return { etcd, copies }
}

/** While a copy changes its role its connections end. */
const sooner = <T>(work: () => Promise<T>): Promise<T> =>
  eventually(async () => {
    try {
      return { done: await work() }
    } catch {
      return undefined
    }
  }).then(({ done }) => done)

async function clientOf(t: ExecutionContext, copy: Copy): Promise<Client> {
  const mq = await sooner(() => connect({ broker: copy.address('remoting'), timeoutMs: 2_000 }))
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

/** Until the copy takes it. */
const send = (mq: Client, body: string): Promise<unknown> =>
  sooner(() => mq.send({ topic: 'T', body }))

async function bodies(mq: Client, count: number): Promise<readonly string[]> {
  const found = new Set<string>()
  for await (const delivery of mq.subscribe({ group: `g${count}`, topic: 'T', from: 'first' })) {
    found.add(delivery.text())
    await delivery.ack()
    if (found.size === count) break
  }
  return [...found].sort()
}

const masterOf = (etcd: FakeEtcd): string | undefined => etcd.find('/master')?.split('-')[0]

/** Whichever copy is elected loses its lease, until it is this one. */
const passTo = (etcd: FakeEtcd, id: string): Promise<unknown> =>
  eventually(async () => {
    const master = masterOf(etcd)
    if (master !== undefined && master !== id) etcd.expire('/master')
    return master === id
  })

test('a master without its lease follows its successor, and may be the master again', async (t) => {
  const { etcd, copies } = await startTwo(t)
  const [one, two] = copies
  await send(await clientOf(t, one), 'a')
  t.is(masterOf(etcd), '1')
  await passTo(etcd, '2')
  await eventually(async () => one.log.events().includes('election.anew'))
  await send(await clientOf(t, two), 'b')
  await eventually(async () => inSyncOf(etcd).length === 2)
  await passTo(etcd, '1')
  const mq = await clientOf(t, one)
  await send(mq, 'c')
  t.deepEqual(await bodies(mq, 3), ['a', 'b', 'c'])
})

test('a master that is stopped makes room for its successor at once', async (t) => {
  const { etcd, copies } = await startTwo(t)
  const [one, two] = copies
  await send(await clientOf(t, one), 'a')
  await one.server.close()
  t.false(one.log.events().includes('election.anew'))
  await eventually(async () => masterOf(etcd) === '2')
  const mq = await clientOf(t, two)
  await send(mq, 'b')
  t.deepEqual(await bodies(mq, 2), ['a', 'b'])
})

test('what no copy in sync has confirmed is not acknowledged while the lease may be lost', async (t) => {
  const { etcd, copies } = await startTwo(t)
  const [one] = copies
  const mq = await clientOf(t, one)
  await send(mq, 'a')
  etcd.isAway = true
  await eventually(async () => one.log.events().includes('election.lost'))
  await t.throwsAsync(mq.send({ topic: 'T', body: 'refused' }))
  etcd.isAway = false
  etcd.expire('/master')
  await eventually(async () => masterOf(etcd) !== undefined)
  const master = copies[Number(masterOf(etcd)) - 1]!
  const again = await clientOf(t, master)
  await send(again, 'b')
  t.deepEqual(await bodies(again, 2), ['a', 'b'])
})

test('where etcd was wiped no copy makes itself the master, but by hand', async (t) => {
  const { etcd, copies } = await startTwo(t)
  const [one, two] = copies
  await send(await clientOf(t, one), 'a')
  etcd.wipe()
  await eventually(async () => one.log.events().includes('election.anew'))
  await eventually(async () => two.log.events().includes('election.unknown'))
  const told = two.log.events().filter((event) => event === 'election.unknown')
  t.is(told.length, 1)
  const mq = await clientOf(t, two)
  const address = two.address('remoting')
  await t.throwsAsync(mq.admin.promote(address), { message: /etcd elects the master/ })
  t.is(masterOf(etcd), undefined)
  const again = await clientOf(t, two)
  t.true((await sooner(() => again.admin.promote(address, { force: true }))) > 1024)
  const after = await clientOf(t, two)
  await send(after, 'b')
  t.deepEqual(await bodies(after, 2), ['a', 'b'])
})

test('clients of MQTT and AMQP at a copy are told where its master is', async (t) => {
  const { copies } = await startTwo(t)
  const [one, two] = copies
  const connack = await new Promise<{ reasonCode?: number; properties?: object }>((resolve) => {
    const client = mqtt.connect({
      ...{ host: '127.0.0.1', port: two.port('mqtt'), protocolVersion: 5, reconnectPeriod: 0 },
    })
    client.on('error', () => {})
    client.on('packetreceive', (packet) => resolve(packet as object))
    t.teardown(() => client.end(true))
  })
  t.is(connack.reasonCode, 0x9c)
  t.like(connack.properties, { serverReference: one.address('mqtt') })
  const older = await new Promise((resolve) => {
    const client = mqtt.connect({
      ...{ host: '127.0.0.1', port: two.port('mqtt'), protocolVersion: 4, reconnectPeriod: 0 },
    })
    client.on('error', () => {})
    client.on('packetreceive', (packet) => resolve(packet))
    t.teardown(() => client.end(true))
  })
  t.like(older, { returnCode: 3 })
  const container = rhea.create_container()
  container.on('error', () => {})
  container.on('disconnected', () => {})
  const connection = container.connect({
    ...{ host: '127.0.0.1', port: two.port('amqp'), username: 'anonymous', reconnect: false },
  })
  const error = await new Promise((resolve) => {
    container.on('connection_error', (context) => resolve(context.connection.error))
  })
  connection.close()
  const [network, port] = [
    ['network-host', '127.0.0.1'],
    ['port', one.port('amqp')],
  ] as const
  t.like(error, { condition: 'amqp:connection:redirect' })
  t.like(
    (error as { info: object }).info,
    Object.fromEntries([['hostname', '127.0.0.1'], network, port]),
  )
})

test('a copy whose disk was emptied is another one, and gets in sync anew', async (t) => {
  const { etcd, copies } = await startTwo(t)
  const [one, two] = copies
  const mq = await clientOf(t, one)
  await send(mq, 'a')
  await two.server.close()
  const anew = await startCopy(t, etcd, 2)
  await send(mq, 'b')
  await eventually(async () => inSyncOf(etcd).length === 2)
  const names = [...one.log.lines, ...two.log.lines, ...anew.log.lines]
    .filter(({ evt }) => evt === 'election.copy')
    .map(({ copy }) => String(copy))
  t.is(new Set(names).size, 3)
  t.deepEqual(new Set(inSyncOf(etcd)), new Set([names[0], names[2]]))
})

test('a broker that has messages founds the group, and other copies get them', async (t) => {
  const etcd = await FakeEtcd.start(t)
  const dataDir = await tempDir(t)
  const alone = await startServer(t, { config: { dataDir, broker: { autoCreateTopics: true } } })
  const before = await connect({ broker: alone.address('remoting') })
  await before.send({ topic: 'T', body: 'a' })
  await before.close()
  await alone.server.close()
  const one = await startCopy(t, etcd, 1, dataDir)
  const two = await startCopy(t, etcd, 2)
  await send(await clientOf(t, one), 'b')
  await eventually(async () => inSyncOf(etcd).length === 2)
  await passTo(etcd, '2')
  const mq = await clientOf(t, two)
  await send(mq, 'c')
  t.deepEqual(await bodies(mq, 3), ['a', 'b', 'c'])
})

test('a copy that was started again keeps its name', async (t) => {
  const { etcd, copies } = await startTwo(t)
  const before = inSyncOf(etcd)
  await copies[1].server.close()
  await startCopy(t, etcd, 2, copies[1].dataDir)
  await eventually(async () => inSyncOf(etcd).length === 2)
  t.deepEqual(new Set(inSyncOf(etcd)), new Set(before))
})

test('only one may make the first state: a group that was never founded has no master', async (t) => {
  const etcd = await FakeEtcd.start(t)
  const given = new AbortController()
  const log = new LogLines()
  const waiting = startServer(t, {
    ...{ log, signal: given.signal },
    config: {
      broker: { role: 'SYNC_MASTER', id: 2 },
      replication: { enabled: true, port: 0, etcd: { endpoints: [etcd.endpoint] } },
    },
  })
  await eventually(async () => log.events().includes('election.waiting'))
  t.is(etcd.find('/state'), undefined)
  given.abort(new Error('enough'))
  await t.throwsAsync(waiting)
})

test('an empty copy that no etcd answers is stopped at once', async (t) => {
  t.timeout(60_000)
  const etcd = await FakeEtcd.start(t)
  etcd.isMute = true
  const given = new AbortController()
  const waiting = startServer(t, {
    signal: given.signal,
    config: {
      broker: { role: 'SYNC_MASTER', id: 1 },
      replication: {
        ...{ enabled: true, port: 0 },
        etcd: { ...unending(etcd), founds: true },
      },
    },
  })
  await eventually(async () => etcd.calls > 0)
  given.abort(new Error('enough'))
  await t.throwsAsync(waiting, { message: 'enough' })
})

test('a copy whose etcd answers no more is stopped all the same', async (t) => {
  t.timeout(60_000)
  const etcd = await FakeEtcd.start(t)
  const copy = await startCopy(t, etcd, 1, undefined, unending(etcd))
  await eventually(async () => copy.log.events().includes('election.won'))
  etcd.isMute = true
  await copy.server.close()
  t.pass()
})
