// AMQP 1.0 sends beside RabbitMQ, durable before they are accepted on both: RabbitMQ syncs only
// messages whose header says so, of queues that were made durable. Rounds alternate, so that both
// meet the same neighbours; the median counts. Prints, never asserts.
//
//   npm run build && node dist/bench/amqp.js [rounds]
//
// The load comes from ../shared/tools/amqp-loadgen.mjs, a generator over raw sockets kept beside
// the project.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import rhea from 'rhea'
import { SpawnedServer } from '../test/support/server.ts'
import { peerDirectory } from './peers/peer.ts'
import { startRabbitmq } from './peers/rabbitmq.ts'

const run = promisify(execFile)
const ROUNDS = Number(process.argv[2] ?? 3)
const SECONDS = 3
const GENERATOR = fileURLToPath(new URL('../../../shared/tools/amqp-loadgen.mjs', import.meta.url))
const GENERATOR_MS_MAX = 60_000

interface Contender {
  readonly name: string
  readonly port: number
  readonly address: string
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
  const config = { dataDir, nameServer: off, remoting: off, mqtt: off, amqp: { port: 0 } }
  const ours = new SpawnedServer(config, { role: 'broker' })
  await ours.start()
  const rabbitmq = await startRabbitmq()
  if (rabbitmq === undefined) console.log('RabbitMQ is not installed and left out\n')
  const contenders = [{ name: 'TrivetMQ, durable', port: ours.port('amqp'), address: 'bench' }]
  try {
    if (rabbitmq !== undefined) {
      for (const [, mode] of SHAPES) await makeDurable(rabbitmq.port, `bench-${mode}`)
      // By this prefix a queue is used as it is.
      contenders.push({ ...rabbitmq, name: 'RabbitMQ, durable', address: '/amq/queue/bench' })
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
  const rates = contenders.map((): number[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, { port, address }] of contenders.entries()) {
      // An address of its own per shape, so that no reader gets what another shape left behind.
      const where = ['--port', String(port), '--address', `${address}-${mode}`]
      rates[i]!.push(await rate([...where, '--mode', mode, ...options]))
    }
  }
  const ours = median(rates[0]!)
  for (const [i, { name }] of contenders.entries()) {
    const times = i === 0 ? '' : `   ours is ${(ours / median(rates[i]!)).toFixed(1)} times that`
    console.log(
      `  ${name.padEnd(20)} ${shown(median(rates[i]!))} /s  [${rates[i]!.map(shown)}]${times}`,
    )
  }
  console.log()
}

async function rate(args: readonly string[]): Promise<number> {
  const bounds = ['--size', '100', '--durable', '--seconds', String(SECONDS), '--json']
  const all = [GENERATOR, ...args, ...bounds]
  const { stdout } = await run(process.execPath, all, { timeout: GENERATOR_MS_MAX })
  const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as { rate_per_s: number }
  return result.rate_per_s
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

const shown = (value: number): string => Math.round(value).toLocaleString('en').padStart(9)

await main()
