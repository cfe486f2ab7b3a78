// A directory of the test's own, removed after it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'

export async function tempDir(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'trivet-test-'))
  t.teardown(() => rm(path, { recursive: true, force: true, maxRetries: 3 }))
  return path
}
