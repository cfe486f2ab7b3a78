// What is kept for nothing to do: the resident memory of a process with every protocol, TLS and the
// dashboard in use before, and of one idle MQTT connection more over each transport.
// Prints, never asserts.
//
//   npx tsc -b && node dist/bench/idle.js [connections]
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { connect } from '../src/client/index.ts'
import { SERVER_TLS } from '../test/support/certificates.ts'
import { SpawnedServer } from '../test/support/server.ts'
import { dial, type Transport } from './peers/dial.ts'
import { peerDirectory } from './peers/peer.ts'

const CONNECTIONS = Number(process.argv[2] ?? 2_000)
const AT_ONCE = 20
const SETTLED_MS = 5_000
const CONNACK_BYTES = 4
const PAGE = ['/', '/assets/main.js', '/metrics', '/api/v1/status', '/api/v1/topics', '/healthz']

async function main(): Promise<void> {
  const dataDir = peerDirectory('trivet')
  const free = { port: 0 }
  const mqtt = { ...free, connectionsMax: 100_000, connectionsPerAddressMax: 100_000 }
  const listeners = { nameServer: free, remoting: free, amqp: free, http: free, mqtt }
  const server = new SpawnedServer({ dataDir, ...listeners, tls: SERVER_TLS }, {})
  try {
    await server.start()
    await settled()
    console.log(`idle, as it started            ${mib(residentBytes(server.pid))} MiB`)
    await useEverything(server)
    await settled()
    console.log(`idle, everything used before   ${mib(residentBytes(server.pid))} MiB`)
    for (const transport of ['tcp', 'tls', 'websocket'] as const) await hold(server, transport)
  } finally {
    await server.kill()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/** So that the code of each protocol is loaded. */
async function useEverything(server: SpawnedServer): Promise<void> {
  await using client = await connect({ nameServers: server.address('nameServer') })
  await client.send({ topic: 'bench', body: 'x' })
  for (const path of PAGE) await (await fetch(`http://${server.address('http')}${path}`)).text()
  const amqp = await dial(server.port('amqp'), 'websocket', 'amqp')
  amqp.destroy()
  for (const transport of ['tcp', 'tls', 'websocket'] as const) {
    const socket = await openMqtt(server.port('mqtt'), transport, 'first')
    socket.destroy()
  }
}

async function hold(server: SpawnedServer, transport: Transport): Promise<void> {
  const before = residentBytes(server.pid)
  const sockets: Duplex[] = []
  for (let at = 0; at < CONNECTIONS; at += AT_ONCE) {
    const ids = Array.from({ length: AT_ONCE }, (_, n) => `${transport}-${at + n}`)
    const opened = ids.map((id) => openMqtt(server.port('mqtt'), transport, id))
    sockets.push(...(await Promise.all(opened)))
  }
  await settled()
  const each = (residentBytes(server.pid) - before) / CONNECTIONS / 1024
  console.log(`each idle connection by ${transport.padEnd(10)} ${each.toFixed(1)} KiB`)
  for (const socket of sockets) socket.destroy()
  await settled()
}

async function openMqtt(port: number, transport: Transport, id: string): Promise<Duplex> {
  const socket = await dial(port, transport)
  socket.on('error', () => {})
  const body = Buffer.concat([
    Buffer.from('\0\x04MQTT\x04\x02\0\0\0'),
    Buffer.of(id.length),
    Buffer.from(id),
  ])
  const answer = once(socket, 'data')
  socket.write(Buffer.concat([Buffer.of(0x10, body.length), body]))
  const [bytes] = (await answer) as [Buffer]
  if (bytes.length !== CONNACK_BYTES || bytes[3] !== 0) throw new Error('CONNECT was refused')
  return socket
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, SETTLED_MS))

function residentBytes(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return Number(kib) * 1024
}

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)

await main()
