// A program of its own, to be run as root in a mount namespace of its own: lets an appender write to a
// fresh ext4 on a loop device, shuts the file system down under it, which drops everything that is not
// synced, mounts it again and compares. Prints one JSON object.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../../src/clock.ts'
import { silentLogger } from '../../../src/log.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { openCommitLog } from '../../../src/store/log/segmented-log.ts'

const [directory = '', cycles = '3', flush = 'sync'] = process.argv.slice(2)
const image = `${directory}/image`
const mountPoint = `${directory}/mount`
const APPENDER = fileURLToPath(
  new URL('../../../test/support/store/log-appender.js', import.meta.url),
)
/** EXT4_IOC_SHUTDOWN without flushing the journal, at the first line: what is not synced is gone. */
const SHUTDOWN = `
import fcntl, os, struct, sys
mount = os.open(sys.argv[1], os.O_RDONLY)
if sys.stdin.readline(): fcntl.ioctl(mount, 0x8004587D, struct.pack('I', 2))`

const run = (command: string, ...args: string[]): unknown =>
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })

/** Ids acknowledged until the power is cut, which is after so many of them. */
async function appendUntilCut(first: number, count: number): Promise<number[]> {
  const args = [APPENDER, `${mountPoint}/log`, String(first), flush]
  const child: ChildProcess = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const power = spawn('python3', ['-c', SHUTDOWN, mountPoint], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  const ended = Promise.all([once(child, 'close'), once(power, 'close')])
  const ids: number[] = []
  for await (const line of createInterface({ input: child.stdout! })) {
    if (/^\d+$/.test(line)) ids.push(Number(line))
    else child.kill('SIGKILL')
    if (ids.length === count) power.stdin.end('now\n')
  }
  // An appender that dies by itself must not leave the other waiting for its line.
  power.stdin.end()
  await ended
  if (ids.length < count) throw new Error(`the appender ended after ${ids.length} of ${count}`)
  return ids
}

async function idsFound(): Promise<{ ids: number[]; damaged: number }> {
  const log = openCommitLog({
    directory: `${mountPoint}/log`,
    disk: nodeDisk,
    clock: systemClock,
    log: silentLogger,
    storeHost: NO_HOST,
    flush: 'sync',
    reserveBytes: 0,
    segmentBytes: 1024 * 1024,
  })
  const ids: number[] = []
  for (const frame of log.replay(log.start)) {
    for (const record of recordsOf(frame.bytes.subarray(frame.start, frame.stop))) {
      ids.push(record.body.readUInt32BE(0))
    }
  }
  const damaged = log.damage().length
  await log.close()
  return { ids, damaged }
}

run('truncate', '-s', '256M', image)
run('mkfs.ext4', '-q', '-F', image)
run('mkdir', '-p', mountPoint)
let acknowledged: number[] = []
const result = { acknowledged: 0, lost: 0, damaged: 0, inOrder: true }
let first = 0
for (let cycle = 0; cycle < Number(cycles); cycle++) {
  run('mount', '-o', 'loop', image, mountPoint)
  const ids = await appendUntilCut(first, 300 + Math.floor(Math.random() * 3000))
  acknowledged.push(...ids)
  result.acknowledged += ids.length
  run('umount', mountPoint)
  run('mount', '-o', 'loop', image, mountPoint)
  const found = await idsFound()
  const isThere = new Set(found.ids)
  result.lost += acknowledged.filter((id) => !isThere.has(id)).length
  acknowledged = acknowledged.filter((id) => isThere.has(id))
  result.damaged += found.damaged
  result.inOrder &&= found.ids.every((id, index) => index === 0 || id > found.ids[index - 1]!)
  first = (found.ids.at(-1) ?? -1) + 1
  run('umount', mountPoint)
}
process.stdout.write(JSON.stringify(result))
