// Loads over the native protocol beside Apache RocketMQ on the same machine, durable before they
// are answered: the same generator, the two in turn, several rounds. Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/native-peers.js [rounds] [seconds] [title]
//
// With a title only the loads that have it in theirs.
import { execFile } from 'node:child_process'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../interop-tests/support/apache-rocketmq.ts'
import type { SpawnedServer } from '../test/support/server.ts'
import { spawnOnDisk } from './on-disk.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const SECONDS = process.argv[3] ?? '4'
const ONLY = process.argv[4] ?? ''
const GENERATOR = fileURLToPath(new URL('./native.js', import.meta.url))
const run = promisify(execFile)

interface Result {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly brokerUs: number
  readonly brokerRssMb: number
  readonly errors: number
  readonly firstError?: string
}

interface Contender {
  readonly name: string
  readonly nameServer: string
  readonly pid: () => number
  /** Acknowledged means on disk. */
  readonly isSync: boolean
}

interface Load {
  readonly title: string
  readonly args: readonly string[]
  /** Also without a sync. */
  readonly isSend?: boolean
}

const BACKLOG = ['--topic', 'backlog', '--sql']
/** As many for each: of one that is smaller more is in the processor's cache. */
const BACKLOG_MESSAGES = '200000'
const FILL = [...BACKLOG, '--count', BACKLOG_MESSAGES, '--warmup', '0', '--seconds', '60']
const sends = (connections: number, inFlight: number): Load => ({
  title: `sends, ${connections} x ${inFlight}`,
  args: ['--connections', String(connections), '--in-flight', String(inFlight)],
  isSend: true,
})
const LOADS: readonly Load[] = [
  ...[sends(16, 128), sends(16, 16), sends(1, 1)],
  {
    title: 'transactions, 16 x 16',
    args: ['--mode', 'transact', '--topic', 'transactions', '--in-flight', '16'],
  },
  {
    title: 'pull 32 from the tail, 8 queues',
    args: ['--mode', 'pull', '--topic', 'backlog', '--connections', '8'],
  },
  {
    title: 'pull by SQL92, one in a hundred, 8 queues',
    args: ['--mode', 'pull', ...BACKLOG, '--connections', '8'],
  },
  {
    title: 'POP 32 and an ACK each, 8 x 1',
    args: ['--mode', 'pop', '--topic', 'backlog', '--connections', '8', '--in-flight', '1'],
  },
]

const leftovers: (() => unknown)[] = []
const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }

async function ours(flush: 'sync' | 'async'): Promise<Contender> {
  const server: SpawnedServer = await spawnOnDisk(later, {
    config: { store: { flush }, mqtt: { enabled: false }, amqp: { enabled: false } },
  })
  return {
    name: `TrivetMQ ${flush}`,
    nameServer: server.address('nameServer'),
    pid: () => server.pid,
    isSync: flush === 'sync',
  }
}

async function theirs(flush: 'SYNC_FLUSH' | 'ASYNC_FLUSH'): Promise<Contender> {
  const broker = { flushDiskType: flush, enablePropertyFilter: 'true' }
  const apache = await startApacheRocketmq({ broker })
  later.teardown(() => apache.stop())
  return {
    name: `Apache ${flush}`,
    nameServer: apache.nameServer,
    pid: () => apache.pid,
    isSync: flush === 'SYNC_FLUSH',
  }
}

async function generate(contender: Contender, args: readonly string[]): Promise<Result> {
  const at = ['--namesrv', contender.nameServer, '--pid', String(contender.pid()), '--json']
  const { stdout } = await run(process.execPath, [GENERATOR, ...at, ...args])
  return JSON.parse(stdout) as Result
}

/** Long enough for a JVM to have compiled what is hot. */
const measure = (contender: Contender, load: Load): Promise<Result> =>
  generate(contender, ['--warmup', '3', '--seconds', SECONDS, ...load.args])

/** Of an even count, the mean of the two in the middle. */
function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const sum = sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!
  return Math.round(sum * 500) / 1000
}

async function compare(load: Load, all: readonly Contender[]): Promise<void> {
  const contenders = all.filter(({ isSync }) => isSync || load.isSend === true)
  const results = contenders.map(() => [] as Result[])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, contender] of contenders.entries()) {
      results[i]!.push(await measure(contender, load))
    }
  }
  console.log(`\n${load.title}, 100-byte bodies: median of ${ROUNDS} (least to most)`)
  const medians = results.map((all) => {
    const of = (pick: (result: Result) => number): number => median(all.map(pick))
    return { of, perSecond: of((r) => r.perSecond), brokerUs: of((r) => r.brokerUs) }
  })
  for (const [i, { of, perSecond, brokerUs }] of medians.entries()) {
    const rates = results[i]!.map((result) => result.perSecond)
    const failed = results[i]!.find(({ errors }) => errors > 0)
    console.log(
      `  ${contenders[i]!.name.padEnd(20)} ${perSecond}/s (${Math.min(...rates)} to ${Math.max(...rates)})  ` +
        `p50 ${of((r) => r.p50)} ms  p99 ${of((r) => r.p99)} ms  broker ${brokerUs} us CPU a message, ` +
        `${of((r) => r.brokerRssMb)} MB${failed === undefined ? '' : `  failed: ${failed.firstError}`}`,
    )
  }
  const [our, their] = [0, 1].map((k) => medians.filter((_, i) => contenders[i]!.isSync)[k])
  if (our === undefined || their === undefined) return
  const perSecond = (our.perSecond / their.perSecond).toFixed(1)
  const perCpu = (their.brokerUs / our.brokerUs).toFixed(1)
  console.log(`  ours to theirs, synced: ${perSecond} x per second, ${perCpu} x per CPU second`)
}

async function main(): Promise<void> {
  const loads = LOADS.filter(({ title }) => title.includes(ONLY))
  const hasSends = loads.some(({ isSend }) => isSend === true)
  const contenders = [await ours('sync'), ...(hasSends ? [await ours('async')] : [])]
  const missing = await apacheRocketmqMissing()
  if (missing === undefined) {
    contenders.push(await theirs('SYNC_FLUSH'))
    if (hasSends) contenders.push(await theirs('ASYNC_FLUSH'))
  } else console.log(`SKIPPED: Apache RocketMQ, because ${missing}`)
  console.log(
    `${cpus().length} x ${cpus()[0]?.model}, node ${process.version}, load ${loadavg()[0]}`,
  )
  for (const load of loads) {
    // What is read is the newest of the log.
    const isFilled = !load.args.includes('backlog')
    for (const contender of isFilled ? [] : contenders.filter(({ isSync }) => isSync)) {
      await generate(contender, FILL)
    }
    await compare(load, contenders)
  }
}

try {
  await main()
} finally {
  for (const end of leftovers) await end()
}
process.exit(0)
