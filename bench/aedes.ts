// aedes 1.2 beside the MQTT front-end: why it is not the engine of a listener. First, how many of
// 200 acknowledged QoS 1 messages come to a subscriber when the persistence takes 0 to 3 ms; then
// QoS 1 messages in, per second and per CPU second of the server. Rounds alternate; prints, never
// asserts. Needs the development packages aedes, aedes-persistence and mqemitter.
//
//   npx tsc -b && node dist/bench/aedes.js [rounds]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Aedes } from 'aedes'
import memory from 'aedes-persistence'
import mqtt from 'mqtt'
import { createEmitter, createPersistence } from '../src/aedes/index.ts'
import { SpawnedServer } from '../test/support/server.ts'
import { load } from './mqtt/load.ts'
import { peerDirectory } from './peers/peer.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const TICKS_PER_SECOND = 100
const MESSAGES = 200
const SLOW_MS = 3

type Kind = 'memory' | 'slow' | 'trivet' | 'trivet, store first'

/** Answers the port of an aedes in this process. */
async function serve(kind: Kind, nameServers: string): Promise<number> {
  const aedes = await Aedes.createBroker(optionsOf(kind, nameServers))
  const server = createServer(aedes.handle).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function optionsOf(kind: Kind, nameServers: string): object {
  if (kind === 'memory') return {}
  if (kind === 'slow') return { persistence: slow() }
  const mq = createEmitter({ nameServers })
  const persistence = createPersistence({ nameServers })
  return kind === 'trivet'
    ? { mq, persistence }
    : { mq, persistence, authorizePublish: mq.storeFirst() }
}

/** The memory persistence, each answer to a publish 0 to 3 ms late. */
function slow(): object {
  // Its types know no call.
  const make = memory as unknown as () => Record<string, (...given: unknown[]) => unknown>
  const persistence = make()
  for (const name of ['subscriptionsByTopic', 'outgoingEnqueueCombi']) {
    const method = persistence[name]!.bind(persistence)
    persistence[name] = async (...given) => {
      await pause(Math.random() * SLOW_MS)
      return method(...given)
    }
  }
  return persistence
}

/** How many of the acknowledged messages a subscriber is given. */
async function delivered(port: number): Promise<number> {
  const connect = () => mqtt.connectAsync({ host: '127.0.0.1', port, protocolVersion: 4 })
  const [subscriber, publisher] = [await connect(), await connect()]
  const seen = new Set<string>()
  subscriber.on('message', (_topic, payload) => seen.add(payload.toString()))
  await subscriber.subscribeAsync('loss/#', { qos: 1 })
  const numbers = [...Array(MESSAGES).keys()]
  await Promise.all(numbers.map((n) => publisher.publishAsync(`loss/${n % 8}`, `${n}`, { qos: 1 })))
  for (let i = 0; i < 30 && seen.size < MESSAGES; i++) await pause(100)
  await Promise.all([subscriber.endAsync(), publisher.endAsync()])
  return seen.size
}

interface Child {
  readonly name: string
  readonly port: number
  readonly pid: number
  /** Of the broker behind it. */
  readonly brokerPid?: number
}

async function start(kind: Kind, name: string, broker: SpawnedServer) {
  const child = fork(fileURLToPath(import.meta.url), [], {
    env: { ...process.env, BENCH_AEDES: kind, NAME_SERVERS: broker.address('nameServer') },
  })
  const [port] = (await once(child, 'message')) as [number]
  const isOver = kind.startsWith('trivet')
  const own = { name, port, pid: child.pid!, ...(isOver && { brokerPid: broker.pid }) }
  return { child, own }
}

async function main(): Promise<void> {
  const dataDir = peerDirectory('aedes')
  const engineDir = peerDirectory('aedes-engine')
  const port = { port: 0 }
  const config = { dataDir, nameServer: port, remoting: port, mqtt: port, amqp: port, http: port }
  const broker = new SpawnedServer(config, {})
  const mqtt = { ...port, engine: 'aedes' } as const
  const engine = new SpawnedServer({ ...config, dataDir: engineDir, mqtt }, {})
  await Promise.all([broker.start(), engine.start()])
  const started = [
    await start('memory', 'aedes, memory', broker),
    await start('slow', 'aedes, memory 0-3 ms late', broker),
    await start('trivet', 'aedes on TrivetMQ', broker),
    await start('trivet, store first', 'the same, stored first', broker),
  ]
  const own: Child = { name: 'TrivetMQ, durable', port: broker.port('mqtt'), pid: broker.pid }
  const inside: Child = { name: 'mqtt.engine aedes', port: engine.port('mqtt'), pid: engine.pid }
  const servers = [...started.map((one) => one.own), inside, own]
  try {
    for (const server of servers) {
      const counts: number[] = []
      for (let i = 0; i < ROUNDS; i++) counts.push(await delivered(server.port))
      console.log(`${server.name.padEnd(26)} delivered of ${MESSAGES}: ${counts.join(', ')}`)
    }
    console.log()
    for (const server of servers) await throughput(server)
  } finally {
    for (const { child } of started) child.kill('SIGKILL')
    await Promise.all([broker.kill(), engine.kill()])
    for (const directory of [dataDir, engineDir])
      rmSync(directory, { recursive: true, force: true })
  }
}

async function throughput(server: Child): Promise<void> {
  const perSecond: number[] = []
  const perCpu: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const before = cpuSeconds(server)
    const messages = server.name.startsWith('TrivetMQ') ? 200_000 : 20_000
    const shape = {
      publishers: 16,
      subscribers: 0,
      qos: 1,
      window: 128,
      payloadBytes: 100,
    } as const
    const { seconds, published } = await load(server.port, { ...shape, messages })
    perSecond.push(published / seconds)
    perCpu.push(published / Math.max(0.01, cpuSeconds(server) - before))
  }
  console.log(
    `${server.name.padEnd(26)} QoS 1 in: ${figure(perSecond)}/s  ${figure(perCpu)} per CPU second`,
  )
}

function figure(values: readonly number[]): string {
  const sorted = values.toSorted((one, other) => one - other)
  const [least, median, most] = [sorted[0]!, sorted[sorted.length >> 1]!, sorted.at(-1)!]
  const text = (value: number): string => Math.round(value).toLocaleString('en')
  return `${text(median)} [${text(least)}-${text(most)}]`
}

/** User and system time of the process, and of the broker behind it. */
function cpuSeconds({ pid, brokerPid }: Child): number {
  let ticks = 0
  for (const one of [pid, brokerPid]) {
    if (one === undefined) continue
    const fields = readFileSync(`/proc/${one}/stat`, 'latin1').split(') ')[1]!.split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_PER_SECOND
}

const kind = process.env['BENCH_AEDES'] as Kind | undefined
if (kind === undefined) await main()
else process.send!(await serve(kind, process.env['NAME_SERVERS'] ?? ''))
