// A SYNC_MASTER that is killed under load of three protocols, its slave promoted by hand, and the
// former master its slave, as the page says it; and again the other way round. TRIVET_FAILOVERS makes
// more of them than a run of all tests has time for.
import type { ExecutionContext } from 'ava'
import { connect } from '../../src/client/index.ts'
import { freePort, type SpawnedServer, spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { missingOf, startLoads } from '../support/load/failover-load.ts'
import { TOPIC, untilAll } from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'
import { percentile } from '../support/percentile.ts'

const test = needing('a promotion by hand', undefined)

const FAILOVERS = Number(process.env['TRIVET_FAILOVERS'] ?? 3)

/** Two brokers, each at addresses of its own, whatever its role. */
class Pair {
  readonly brokers: SpawnedServer[] = []
  readonly #t: ExecutionContext
  readonly #nameServer: string
  readonly #ports: number[] = []
  readonly #dataDirs: string[] = []

  constructor(t: ExecutionContext, nameServer: SpawnedServer) {
    this.#t = t
    this.#nameServer = nameServer.address('nameServer')
  }

  async start(index: number, role: 'SYNC_MASTER' | 'SLAVE'): Promise<SpawnedServer> {
    const before = this.brokers[index]
    for (let n = this.#ports.length; n < 2; n++) this.#ports.push(await freePort())
    const dataDir = this.#dataDirs[index]
    const at = (name: 'remoting' | 'mqtt' | 'amqp') => before && { port: before.port(name) }
    const broker = await spawnServer(this.#t, {
      role: 'broker',
      config: {
        ...(dataDir !== undefined && { dataDir }),
        broker: { role, nameServers: [this.#nameServer] },
        remoting: { vipChannel: false, ...at('remoting') },
        mqtt: { ...at('mqtt') },
        amqp: { ...at('amqp') },
        replication: {
          ...{ enabled: true, port: this.#ports[index]!, slaveTimeoutMs: 60_000 },
          master: `127.0.0.1:${this.#ports[1 - index]}`,
        },
      },
    })
    this.#dataDirs[index] = broker.dataDir
    this.brokers[index] = broker
    return broker
  }
}

/** Until it does: the connection of its master ends a moment after that was killed. */
async function promote(t: ExecutionContext, slave: SpawnedServer): Promise<void> {
  const mq = await connect({ broker: slave.address('remoting') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await eventually(async () => {
    try {
      return (await mq.admin.promote(slave.address('remoting'))) ?? true
    } catch {
      return undefined
    }
  })
}

test('what was acknowledged is there after each promotion', async (t) => {
  t.timeout(120_000 + FAILOVERS * 60_000)
  const nameServer = await spawnServer(t, { role: 'namesrv' })
  const pair = new Pair(t, nameServer)
  await pair.start(0, 'SYNC_MASTER')
  await pair.start(1, 'SLAVE')
  const { brokers } = pair
  const mq = await connect({ nameServers: nameServer.address('nameServer'), timeoutMs: 2_000 })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await mq.admin.topics.create({ name: TOPIC, queues: 2 })
  const loads = startLoads(t, { brokers, nameServer }, TOPIC)
  const tookMs: number[] = []
  for (let round = 0; round < FAILOVERS; round++) {
    const [master, slave] = [round % 2, 1 - (round % 2)]
    await untilAll(loads, performance.now())
    await brokers[master]!.kill()
    const killedMs = performance.now()
    await promote(t, brokers[slave]!)
    await untilAll(loads, killedMs)
    tookMs.push(Math.min(...loads.map((load) => load.after(killedMs)! - killedMs)))
    // Its new role, and that of the former master.
    const former = await pair.start(master, 'SLAVE')
    await eventually(async () => former.stderr.includes('replication.following'))
    await brokers[slave]!.stop()
    await pair.start(slave, 'SYNC_MASTER')
  }
  const [p50, p99] = [percentile(tookMs, 0.5), percentile(tookMs, 0.99)].map(Math.round)
  t.log(`acknowledged again: p50 ${p50} ms, p99 ${p99} ms of ${FAILOVERS}`)
  await untilAll(loads, performance.now())
  for (const load of loads) await load.end()
  const bodies = loads.flatMap((load) => load.acknowledged.map(({ body }) => body))
  t.log(`${bodies.length} acknowledged`)
  t.deepEqual([...(await missingOf(mq, TOPIC, bodies))], [])
})
