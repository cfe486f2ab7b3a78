// An upgrade of brokers with copies as the page says it, under load: by promotion without etcd, one
// copy after the other with it. With TRIVET_OLDER, the bin/trivet.cjs of an older checkout, the
// brokers begin as that build; without it each is restarted as it was.
import type { ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import { freePort, type SpawnedServer, spawnServer, TRIVET } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { missingOf } from '../support/failover-load.ts'
import { assertAllThere, electedUnderLoad, untilAll } from '../support/loaded-group.ts'
import { needing } from '../support/needing.ts'

const test = needing('an upgrade with a slave', undefined)
const testElected = needing('an upgrade of elected copies', etcdMissing())

const TOPIC = 'T'
const COUNT = 200

const older = process.env['TRIVET_OLDER']
const begun = older === undefined ? {} : { trivet: older }

async function clientOf(t: ExecutionContext, server: SpawnedServer): Promise<Client> {
  const mq = await connect({ broker: server.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

async function send(mq: Client, from: number): Promise<readonly string[]> {
  const bodies = Array.from({ length: COUNT }, (_, n) => `${from + n}`)
  for (const body of bodies) {
    const { status } = await mq.send({ topic: TOPIC, body })
    if (status !== 'stored') throw new Error(`${body} is ${status}`)
  }
  return bodies
}

/** Stops in order, and goes on as this build. */
async function upgrade(server: SpawnedServer): Promise<void> {
  await server.stop()
  await server.start({ trivet: TRIVET })
}

test('the slave is upgraded first, takes the place of its master, which follows it', async (t) => {
  t.timeout(300_000)
  const [port, backPort] = [await freePort(), await freePort()]
  const sync = { enabled: true, slaveTimeoutMs: 60_000 }
  const master = await spawnServer(t, {
    ...begun,
    config: { broker: { role: 'SYNC_MASTER' }, replication: { ...sync, port } },
  })
  const slave = await spawnServer(t, {
    ...begun,
    config: {
      broker: { role: 'SLAVE' },
      replication: {
        ...{ ...sync, port: backPort, master: `127.0.0.1:${port}` },
        promotedTo: 'ASYNC_MASTER',
      },
    },
  })
  const mq = await clientOf(t, master)
  await mq.admin.topics.create({ name: TOPIC, queues: 2 })
  const before = await send(mq, 0)
  const told = slave.stderr.length
  await upgrade(slave)
  await eventually(async () => slave.stderr.slice(told).includes('replication.following'))
  const between = await send(mq, COUNT)
  t.is(await master.stop(), 0)
  const atSlave = await clientOf(t, slave)
  await eventually(async () => {
    try {
      return await atSlave.admin.promote(slave.address('remoting'))
    } catch {
      return undefined
    }
  })
  const atNew = await eventually(async () => {
    try {
      const client = await clientOf(t, slave)
      await client.send({ topic: TOPIC, body: 'promoted' })
      return client
    } catch {
      return undefined
    }
  })
  // On its old data, in its new role.
  const former = await spawnServer(t, {
    config: {
      ...{ dataDir: master.dataDir, broker: { role: 'SLAVE' } },
      replication: { master: `127.0.0.1:${backPort}` },
    },
  })
  await eventually(async () => former.stderr.includes('replication.following'))
  t.false(former.stderr.includes('replication.standing'))
  const after = await send(atNew, 2 * COUNT)
  t.deepEqual([...(await missingOf(atNew, TOPIC, [...before, ...between, ...after]))], [])
  const endOf = async (server: SpawnedServer): Promise<number | undefined> =>
    (await (await clientOf(t, server)).admin.brokerState(server.address('remoting'))).logEnd
  await eventually(async () => (await endOf(former)) === (await endOf(slave)))
})

testElected('elected copies are upgraded one after the other, the master last', async (t) => {
  t.timeout(300_000)
  const loaded = await electedUnderLoad(t, begun)
  const { group, loads } = loaded
  const master = await group.master()
  const slaves = group.brokers.filter((broker) => broker !== master)
  for (const broker of [...slaves, master]) {
    await group.settled()
    await upgrade(broker)
    await untilAll(loads, performance.now())
    if (broker !== master) t.is(await group.master(), master)
  }
  t.not(await group.master(), master)
  await assertAllThere(t, loaded)
})
