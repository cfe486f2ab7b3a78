// The unmodified go-amqp client (interop-tests/amqp/go), built once by the installed Go; it runs its checks and
// says what became of each.
import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { tempDir } from '../../test/support/temp-dir.ts'
import { ForeignClient } from './foreign-client.ts'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const PROJECT = fileURLToPath(new URL('../../../interop-tests/amqp/go/', import.meta.url))
const BUILD_MS_MAX = 300_000

/** Why this machine cannot run it, or undefined when it can. */
export async function goClientMissing(): Promise<string | undefined> {
  try {
    await run('go', ['version'])
    return undefined
  } catch {
    return "'go' is not installed; install Go 1.21 or newer"
  }
}

export async function goAmqp(
  t: Pick<ExecutionContext, 'teardown'>,
  url: string,
): Promise<ForeignClient> {
  const program = join(await tempDir(t), 'interop')
  await run('go', ['build', '-o', program, '.'], { cwd: PROJECT, timeout: BUILD_MS_MAX })
  const child = spawn(program, [url], { stdio: ['pipe', 'pipe', 'pipe'] })
  const client = new ForeignClient(child, 'go-amqp')
  t.teardown(() => client.kill())
  return client
}
