// A gateway before one Apache RocketMQ broker (ASYNC_FLUSH, its default), beside native clients of
// that broker itself, and a gateway before a broker of ours beside that broker itself: rounds
// alternate, so that all meet the same neighbours, and the CPU of each process is counted. Prints,
// asserts nothing.
//
//   npx tsc -b && node dist/bench/cluster.js [rounds] [seconds] [apache|ours]
//
// The AMQP load comes from ../shared/tools/amqp-loadgen.mjs, kept beside the project.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import {
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../interop-tests/support/apache-rocketmq.ts'
import { sendMessages } from '../src/client/calls/calls.ts'
import { connect } from '../src/client/index.ts'
import { systemClock } from '../src/clock.ts'
import { splitAddress } from '../src/model/host.ts'
import { dial } from '../src/remoting/connection.ts'
import { spawnServer } from '../test/support/server.ts'
import { load, type Shape } from './mqtt/load.ts'
import { CpuMeter } from './native/cpu-meter.ts'
import { spawnOnDisk } from './on-disk.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const SECONDS = process.argv[3] ?? '4'
const ONLY = process.argv[4] ?? ''
const NATIVE = fileURLToPath(new URL('./native.js', import.meta.url))
const AMQP = fileURLToPath(new URL('../../../shared/tools/amqp-loadgen.mjs', import.meta.url))
const run = promisify(execFile)

/** What a load tells; latencies where it takes them. */
interface Loaded {
  readonly perSecond: number
  readonly p50?: number
  readonly p99?: number
  /** That the processes met: by default those of the time and the warm-up. */
  readonly messages?: number
}

interface Figures extends Loaded {
  /** Of each process, a message. */
  readonly brokerUs: number
  readonly gatewayUs: number
}

interface Place {
  readonly nameServer: string
  /** host:port */
  readonly broker: string
  readonly brokerPid: () => number
  readonly gatewayPort: number
  readonly mqttPort: number
  readonly gatewayPid: () => number
}

const leftovers: (() => unknown)[] = []
const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }

async function before(nameServer: string, broker: string, brokerPid: () => number): Promise<Place> {
  const cluster = { nameServers: [nameServer] }
  const gateway = await spawnServer(later, { role: 'gateway', config: { cluster } })
  const [gatewayPort, mqttPort] = [gateway.port('amqp'), gateway.port('mqtt')]
  return { nameServer, broker, brokerPid, gatewayPort, mqttPort, gatewayPid: () => gateway.pid }
}

async function measured(place: Place, load: () => Promise<Loaded>): Promise<Figures> {
  const meters = [place.brokerPid(), place.gatewayPid()].map((pid) => new CpuMeter(pid))
  const loaded = await load()
  // The generators count what they sent after their warm-up; the meters see that too.
  const { messages = loaded.perSecond * (Number(SECONDS) + WARMUP) } = loaded
  const [brokerUs = 0, gatewayUs = 0] = meters.map((meter) => meter.read().processUs / messages)
  return { ...loaded, brokerUs, gatewayUs }
}

const WARMUP = 2
const BOUNDS = ['--warmup', String(WARMUP), '--seconds', SECONDS, '--json']

const native = (place: Place, ...args: string[]) =>
  measured(place, async () => {
    const at = ['--namesrv', place.nameServer, '--topic', 'bench-native']
    const { stdout } = await run(process.execPath, [NATIVE, ...at, ...BOUNDS, ...args])
    return JSON.parse(stdout) as Figures
  })

const amqp = (port: number, place: Place, ...args: string[]) =>
  measured(place, async () => {
    const all = [AMQP, '--port', String(port), '--durable', ...BOUNDS, ...args]
    const { stdout } = await run(process.execPath, all)
    const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number>
    return { perSecond: result['rate_per_s']!, p50: result['p50_ms']!, p99: result['p99_ms']! }
  })

const MQTT: Shape = {
  ...{ publishers: 16, subscribers: 0, qos: 1, window: 128, payloadBytes: 100 },
  ...{ messages: Number(SECONDS) * 20_000, topic: 'bench-mqtt' },
}

const mqtt = (place: Place, shape: Shape) =>
  measured(place, async () => {
    const { published, delivered, seconds } = await load(place.mqttPort, shape)
    const messages = shape.subscribers > 0 ? delivered : published
    return { perSecond: messages / seconds, messages }
  })

/** One native send a millisecond on one connection. */
const paced = (place: Place) =>
  measured(place, async () => {
    const connection = await dial({ ...splitAddress(place.broker), clock: systemClock })
    const queue = { topic: 'bench-native', brokerName: 'broker-a', queueId: 0 }
    const message = { body: Buffer.alloc(100, 'a'), properties: Buffer.alloc(0) }
    const latencies: number[] = []
    const sending: Promise<void>[] = []
    const send = async (): Promise<void> => {
      const sentMs = performance.now()
      const request = { producerGroup: 'bench', queue, bornTimestamp: Date.now() }
      await sendMessages(connection, { ...request, messages: [message] }, {})
      latencies.push(performance.now() - sentMs)
    }
    const beganMs = performance.now()
    const endMs = beganMs + Number(SECONDS) * 1000
    for (let due = beganMs; due < endMs; ) {
      for (; due <= performance.now(); due++) sending.push(send())
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await Promise.all(sending)
    connection.close()
    const sorted = latencies.toSorted((a, b) => a - b)
    const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? 0
    return { perSecond: sorted.length / Number(SECONDS), p50: at(0.5), p99: at(0.99) }
  })

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!
}

type Row = readonly [title: string, measure: () => Promise<Figures>]

/** The first row is what the others are compared with. */
async function compare(title: string, rows: readonly Row[]): Promise<void> {
  const all = rows.map((): Figures[] => [])
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, [, measure]] of rows.entries()) all[i]!.push(await measure())
  }
  console.log(`\n${title}, 100-byte bodies: median of ${ROUNDS}; load ${loadavg()[0]!.toFixed(1)}`)
  const of = (figures: readonly Figures[], pick: (one: Figures) => number): number =>
    median(figures.map(pick))
  const base = of(all[0]!, (one) => one.perSecond)
  for (const [i, [name]] of rows.entries()) {
    const figures = all[i]!
    const perSecond = of(figures, (one) => one.perSecond)
    const rates = figures.map((one) => Math.round(one.perSecond))
    const shown = (pick: (one: Figures) => number): string => of(figures, pick).toFixed(2)
    console.log(
      `  ${name.padEnd(34)} ${Math.round(perSecond)}/s (${Math.min(...rates)} to ${Math.max(...rates)}), ` +
        `${(perSecond / base).toFixed(2)} x; ${latencies(figures)}` +
        `CPU a message: broker ${shown((one) => one.brokerUs)} gateway ${shown((one) => one.gatewayUs)} us`,
    )
  }
}

function latencies(figures: readonly Figures[]): string {
  if (figures.some(({ p50 }) => p50 === undefined)) return ''
  const shown = (pick: (one: Figures) => number | undefined): string =>
    median(figures.map((one) => pick(one) ?? 0)).toFixed(2)
  return `p50 ${shown((one) => one.p50)} p99 ${shown((one) => one.p99)} ms; `
}

async function rowsOf(title: string, place: Place, amqpOfBroker?: number): Promise<void> {
  const { gatewayPort } = place
  await native(place)
  await using mq = await connect({ nameServers: place.nameServer })
  await mq.admin.topics.create({ name: 'bench-mqtt', queues: 8 })
  const sends = ['--mode', 'send', '--conns', '4', '--address', '/topics/bench-amqp']
  const pair = ['--mode', 'pair', '--raddress', '/topics/bench-pair/groups/bench']
  const paced1000 = ['--mode', 'send', '--rate', '1000', '--address', '/topics/bench-native']
  const direct = (name: string, args: readonly string[]): Row[] =>
    amqpOfBroker === undefined ? [] : [[name, () => amqp(amqpOfBroker, place, ...args)]]
  await compare(`${title}: sends`, [
    ['native, straight, 16 x 128', () => native(place)],
    ...direct('AMQP, straight, 4 x 1,000', sends),
    ['AMQP by the gateway, 4 x 1,000', () => amqp(gatewayPort, place, ...sends)],
  ])
  await compare(`${title}: MQTT QoS 1`, [
    ['native, straight, 16 x 128', () => native(place)],
    ['in by the gateway, 16 x 128', () => mqtt(place, MQTT)],
    [
      'in and $share out, 4 x 128 to 4',
      () => mqtt(place, { ...MQTT, publishers: 4, subscribers: 4, group: 'bench' }),
    ],
  ])
  const ends = [...pair, '--address', '/topics/bench-pair', '--links', '4']
  await compare(`${title}: end to end`, [
    ...direct('AMQP, straight', ends),
    ['AMQP by the gateway', () => amqp(gatewayPort, place, ...ends)],
  ])
  await compare(`${title}: 1,000 a second`, [
    ['native, straight', () => paced(place)],
    ...direct('AMQP, straight', paced1000),
    ['AMQP by the gateway', () => amqp(gatewayPort, place, ...paced1000)],
  ])
}

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, node ${process.version}`)
  if (!existsSync(AMQP)) return console.log(`LEFT OUT: there is no ${AMQP}`)
  const missing = await apacheRocketmqMissing()
  if (missing !== undefined) console.log(`LEFT OUT: Apache RocketMQ, because ${missing}`)
  if (missing === undefined && ONLY !== 'ours') {
    const apache = await startApacheRocketmq()
    later.teardown(() => apache.stop())
    await rowsOf('Apache', await before(apache.nameServer, apache.broker, () => apache.pid))
  }
  if (ONLY === 'apache') return
  const ours = await spawnOnDisk(later, { config: { mqtt: { enabled: false } } })
  const place = await before(ours.address('nameServer'), ours.address('remoting'), () => ours.pid)
  await rowsOf('ours', place, ours.port('amqp'))
}

try {
  await main()
} finally {
  for (const end of leftovers) await end()
}
process.exit(0)
