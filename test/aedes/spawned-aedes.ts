// An aedes server in a process of its own, over a broker in another one.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { freePort, plainEnv, type SpawnedServer } from '../support/server.ts'

const MAIN = fileURLToPath(new URL('./aedes-main.js', import.meta.url))
/** aedes publishes the wills of another process four of these after that was last heard of. */
const HEARTBEAT_MS = 60_000

export interface Teardown {
  teardown(end: () => unknown): void
}

export class SpawnedAedes {
  readonly port: number
  stderr = ''
  readonly #broker: SpawnedServer
  readonly #heartbeatMs: number
  #child: ChildProcess | undefined

  constructor(broker: SpawnedServer, port: number, heartbeatMs: number) {
    this.#broker = broker
    this.port = port
    this.#heartbeatMs = heartbeatMs
  }

  /** At the port that it had. */
  async start(): Promise<void> {
    const nameServers = this.#broker.address('nameServer')
    const options = { port: this.port, nameServers, heartbeatMs: this.#heartbeatMs }
    const child = spawn(process.execPath, [MAIN, JSON.stringify(options)], {
      env: plainEnv(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit').then(() => {
        throw new Error(`aedes ended:\n${this.stderr}`)
      }),
    ])
  }

  /** kill -9 */
  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'close')
    child.kill('SIGKILL')
    await gone
  }
}

export async function spawnAedes(
  t: Teardown,
  broker: SpawnedServer,
  { heartbeatMs = HEARTBEAT_MS } = {},
): Promise<SpawnedAedes> {
  const aedes = new SpawnedAedes(broker, await freePort(), heartbeatMs)
  t.teardown(() => aedes.kill())
  await aedes.start()
  return aedes
}
