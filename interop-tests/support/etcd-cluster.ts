// Three members of Debian's etcd-server on loopback, in a temporary directory.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'

const MEMBERS = 3
const STARTED_MS = 60_000

export function etcdMissing(): string | undefined {
  try {
    execFileSync('etcd', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return "there is no 'etcd' (Debian: etcd-server)"
  }
}

/** Of its leader, and of an election among the members. */
export interface EtcdTimes {
  readonly heartbeatMs: number
  readonly electionMs: number
}

export class EtcdCluster {
  readonly endpoints: readonly string[]
  readonly #processes: ChildProcess[]

  private constructor(endpoints: readonly string[], processes: ChildProcess[]) {
    this.endpoints = endpoints
    this.#processes = processes
  }

  static async start(
    directory: string,
    { heartbeatMs, electionMs }: EtcdTimes = { heartbeatMs: 100, electionMs: 1000 },
  ): Promise<EtcdCluster> {
    const ports: number[] = []
    for (let i = 0; i < 2 * MEMBERS; i++) ports.push(await freePort())
    const urlOf = (index: number): string => `http://127.0.0.1:${ports[index]}`
    const names = Array.from({ length: MEMBERS }, (_, i) => `m${i}`)
    const initial = names.map((name, i) => `${name}=${urlOf(MEMBERS + i)}`).join(',')
    const processes = names.map((name, i) =>
      spawn(
        'etcd',
        [
          ...['--name', name, '--data-dir', join(directory, name), '--initial-cluster', initial],
          ...['--listen-client-urls', urlOf(i), '--advertise-client-urls', urlOf(i)],
          ...['--listen-peer-urls', urlOf(MEMBERS + i)],
          ...['--initial-advertise-peer-urls', urlOf(MEMBERS + i)],
          ...['--initial-cluster-token', directory],
          ...['--heartbeat-interval', String(heartbeatMs)],
          ...['--election-timeout', String(electionMs)],
        ],
        { stdio: 'ignore' },
      ),
    )
    const cluster = new EtcdCluster(
      names.map((_, i) => urlOf(i)),
      processes,
    )
    for (const endpoint of cluster.endpoints) await answering(endpoint)
    return cluster
  }

  /** A call of its API, for what the client does not do. */
  async call(path: string, body: unknown): Promise<Record<string, unknown>> {
    const answer = await fetch(new URL(path, this.endpoints[0]), {
      method: 'POST',
      body: JSON.stringify(body),
    })
    return (await answer.json()) as Record<string, unknown>
  }

  /** Of a key, through the first member. */
  async get(key: string): Promise<string | undefined> {
    const answer = await this.call('/v3/kv/range', { key: Buffer.from(key).toString('base64') })
    const [found] = (answer['kvs'] ?? []) as readonly { readonly value: string }[]
    return found && Buffer.from(found.value, 'base64').toString()
  }

  /** All that is below; as an operator would by mistake. */
  async wipe(prefix: string): Promise<void> {
    const end = `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`
    const encoded = (text: string) => Buffer.from(text).toString('base64')
    await this.call('/v3/kv/deleterange', { key: encoded(prefix), range_end: encoded(end) })
  }

  kill(member: number): void {
    this.#processes[member]!.kill('SIGKILL')
  }

  /** It takes connections, and answers none. */
  stop(member: number): void {
    this.#processes[member]!.kill('SIGSTOP')
  }

  goOn(member: number): void {
    this.#processes[member]!.kill('SIGCONT')
  }

  close(): void {
    for (const child of this.#processes) child.kill('SIGKILL')
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

const answering = (endpoint: string): Promise<void> =>
  answered(async () => {
    const answer = await fetch(`${endpoint}/health`)
    if (!answer.ok) throw new Error(`${endpoint} is not healthy`)
  })

/** Members without a leader agree on one first. */
export async function answered<T>(call: () => Promise<T>): Promise<T> {
  const untilMs = Date.now() + STARTED_MS
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (Date.now() > untilMs) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
