// What very many MQTT clients cost a gateway before a cluster: memory of a connection with a
// subscription, how soon a gateway that starts listens, and how soon it has the sessions of an
// earlier run again, whose clients come back at once. Before one Apache RocketMQ broker, and
// before one of ours. Prints, asserts nothing.
//
//   npx tsc -b && node dist/bench/cluster-sessions.js [sessions] [rounds] [apache|ours]
import { cpus, loadavg } from 'node:os'
import {
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../interop-tests/support/apache-rocketmq.ts'
import { connect } from '../src/client/index.ts'
import { type SpawnedServer, spawnServer } from '../test/support/server.ts'
import { type LiveMemory, MEASURED } from './cluster/measured.ts'
import { MqttCrowd } from './cluster/mqtt-crowd.ts'
import { CpuMeter } from './native/cpu-meter.ts'

const SESSIONS = Number(process.argv[2] ?? 10_000)
const ROUNDS = Number(process.argv[3] ?? 3)
const ONLY = process.argv[4] ?? ''
const TOPIC = 'bench-crowd'
const KIB = 1024
/** Of a gateway without sessions. */
const STARTS = 5

const leftovers: (() => unknown)[] = []
const later = { teardown: (end: () => unknown) => void leftovers.unshift(end) }

async function memoryOf(server: SpawnedServer): Promise<LiveMemory> {
  const from = server.stderr.length
  process.kill(server.pid, 'SIGUSR2')
  for (;;) {
    const line = /^\{"memory":.*\}$/m.exec(server.stderr.slice(from))
    if (line !== null) return (JSON.parse(line[0]) as { memory: LiveMemory }).memory
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const sinceMs = (fromMs: number): number => Math.round(performance.now() - fromMs)

async function rows(title: string, nameServer: string, brokerPid: number): Promise<void> {
  await using mq = await connect({ nameServers: nameServer })
  await mq.admin.topics.create({ name: TOPIC, queues: 8 })
  const config = { cluster: { nameServers: [nameServer] } }
  const gateway = await spawnServer(later, { role: 'gateway', trivet: MEASURED, config })
  const emptyMs: number[] = []
  for (let round = 0; round < STARTS; round++) {
    await gateway.stop()
    const fromMs = performance.now()
    await gateway.start()
    emptyMs.push(sinceMs(fromMs))
  }
  console.log(`\n${title}: without sessions a gateway listens after ${emptyMs.join(', ')} ms`)
  await new MqttCrowd().connect(gateway.port('mqtt'), 1, () => `${TOPIC}/#`)
  const before = await memoryOf(gateway)
  let crowd = new MqttCrowd()
  const cameMs = performance.now()
  await crowd.connect(
    gateway.port('mqtt'),
    SESSIONS,
    (client) => `${TOPIC}/all/+/${client % 100}/#`,
  )
  console.log(`${title}: ${SESSIONS} sessions made in ${sinceMs(cameMs)} ms`)
  const after = await memoryOf(gateway)
  const each = (pick: (memory: LiveMemory) => number): string =>
    ((pick(after) - pick(before)) / SESSIONS / KIB).toFixed(1)
  console.log(
    `  a connection with a subscription: ${each((one) => one.heapUsed)} KiB of live heap, ` +
      `${each((one) => one.external)} external, ${each((one) => one.rss)} resident`,
  )
  for (let round = 0; round < ROUNDS; round++) {
    const stoppingMs = performance.now()
    await gateway.stop()
    const stoppedMs = sinceMs(stoppingMs)
    crowd.close()
    crowd = new MqttCrowd()
    const broker = new CpuMeter(brokerPid)
    const startedMs = performance.now()
    await gateway.start()
    const listeningMs = sinceMs(startedMs)
    const cpu = new CpuMeter(gateway.pid)
    const first = new MqttCrowd()
    await first.connect(gateway.port('mqtt'), 1)
    const servingMs = sinceMs(startedMs)
    first.close()
    await crowd.connect(gateway.port('mqtt'), SESSIONS)
    const resumedMs = sinceMs(startedMs)
    const used = [cpu, broker].map((meter) => (meter.read().processUs / 1e6).toFixed(1))
    console.log(
      `  stopped in ${stoppedMs} ms; started: listens after ${listeningMs} ms, first client after ${servingMs} ms, ` +
        `${crowd.present} sessions resumed after ${resumedMs} ms; CPU s: gateway ${used[0]}, ` +
        `broker ${used[1]}; load ${loadavg()[0]!.toFixed(1)}`,
    )
  }
  crowd.close()
}

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, node ${process.version}`)
  const missing = await apacheRocketmqMissing()
  if (missing !== undefined) console.log(`LEFT OUT: Apache RocketMQ, because ${missing}`)
  if (missing === undefined && ONLY !== 'ours') {
    const apache = await startApacheRocketmq()
    later.teardown(() => apache.stop())
    await rows('Apache', apache.nameServer, apache.pid)
  }
  if (ONLY === 'apache') return
  const ours = await spawnServer(later, { config: { mqtt: { enabled: false } } })
  await rows('ours', ours.address('nameServer'), ours.pid)
}

try {
  await main()
} finally {
  for (const end of leftovers) await end()
}
process.exit(0)
