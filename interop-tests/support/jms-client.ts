// The unmodified Qpid JMS client in a JVM of its own (interop-tests/amqp/jms); it runs its checks and says what
// became of each.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { ForeignClient, processHost } from './foreign-client.ts'
import { classPath } from './maven.ts'

/** Compiled files sit one folder deeper than their sources. */
const PROJECT = fileURLToPath(new URL('../../../interop-tests/amqp/jms/', import.meta.url))

export async function jms(
  t: Pick<ExecutionContext, 'teardown'>,
  url: string,
  /** Those to run; default: all. */
  ...checks: readonly string[]
): Promise<ForeignClient> {
  const options = ['-Xmx256m', '-XX:TieredStopAtLevel=1', '-cp', await classPath(PROJECT)]
  const child = spawn('java', [...options, 'interop.Main', url, ...checks], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const client = new ForeignClient(processHost(child), 'Qpid JMS')
  t.teardown(() => client.kill())
  return client
}
