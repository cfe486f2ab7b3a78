// The commit log on real files, in a process that is killed.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { systemClock } from '../../../src/clock.ts'
import { silentLogger } from '../../../src/log.ts'
import { NO_HOST } from '../../../src/model/host.ts'
import { recordsOf } from '../../../src/model/record.ts'
import { nodeDisk } from '../../../src/store/disk/node-disk.ts'
import { openCommitLog } from '../../../src/store/log/segmented-log.ts'
import { tempDir } from '../../support/temp-dir.ts'

const APPENDER = fileURLToPath(new URL('../../support/store/log-appender.js', import.meta.url))
const CYCLES = 4

/** Lines of the child until it ends; it is killed after `killAfter` of them. */
async function linesOf(child: ChildProcess, killAfter: number): Promise<string[]> {
  const lines: string[] = []
  const ended = once(child, 'close')
  for await (const line of createInterface({ input: child.stdout! })) {
    lines.push(line)
    if (lines.length === killAfter) child.kill('SIGKILL')
  }
  await ended
  return lines
}

/** Ids of all records, each checked against what the appender writes under its id. */
async function idsIn(directory: string): Promise<number[]> {
  const log = openCommitLog({
    directory,
    disk: nodeDisk,
    clock: systemClock,
    log: silentLogger,
    storeHost: NO_HOST,
    flush: 'sync',
    segmentBytes: 1024 * 1024,
    reserveBytes: 0,
  })
  const ids: number[] = []
  for (const frame of log.replay(log.start)) {
    for (const record of recordsOf(frame.bytes.subarray(frame.start, frame.stop))) {
      const id = record.body.readUInt32BE(0)
      const isWhole = record.body.length === 50 + (id % 400) && record.body.at(-1) === (id & 255)
      if (!isWhole || record.queueOffset !== id)
        throw new Error(`record ${id} is not what was sent`)
      ids.push(id)
    }
  }
  if (log.damage().length > 0) throw new Error('a kill was taken for damage')
  await log.close()
  return ids
}

for (const flush of ['sync', 'async']) {
  test(`After kill -9 with flush ${flush} every acknowledged record is there, once and in order`, async (t) => {
    const directory = `${await tempDir(t)}/log`
    const acknowledged: number[] = []
    let first = 0
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      const child = spawn(process.execPath, [APPENDER, directory, String(first), flush], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      t.teardown(() => child.kill('SIGKILL'))
      const lines = await linesOf(child, 500 + Math.floor(Math.random() * 4000))
      acknowledged.push(...lines.map(Number))
      const ids = await idsIn(directory)
      const found = new Set(ids)
      t.is(found.size, ids.length)
      t.deepEqual(
        ids,
        ids.toSorted((a, b) => a - b),
      )
      t.deepEqual(
        acknowledged.filter((id) => !found.has(id)),
        [],
      )
      first = ids.at(-1)! + 1
    }
    t.log(`${acknowledged.length} acknowledged over ${CYCLES} kills`)
  })
}

test('A process whose files may not grow further stops accepting and loses nothing', async (t) => {
  const directory = `${await tempDir(t)}/log`
  // 500 KiB per file (or 1000 KiB, by the shell): less than a segment, so the zeros ahead hit the
  // limit first.
  const command = 'ulimit -f 1000; exec "$0" "$@"'
  const child = spawn('sh', ['-c', command, process.execPath, APPENDER, directory, '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const acknowledged: number[] = []
  let refusals = 0
  for await (const line of createInterface({ input: child.stdout! })) {
    if (/^\d+$/.test(line)) acknowledged.push(Number(line))
    else if (++refusals === 1) child.kill('SIGKILL')
  }
  t.is(refusals > 0, true)
  t.true(acknowledged.length > 100)
  const found = new Set(await idsIn(directory))
  t.deepEqual(
    acknowledged.filter((id) => !found.has(id)),
    [],
  )
})
