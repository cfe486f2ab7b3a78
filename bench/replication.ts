// What copies of the log cost and how fast they are: sends to a single broker, an ASYNC_MASTER and
// a SYNC_MASTER with one slave on the same cores, and to Apache's SYNC_MASTER with SYNC_FLUSH and
// one slave where it can be had, in turn; an empty slave that catches up, beside what the disk does
// by itself; an idle master with a slave; a promotion. Everything synced.
// Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/replication.js [rounds] [megabytes] [title]
//
// With a title only the parts that have it in theirs: sends, catch-up, idle, promotion.
import { execFile } from 'node:child_process'
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  apacheRocketmqMissing,
  startApacheCluster,
} from '../interop-tests/support/apache-rocketmq.ts'
import { type Client, connect } from '../src/client/index.ts'
import type { ConfigInput } from '../src/config.ts'
import { freePort, type SpawnedServer } from '../test/support/server.ts'
import { diskDir, type Teardown } from '../test/support/temp-dir.ts'
import { CpuMeter } from './native/cpu-meter.ts'
import { spawnOnDisk } from './on-disk.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const MIB = 1024 * 1024
const CATCH_UP_BYTES = Number(process.argv[3] ?? 1024) * MIB
const ONLY = process.argv[4] ?? ''
const SECONDS = 4
const WARM_UP_SECONDS = 2
const IDLE_SECONDS = 20
const LOOK_MS = 20
const WAIT_MS_MAX = 120_000
const GENERATOR = fileURLToPath(new URL('./native.js', import.meta.url))
const run = promisify(execFile)

interface Result {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly brokerUs: number
  readonly errors: number
  readonly firstError?: string
}

/** What goes when the work is done. */
async function during<T>(work: (later: Teardown) => Promise<T>): Promise<T> {
  const leftovers: (() => unknown)[] = []
  try {
    return await work({ teardown: (end) => void leftovers.unshift(end) })
  } finally {
    for (const end of leftovers) await end()
  }
}

const LEAN: ConfigInput = { mqtt: { enabled: false }, amqp: { enabled: false } }

async function startMaster(later: Teardown, role: 'ASYNC_MASTER' | 'SYNC_MASTER' = 'ASYNC_MASTER') {
  const port = await freePort()
  const config = { ...LEAN, broker: { role }, replication: { enabled: true, port } }
  return { master: await spawnOnDisk(later, { config }), follow: `127.0.0.1:${port}` }
}

const startSlave = (later: Teardown, master: string): Promise<SpawnedServer> =>
  spawnOnDisk(later, {
    config: { ...LEAN, broker: { role: 'SLAVE' }, replication: { master } },
  })

async function clientOf(later: Teardown, server: SpawnedServer): Promise<Client> {
  const client = await connect({ broker: server.address('remoting') })
  later.teardown(() => client.close({ deadlineMs: 0 }))
  return client
}

/** What the generator sends to: the words that say where it is, and its process. */
interface Target {
  readonly at: readonly string[]
  readonly pid: number
}

const targetOf = (server: SpawnedServer): Target => ({
  at: ['--port', String(server.port('remoting'))],
  pid: server.pid,
})

async function generate({ at, pid }: Target, args: readonly string[]): Promise<Result> {
  const words = [...at, '--pid', String(pid), '--json', ...args]
  const { stdout } = await run(process.execPath, [GENERATOR, ...words])
  return JSON.parse(stdout) as Result
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + WAIT_MS_MAX
  while (!(await isSo())) {
    if (performance.now() > deadlineMs) throw new Error(`not so after ${WAIT_MS_MAX} ms`)
    await pause(LOOK_MS)
  }
}

const follows = async (slave: SpawnedServer): Promise<void> =>
  until(async () => slave.stderr.includes('replication.following'))

async function endOf(client: Client, server: SpawnedServer): Promise<number> {
  const { logEnd } = await client.admin.brokerState(server.address('remoting'))
  return logEnd ?? 0
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

const spread = (numbers: readonly number[]): string =>
  `${median(numbers)} [${Math.min(...numbers)}, ${Math.max(...numbers)}]`

// Sends

interface SetUp {
  readonly master: Target
  readonly slave?: { readonly pid: number }
}

const SET_UPS: Record<string, (later: Teardown) => Promise<SetUp>> = {
  'one synced broker': async (later) => ({
    master: targetOf(await spawnOnDisk(later, { config: LEAN })),
  }),
  'ASYNC_MASTER, a slave': (later) => withSlave(later, 'ASYNC_MASTER'),
  'SYNC_MASTER, a slave': (later) => withSlave(later, 'SYNC_MASTER'),
}
const apacheMissing = await apacheRocketmqMissing()
if (apacheMissing === undefined) SET_UPS['Apache SYNC_MASTER'] = apacheWithSlave
else console.log(`SKIPPED: Apache RocketMQ, because ${apacheMissing}`)

async function withSlave(later: Teardown, role: 'ASYNC_MASTER' | 'SYNC_MASTER'): Promise<SetUp> {
  const { master, follow } = await startMaster(later, role)
  const slave = await startSlave(later, follow)
  await follows(slave)
  return { master: targetOf(master), slave }
}

/** Both sync before they answer, and an answer waits for both: by default it waits for no slave. */
async function apacheWithSlave(later: Teardown): Promise<SetUp> {
  const cluster = await startApacheCluster(['broker-a/0', 'broker-a/1'], {
    masterRole: 'SYNC_MASTER',
    broker: {
      ...{ flushDiskType: 'SYNC_FLUSH', inSyncReplicas: '2', slaveTimeout: '10000' },
      // On two cores it would refuse what waits for 200 ms.
      waitTimeMillsInSendQueue: '10000',
    },
  })
  later.teardown(() => cluster.stop())
  const { pid } = cluster.broker('broker-a/0')
  const master = { at: ['--namesrv', cluster.nameServer], pid }
  return { master, slave: cluster.broker('broker-a/1') }
}

interface SendResult extends Result {
  readonly slaveUs: number
}

async function sendsTo({ master, slave }: SetUp, window: readonly string[]): Promise<SendResult> {
  const args = ['--warmup', '0', ...window]
  await generate(master, [...args, '--seconds', String(WARM_UP_SECONDS)])
  const meter = slave && new CpuMeter(slave.pid)
  const result = await generate(master, [...args, '--seconds', String(SECONDS)])
  const usedUs = meter?.read().processUs ?? 0
  return { ...result, slaveUs: usedUs / (result.perSecond * SECONDS) }
}

async function sends(connections: number, inFlight: number): Promise<void> {
  const window = ['--connections', String(connections), '--in-flight', String(inFlight)]
  const results = new Map<string, SendResult[]>()
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, start] of Object.entries(SET_UPS)) {
      const result = await during(async (later) => sendsTo(await start(later), window))
      results.set(name, [...(results.get(name) ?? []), result])
    }
  }
  console.log(`\nsends, ${connections} x ${inFlight}, 100-byte bodies, median [least, most]`)
  let single: number | undefined
  for (const [name, all] of results) {
    const rates = all.map(({ perSecond }) => perSecond)
    single ??= median(rates)
    const us = median(all.map(({ brokerUs }) => brokerUs))
    const slaveUs = median(all.map((result) => Math.round(result.slaveUs * 100) / 100))
    const p99 = median(all.map((result) => result.p99))
    const failed = all.find(({ errors }) => errors > 0)
    console.log(
      `  ${name.padEnd(22)} ${spread(rates)}/s, ${(median(rates) / single).toFixed(2)}x  ` +
        `CPU a message: master ${us} us, slave ${slaveUs} us, p99 ${p99} ms` +
        (failed === undefined ? '' : `  failed: ${failed.firstError}`),
    )
  }
}

// Catch-up

/** Pieces of a batch's size, a sync behind each eight: what one file takes by itself. */
function diskRate(directory: string): number {
  const file = openSync(join(directory, 'plain'), 'w')
  const piece = Buffer.alloc(MIB, 1)
  const startMs = performance.now()
  for (let at = 0; at < CATCH_UP_BYTES; at += MIB) {
    writeSync(file, piece, 0, MIB, at)
    if ((at / MIB) % 8 === 7) fdatasyncSync(file)
  }
  fdatasyncSync(file)
  const seconds = (performance.now() - startMs) / 1000
  closeSync(file)
  return CATCH_UP_BYTES / seconds / 1e6
}

async function catchUp(body: number): Promise<void> {
  await during(async (later) => {
    const { master, follow } = await startMaster(later)
    const client = await clientOf(later, master)
    const fill = ['--warmup', '0', '--seconds', '1', '--body', String(body), '--in-flight', '64']
    while ((await endOf(client, master)) < CATCH_UP_BYTES) await generate(targetOf(master), fill)
    const end = await endOf(client, master)
    const rates: number[] = []
    const disks: number[] = []
    const cpuMs = { master: [] as number[], slave: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      disks.push(Math.round(await during(async (turn) => diskRate(await diskDir(turn)))))
      await during(async (turn) => {
        const slave = await startSlave(turn, follow)
        const reader = await clientOf(turn, slave)
        const [atMaster, atSlave] = [new CpuMeter(master.pid), new CpuMeter(slave.pid)]
        const from = await endOf(reader, slave)
        const startMs = performance.now()
        await until(async () => (await endOf(reader, slave)) >= end)
        const bytes = end - from
        rates.push(Math.round(bytes / (performance.now() - startMs) / 1000))
        const msPerMb = ({ processUs }: { readonly processUs: number }): number =>
          Math.round((processUs / bytes) * 1e5) / 100
        cpuMs.master.push(msPerMb(atMaster.read()))
        cpuMs.slave.push(msPerMb(atSlave.read()))
      })
    }
    console.log(
      `\ncatch-up of ${Math.round(end / 1e6)} MB, ${body}-byte bodies: ${spread(rates)} MB/s; ` +
        `one file on this disk ${spread(disks)} MB/s, written and synced alone: ` +
        `${(median(rates) / median(disks)).toFixed(2)}x\n` +
        `  CPU a MB: master ${median(cpuMs.master)} ms, slave ${median(cpuMs.slave)} ms`,
    )
  })
}

// An idle master

/** Of one core. */
async function idleShare(server: SpawnedServer): Promise<number> {
  const meter = new CpuMeter(server.pid)
  const startMs = performance.now()
  await pause(IDLE_SECONDS * 1000)
  return meter.read().processUs / 10 / (performance.now() - startMs)
}

async function idle(): Promise<void> {
  await during(async (later) => {
    const { master, follow } = await startMaster(later)
    await pause(2_000)
    const alone = await idleShare(master)
    const slave = await startSlave(later, follow)
    await follows(slave)
    await pause(2_000)
    const [followed, following] = await Promise.all([idleShare(master), idleShare(slave)])
    const percent = [alone, followed, following].map((share) => share.toFixed(2))
    console.log(
      `\nidle, share of one core over ${IDLE_SECONDS} s: master alone ${percent[0]} %, ` +
        `with a slave ${percent[1]} %, the slave ${percent[2]} %`,
    )
  })
}

// Promotion

/** A client that begins when the master is killed: answered, and a first message acknowledged. */
async function promotion(): Promise<void> {
  const answeredMs: number[] = []
  const sentMs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await during(async (later) => {
      const { master, follow } = await startMaster(later, 'SYNC_MASTER')
      const slave = await startSlave(later, follow)
      await follows(slave)
      await generate(targetOf(master), ['--warmup', '0', '--seconds', '1'])
      const client = await clientOf(later, slave)
      await master.kill()
      const startMs = performance.now()
      const promote = () => client.admin.promote(slave.address('remoting'))
      await until(() =>
        promote().then(
          () => true,
          () => false,
        ),
      )
      answeredMs.push(Math.round(performance.now() - startMs))
      await until(async () => {
        try {
          return await during(async (turn) => {
            const again = await clientOf(turn, slave)
            await again.send({ topic: 'bench', body: 'after' })
            return true
          })
        } catch {
          return false
        }
      })
      sentMs.push(Math.round(performance.now() - startMs))
    })
  }
  console.log(
    `\npromotion after kill -9 of a SYNC_MASTER: answered after ${spread(answeredMs)} ms, ` +
      `a message acknowledged after ${spread(sentMs)} ms`,
  )
}

const PARTS: Readonly<Record<string, () => Promise<void>>> = {
  'sends, 16 x 128': () => sends(16, 128),
  'sends, 16 x 16': () => sends(16, 16),
  'sends, 1 x 1': () => sends(1, 1),
  'catch-up, small': () => catchUp(100),
  'catch-up, 1 KiB': () => catchUp(1024),
  idle,
  promotion,
}

console.log(
  `${cpus().length} x ${cpus()[0]?.model}, node ${process.version}, load ${loadavg()[0]}, ${ROUNDS} rounds`,
)
for (const [title, part] of Object.entries(PARTS)) if (title.includes(ONLY)) await part()
process.exit(0)
