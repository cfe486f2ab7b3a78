// MQTT beside mosquitto, over TCP and TLS 1.3, and over WebSocket: publishing at QoS 0 and 1, and
// fan-out. Ours is durable before it
// acknowledges, mosquitto keeps nothing. Rounds alternate, so that both meet the same neighbours;
// the median counts, and messages per CPU second of the server tell more than per second on a
// shared machine. Prints, never asserts.
//
//   npx tsc -b && node dist/bench/mqtt.js [rounds]
import { rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { SERVER_TLS } from '../test/support/certificates.ts'
import { SpawnedServer } from '../test/support/server.ts'
import { load, type Shape } from './mqtt/load.ts'
import { cpuSeconds } from './peers/cpu-seconds.ts'
import type { Transport } from './peers/dial.ts'
import { startMosquitto } from './peers/mosquitto.ts'
import { peerDirectory } from './peers/peer.ts'

const ROUNDS = Number(process.argv[2] ?? 3)

interface Server {
  readonly name: string
  readonly port: number
  readonly pid: number
  readonly transport?: Transport
}

const SHAPES: readonly (readonly [title: string, shape: Shape])[] = [
  [
    'QoS 1 in: 16 publishers x 128 in flight, 100 B',
    { publishers: 16, subscribers: 0, qos: 1, window: 128, messages: 200_000, payloadBytes: 100 },
  ],
  [
    'QoS 1 in: 1 publisher, 1 in flight, 100 B',
    { publishers: 1, subscribers: 0, qos: 1, window: 1, messages: 3_000, payloadBytes: 100 },
  ],
  [
    'QoS 0, 1 publisher to 8 subscribers, 64 B',
    { publishers: 1, subscribers: 8, qos: 0, window: 512, messages: 50_000, payloadBytes: 64 },
  ],
  [
    'QoS 1, 2 publishers to 4 subscribers, 64 B',
    { publishers: 2, subscribers: 4, qos: 1, window: 128, messages: 50_000, payloadBytes: 64 },
  ],
]

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${ROUNDS} rounds\n`)
  const dataDir = peerDirectory('trivet')
  const off = { enabled: false, port: 0 }
  const others = { nameServer: off, remoting: off, amqp: off, http: off }
  const config = { ...others, dataDir, mqtt: { port: 0 }, tls: SERVER_TLS }
  const ours = new SpawnedServer(config, { role: 'broker' })
  await ours.start()
  const mosquitto = await startMosquitto()
  if (mosquitto === undefined) console.log('mosquitto is not installed and left out\n')
  const own = { name: 'TrivetMQ, durable', port: ours.port('mqtt'), pid: ours.pid }
  const servers: Server[] = [
    own,
    { ...own, name: 'TrivetMQ, TLS 1.3', transport: 'tls' },
    { ...own, name: 'TrivetMQ, WebSocket', transport: 'websocket' },
  ]
  if (mosquitto !== undefined) {
    const { pid, port, tlsPort } = mosquitto
    servers.push({ pid, port, name: 'mosquitto, volatile' })
    servers.push({ pid, port: tlsPort, name: 'mosquitto, TLS 1.3', transport: 'tls' })
  }
  try {
    for (const [title, shape] of SHAPES) await compare(title, shape, servers)
  } finally {
    await mosquitto?.stop()
    await ours.kill()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function compare(title: string, shape: Shape, servers: readonly Server[]): Promise<void> {
  console.log(title)
  const rows = servers.map((server) => ({
    server,
    perSecond: [] as number[],
    perCpu: [] as number[],
  }))
  for (let round = 0; round < ROUNDS; round++) {
    for (const { server, perSecond, perCpu } of rows) {
      const before = cpuSeconds(server.pid)
      const { seconds, published, delivered } = await load(server.port, shape, server.transport)
      const count = shape.subscribers > 0 ? delivered : published
      perSecond.push(count / seconds)
      perCpu.push(count / Math.max(0.01, cpuSeconds(server.pid) - before))
    }
  }
  const what = shape.subscribers > 0 ? 'deliveries' : 'messages'
  for (const { server, perSecond, perCpu } of rows) {
    console.log(
      `  ${server.name.padEnd(22)} ${figure(perSecond)} ${what}/s   ${figure(perCpu)} per CPU second`,
    )
  }
  console.log()
}

function figure(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const median = sorted[Math.floor(sorted.length / 2)]!
  return Math.round(median).toLocaleString('en').padStart(10)
}

await main()
