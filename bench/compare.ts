// Two builds of TrivetMQ under the same loads over the native protocol, MQTT and AMQP, in turn (A B
// A B ...): the ratio of this build to the other one, pair by pair, of messages per second, of
// messages per second of the broker's CPU time, and of the broker's peak memory. Rows "of JSON" are
// two loads on this build: headers in the binary codec and in JSON; rows "of TCP" likewise, of one
// load over TLS 1.3 or WebSocket and over TCP. Prints, asserts nothing.
//
//   npm run build
//   node dist/bench/compare.js OTHER-CHECKOUT [--passes 3] [--rounds 3] [--only TEXT]
//
// OTHER-CHECKOUT is a built checkout (npm ci && npm run build). --only runs the rows whose title
// has the text. Each pass of a row has two fresh brokers, because one process may be faster than
// another of the same build; each round of a pass is a pair. AMQP's load is
// ../shared/tools/amqp-loadgen.mjs, a generator over raw sockets kept beside the project.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { SERVER_TLS } from '../test/support/certificates.ts'
import { SpawnedServer, TRIVET } from '../test/support/server.ts'
import { load, type Shape } from './mqtt/load.ts'
import { CpuMeter } from './native/cpu-meter.ts'
import type { Transport } from './peers/dial.ts'
import { peerDirectory } from './peers/peer.ts'
import { openTunnel } from './peers/tunnel.ts'

const run = promisify(execFile)
const NATIVE = fileURLToPath(new URL('./native.js', import.meta.url))
const AMQP = fileURLToPath(new URL('../../../shared/tools/amqp-loadgen.mjs', import.meta.url))
const RUN_MS_MAX = 120_000
const SECONDS = '2'

interface Build {
  readonly name: string
  /** The command of that checkout. */
  readonly trivet: string
}

/** One load on a running broker. @returns messages and the seconds they took */
type Load = (server: SpawnedServer) => Promise<{ messages: number; seconds: number }>

/** A load over a transport. */
type By = (transport: Transport) => Load

interface Sample {
  readonly perSecond: number
  readonly perCpuSecond: number
  readonly peakMib: number
}

const { values, positionals } = parseArgs({
  options: {
    passes: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
  },
  allowPositionals: true,
})

const native =
  (...options: string[]): Load =>
  async (server) => {
    const at = ['--port', String(server.port('remoting')), '--seconds', SECONDS, '--warmup', '0.5']
    const result = await json([NATIVE, ...at, '--json', ...options])
    return { messages: result['perSecond']! * Number(SECONDS), seconds: Number(SECONDS) }
  }

/** Little enough for the cache of the log's end: pulls from the disk are another matter. */
const fill: Load = async (server) => {
  const at = ['--port', String(server.port('remoting')), '--seconds', '0.3', '--warmup', '0']
  const result = await json([NATIVE, ...at, '--json'])
  return { messages: result['perSecond']! * 0.3, seconds: 0.3 }
}

const mqtt =
  (shape: Shape, transport: Transport = 'tcp'): Load =>
  async (server) => {
    const { seconds, published, delivered } = await load(server.port('mqtt'), shape, transport)
    return { messages: shape.subscribers > 0 ? delivered : published, seconds }
  }

const amqp =
  (mode: string, ...options: string[]): Load =>
  (server) =>
    amqpAt(server.port('amqp'), mode, options)

/** Its generator speaks TCP alone. */
const amqpBy =
  (mode: string, ...options: string[]): By =>
  (transport) =>
  async (server) => {
    const tunnel = await openTunnel(server.port('amqp'), transport, 'amqp')
    try {
      return await amqpAt(tunnel.port, mode, options)
    } finally {
      tunnel.close()
    }
  }

async function amqpAt(port: number, mode: string, options: readonly string[]) {
  const at = ['--port', String(port), '--address', `bench-${mode}`, '--mode', mode]
  const bounds = ['--size', '100', '--seconds', SECONDS, '--warmup', '0.5', '--json']
  const result = await json([AMQP, ...at, ...bounds, ...options])
  return { messages: result['rate_per_s']! * Number(SECONDS), seconds: Number(SECONDS) }
}

const publishing = { subscribers: 0, qos: 1, payloadBytes: 100 } as const
const MANY: Shape = { ...publishing, publishers: 16, window: 128, messages: 400_000 }
const ONE: Shape = { ...publishing, publishers: 1, window: 1, messages: 6_000 }
const FAN_OUT: Shape = {
  ...{ publishers: 2, subscribers: 4, qos: 1 },
  ...{ window: 128, payloadBytes: 64, messages: 100_000 },
}
const LONE = ['--connections', '1', '--in-flight', '1'] as const

interface Row {
  readonly title: string
  readonly load: Load
  /** What must have happened before; without, the load itself is the warm-up. */
  readonly before?: Load
  /** Both sides are this build, and the other one has this load. */
  readonly beside?: Load
}

const row = (title: string, load: Load, more: Omit<Row, 'title' | 'load'> = {}): Row => ({
  ...{ title, load },
  ...more,
})

const sends = (...options: string[]): Load =>
  native('--connections', '16', '--in-flight', '128', ...options)
const pulls = (...options: string[]): Load =>
  native('--mode', 'pull', '--connections', '8', ...options)
const binary = ['--codec', 'binary'] as const
const nativeBy =
  (...options: string[]): By =>
  (transport) =>
    native(...options, ...(transport === 'tls' ? ['--tls'] : []))

/** Each load over each other transport: on both builds, and on this one beside TCP. */
const overOthers = (
  title: string,
  load: By,
  transports: readonly Transport[] = ['tls', 'websocket'],
): readonly Row[] =>
  transports.flatMap((transport) => [
    row(`${title}, over ${transport}`, load(transport)),
    row(`${title}, over ${transport} of TCP`, load(transport), { beside: load('tcp') }),
  ])

const ROWS: readonly Row[] = [
  row('native sends, 16 x 128', sends()),
  row('native sends, 16 x 16', native('--connections', '16', '--in-flight', '16')),
  row('native sends, one in flight', native(...LONE)),
  row('native sends, binary headers, 16 x 128', sends(...binary)),
  row('native sends, binary headers of JSON', sends(...binary), { beside: sends() }),
  row('native transactions of sends, 16 x 128', sends('--mode', 'transact'), { beside: sends() }),
  row('native pulls, 8 x 32', pulls(), { before: fill }),
  row('native pulls, binary headers of JSON', pulls(...binary), { before: fill, beside: pulls() }),
  row('MQTT QoS 1 in, 16 x 128', mqtt(MANY)),
  row('MQTT QoS 1 in, one in flight', mqtt(ONE)),
  row('MQTT QoS 1, 2 publishers to 4 subscribers', mqtt(FAN_OUT)),
  row('AMQP sends, 4 x 1,000', amqp('send', '--conns', '4')),
  row('AMQP sends, one in flight', amqp('send', '--window', '1')),
  row('AMQP end to end, one sender, one receiver', amqp('pair')),
  ...overOthers('native sends, 16 x 128', nativeBy('--connections', '16'), ['tls']),
  ...overOthers('native sends, one in flight', nativeBy(...LONE), ['tls']),
  ...overOthers('MQTT QoS 1 in, 16 x 128', (transport) => mqtt(MANY, transport)),
  ...overOthers('MQTT QoS 1 in, one in flight', (transport) => mqtt(ONE, transport)),
  ...overOthers('MQTT QoS 1, 2 to 4', (transport) => mqtt(FAN_OUT, transport)),
  ...overOthers('AMQP sends, 4 x 1,000', amqpBy('send', '--conns', '4')),
  ...overOthers('AMQP sends, one in flight', amqpBy('send', '--window', '1')),
  ...overOthers('AMQP end to end', amqpBy('pair')),
]

async function main(): Promise<void> {
  const other = positionals[0]
  if (other === undefined || !existsSync(resolve(other, 'bin/trivet.cjs'))) {
    console.error(
      'usage: node dist/bench/compare.js OTHER-CHECKOUT [--passes N] [--rounds N] [--only TEXT]',
    )
    process.exitCode = 2
    return
  }
  const builds = [
    { name: 'this', trivet: TRIVET },
    { name: 'other', trivet: resolve(other, 'bin/trivet.cjs') },
  ]
  const passes = Number(values.passes)
  const rounds = Number(values.rounds)
  const [first] = cpus()
  console.log(
    `${cpus().length} x ${first?.model}, Node ${process.version}, load ${loadavg()[0]}, ` +
      `${passes} x ${rounds} pairs; this / other as median [least, most]\n`,
  )
  for (const row of ROWS) {
    const { title } = row
    if (!title.includes(values.only)) continue
    if (title.startsWith('AMQP') && !existsSync(AMQP)) {
      console.log(`LEFT OUT: ${title}: no ${AMQP}`)
      continue
    }
    const samples: Sample[][] = builds.map(() => [])
    for (let pass = 0; pass < passes; pass++) await runPass(row, builds, rounds, samples)
    print(title, samples[0]!, samples[1]!)
  }
}

async function runPass(
  { load, before = load, beside }: Row,
  builds: readonly Build[],
  rounds: number,
  samples: readonly Sample[][],
): Promise<void> {
  const dataDirs = builds.map(({ name }) => peerDirectory(name))
  const loads = [load, beside ?? load]
  const [own] = builds
  const servers = builds.map((build, i) => {
    const dataDir = dataDirs[i]!
    // The other build may be older than TLS, and has none of the rows with it.
    if (beside !== undefined) {
      return new SpawnedServer({ dataDir, tls: SERVER_TLS }, { trivet: own!.trivet })
    }
    return new SpawnedServer({ dataDir }, { trivet: build.trivet, lacks: lacking(build.trivet) })
  })
  try {
    for (const server of servers) {
      await server.start()
      // Compiles what is hot and creates the topic; not counted.
      await before(server)
    }
    for (let round = 0; round < rounds; round++) {
      for (const [i, server] of servers.entries()) samples[i]!.push(await sample(server, loads[i]!))
    }
  } finally {
    for (const server of servers) await server.kill()
    for (const dataDir of dataDirs) rmSync(dataDir, { recursive: true, force: true })
  }
}

/** Its settings would be refused. */
const lacking = (trivet: string): readonly 'http'[] =>
  existsSync(resolve(trivet, '../../dist/src/gateway/http')) ? [] : ['http']

async function sample(server: SpawnedServer, action: Load): Promise<Sample> {
  const meter = new CpuMeter(server.pid)
  const { messages, seconds } = await action(server)
  const cpuSeconds = meter.read().processUs / 1e6
  return {
    perSecond: messages / seconds,
    perCpuSecond: messages / Math.max(cpuSeconds, 0.01),
    peakMib: peakMib(server.pid),
  }
}

function print(title: string, ours: readonly Sample[], theirs: readonly Sample[]): void {
  const ratio = (pick: (sample: Sample) => number): string => {
    const ratios = ours.map((sample, i) => pick(sample) / pick(theirs[i]!))
    const [least, middle, most] = [Math.min(...ratios), median(ratios), Math.max(...ratios)]
    return `${middle.toFixed(2)} [${least.toFixed(2)}, ${most.toFixed(2)}]`
  }
  const rates = [ours, theirs].map((all) => shown(median(all.map((s) => s.perSecond))))
  const peaks = [ours, theirs].map((all) => shown(median(all.map((s) => s.peakMib))))
  console.log(title)
  console.log(`  per CPU second  ${ratio((sample) => sample.perCpuSecond)}`)
  console.log(`  per second      ${ratio((sample) => sample.perSecond)}   ${rates.join(' / ')}`)
  console.log(`  peak memory     ${ratio((sample) => sample.peakMib)}   ${peaks.join(' / ')} MiB\n`)
}

async function json(args: readonly string[]): Promise<Record<string, number>> {
  const { stdout } = await run(process.execPath, args, { timeout: RUN_MS_MAX })
  return JSON.parse(stdout.trim().split('\n').at(-1)!)
}

function peakMib(pid: number): number {
  const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return Number(kib) / 1024
}

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!

const shown = (value: number): string => Math.round(value).toLocaleString('en')

await main()
