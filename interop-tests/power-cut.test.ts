// Power cuts on a real ext4: a loop device is mounted in a mount namespace of its own, and its file
// system is shut down under a process that appends. Needs root, mkfs.ext4 and python3.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { tempDir } from '../test/support/temp-dir.ts'
import { powerDiskMissing } from './support/faults/power-disk.ts'
import { needing } from './support/needing.ts'

const run = promisify(execFile)
const PROGRAM = fileURLToPath(new URL('./support/faults/power-cut.js', import.meta.url))
const CUTS = 5

interface Result {
  readonly acknowledged: number
  readonly lost: number
  readonly damaged: number
  readonly inOrder: boolean
}

const missing = await powerDiskMissing()
const testPower = needing('every test that cuts the power', missing)

for (const flush of ['sync', 'async']) {
  testPower(`cut off from power, a log with flush ${flush} keeps what it promises`, async (t) => {
    const args = ['-m', process.execPath, PROGRAM, await tempDir(t), String(CUTS), flush]
    const { stdout } = await run('unshare', args)
    const result = JSON.parse(stdout) as Result
    t.log(stdout)
    t.is(result.damaged, 0)
    t.true(result.inOrder)
    // The window of async is what shows that the rig really drops what is not synced.
    if (flush === 'sync') t.is(result.lost, 0)
    else t.true(result.lost > 0)
  })
}
