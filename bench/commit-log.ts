// What the commit log alone costs: appends by depth and flush mode, their latency beside that of
// one raw fdatasync of the same run, recovery and replay. One process, bounded; prints, never
// asserts. CPU is this thread's and the others'; on a busy machine it says more than the wall
// clock.
//
//   npx tsc -b && node dist/bench/commit-log.js [bodyBytes] [seconds per line]
import { closeSync, fdatasync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/clock.ts'
import { silentLogger } from '../src/log.ts'
import { hostOf } from '../src/model/host.ts'
import { logPosition } from '../src/model/positions.ts'
import { encodeProperties } from '../src/model/properties.ts'
import type { RecordDraft } from '../src/model/record.ts'
import { nodeDisk } from '../src/store/disk/node-disk.ts'
import type { CommitLog, FlushMode } from '../src/store/log/commit-log.ts'
import { openCommitLog } from '../src/store/log/segmented-log.ts'
import { cpuNow } from './cpu.ts'

const bodyBytes = Number(process.argv[2] ?? 100)
const seconds = Number(process.argv[3] ?? 2)
const SAMPLES_MAX = 1_000_000
const RAW_WRITE_BYTES = 512
const UNSYNCED_BYTES_MAX = 16 * 1024 * 1024

const draft: RecordDraft = {
  topic: 'BenchTopic',
  queueId: 0,
  flag: 0,
  sysFlag: 0,
  bornTimestamp: 1_700_000_000_000,
  bornHost: hostOf('127.0.0.1', 50_000),
  reconsumeTimes: 0,
  preparedPosition: 0,
  body: Buffer.alloc(bodyBytes, 'x'),
  properties: encodeProperties([
    ['UNIQ_KEY', '7F0000010A2C18B4AAC20B5C5B6D0001'],
    ['WAIT', 'true'],
    ['TAGS', 'TagA'],
  ]),
}

const open = (directory: string, flush: FlushMode): CommitLog =>
  openCommitLog({
    directory,
    flush,
    disk: nodeDisk,
    clock: systemClock,
    log: silentLogger,
    storeHost: hostOf('127.0.0.1', 10_911),
    reserveBytes: 0,
  })

interface Latency {
  readonly p50: number
  readonly p99: number
}

function latencyOf(samples: Float64Array, count: number): Latency {
  const sorted = samples.subarray(0, Math.min(count, samples.length)).sort()
  const at = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? 0
  return { p50: at(0.5), p99: at(0.99) }
}

const samples = new Float64Array(SAMPLES_MAX)

/** Keeps `depth` records under way, `perCall` to a call, for the time set. */
async function appendFor(log: CommitLog, depth: number, perCall: number) {
  const drafts = Array.from({ length: perCall }, () => draft)
  const offsets = Array.from({ length: perCall }, (_, i) => i)
  const from = cpuNow()
  const until = from.wallMs + seconds * 1000
  let done = 0
  let calls = 0
  await new Promise<void>((resolve) => {
    let underWay = 0
    const append = (): void => {
      if (log.unsyncedBytes > UNSYNCED_BYTES_MAX) {
        // As a connection does: nothing more is read until the disk catches up.
        log.sync(() => append())
        return
      }
      const startMs = performance.now()
      underWay++
      log.append(drafts, offsets, (error) => {
        if (error !== undefined) throw error
        const nowMs = performance.now()
        if (calls < SAMPLES_MAX) samples[calls] = nowMs - startMs
        calls++
        done += perCall
        underWay--
        if (nowMs < until) append()
        else if (underWay === 0) resolve()
      })
    }
    for (let i = 0; i < depth / perCall; i++) append()
  })
  const to = cpuNow()
  const main = to.mainUs - from.mainUs
  return {
    rate: (done / (to.wallMs - from.wallMs)) * 1000,
    mainUs: main / done,
    otherUs: (to.allUs - from.allUs - main) / done,
    ...latencyOf(samples, calls),
  }
}

/** One small write and one fdatasync at a time, into zeros, as the log does it. */
async function rawSync(directory: string): Promise<Latency> {
  const path = join(directory, 'raw')
  const fd = openSync(path, 'w+')
  const size = 8 * 1024 * 1024
  writeSync(fd, Buffer.alloc(size))
  await new Promise((resolve) => fdatasync(fd, resolve))
  const bytes = Buffer.alloc(RAW_WRITE_BYTES, 1)
  const until = performance.now() + seconds * 500
  let count = 0
  for (; performance.now() < until; count++) {
    const startMs = performance.now()
    writeSync(fd, bytes, 0, bytes.length, (count * bytes.length) % size)
    await new Promise((resolve) => fdatasync(fd, resolve))
    samples[count] = performance.now() - startMs
  }
  closeSync(fd)
  rmSync(path)
  return latencyOf(samples, count)
}

const ms = (value: number): string => value.toFixed(2).padStart(7)

console.log(
  `commit log, ${bodyBytes} B bodies, ${cpus().length} x ${cpus()[0]?.model}, ${process.version}`,
)
const root = mkdtempSync(join(tmpdir(), 'trivet-bench-'))
try {
  for (const flush of ['sync', 'async'] as const) {
    const directory = join(root, flush)
    const log = open(directory, flush)
    for (const [depth, perCall] of [
      [1, 1],
      [256, 1],
      [2048, 1],
      [2048, 16],
    ] as const) {
      const raw = await rawSync(root)
      await appendFor(log, depth, perCall)
      const { rate, mainUs, otherUs, p50, p99 } = await appendFor(log, depth, perCall)
      console.log(
        `${flush.padEnd(5)} depth ${String(depth).padStart(4)} x${String(perCall).padEnd(2)}` +
          ` ${Math.round(rate).toLocaleString('en').padStart(10)}/s` +
          `  main ${mainUs.toFixed(2)} us  others ${otherUs.toFixed(2)} us` +
          `  p50 ${ms(p50)}  p99 ${ms(p99)} ms   raw fdatasync p50 ${ms(raw.p50)}  p99 ${ms(raw.p99)} ms`,
      )
    }
    const { end } = log
    await log.close()
    const openMs = performance.now()
    const again = open(directory, flush)
    const replayMs = performance.now()
    let frames = 0
    for (const _ of again.replay(logPosition(0))) frames++
    const endMs = performance.now()
    const mib = end / 2 ** 20
    console.log(
      `${flush.padEnd(5)} opened in ${(replayMs - openMs).toFixed(0)} ms; replayed ${mib.toFixed(0)} MiB,` +
        ` ${frames} frames, at ${((mib / (endMs - replayMs)) * 1000).toFixed(0)} MiB/s`,
    )
    await again.close()
    rmSync(directory, { recursive: true })
  }
  console.log(`memory ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`)
} finally {
  rmSync(root, { recursive: true, force: true })
}
