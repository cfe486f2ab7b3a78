// The unmodified Java client of RocketMQ 4 in the version asked for: one JVM that runs its checks of a broker
// (interop-tests/java4) and says what became of each.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { tempDir } from '../../test/support/temp-dir.ts'
import { ForeignClient, processHost } from './foreign-client.ts'
import { classPath } from './maven.ts'

/** Compiled files sit one folder deeper than their sources. */
const PROJECT = fileURLToPath(new URL('../../../interop-tests/java4/', import.meta.url))

export interface Java4 {
  readonly version: string
  /** Whether it dials the broker's port less two unless told otherwise. */
  readonly isVipDefault: boolean
}

export const buildJava4 = (version: string): Promise<string> => classPath(PROJECT, version)

export const java4Checks = (
  t: Pick<ExecutionContext, 'teardown'>,
  { version, isVipDefault }: Java4,
  nameServer: string,
): Promise<ForeignClient> => start(t, version, [nameServer, String(isVipDefault)])

/** Of a broker that serves what is signed, and nothing else. */
export const java4SignedChecks = (
  t: Pick<ExecutionContext, 'teardown'>,
  version: string,
  nameServer: string,
  keys: { readonly accessKey: string; readonly secretKey: string },
): Promise<ForeignClient> => start(t, version, [nameServer, keys.accessKey, keys.secretKey])

async function start(
  t: Pick<ExecutionContext, 'teardown'>,
  version: string,
  words: readonly string[],
): Promise<ForeignClient> {
  const classes = await buildJava4(version)
  const options = ['-Xmx256m', '-XX:TieredStopAtLevel=1']
  // Else a broadcasting consumer goes on where one of an earlier broker stopped: it keeps its place in the home.
  options.push(`-Drocketmq.client.localOffsetStoreDir=${await tempDir(t)}`)
  // The Netty of 4.4.0 is older than the walls between the JDK's modules.
  for (const opened of ['java.nio', 'sun.nio.ch']) {
    options.push('--add-opens', `java.base/${opened}=ALL-UNNAMED`)
  }
  const args = [...options, '-cp', classes, 'interop.Main', ...words]
  const child = spawn('java', args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const client = new ForeignClient(processHost(child), `java ${version}`)
  t.teardown(() => client.kill())
  return client
}
