// Sends over the native protocol, durable before they are answered, beside Apache RocketMQ on the
// same machine: the same generator, the two in turn, several rounds. Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/native-peers.js [rounds] [seconds]
import { execFile } from 'node:child_process'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../interop-tests/support/apache-rocketmq.ts'
import { type SpawnedServer, spawnServer } from '../test/support/server.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const SECONDS = process.argv[3] ?? '4'
const GENERATOR = fileURLToPath(new URL('./native.js', import.meta.url))
const run = promisify(execFile)

interface Result {
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly brokerUs: number
  readonly brokerRssMb: number
  readonly errors: number
}

interface Contender {
  readonly name: string
  readonly nameServer: string
  readonly pid: () => number
}

const SHAPES = [
  ['16 connections x 128', ['--connections', '16', '--in-flight', '128']],
  ['16 connections x 16', ['--connections', '16', '--in-flight', '16']],
  ['1 connection x 1', ['--connections', '1', '--in-flight', '1']],
] as const

const leftovers: (() => unknown)[] = []
const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }

async function ours(flush: 'sync' | 'async'): Promise<Contender> {
  const server: SpawnedServer = await spawnServer(later, {
    config: { store: { flush }, mqtt: { enabled: false }, amqp: { enabled: false } },
  })
  return {
    name: `TrivetMQ ${flush}`,
    nameServer: server.address('nameServer'),
    pid: () => server.pid,
  }
}

async function theirs(flush: 'SYNC_FLUSH' | 'ASYNC_FLUSH'): Promise<Contender> {
  const apache = await startApacheRocketmq({ broker: { flushDiskType: flush } })
  later.teardown(() => apache.stop())
  return { name: `Apache ${flush}`, nameServer: apache.nameServer, pid: () => apache.pid }
}

async function measure(contender: Contender, shape: readonly string[]): Promise<Result> {
  const at = ['--namesrv', contender.nameServer, '--pid', String(contender.pid())]
  // Long enough for a JVM to have compiled what is hot.
  const args = [GENERATOR, ...at, '--warmup', '3', '--seconds', SECONDS, '--json', ...shape]
  const { stdout } = await run(process.execPath, args)
  return JSON.parse(stdout) as Result
}

/** Of an even count, the mean of the two in the middle. */
function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const sum = sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!
  return Math.round(sum * 500) / 1000
}

async function main(): Promise<void> {
  const contenders = [await ours('sync'), await ours('async')]
  const missing = await apacheRocketmqMissing()
  if (missing === undefined) {
    contenders.push(await theirs('SYNC_FLUSH'), await theirs('ASYNC_FLUSH'))
  } else console.log(`SKIPPED: Apache RocketMQ, because ${missing}`)
  console.log(
    `${cpus().length} x ${cpus()[0]?.model}, node ${process.version}, load ${loadavg()[0]}`,
  )
  for (const [title, shape] of SHAPES) {
    const results = new Map(contenders.map(({ name }) => [name, [] as Result[]]))
    for (let round = 0; round < ROUNDS; round++) {
      for (const contender of contenders) {
        results.get(contender.name)!.push(await measure(contender, shape))
      }
    }
    console.log(`\n${title}, 100-byte bodies: median of ${ROUNDS} (best)`)
    for (const [name, all] of results) {
      const of = (pick: (result: Result) => number): number => median(all.map(pick))
      const best = Math.max(...all.map(({ perSecond }) => perSecond))
      console.log(
        `  ${name.padEnd(20)} ${of((r) => r.perSecond)}/s (${best})  p50 ${of((r) => r.p50)} ms  ` +
          `p99 ${of((r) => r.p99)} ms  broker ${of((r) => r.brokerUs)} us CPU a message, ` +
          `${of((r) => r.brokerRssMb)} MB  errors ${of((r) => r.errors)}`,
      )
    }
  }
}

try {
  await main()
} finally {
  for (const end of leftovers) await end()
}
process.exit(0)
