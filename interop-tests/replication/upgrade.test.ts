// An upgrade of brokers with copies as the page says it, from an older build and under load of three
// protocols: by promotion without etcd, one copy after the other with it, and one that goes back.
import test, { type ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import { freePort, type SpawnedServer, spawnServer, TRIVET } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { missingOf, startLoads } from '../support/load/failover-load.ts'
import {
  assertAllThere,
  electedUnderLoad,
  LONG_LEASE,
  TOPIC,
  untilAll,
} from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'
import { olderBuild, olderMissing } from '../support/older-build.ts'

const testByHand = needing('an upgrade with a slave', olderMissing())
const testElected = needing('an upgrade of elected copies', olderMissing() ?? etcdMissing())

let older = ''
const leftovers: (() => unknown)[] = []
test.before(async () => {
  const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }
  if (olderMissing() === undefined) older = await olderBuild(later)
})
test.after.always(async () => {
  for (const end of leftovers) await end()
})

async function clientOf(t: ExecutionContext, server: SpawnedServer): Promise<Client> {
  const mq = await connect({ broker: server.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

/** Stops in order, and goes on as this build, or as another one. */
async function change(server: SpawnedServer, trivet = TRIVET): Promise<void> {
  await server.stop()
  await server.start({ trivet })
}

testByHand(
  'the slave is upgraded first, takes the place of its master, which follows it',
  async (t) => {
    t.timeout(300_000)
    const nameServer = await spawnServer(t, { role: 'namesrv' })
    const nameServers = [nameServer.address('nameServer')]
    const [port, backPort] = [await freePort(), await freePort()]
    const remoting = { vipChannel: false }
    const master = await spawnServer(t, {
      ...{ role: 'broker', trivet: older },
      config: {
        broker: { role: 'SYNC_MASTER', nameServers },
        ...{ remoting, replication: { enabled: true, port } },
      },
    })
    const slave = await spawnServer(t, {
      ...{ role: 'broker', trivet: older },
      config: {
        broker: { role: 'SLAVE', nameServers },
        remoting,
        replication: {
          ...{ enabled: true, port: backPort, master: `127.0.0.1:${port}` },
          promotedTo: 'ASYNC_MASTER',
        },
      },
    })
    const mq = await clientOf(t, master)
    await mq.admin.topics.create({ name: TOPIC, queues: 2 })
    const loads = startLoads(t, { brokers: [master, slave], nameServer }, TOPIC)
    await untilAll(loads, performance.now())
    const told = slave.stderr.length
    await change(slave)
    await eventually(async () => slave.stderr.slice(told).includes('replication.following'))
    await untilAll(loads, performance.now())
    t.is(await master.stop(), 0)
    const atSlave = await clientOf(t, slave)
    await eventually(async () => {
      try {
        return await atSlave.admin.promote(slave.address('remoting'))
      } catch {
        return undefined
      }
    })
    await untilAll(loads, performance.now())
    // On its old data, in its new role.
    const former = await spawnServer(t, {
      role: 'broker',
      config: {
        ...{ dataDir: master.dataDir, broker: { role: 'SLAVE', nameServers }, remoting },
        replication: { master: `127.0.0.1:${backPort}` },
      },
    })
    await eventually(async () => former.stderr.includes('replication.following'))
    t.false(former.stderr.includes('replication.standing'))
    await untilAll(loads, performance.now())
    for (const load of loads) await load.end()
    const bodies = loads.flatMap((load) => load.acknowledged.map(({ body }) => body))
    t.log(`${bodies.length} acknowledged`)
    t.deepEqual([...(await missingOf(await clientOf(t, slave), TOPIC, bodies))], [])
    const endOf = async (server: SpawnedServer): Promise<number | undefined> =>
      (await (await clientOf(t, server)).admin.brokerState(server.address('remoting'))).logEnd
    await eventually(async () => (await endOf(former)) === (await endOf(slave)))
  },
)

testElected('elected copies are upgraded one after the other, the master last', async (t) => {
  t.timeout(300_000)
  const loaded = await electedUnderLoad(t, { config: LONG_LEASE, trivet: older })
  const { group, loads } = loaded
  const master = await group.master()
  const slaves = group.brokers.filter((broker) => broker !== master)
  for (const slave of slaves) {
    await group.settled()
    await change(slave)
    await untilAll(loads, performance.now())
    t.is(await group.master(), master)
  }
  await group.settled()
  await master.stop()
  // If it came back before, it might win again.
  await eventually(async () => (await group.master()) !== master)
  await master.start({ trivet: TRIVET })
  await untilAll(loads, performance.now())
  await assertAllThere(t, loaded)
})

testElected(
  'a copy that goes back to the older build follows on, and is upgraded again',
  async (t) => {
    t.timeout(300_000)
    const loaded = await electedUnderLoad(t, { config: LONG_LEASE })
    const { group, loads } = loaded
    const master = await group.master()
    const slave = group.brokers.find((broker) => broker !== master)!
    for (const trivet of [older, TRIVET]) {
      const told = slave.stderr.length
      await change(slave, trivet)
      await eventually(async () => slave.stderr.slice(told).includes('replication.following'))
      await group.settled()
      await untilAll(loads, performance.now())
    }
    await assertAllThere(t, loaded)
  },
)
