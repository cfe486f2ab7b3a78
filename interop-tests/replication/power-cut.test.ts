// Copies of a log on disks whose power is cut: what an acknowledgement counted on is there after it.
import type { ExecutionContext } from 'ava'
import { type Client, connect } from '../../src/client/index.ts'
import { freePort, type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { COPIES } from '../support/elected-brokers.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { PowerDisk, powerDiskMissing } from '../support/faults/power-disk.ts'
import { missingOf } from '../support/load/failover-load.ts'
import { assertAllThere, electedUnderLoad, untilAll } from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'

const missing = await powerDiskMissing()
const testPower = needing('power cuts of copies', missing)
const testElected = needing('power cuts of elected copies', missing ?? etcdMissing())

const TOPIC = 'T'
const DISK = '512M'
const CUTS = 3
/** Acknowledged between two cuts, at least. */
const ACKED_MIN = 200
const AT_ONCE = 8

/** Sends at once, until it is told to end; what was acknowledged. */
class Sending {
  readonly acknowledged: string[] = []
  readonly #lanes: Promise<void>[]
  #isOver = false

  constructor(mq: Client) {
    this.#lanes = Array.from({ length: AT_ONCE }, (_, lane) => this.#run(mq, lane))
  }

  async end(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#lanes)
  }

  /** So many more than there are. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged.length + count
    await eventually(async () => this.acknowledged.length >= wanted)
  }

  async #run(mq: Client, lane: number): Promise<void> {
    for (let i = 0; !this.#isOver; i++) {
      const body = `${lane}-${i}`
      // What the slave does not have in time is stored, and not acknowledged.
      const isTaken = await mq.send({ topic: TOPIC, body }).then(
        ({ status }) => status === 'stored',
        () => false,
      )
      if (isTaken) this.acknowledged.push(body)
      else await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

async function clientOf(t: ExecutionContext, server: SpawnedServer): Promise<Client> {
  const mq = await connect({ broker: server.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  return mq
}

testPower('a slave has what its master acknowledged after each cut of its power', async (t) => {
  t.timeout(300_000)
  const port = await freePort()
  const replication = { enabled: true, port, slaveTimeoutMs: 1_000 }
  const master = await spawnServer(t, { config: { broker: { role: 'SYNC_MASTER' }, replication } })
  const disk = await PowerDisk.start(t, DISK)
  const slave = await spawnServer(t, {
    config: {
      ...{ dataDir: disk.dataDir, broker: { role: 'SLAVE' } },
      replication: { master: `127.0.0.1:${port}` },
    },
  })
  const mq = await clientOf(t, master)
  await mq.admin.topics.create({ name: TOPIC, queues: 4 })
  const sending = new Sending(mq)
  for (let cut = 0; cut < CUTS; cut++) {
    await sending.more(ACKED_MIN)
    await disk.cut()
    await slave.kill()
    const isLast = cut === CUTS - 1
    if (isLast) {
      await sending.end()
      await master.kill()
    }
    await disk.mountAgain()
    await slave.start()
  }
  const { acknowledged } = sending
  t.log(`${acknowledged.length} acknowledged over ${CUTS} cuts`)
  // Its master is gone, so it has no word of what it may lack.
  const atSlave = await clientOf(t, slave)
  await atSlave.admin.promote(slave.address('remoting'), { force: true })
  const after = await eventually(async () => {
    try {
      const reader = await clientOf(t, slave)
      await reader.send({ topic: TOPIC, body: 'after' })
      return reader
    } catch {
      return undefined
    }
  })
  t.deepEqual([...(await missingOf(after, TOPIC, acknowledged))], [])
})

testElected('copies in sync have what was acknowledged after a cut of their power', async (t) => {
  t.timeout(300_000)
  const disks: PowerDisk[] = []
  for (let copy = 0; copy < COPIES; copy++) disks.push(await PowerDisk.start(t, DISK))
  const copies = disks.map(({ dataDir }) => ({ dataDir }))
  const loaded = await electedUnderLoad(t, { copies })
  const { group, loads } = loaded
  const lose = async (brokers: readonly SpawnedServer[]): Promise<void> => {
    const lost = brokers.map((broker) => ({ broker, disk: disks[group.brokers.indexOf(broker)]! }))
    await Promise.all(lost.map(({ disk }) => disk.cut()))
    await Promise.all(lost.map(({ broker }) => broker.kill()))
    for (const { broker, disk } of lost) {
      await disk.mountAgain()
      await broker.start()
    }
    await untilAll(loads, performance.now())
    await group.settled()
  }
  const master = await group.master()
  const slave = group.brokers.find((broker) => broker !== master)!
  await lose([slave])
  await lose([master])
  // The whole room.
  await lose(group.brokers)
  await assertAllThere(t, loaded)
})
