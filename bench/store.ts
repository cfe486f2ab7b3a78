// What the store costs: append and dispatch, reads from the tail and from the disk, building the
// views, opening after a kill. One process, bounded; prints, never asserts. CPU is this thread's
// and the others'.
//
//   npx tsc -b && node dist/bench/store.js [messages] [bodyBytes]
//
// For the figures of recovery: 1000000 1024, which is a GiB and more.
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/clock.ts'
import { silentLogger } from '../src/log.ts'
import { hostOf } from '../src/model/host.ts'
import { queueOffset } from '../src/model/positions.ts'
import { encodeProperties } from '../src/model/properties.ts'
import { openStore } from '../src/store/open.ts'
import type { MessageStore, StoreDraft } from '../src/store/store.ts'
import { type Cpu, cpuNow } from './cpu.ts'

const messages = Number(process.argv[2] ?? 1_000_000)
const bodyBytes = Number(process.argv[3] ?? 100)
const QUEUES = 8
const GROUP = 16
const IN_FLIGHT_GROUPS = 128

function report(what: string, count: number, bytes: number, from: Cpu): void {
  const to = cpuNow()
  const main = to.mainUs - from.mainUs
  const seconds = (to.wallMs - from.wallMs) / 1000
  const other = to.allUs - from.allUs - main
  console.log(
    `${what.padEnd(42)} ${Math.round(count / seconds)
      .toLocaleString('en')
      .padStart(10)}/s` +
      `  main ${(main / count).toFixed(2)} us  others ${(other / count).toFixed(2)} us` +
      `  ${(bytes / 2 ** 20 / seconds).toFixed(0)} MiB/s  ${seconds.toFixed(2)} s`,
  )
}

const body = Buffer.alloc(bodyBytes, 'x')
const properties = encodeProperties([
  ['UNIQ_KEY', '7F0000010A2C18B4AAC20B5C5B6D0001'],
  ['WAIT', 'true'],
  ['TAGS', 'TagA'],
])

function draft(queueId: number): StoreDraft {
  return {
    topic: 'BenchTopic',
    queueId,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_700_000_000_000,
    bornHost: hostOf('127.0.0.1', 50_000),
    reconsumeTimes: 0,
    preparedPosition: 0,
    body,
    properties,
  }
}

const open = (directory: string, flush: 'sync' | 'async'): Promise<MessageStore> =>
  openStore({
    directory,
    flush,
    storeHost: hostOf('127.0.0.1', 10_911),
    clock: systemClock,
    log: silentLogger,
  })

/** Groups as a socket's chunk brings them, a bounded number under way. */
async function append(store: MessageStore, count: number): Promise<void> {
  let sent = 0
  const lane = async (): Promise<void> => {
    while (sent < count) {
      const group: StoreDraft[] = []
      for (let i = 0; i < GROUP; i++) group.push(draft((sent + i) % QUEUES))
      sent += GROUP
      await store.append({ messages: group })
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT_GROUPS }, lane))
}

async function pull(
  store: MessageStore,
  from: number,
  count: number,
  max: number,
): Promise<number> {
  let bytes = 0
  let read = 0
  for (let offset = from; read < count; ) {
    const request = {
      topic: 'BenchTopic',
      queueId: 0,
      offset: queueOffset(offset),
      maxMessages: max,
      maxBytes: 1 << 20,
      hashes: undefined,
    }
    const answer = store.read(request)
    const result = answer instanceof Promise ? await answer : answer
    if (result.status !== 'found') break
    bytes += result.records.length
    read += result.offsets.length
    offset = result.nextOffset
  }
  return bytes
}

async function pulls(
  store: MessageStore,
  what: string,
  from: number,
  count: number,
): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const start = cpuNow()
    const bytes = await pull(store, from, count, 32)
    report(what, count, bytes, start)
  }
}

/** Another process fills the store and is killed in the middle of an append. */
function fillAndKill(path: string): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), [String(messages), String(bodyBytes), path])
  return new Promise((resolve, reject) => {
    child.on('message', () => child.kill('SIGKILL'))
    child.on('exit', (_, signal) =>
      signal === 'SIGKILL' ? resolve() : reject(new Error('the child ended by itself')),
    )
  })
}

async function fill(path: string): Promise<void> {
  const store = await open(path, 'sync')
  await append(store, messages)
  void append(store, messages)
  setTimeout(() => process.send?.('filled'), 100)
}

async function measure(directory: string): Promise<void> {
  for (const flush of ['async', 'sync'] as const) {
    const store = await open(join(directory, flush), flush)
    await append(store, 100_000)
    const before = store.status().logEnd
    const start = cpuNow()
    await append(store, messages)
    report(`append + dispatch, flush ${flush}`, messages, store.status().logEnd - before, start)
    const { maxOffset } = store.range('BenchTopic', 0)
    await pulls(store, 'pull 32 from the tail', maxOffset - 4000, 4000)
    await pulls(store, 'pull 32 from the disk', 0, 64_000)
    await store.close()
    rmSync(join(directory, flush), { recursive: true })
  }
  const path = join(directory, 'killed')
  await fillAndKill(path)
  const recovering = cpuNow()
  const recovered = await open(path, 'sync')
  const { logEnd } = recovered.status()
  report('open after kill -9', messages, logEnd, recovering)
  await recovered.close()
  const opening = cpuNow()
  const clean = await open(path, 'sync')
  report('open after a clean stop', messages, logEnd, opening)
  await clean.close()
  rmSync(join(path, 'views'), { recursive: true })
  const building = cpuNow()
  const rebuilt = await open(path, 'sync')
  report('build the views from the log', messages, logEnd, building)
  const seconds = (performance.now() - building.wallMs) / 1000
  console.log(`  = ${((seconds / logEnd) * 2 ** 30).toFixed(2)} s/GiB`)
  await rebuilt.close()
}

const victimOf = process.argv[4]
if (victimOf !== undefined) await fill(victimOf)
else {
  const directory = mkdtempSync(join(tmpdir(), 'trivet-bench-'))
  try {
    const [cpu] = cpus()
    console.log(
      `${cpus().length} x ${cpu?.model}, node ${process.version}; ${messages} x ${bodyBytes} B`,
    )
    await measure(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
