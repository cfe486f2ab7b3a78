// Apache Qpid Proton (Debian's python3-qpid-proton) in a process of its own: an AMQP stack that shares no
// code with rhea or with us.
import { execFile, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { ForeignClient, processHost } from './foreign-client.ts'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const AMQP = new URL('../../../interop-tests/amqp/', import.meta.url)
/** Debian's own comes first: a python of the user's has no Debian packages. */
const PYTHONS = ['/usr/bin/python3', 'python3']

/** The python that has Proton, or why there is none. */
export async function findProton(): Promise<{ python?: string; missing?: string }> {
  for (const python of PYTHONS) {
    try {
      await run(python, ['-c', 'import proton'])
      return { python }
    } catch {
      // The next one may have it.
    }
  }
  return { missing: "no python3 has 'proton'; install python3-qpid-proton" }
}

export const proton = (
  t: Pick<ExecutionContext, 'teardown'>,
  python: string,
  ...args: readonly string[]
): ForeignClient => program(t, python, 'proton_peer.py', args)

/** Its local transactions. */
export const protonTransactions = (
  t: Pick<ExecutionContext, 'teardown'>,
  python: string,
  ...args: readonly string[]
): ForeignClient => program(t, python, 'proton_transactions.py', args)

function program(
  t: Pick<ExecutionContext, 'teardown'>,
  python: string,
  name: string,
  args: readonly string[],
): ForeignClient {
  const main = fileURLToPath(new URL(name, AMQP))
  const child = spawn(python, [main, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  const client = new ForeignClient(processHost(child), `${name} ${args[0]}`)
  t.teardown(() => client.kill())
  return client
}
