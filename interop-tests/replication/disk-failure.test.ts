// A disk that fails under the master that etcd elected, under load of three protocols: another copy
// takes over with everything that was acknowledged.
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { SpawnedServer } from '../../test/support/server.ts'
import { tempDir } from '../../test/support/temp-dir.ts'
import { eventually } from '../../test/support/waiting.ts'
import { COPIES } from '../support/elected-brokers.ts'
import { etcdMissing } from '../support/etcd-cluster.ts'
import { FailingDisk } from '../support/failing-disk.ts'
import {
  assertAllThere,
  electedUnderLoad,
  LONG_LEASE,
  type LoadedGroup,
  untilAll,
} from '../support/load/loaded-group.ts'
import { needing } from '../support/needing.ts'

const testElected = needing('a master whose disk fails', etcdMissing())

interface Failing extends LoadedGroup {
  readonly master: SpawnedServer
  readonly disk: FailingDisk
}

/** With the disk of its master, which is whole yet. */
async function started(t: ExecutionContext): Promise<Failing> {
  const folder = await tempDir(t)
  const disks = Array.from({ length: COPIES }, (_, id) => new FailingDisk(join(folder, `${id}`)))
  const loaded = await electedUnderLoad(t, {
    config: LONG_LEASE,
    envs: disks.map(({ env }) => env),
  })
  await loaded.group.settled()
  const master = await loaded.group.master()
  return { ...loaded, master, disk: disks[loaded.group.brokers.indexOf(master)]! }
}

testElected('a disk that goes on failing ends the process, and mended it follows', async (t) => {
  t.timeout(300_000)
  const loaded = await started(t)
  const { group, loads, master, disk } = loaded
  disk.fails('always')
  await eventually(async () => (await group.master()) !== master)
  await untilAll(loads, performance.now())
  await eventually(async () => master.stderr.includes('election.not_served'))
  await master.kill()
  disk.isWhole()
  await master.start()
  await assertAllThere(t, loaded)
})

testElected('a disk that fails for a moment costs the mastership, and no restart', async (t) => {
  t.timeout(300_000)
  const loaded = await started(t)
  const { group, loads, master, disk } = loaded
  const { pid } = master
  disk.fails('once')
  await eventually(async () => master.stderr.includes('election.disk_failed'))
  await eventually(async () => (await group.master()) !== master)
  await untilAll(loads, performance.now())
  await assertAllThere(t, loaded)
  t.is(master.pid, pid)
  t.false(master.stderr.includes('election.not_served'))
})
