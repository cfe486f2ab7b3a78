// The data directory: whose it is, what it lies on, how long its disk takes to make bytes durable,
// and whether it can be believed.
import {
  accessSync,
  constants,
  existsSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Clock, nextTurn } from '../../clock.ts'
import { errorCode, writeAll } from '../../store/disk/disk.ts'
import { nodeDisk } from '../../store/disk/node-disk.ts'
import { size } from '../words.ts'
import { type Finding, failed, ok, warning } from './finding.ts'
import type { Progress } from './progress.ts'

const MIB = 1024 * 1024
const SYNCS = 100
const SYNC_BYTES = 4096
const BULK_BYTES = 64 * MIB
/** Beside the log the broker wants its reserve. */
const FREE_BYTES_MIN = 128 * MIB
const FREE_SHARE_FEW = 0.1

/** What the kernel calls them (statfs(2)). */
const IN_MEMORY: ReadonlySet<number> = new Set([0x0102_1994, 0x8584_58f6])
const OVER_NETWORK: ReadonlySet<number> = new Set([0x6969, 0xff53_4d42, 0xfe53_4d42])
const OF_CONTAINER = 0x794c_7630

/** @param freeOf a directory, in bytes; another one in tests alone */
export async function checkDirectory(
  dataDir: string,
  clock: Clock,
  progress: Progress,
  freeOf: (path: string) => number = freeBytesOf,
): Promise<readonly Finding[]> {
  const path = resolve(dataDir)
  const there = nearest(path)
  try {
    accessSync(there, constants.W_OK | constants.X_OK)
  } catch {
    const text = `'${there}' may not be written by this user`
    return [
      failed('directory', text, 'run doctor as the user of the broker, or give it the directory'),
    ]
  }
  const found = [rightsOf(path, there), ...room(there, freeOf(there))]
  // What is measured with must not take the last of it from a broker that runs.
  if (freeOf(there) < FREE_BYTES_MIN + BULK_BYTES) return found
  return [...found, ...(await speed(there, clock, progress))]
}

/** The directory, or the first above it that exists. */
function nearest(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearest(dirname(path))
}

function rightsOf(path: string, there: string): Finding {
  if (path !== there) return ok('directory', `'${path}' is made at the first start`)
  const mode = statSync(path).mode & 0o777
  if ((mode & 0o007) === 0)
    return ok('directory', `'${path}' may be written, and not read by others`)
  return warning(
    'directory',
    `every user of this machine may look into '${path}', where messages and users are`,
    `chmod 700 '${path}'`,
  )
}

function freeBytesOf(path: string): number {
  const { bavail, bsize } = statfsSync(path)
  return bavail * bsize
}

function room(path: string, free: number): readonly Finding[] {
  const { type, blocks, bsize } = statfsSync(path)
  return [kindOf(type), roomOf(free, blocks * bsize)].flatMap((one) => one ?? [])
}

export function kindOf(type: number): Finding | undefined {
  if (IN_MEMORY.has(type)) {
    const text =
      'the data directory is in memory: nothing of it is left after a restart of the machine'
    return failed('disk', text, 'set dataDir to a directory on a disk')
  }
  if (OVER_NETWORK.has(type)) {
    const text =
      'the data directory is on a file system of the network, whose syncs and locks differ'
    return warning('disk', text, 'use a block device')
  }
  if (type !== OF_CONTAINER) return undefined
  const text = 'the data directory is in the layers of a container, and goes with it'
  return warning('disk', text, 'mount a volume and set dataDir to it')
}

export function roomOf(free: number, total: number): Finding {
  const text = `${size(free)} of ${size(total)} are free`
  const advice = 'give it a larger disk, or keep less (store.retentionMs, store.retentionBytes)'
  if (free < FREE_BYTES_MIN) return failed('disk', text, advice)
  return free < total * FREE_SHARE_FEW ? warning('disk', text, advice) : ok('disk', text)
}

/** Times of syncs in ms. */
export interface SyncTimes {
  readonly p50: number
  readonly p99: number
}

async function speed(path: string, clock: Clock, progress: Progress): Promise<readonly Finding[]> {
  // The broker lets names that begin so be.
  const probe = `${path}/.doctor-${process.pid}`
  try {
    const file = nodeDisk.create(probe)
    try {
      const piece = Buffer.alloc(MIB, 0x78)
      const timed = (run: () => void): number => {
        const begunMs = clock.monotonic()
        run()
        return clock.monotonic() - begunMs
      }
      const times: number[] = []
      for (let at = 0; at < SYNCS; at++) {
        times.push(
          timed(() => {
            writeAll(file, piece, 0, SYNC_BYTES, at * SYNC_BYTES)
            file.sync()
          }),
        )
        progress.moved(at / SYNCS / 2, () => 'the disk: syncs')
        await nextTurn()
      }
      let bulkMs = 0
      for (let at = 0; at < BULK_BYTES; at += MIB) {
        bulkMs += timed(() => writeAll(file, piece, 0, MIB, at))
        progress.moved(0.5 + at / BULK_BYTES / 2, () => 'the disk: writing')
        await nextTurn()
      }
      bulkMs += timed(() => file.sync())
      times.sort((a, b) => a - b)
      const [p50, p99] = [times[SYNCS / 2]!, times[Math.floor(SYNCS * 0.99)]!]
      return [...syncsOf({ p50, p99 }, rotates(path)), bulkOf(BULK_BYTES / (bulkMs / 1000))]
    } finally {
      file.close()
    }
  } catch (error) {
    const text = `the disk of '${path}' cannot be written (${String(errorCode(error) ?? error)})`
    return [failed('disk', text, 'free space, or look at the disk (dmesg)')]
  } finally {
    rmSync(probe, { force: true })
  }
}

const P99_MS_SLOW = 100
const P50_MS_SLOW = 20
/** What no device reaches that waits until bytes are where a power cut leaves them. */
const P50_MS_MIN = 0.015
const P50_MS_MIN_ROTATING = 1

export function syncsOf({ p50, p99 }: SyncTimes, isRotating: boolean): readonly Finding[] {
  const took = `a sync takes ${p50.toFixed(2)} ms (p99 ${p99.toFixed(2)} ms)`
  const isSlow = p50 > P50_MS_SLOW || p99 > P99_MS_SLOW
  const speedOf = isSlow
    ? warning(
        'sync',
        `${took}, and producers wait that long`,
        'use a faster disk, or find what else uses it',
      )
    : ok('sync', took)
  if (p50 >= (isRotating ? P50_MS_MIN_ROTATING : P50_MS_MIN)) return [speedOf]
  const doubt = warning(
    'sync',
    `${took}, which is faster than ${isRotating ? 'a disk that rotates' : 'a disk'} can be: what is said to be durable may be in a cache`,
    'see that the cache has a battery, or that the hypervisor passes flushes on; else a power cut costs acknowledged messages',
  )
  return [doubt]
}

const BULK_SLOW = 20 * MIB

export function bulkOf(perSecond: number): Finding {
  const text = `the disk takes ${size(perSecond)} a second`
  return perSecond < BULK_SLOW ? warning('disk', text, 'use a faster disk') : ok('disk', text)
}

/** By what the kernel knows of the device, where it does. */
function rotates(path: string): boolean {
  const { dev } = statSync(path)
  const device = `/sys/dev/block/${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`
  for (const place of [device, `${device}/..`]) {
    try {
      return readFileSync(`${place}/queue/rotational`, 'latin1').trim() === '1'
    } catch {}
  }
  return false
}
