// A directory of the test's own, removed after it.
import { statfsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** What a fixture needs of a test; a hook that serves several tests brings its own. */
export type Teardown = Pick<ExecutionContext, 'teardown'>

const IN_MEMORY = '/dev/shm'
/** More than all tests together have at one time. */
const ROOM_BYTES = 4 * 1024 * 1024 * 1024

/**
 * In memory where there is room: hundreds of stores are opened, each with several syncs. That what
 * is synced outlives the machine is for the simulated disk to show, and for the test of power cuts.
 */
const PARENT = hasRoom(IN_MEMORY) ? IN_MEMORY : tmpdir()

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize > ROOM_BYTES
  } catch {
    return false
  }
}

export const tempDir = (t: Teardown): Promise<string> => madeIn(PARENT, t)

/** On the disk, for what looks at it. */
export const diskDir = (t: Teardown): Promise<string> => madeIn(tmpdir(), t)

async function madeIn(parent: string, t: Teardown): Promise<string> {
  const path = await mkdtemp(join(parent, 'trivet-test-'))
  t.teardown(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
  return path
}
