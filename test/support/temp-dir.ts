// A directory of the test's own, removed after it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

/** What a fixture needs of a test; a hook that serves several tests brings its own. */
export type Teardown = Pick<ExecutionContext, 'teardown'>

export async function tempDir(t: Teardown): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'trivet-test-'))
  t.teardown(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
  return path
}
