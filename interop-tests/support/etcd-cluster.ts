// Three members of Debian's etcd-server in a temporary directory: on loopback, or each on a machine
// of its own.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { join } from 'node:path'
import { freePort, type Machine, THIS_MACHINE } from '../../test/support/server.ts'

const MEMBERS = 3
const STARTED_MS = 60_000
/** Of a member that may be cut off from the others, before the next one is asked. */
const ANSWER_MS = 2_000

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

/** PEM files of the members, which ask clients for a certificate of the CA. */
export interface EtcdTls {
  readonly certificate: string
  readonly key: string
  readonly ca: string
}

export interface EtcdOptions {
  readonly times?: EtcdTimes
  readonly tls?: EtcdTls
  readonly machines?: readonly Machine[]
}

const TIMES: EtcdTimes = { heartbeatMs: 100, electionMs: 1000 }

export class EtcdCluster {
  readonly endpoints: readonly string[]
  readonly #processes: readonly ChildProcess[]
  readonly #tls: EtcdTls | undefined

  private constructor(
    endpoints: readonly string[],
    processes: readonly ChildProcess[],
    tls: EtcdTls | undefined,
  ) {
    this.endpoints = endpoints
    this.#processes = processes
    this.#tls = tls
  }

  static async start(directory: string, options: EtcdOptions = {}): Promise<EtcdCluster> {
    const { times = TIMES, tls, machines } = options
    const members: Member[] = []
    for (let i = 0; i < MEMBERS; i++) {
      const machine = machines?.[i] ?? THIS_MACHINE
      const at = async (scheme: string) => `${scheme}://${machine.host}:${await freePort()}`
      const client = await at(tls === undefined ? 'http' : 'https')
      members.push({ name: `m${i}`, machine, client, peer: await at('http') })
    }
    const initial = members.map(({ name, peer }) => `${name}=${peer}`).join(',')
    const words = [
      ...['--initial-cluster', initial, '--initial-cluster-token', directory],
      ...['--heartbeat-interval', String(times.heartbeatMs)],
      ...['--election-timeout', String(times.electionMs)],
      ...(tls === undefined ? [] : wordsOf(tls)),
    ]
    const processes = members.map((member) => startMember(directory, member, words))
    const endpoints = members.map(({ client }) => client)
    const cluster = new EtcdCluster(endpoints, processes, tls)
    for (const endpoint of endpoints) {
      await answered(() => cluster.#ask(endpoint, '/v3/kv/range', { key: encoded('/') }))
    }
    return cluster
  }

  /** A call of its API, for what the client does not do, to the first member that answers. */
  async call(path: string, body: unknown): Promise<Answer> {
    let failure: unknown
    for (const endpoint of this.endpoints) {
      try {
        return await this.#ask(endpoint, path, body)
      } catch (error) {
        failure = error
      }
    }
    throw failure
  }

  /** Of a key; waits while the members have no leader. */
  async get(key: string): Promise<string | undefined> {
    const answer = await answered(() => this.call('/v3/kv/range', { key: encoded(key) }))
    const [found] = (answer['kvs'] ?? []) as readonly { readonly value: string }[]
    return found && Buffer.from(found.value, 'base64').toString()
  }

  /** All that is below; as an operator would by mistake. */
  async wipe(prefix: string): Promise<void> {
    const end = `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`
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

  #ask(endpoint: string, path: string, body: unknown): Promise<Answer> {
    const tls = this.#tls
    const shown = tls && {
      ca: readFileSync(tls.ca),
      cert: readFileSync(tls.certificate),
      key: readFileSync(tls.key),
    }
    const request = tls === undefined ? requestPlain : requestTls
    const options = { method: 'POST', timeout: ANSWER_MS, agent: false, ...shown }
    return new Promise((resolve, reject) => {
      const call = request(new URL(path, endpoint), options, (answer) => {
        let text = ''
        answer.on('error', reject)
        answer.setEncoding('utf8').on('data', (piece: string) => (text += piece))
        answer.on('end', () => {
          if (answer.statusCode === 200) resolve(JSON.parse(text))
          else reject(new Error(`${endpoint} answers ${answer.statusCode}: ${text}`))
        })
      })
      call.on('timeout', () => call.destroy(new Error(`${endpoint} does not answer`)))
      call.on('error', reject)
      call.end(JSON.stringify(body))
    })
  }
}

type Answer = Readonly<Record<string, unknown>>

interface Member {
  readonly name: string
  readonly machine: Machine
  /** URLs. */
  readonly client: string
  readonly peer: string
}

const encoded = (text: string): string => Buffer.from(text).toString('base64')

const wordsOf = ({ certificate, key, ca }: EtcdTls): readonly string[] => [
  ...['--cert-file', certificate, '--key-file', key],
  ...['--client-cert-auth', '--trusted-ca-file', ca],
]

function startMember(
  directory: string,
  { name, machine, client, peer }: Member,
  words: readonly string[],
): ChildProcess {
  const [program, ...rest] = [
    ...[...machine.within, 'etcd', '--name', name, '--data-dir', join(directory, name)],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
  ]
  return spawn(program!, [...rest, ...words], { stdio: 'ignore' })
}

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
