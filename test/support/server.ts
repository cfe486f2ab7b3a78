// A real server for a test: in this process, or as a child that can be killed. On free ports of
// loopback, in a directory of its own, gone after the test.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Clock, systemClock } from '../../src/clock.ts'
import { type Config, type ConfigInput, configOf } from '../../src/config.ts'
import {
  type ListenerName,
  PROTOCOLS,
  type ServerAddress,
  type ServerRole,
} from '../../src/listening.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import { openServer, type Server } from '../../src/server.ts'
// Protocols come with their first connection; a test's clients are not to wait for that.
import '../../src/gateway/amqp/server.ts'
import '../../src/gateway/http/server.ts'
import '../../src/gateway/mqtt/connection.ts'
import '../../src/gateway/remoting/server.ts'
import { type Teardown, tempDir } from './temp-dir.ts'

export interface StartOptions {
  readonly config?: ConfigInput
  readonly role?: ServerRole
  readonly clock?: Clock
  readonly log?: Logger
  readonly signal?: AbortSignal
}

export interface TestServer {
  readonly server: Server
  readonly config: Config
  port(name: ListenerName): number
  /** host:port */
  address(name: ListenerName): string
}

/** A server in this process, with the real clock unless told otherwise. */
export async function startServer(t: Teardown, options: StartOptions = {}): Promise<TestServer> {
  const config = configOf(
    onFreePorts(options.config?.dataDir ?? (await tempDir(t)), options.config),
  )
  const server = await openServer({
    config,
    log: options.log ?? silentLogger,
    role: options.role ?? 'start',
    clock: options.clock ?? systemClock,
    ...(options.signal && { signal: options.signal }),
  })
  t.teardown(() => server.close())
  return {
    server,
    config,
    port: (name) => server.address(name).port,
    address: (name) => `127.0.0.1:${server.address(name).port}`,
  }
}

/** Where a process runs. */
export interface Machine {
  readonly host: string
  /** The words before a command. */
  readonly within: readonly string[]
}

export const THIS_MACHINE: Machine = { host: '127.0.0.1', within: [] }

export interface SpawnOptions {
  readonly config?: ConfigInput
  readonly role?: ServerRole
  /** Further words of the command line. */
  readonly args?: readonly string[]
  /** The command to run; by default this checkout's. */
  readonly trivet?: string
  /** Protocols that the command, of an older checkout, does not know. */
  readonly lacks?: readonly (typeof PROTOCOLS)[number][]
  /** How many files it may have open; by default as many as this process. */
  readonly openFiles?: number
  /** Default: this one. Another one is reached by its clients over a network of the test's. */
  readonly machine?: Machine
  /** Of its environment, besides this process's. */
  readonly env?: Readonly<Record<string, string>>
}

/** A server in a child process. @throws with its output when it does not come up */
export async function spawnServer(t: Teardown, options: SpawnOptions = {}): Promise<SpawnedServer> {
  const dataDir = options.config?.dataDir ?? (await tempDir(t))
  const config = onMachine(onFreePorts(dataDir, options.config), options.machine)
  for (let triesLeft = 3; ; triesLeft--) {
    const spawned = new SpawnedServer(config, options)
    t.teardown(() => spawned.kill())
    try {
      await spawned.start()
      return spawned
    } catch (error) {
      // Another test's process took a port that was free when it was chosen.
      const isTaken = (error as Error).message.includes('another process listens there')
      if (!isTaken || triesLeft === 1) throw error
    }
  }
}

export class SpawnedServer {
  /** Its standard error so far: its log. */
  stderr = ''
  readonly #config: ConfigInput
  readonly #options: SpawnOptions
  #child: ChildProcess | undefined
  #addresses: readonly ServerAddress[] = []
  /** The configuration with a port for every listener, the same at each start. */
  #ports: ConfigInput | undefined

  constructor(config: ConfigInput, options: SpawnOptions) {
    this.#config = config
    this.#options = options
  }

  get dataDir(): string {
    return this.#config.dataDir ?? ''
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  port(name: ListenerName): number {
    const found = this.#addresses.find((address) => address.name === name)
    if (found === undefined) throw new RangeError(`${name} does not listen`)
    return found.port
  }

  get host(): string {
    return (this.#options.machine ?? THIS_MACHINE).host
  }

  address(name: ListenerName): string {
    return `${this.host}:${this.port(name)}`
  }

  /**
   * Comes up on free ports the first time, on the same ones and the same data after a kill or stop.
   */
  async start({ trivet = this.#options.trivet }: { trivet?: string } = {}): Promise<void> {
    if (this.#ports === undefined) {
      this.#ports = await portsToKeep(this.#config)
      for (const name of this.#options.lacks ?? []) delete this.#ports[name]
    }
    const role = this.#options.role ?? 'start'
    const args = [trivet ?? TRIVET, role, '--json', ...(this.#options.args ?? [])]
    const settings: Record<string, string> = {}
    for (const [name, value] of flatten(this.#ports)) {
      settings[`TRIVET_${name}`] = value
    }
    const { openFiles } = this.#options
    const limited = ['-c', `ulimit -n ${openFiles}; exec "$0" "$@"`, process.execPath, ...args]
    const command = openFiles === undefined ? [process.execPath, ...args] : ['sh', ...limited]
    const { within } = this.#options.machine ?? THIS_MACHINE
    const [program, ...words] = [...within, ...command]
    const child = spawn(program!, words, {
      env: { ...plainEnv(), ...settings, ...this.#options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    const lines = createInterface({ input: child.stdout })
    const line = await Promise.race([
      once(lines, 'line').then(([first]) => first as string),
      once(child, 'exit').then(([code]) => {
        throw new Error(`trivet ${role} ended with ${code}:\n${this.stderr}`)
      }),
    ])
    this.#addresses = (JSON.parse(line) as { addresses: readonly ServerAddress[] }).addresses
  }

  /** kill -9 */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** SIGTERM; answers with the exit code, null when it had to be killed. */
  stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (child === undefined) return null
    if (child.exitCode === null && child.signalCode === null) {
      // After 'exit' its last lines may still be on their way.
      const gone = once(child, 'close')
      child.kill(signal)
      await gone
    }
    return child.exitCode
  }
}

/** The command as it is installed. */
export const TRIVET = fileURLToPath(new URL('../../../bin/trivet.cjs', import.meta.url))

/** Without the settings of the user that runs the tests. */
export function plainEnv(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !name.startsWith('TRIVET_'))
  return Object.fromEntries(entries)
}

function onFreePorts(dataDir: string, config: ConfigInput = {}): ConfigInput {
  const changed: ConfigInput = { ...config, dataDir }
  for (const name of PROTOCOLS) changed[name] = { port: 0, ...config[name] }
  return changed
}

/** Nothing but the test reaches that network. */
function onMachine(config: ConfigInput, machine?: Machine): ConfigInput {
  if (machine === undefined) return config
  const { host } = machine
  const changed: ConfigInput = { ...config, insecureOpenToTheNetwork: true }
  for (const name of PROTOCOLS) changed[name] = { ...changed[name], host }
  return changed
}

/**
 * Free ports below the range from which the system takes ports of outgoing connections: between a
 * kill and the next start no other process is given them.
 */
async function portsToKeep(config: ConfigInput): Promise<ConfigInput> {
  const changed: ConfigInput = { ...config }
  for (const name of PROTOCOLS) {
    if ((config[name]?.port ?? 0) === 0) changed[name] = { ...config[name], port: await freePort() }
  }
  return changed
}

const PORT_MIN = 12_000
const PORT_MAX = 32_000

export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN))
    if (await isFree(port)) return port
  }
}

export async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1')
  const isListening = await new Promise<boolean>((resolve) => {
    server.once('listening', () => resolve(true)).once('error', () => resolve(false))
  })
  if (isListening) await new Promise((resolve) => server.close(resolve))
  return isListening
}

const snake = (word: string): string => word.replace(/([A-Z])/g, '_$1').toUpperCase()

/** Environment names without their prefix, and values as text. */
function* flatten(values: object, prefix = ''): Iterable<readonly [string, string]> {
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue
    const name = prefix + snake(key)
    const isSection = typeof value === 'object' && !Array.isArray(value) && key !== 'users'
    if (isSection) yield* flatten(value as object, `${name}__`)
    else yield [name, typeof value === 'object' ? JSON.stringify(value) : String(value)]
  }
}
