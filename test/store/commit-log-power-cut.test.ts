// Power cuts on a real ext4. Only on demand (TRIVET_POWER_CUT=1, as root, with python3): it mounts a loop
// device, in a mount namespace of its own.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import test from 'ava'
import { tempDir } from '../support/temp-dir.ts'

const PROGRAM = fileURLToPath(new URL('../support/power-cut.js', import.meta.url))
const isWanted = process.env['TRIVET_POWER_CUT'] === '1'

interface Result {
  readonly acknowledged: number
  readonly lost: number
  readonly damaged: number
  readonly inOrder: boolean
}

for (const flush of ['sync', 'async']) {
  test.serial(
    `Cut off from power with flush ${flush}, the log keeps what the mode promises`,
    async (t) => {
      if (!isWanted) {
        t.log('SKIPPED: set TRIVET_POWER_CUT=1 and run as root')
        t.pass()
        return
      }
      const args = ['-m', process.execPath, PROGRAM, await tempDir(t), '5', flush]
      const { stdout } = await promisify(execFile)('unshare', args)
      const result = JSON.parse(stdout) as Result
      t.log(stdout)
      t.is(result.damaged, 0)
      t.true(result.inOrder)
      // The window of async is what shows that the rig really drops what is not synced.
      if (flush === 'sync') t.is(result.lost, 0)
      else t.true(result.lost > 0)
    },
  )
}
