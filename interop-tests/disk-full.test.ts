// The real server on a disk that is full from the start, or cannot be written: whoever starts it is told in
// a sentence, and it starts once there is room.

import { execFile } from 'node:child_process'
import test from 'ava'
import { plainEnv, TRIVET } from '../test/support/server.ts'
import { KIB, MIB, smallDisk, smallDiskMissing } from './support/small-disk.ts'

const missing = await smallDiskMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: every test with a full disk, because ${missing}\n`)
  test.skip(`a full disk: ${missing}`, (t) => t.pass())
}
const testDisk = missing === undefined ? test.serial : test.skip

const START_MS_MAX = 30_000

interface Ended {
  readonly code: number | null
  readonly stderr: string
}

/** Starts it for as long as it takes to fail or to come up. */
function tryToStart(dataDir: string): Promise<Ended> {
  const ports = ['NAME_SERVER', 'REMOTING', 'MQTT', 'AMQP'].map(
    (name) => [`TRIVET_${name}__PORT`, '0'] as const,
  )
  const env = { ...plainEnv(), ...Object.fromEntries(ports), TRIVET_DATA_DIR: dataDir }
  return new Promise((resolve) => {
    const options = { env, timeout: START_MS_MAX, killSignal: 'SIGKILL' } as const
    const child = execFile(process.execPath, [TRIVET, 'start'], options, (_error, _out, stderr) =>
      resolve({ code: child.exitCode, stderr }),
    )
    // Up: it has said where it listens.
    child.stdout?.once('data', () => child.kill('SIGTERM'))
  })
}

for (const leftKib of [0, 4, 8, 16, 32, 64, 128, 512, 1024, 1536, 2048, 4096]) {
  testDisk(`a start with ${leftKib} KiB of disk works or says what is missing`, async (t) => {
    const disk = await smallDisk(t, 16 * MIB)
    await disk.fillUpTo(leftKib * KIB)
    const { code, stderr } = await tryToStart(disk.dataDir)
    t.notRegex(stderr, /defect|\n {4}at /)
    if (leftKib === 0) t.not(code, 0)
    if (code !== 0) {
      t.is(code, 2)
      t.regex(stderr, /^trivet: .*free some space/m)
    }
    disk.giveBack()
    t.is((await tryToStart(disk.dataDir)).code, 0)
  })
}

testDisk('a start on a read-only disk says so, with data and without', async (t) => {
  const disk = await smallDisk(t, 16 * MIB)
  for (const round of ['without', 'with']) {
    await disk.remount('ro')
    const { code, stderr } = await tryToStart(disk.dataDir)
    t.is(code, 2, round)
    t.regex(stderr, /^trivet: the data directory '.*' cannot be used .*mount it writable/m)
    t.notRegex(stderr, /defect|\n {4}at /)
    await disk.remount('rw')
    t.is((await tryToStart(disk.dataDir)).code, 0)
  }
})
