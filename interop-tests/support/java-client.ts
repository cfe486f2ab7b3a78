// The unmodified Java client as a child process: one JVM per scenario (interop-tests/java), driven by its
// command line and heard through lines of JSON. Its jars and classes come through the installed Maven.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'

const run = promisify(execFile)

/** Compiled files sit one folder deeper than their sources. */
const PROJECT = fileURLToPath(new URL('../../../interop-tests/java/', import.meta.url))
const BUILD_MS_MAX = 300_000
/** A JVM starts slowly on a busy machine, and a rebalance takes up to 20 s. */
const WAIT_MS_MAX = 120_000

export interface JavaEvent {
  readonly event: 'ready' | 'sent' | 'got' | 'failed' | 'done'
  readonly [field: string]: unknown
}

/** A message as a consumer printed it. */
export interface Got extends JavaEvent {
  readonly event: 'got'
  readonly msgId: string
  readonly topic: string
  readonly queueId: number
  readonly queueOffset: number
  readonly reconsumeTimes: number
  readonly tag?: string
  readonly keys?: string
  readonly properties: Readonly<Record<string, string>>
  /** base64 */
  readonly body: string
  readonly delayMs: number
}

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

let built: Promise<string> | undefined

/** Compiles once per test process; answers with the class path. */
function classPath(): Promise<string> {
  built ??= build()
  return built
}

async function build(): Promise<string> {
  const file = `${PROJECT}target/classpath.txt`
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath'
  const args = ['-B', '-q', '-f', `${PROJECT}pom.xml`, 'compile', goal, `-Dmdep.outputFile=${file}`]
  await run('mvn', args, { timeout: BUILD_MS_MAX, maxBuffer: 16 * 1024 * 1024 })
  return `${PROJECT}target/classes:${(await readFile(file, 'utf8')).trim()}`
}

/** Starts a scenario; the JVM is gone after the test. */
export async function java(
  t: ExecutionContext,
  scenario: string,
  options: Readonly<Record<string, string | number | boolean>>,
): Promise<JavaClient> {
  const words = Object.entries(options).map(([name, value]) => `${name}=${value}`)
  const client = new JavaClient(await startJvm([scenario, ...words]), scenario)
  t.teardown(() => client.kill())
  return client
}

/** Runs mqadmin; answers with what it printed. */
export async function mqadmin(...args: readonly string[]): Promise<string> {
  const child = await startJvm(['mqadmin', ...args])
  let out = ''
  child.stdout!.on('data', (chunk) => (out += chunk))
  child.stderr!.on('data', (chunk) => (out += chunk))
  child.stdin!.end()
  await new Promise((resolve) => child.once('close', resolve))
  return out
}

async function startJvm(args: readonly string[]): Promise<ChildProcess> {
  const options = ['-Xmx256m', '-XX:TieredStopAtLevel=1', '-Drocketmq.client.logUseSlf4j=true']
  return spawn('java', [...options, '-cp', await classPath(), 'interop.Main', ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

export class JavaClient {
  readonly events: JavaEvent[] = []
  readonly #child: ChildProcess
  readonly #scenario: string
  readonly #exited: Promise<unknown>
  #isGone = false
  #stderr = ''
  #onEvent: (() => void)[] = []

  constructor(child: ChildProcess, scenario: string) {
    this.#child = child
    this.#scenario = scenario
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (!line.startsWith('{')) return
      this.events.push(JSON.parse(line) as JavaEvent)
      this.#wake()
    })
    child.stderr!.on('data', (chunk) => (this.#stderr += chunk))
    this.#exited = new Promise((resolve) => child.once('close', resolve)).then(() => {
      this.#isGone = true
      this.#wake()
    })
  }

  get got(): readonly Got[] {
    return this.events.filter((event): event is Got => event.event === 'got')
  }

  of(event: JavaEvent['event']): readonly JavaEvent[] {
    return this.events.filter((entry) => entry.event === event)
  }

  /** Waits until `isEnough` is true of what was heard. @throws with everything heard when it never is */
  async until(what: string, isEnough: () => boolean): Promise<void> {
    const deadline = AbortSignal.timeout(WAIT_MS_MAX)
    deadline.addEventListener('abort', () => this.#wake())
    while (!isEnough()) {
      if (deadline.aborted || this.#isGone) {
        const heard = this.events.map((event) => JSON.stringify(event).slice(0, 300))
        const state = this.#isGone ? 'it ended' : `${WAIT_MS_MAX} ms passed`
        throw new Error(
          `java ${this.#scenario}: ${state} before ${what}:\n${heard.slice(-20).join('\n')}\n${this.#stderr.slice(-2000)}`,
        )
      }
      await new Promise<void>((resolve) => this.#onEvent.push(resolve))
    }
  }

  ready(): Promise<void> {
    return this.until('it was ready', () => this.of('ready').length > 0)
  }

  /** Waits for `count` messages. */
  async receives(count: number): Promise<readonly Got[]> {
    await this.until(`${count} messages came`, () => this.got.length >= count)
    return this.got
  }

  /** Waits for a scenario that ends by itself. */
  async ends(): Promise<readonly JavaEvent[]> {
    await this.#exited
    return this.events
  }

  /** Ends its standard input, on which consumers shut down in order. */
  async stop(): Promise<void> {
    this.#child.stdin!.end()
    await this.#exited
  }

  async kill(): Promise<void> {
    if (!this.#isGone) this.#child.kill('SIGKILL')
    await this.#exited
  }

  #wake(): void {
    const waiting = this.#onEvent
    this.#onEvent = []
    for (const resolve of waiting) resolve()
  }
}

export const bodyOf = (got: Got): string => Buffer.from(got.body, 'base64').toString('utf8')
