// The unmodified Java client (interop-tests/java), driven by scenarios and heard through lines of JSON. Clients of
// one test file share a JVM unless told otherwise.
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ExecutionContext, registerCompletionHandler } from 'ava'
import { type ClientEvent, ForeignClient } from './foreign-client.ts'
import { Jvm, type ScenarioOptions } from './jvm.ts'
import { classPath } from './maven.ts'

export { mavenMissing as javaClientMissing } from './maven.ts'

/** Compiled files sit one folder deeper than their sources. */
const PROJECT = fileURLToPath(new URL('../../../interop-tests/java/', import.meta.url))
/** Starts a scenario. It is asked to stop when its test is over. */
export async function java(
  t: ExecutionContext,
  scenario: string,
  options: ScenarioOptions,
  jvmOptions: readonly string[] = [],
): Promise<ForeignClient> {
  const host = (await sharedJvm(jvmOptions)).begin(scenario, options)
  t.teardown(() => host.stop())
  return new ForeignClient(host, `java ${scenario}`)
}

/** The same in a JVM of its own, which `kill` ends without warning. */
export async function javaAlone(
  t: ExecutionContext,
  scenario: string,
  options: ScenarioOptions,
): Promise<ForeignClient> {
  const jvm = await startJvm([])
  t.teardown(() => jvm.kill())
  const host = jvm.begin(scenario, options, () => void jvm.kill())
  return new ForeignClient(host, `java ${scenario}`)
}

export type Mqadmin = (...args: readonly string[]) => Promise<string>

/** Runs mqadmin; answers with what it printed. */
export const mqadmin: Mqadmin = (...args) => mqadminWith([])(...args)

/** The same by the broker's VIP port. */
export const mqadminByVip: Mqadmin = (...args) =>
  mqadminWith(['-Dcom.rocketmq.sendMessageWithVIPChannel=true'])(...args)

/** The same with settings of the JVM. */
export const mqadminWith =
  (jvmOptions: readonly string[]): Mqadmin =>
  async (...args) => {
    const { output, hasEnded } = await askMqadmin(args, jvmOptions)
    if (hasEnded !== true) throw new Error(`mqadmin ${args.join(' ')} did not end:\n${output}`)
    return String(output)
  }

/** What it printed, and whether it ended by itself. */
export async function askMqadmin(
  words: readonly string[],
  jvmOptions: readonly string[] = [],
): Promise<ClientEvent> {
  const host = (await sharedJvm(jvmOptions)).begin('mqadmin', { words })
  const client = new ForeignClient(host, `mqadmin ${words[0]}`)
  await client.ends()
  const [printed] = client.of('printed')
  if (printed === undefined) throw new Error(`mqadmin ${words.join(' ')}: ${host.stderr}`)
  return printed
}

const jvms = new Map<string, Promise<Jvm>>()

function sharedJvm(options: readonly string[]): Promise<Jvm> {
  const id = options.join(' ')
  const known = jvms.get(id) ?? startJvm(options)
  jvms.set(id, known)
  return known
}

async function startJvm(options: readonly string[]): Promise<Jvm> {
  // Broadcasting consumers keep their places in a directory: it must not be one of an earlier run.
  const home = await mkdtemp(join(tmpdir(), 'java-client-'))
  const settings = [
    '-Drocketmq.client.logUseSlf4j=true',
    `-Drocketmq.client.localOffsetStoreDir=${home}`,
  ]
  const jvm = new Jvm(await classPath(PROJECT), [...options, ...settings])
  registerCompletionHandler(() => {
    void jvm.kill()
    rmSync(home, { recursive: true, force: true })
  })
  return jvm
}
