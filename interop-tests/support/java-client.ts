// The unmodified Java client as a child process: one JVM per scenario (interop-tests/java), driven by its
// command line and heard through lines of JSON. Its jars and classes come through the installed Maven.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { ForeignClient } from './foreign-client.ts'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const PROJECT = fileURLToPath(new URL('../../../interop-tests/java/', import.meta.url))
const BUILD_MS_MAX = 300_000
/** Why this machine cannot run it, or undefined when it can. */
export async function javaClientMissing(): Promise<string | undefined> {
  for (const tool of ['mvn', 'java']) {
    try {
      await run(tool, ['-version'])
    } catch {
      return `'${tool}' is not installed; install Maven and a JDK 11 or newer`
    }
  }
  return undefined
}

const built = new Map<string, Promise<string>>()

/** Compiles a project once per test process; answers with the class path. */
export function classPath(project: string, version?: string): Promise<string> {
  const id = `${project} ${version ?? ''}`
  const known = built.get(id) ?? build(project, version)
  built.set(id, known)
  return known
}

/** A project of several versions has a folder below `target` for each. */
async function build(project: string, version: string | undefined): Promise<string> {
  const target = version === undefined ? `${project}target` : `${project}target/${version}`
  const file = `${target}/classpath.txt`
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath'
  const args = ['-B', '-q', '-f', `${project}pom.xml`, 'compile', goal, `-Dmdep.outputFile=${file}`]
  if (version !== undefined) args.push(`-Drocketmq.version=${version}`)
  await run('mvn', args, { timeout: BUILD_MS_MAX, maxBuffer: 16 * 1024 * 1024 })
  return `${target}/classes:${(await readFile(file, 'utf8')).trim()}`
}

/** Starts a scenario; the JVM is gone after the test. */
export async function java(
  t: ExecutionContext,
  scenario: string,
  options: Readonly<Record<string, string | number | boolean>>,
  jvmOptions: readonly string[] = [],
): Promise<ForeignClient> {
  const words = Object.entries(options).map(([name, value]) => `${name}=${value}`)
  const client = new ForeignClient(
    await startJvm([scenario, ...words], jvmOptions),
    `java ${scenario}`,
  )
  t.teardown(() => client.kill())
  return client
}

/** Runs mqadmin; answers with what it printed. */
export const mqadmin = (...args: readonly string[]): Promise<string> => runMqadmin(args)

/** The same by the broker's VIP port. */
export const mqadminByVip = (...args: readonly string[]): Promise<string> =>
  runMqadmin(args, ['-Dcom.rocketmq.sendMessageWithVIPChannel=true'])

/** The same with settings of the JVM. */
export const mqadminWith = (
  jvmOptions: readonly string[],
  ...args: readonly string[]
): Promise<string> => runMqadmin(args, jvmOptions)

async function runMqadmin(
  args: readonly string[],
  jvmOptions: readonly string[] = [],
): Promise<string> {
  const child = await startJvm(['mqadmin', ...args], jvmOptions)
  let out = ''
  child.stdout!.on('data', (chunk) => (out += chunk))
  child.stderr!.on('data', (chunk) => (out += chunk))
  child.stdin!.end()
  await new Promise((resolve) => child.once('close', resolve))
  return out
}

async function startJvm(
  args: readonly string[],
  jvmOptions: readonly string[] = [],
): Promise<ChildProcess> {
  const options = [
    ...jvmOptions,
    '-Xmx256m',
    '-XX:TieredStopAtLevel=1',
    '-Drocketmq.client.logUseSlf4j=true',
  ]
  return spawn('java', [...options, '-cp', await classPath(PROJECT), 'interop.Main', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}
