// AMQP 1.0 sends beside RabbitMQ, over TCP and TLS 1.3, ours over WebSocket too, durable before
// they are accepted on both: RabbitMQ syncs only messages whose header says so, of queues that were
// made durable. Rounds alternate, so that both meet the same neighbours; the median counts, and
// messages per second of the server's processor time tell more on a shared machine. Prints, never
// asserts.
//
//   npm run build && node dist/bench/amqp.js [rounds]
//
// The load comes from ../shared/tools/amqp-loadgen.mjs, a generator over raw sockets kept beside
// the project. It speaks TCP alone: all go through a tunnel of this process.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import rhea from 'rhea'
import { SERVER_TLS } from '../test/support/certificates.ts'
import { SpawnedServer } from '../test/support/server.ts'
import { cpuSeconds } from './peers/cpu-seconds.ts'
import type { Transport } from './peers/dial.ts'
import { peerDirectory } from './peers/peer.ts'
import { startRabbitmq } from './peers/rabbitmq.ts'
import { openTunnel } from './peers/tunnel.ts'

const run = promisify(execFile)
const ROUNDS = Number(process.argv[2] ?? 3)
const SECONDS = 3
const GENERATOR = fileURLToPath(new URL('../../../shared/tools/amqp-loadgen.mjs', import.meta.url))
const GENERATOR_MS_MAX = 60_000

interface Contender {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly transport: Transport
  readonly address: string
}

interface Rates {
  readonly perSecond: number
  readonly perCpuSecond: number
}

const SHAPES = [
  ['sends, 4 connections x 1,000 in flight, 100 B', 'send', ['--conns', '4']],
  ['sends, one connection, one in flight, 100 B', 'send', ['--window', '1']],
  ['end to end, one sender and one receiver, 100 B', 'pair', []],
] as const

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${ROUNDS} rounds\n`)
  if (!existsSync(GENERATOR)) {
    console.log(`LEFT OUT: there is no ${GENERATOR}`)
    return
  }
  const dataDir = peerDirectory('trivet')
  const off = { enabled: false, port: 0 }
  const others = { nameServer: off, remoting: off, mqtt: off, http: off }
  const config = { dataDir, ...others, amqp: { port: 0 }, tls: SERVER_TLS }
  const ours = new SpawnedServer(config, { role: 'broker' })
  await ours.start()
  const rabbitmq = await startRabbitmq()
  if (rabbitmq === undefined) console.log('RabbitMQ is not installed and left out\n')
  const own = { port: ours.port('amqp'), pid: ours.pid, address: 'bench' }
  const contenders: Contender[] = [
    { ...own, name: 'TrivetMQ, durable', transport: 'tcp' },
    { ...own, name: 'TrivetMQ, TLS 1.3', transport: 'tls' },
    { ...own, name: 'TrivetMQ, WebSocket', transport: 'websocket' },
  ]
  try {
    if (rabbitmq !== undefined) {
      const { port, tlsPort, pid } = rabbitmq
      for (const [, mode] of SHAPES) await makeDurable(port, `bench-${mode}`)
      // By this prefix a queue is used as it is.
      const theirs = { pid, address: '/amq/queue/bench' }
      contenders.push({ ...theirs, name: 'RabbitMQ, durable', port, transport: 'tcp' })
      contenders.push({ ...theirs, name: 'RabbitMQ, TLS 1.3', port: tlsPort, transport: 'tls' })
    }
    for (const [title, mode, options] of SHAPES) await compare(title, mode, options, contenders)
  } finally {
    await rabbitmq?.stop()
    await ours.kill()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/**
 * A link whose target is durable makes a durable queue; one without, as the generator's, a queue in
 * memory.
 */
async function makeDurable(port: number, queue: string): Promise<void> {
  const connection = rhea.create_container().connect({ host: '127.0.0.1', port, reconnect: false })
  connection.open_sender({ target: { address: `/queue/${queue}`, durable: 2 } })
  await once(connection, 'sender_open')
  connection.close()
  await once(connection, 'connection_close')
}

async function compare(
  title: string,
  mode: string,
  options: readonly string[],
  contenders: readonly Contender[],
): Promise<void> {
  console.log(title)
  const rates = contenders.map((): Rates[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, contender] of contenders.entries()) {
      rates[i]!.push(await rate(contender, mode, options))
    }
  }
  for (const [i, { name }] of contenders.entries()) {
    const all = rates[i]!
    const perSecond = all.map((one) => one.perSecond)
    const perCpu = all.map((one) => one.perCpuSecond)
    console.log(
      `  ${name.padEnd(20)} ${shown(median(perSecond))} /s  [${perSecond.map(shown)}]` +
        `   ${shown(median(perCpu))} per CPU second  [${perCpu.map(shown)}]`,
    )
  }
  console.log()
}

async function rate(
  { port, pid, transport, address }: Contender,
  mode: string,
  options: readonly string[],
): Promise<Rates> {
  const tunnel = await openTunnel(port, transport, 'amqp')
  // An address of its own per shape, so that no reader gets what another shape left behind.
  const where = ['--port', String(tunnel.port), '--address', `${address}-${mode}`, '--mode', mode]
  const bounds = ['--size', '100', '--durable', '--seconds', String(SECONDS), '--json']
  const all = [GENERATOR, ...where, ...options, ...bounds, '--warmup', '0']
  const before = cpuSeconds(pid)
  try {
    const { stdout } = await run(process.execPath, all, { timeout: GENERATOR_MS_MAX })
    const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as { rate_per_s: number }
    const perSecond = result.rate_per_s
    return { perSecond, perCpuSecond: (perSecond * SECONDS) / (cpuSeconds(pid) - before) }
  } finally {
    tunnel.close()
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

const shown = (value: number): string => Math.round(value).toLocaleString('en').padStart(9)

await main()
