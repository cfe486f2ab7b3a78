// Unmodified Go clients: each project beside the tests is one program that runs its checks of a broker and says what
// became of each. Built by the installed Go.
import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { tempDir } from '../../test/support/temp-dir.ts'
import { ForeignClient, processHost } from './foreign-client.ts'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const INTEROP_TESTS = new URL('../../../interop-tests/', import.meta.url)
const BUILD_MS_MAX = 300_000

/** Why this machine cannot run them, or undefined when it can. */
export async function goMissing(): Promise<string | undefined> {
  try {
    await run('go', ['version'])
    return undefined
  } catch {
    return "'go' is not installed; install Go 1.21 or newer"
  }
}

/** The program in `interop-tests/<project>`, started with these arguments. */
export async function goClient(
  t: Pick<ExecutionContext, 'teardown'>,
  project: string,
  ...args: readonly string[]
): Promise<ForeignClient> {
  const program = join(await tempDir(t), 'interop')
  const cwd = fileURLToPath(new URL(`${project}/`, INTEROP_TESTS))
  await run('go', ['build', '-o', program, '.'], { cwd, timeout: BUILD_MS_MAX })
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const client = new ForeignClient(processHost(child), project)
  t.teardown(() => client.kill())
  return client
}

/** Holds every check to its success, and the program to having run all of them. */
export async function allChecked(
  t: ExecutionContext,
  client: ForeignClient,
  count: number,
): Promise<void> {
  const events = await client.ends()
  t.is(events.at(-1)?.event, 'done')
  const checks = client.of('check')
  t.is(checks.length, count)
  for (const { name, problem } of checks) t.is(problem, '', String(name))
}
