// What a newcomer meets first: the time from process start to the first accepted message on an
// empty store, memory when idle, and what one sender that waits for each answer pays on top of the
// disk. Prints, never asserts.
//
//   npm run build && node dist/bench/start.js [rounds]
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { connect } from '../src/client/index.ts'
import { SpawnedServer } from '../test/support/server.ts'
import { startBareLog } from './peers/bare-log.ts'
import { LoneSender } from './peers/lone-sender.ts'
import { peerDirectory } from './peers/peer.ts'

const ROUNDS = Number(process.argv[2] ?? 3)
const LONE_SENDS = 1000
const IDLE_MS = 2000

async function main(): Promise<void> {
  console.log(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, ${ROUNDS} rounds\n`)
  const firstMs: number[] = []
  const idleMib: number[] = []
  const syncMs: number[] = []
  const bareMs: number[] = []
  const sendMs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const dataDir = peerDirectory('trivet')
    const listen = { port: 0 }
    const parts = { nameServer: listen, remoting: listen, mqtt: listen, amqp: listen }
    const server = new SpawnedServer({ dataDir, ...parts }, {})
    const startedMs = performance.now()
    await server.start()
    await using client = await connect({ nameServers: server.address('nameServer') })
    await client.send({ topic: 'bench', body: 'first' })
    firstMs.push(performance.now() - startedMs)
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
    idleMib.push(residentMib(server.pid))
    syncMs.push(syncP50Ms())
    bareMs.push(median(await bareSendMs()))
    const body = 'x'.repeat(100)
    const send = (): Promise<unknown> => client.send({ topic: 'bench', body })
    sendMs.push(await p50Ms(LONE_SENDS, send))
    await server.kill()
    rmSync(dataDir, { recursive: true, force: true })
  }
  console.log(`process start to first accepted message   ${shown(firstMs, 0)} ms`)
  console.log(`resident memory, idle after it            ${shown(idleMib, 0)} MiB`)
  console.log(`fdatasync of 4 KiB in a zeroed file, p50  ${shown(syncMs, 2)} ms`)
  console.log(`write, sync and answer, nothing else, p50 ${shown(bareMs, 2)} ms`)
  console.log(`send by the SDK, one in flight, p50       ${shown(sendMs, 2)} ms`)
}

async function bareSendMs(): Promise<number[]> {
  const bare = await startBareLog()
  const sender = await LoneSender.connect('bare', bare.port)
  const times = await sender.send(LONE_SENDS)
  sender.close()
  bare.kill()
  return times
}

async function p50Ms(count: number, action: () => Promise<unknown>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const from = performance.now()
    await action()
    times.push(performance.now() - from)
  }
  return median(times)
}

/**
 * As the log writes: into blocks that are there already, so that a sync is a flush and no journal
 * commit.
 */
function syncP50Ms(): number {
  const directory = peerDirectory('sync')
  const file = openSync(join(directory, 'file'), 'w')
  const piece = Buffer.alloc(4096, 1)
  writeSync(file, Buffer.alloc(LONE_SENDS * piece.length))
  fdatasyncSync(file)
  const times: number[] = []
  for (let i = 0; i < LONE_SENDS; i++) {
    const from = performance.now()
    writeSync(file, piece, 0, piece.length, i * piece.length)
    fdatasyncSync(file)
    times.push(performance.now() - from)
  }
  closeSync(file)
  rmSync(directory, { recursive: true })
  return median(times)
}

function residentMib(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
  return Number(kib) / 1024
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

function shown(values: readonly number[], digits: number): string {
  const format = (value: number): string => value.toFixed(digits)
  return `${format(median(values)).padStart(7)}  [${values.map(format).join(', ')}]`
}

await main()
