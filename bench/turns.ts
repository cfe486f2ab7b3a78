// How long work that clients and operators size holds up the event loop: of each kind of request
// the longest turn, in processor time of the server's thread, which the load of the machine does
// not lengthen. The clients run in a thread of their own. Prints, asserts nothing.
//
//   npm run build && node dist/bench/turns.js [TEXT]       the requests whose name has the text
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { configOf } from '../src/config.ts'
import { silentLogger } from '../src/log.ts'
import { openServer } from '../src/server.ts'
import { cpuNow } from './cpu.ts'
import { type Ports, requests } from './turns/requests.ts'

const ROUNDS = 3

interface Told {
  readonly name: string
  readonly isOver: boolean
}

async function serve(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'trivet-turns-'))
  const free = { port: 0 }
  const limits = { topicsMax: 100_000, groupsMax: 100_000, heldPullsMax: 100_000 }
  const config = configOf({
    dataDir,
    ...{ nameServer: free, remoting: { ...free, vipChannel: false }, amqp: free, http: free },
    mqtt: { ...free, filtersMax: 20_000 },
    broker: limits,
  })
  const server = await openServer({ config, log: silentLogger })
  const [remoting, http, mqtt, amqp, nameServer] = (
    ['remoting', 'http', 'mqtt', 'amqp', 'nameServer'] as const
  ).map((name) => server.address(name).port)
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { ports: { remoting, http, mqtt, amqp, nameServer }, only: process.argv[2] ?? '' },
  })
  let [longestUs, lastUs, startUs] = [0, 0, 0]
  let isOver = false
  const turn = (): void => {
    const { mainUs } = cpuNow()
    longestUs = Math.max(longestUs, mainUs - lastUs)
    lastUs = mainUs
    if (!isOver) setImmediate(turn)
  }
  turn()
  worker.on('message', ({ name, isOver }: Told) => {
    const { mainUs } = cpuNow()
    if (isOver) {
      const [turnMs, allMs] = [longestUs, mainUs - startUs].map((us) => (us / 1000).toFixed(0))
      console.log(`${name.padEnd(60)} longest turn ${turnMs} ms of ${allMs}`)
    }
    ;[longestUs, lastUs, startUs] = [0, mainUs, mainUs]
    worker.postMessage('go')
  })
  await new Promise<void>((resolve, reject) => {
    worker.on('exit', () => resolve())
    worker.on('error', reject)
  })
  isOver = true
  await server.close()
  rmSync(dataDir, { recursive: true })
}

async function ask(): Promise<void> {
  const { ports, only } = workerData as { readonly ports: Ports; readonly only: string }
  const tell = (told: Told): Promise<unknown> => {
    parentPort!.postMessage(told)
    return new Promise((go) => parentPort!.once('message', go))
  }
  for (const { name, prepare, run, rounds = ROUNDS } of requests(ports)) {
    if (!name.includes(only)) continue
    for (let round = 0; round < rounds; round++) {
      const prepared = await prepare?.(round)
      await tell({ name, isOver: false })
      await run(round, prepared)
      await tell({ name, isOver: true })
    }
  }
  process.exit(0)
}

await (isMainThread ? serve() : ask())
