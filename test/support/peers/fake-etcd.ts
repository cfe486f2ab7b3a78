// As much of etcd's v3 API over HTTP and JSON as elections use, in this process, with leases that
// run out when the test says so.
import { createServer, type Server } from 'node:http'
import type { Teardown } from '../temp-dir.ts'

interface Pair {
  readonly value: string
  readonly created: number
  readonly modified: number
  readonly lease: string
}

type Json = Readonly<Record<string, unknown>>

const NO_LEASE = '0'
const NOT_FOUND = 5
const UNAVAILABLE = 503
const encoded = (text: string): string => Buffer.from(text).toString('base64')
const decoded = (value: unknown): string => Buffer.from(String(value ?? ''), 'base64').toString()

class NotFound extends Error {}

export class FakeEtcd {
  readonly #server: Server
  readonly #pairs = new Map<string, Pair>()
  readonly #leases = new Map<string, number>()
  #revision = 1
  #leaseCount = 0
  /** It answers nothing but errors. */
  isAway = false
  /** It takes calls, and answers none. */
  isMute = false
  /** That came. */
  calls = 0

  private constructor(server: Server) {
    this.#server = server
    server.on('request', (request, response) => {
      const pieces: Buffer[] = []
      request.on('data', (piece: Buffer) => pieces.push(piece))
      request.on('end', () => {
        this.calls++
        if (this.isMute) return
        const [status, answer] = this.#answer(request.url ?? '', Buffer.concat(pieces).toString())
        response.writeHead(status).end(JSON.stringify(answer))
      })
    })
  }

  static async start(t: Teardown): Promise<FakeEtcd> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      server.closeAllConnections()
      server.close()
    })
    return new FakeEtcd(server)
  }

  get endpoint(): string {
    const address = this.#server.address()
    return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  }

  /** The first whose key ends so. */
  find(ending: string): string | undefined {
    for (const [key, { value }] of this.#pairs) if (key.endsWith(ending)) return value
    return undefined
  }

  put(key: string, value: string): void {
    this.#put(key, value, NO_LEASE)
  }

  /** The lease that a key hangs on runs out. */
  expire(ending: string): void {
    for (const [key, { lease }] of [...this.#pairs]) if (key.endsWith(ending)) this.#revoke(lease)
  }

  /** As if its disks had been emptied. */
  wipe(): void {
    this.#pairs.clear()
    this.#leases.clear()
  }

  #answer(path: string, text: string): readonly [number, Json] {
    if (this.isAway) return [UNAVAILABLE, { code: 14, message: 'no leader' }]
    try {
      return [200, this.#serve(path, JSON.parse(text) as Json)]
    } catch (error) {
      if (error instanceof NotFound) return [404, { code: NOT_FOUND, message: 'lease not found' }]
      throw error
    }
  }

  #serve(path: string, body: Json): Json {
    const lease = String(body['ID'])
    switch (path) {
      case '/v3/kv/range':
        return this.#range(decoded(body['key']), decoded(body['range_end']))
      case '/v3/kv/put':
        return this.#putOf(body)
      case '/v3/kv/txn':
        return this.#transact(body)
      case '/v3/lease/grant': {
        const id = String(++this.#leaseCount)
        this.#leases.set(id, Number(body['TTL']))
        return { ID: id, TTL: String(body['TTL']) }
      }
      case '/v3/lease/keepalive':
        return { result: { ID: lease, TTL: String(this.#leases.get(lease) ?? 0) } }
      case '/v3/lease/revoke':
        if (!this.#leases.has(lease)) throw new NotFound()
        this.#revoke(lease)
        return {}
      default:
        throw new Error(`no such call: ${path}`)
    }
  }

  #range(from: string, to: string): Json {
    const found = [...this.#pairs].filter(([key]) => key >= from && key < to)
    return {
      kvs: found.map(([key, { value, modified, lease }]) => ({
        ...{ key: encoded(key), value: encoded(value) },
        ...{ mod_revision: String(modified), lease },
      })),
    }
  }

  #putOf({ key, value, lease = NO_LEASE }: Json): Json {
    if (lease !== NO_LEASE && !this.#leases.has(String(lease))) throw new NotFound()
    this.#put(decoded(key), decoded(value), String(lease))
    return {}
  }

  #put(key: string, value: string, lease: string): void {
    const modified = ++this.#revision
    const created = this.#pairs.get(key)?.created ?? modified
    this.#pairs.set(key, { value, created, modified, lease })
  }

  #transact({ compare, success }: Json): Json {
    const holds = (compare as readonly Json[]).every((one) => {
      const pair = this.#pairs.get(decoded(one['key']))
      if (one['target'] === 'CREATE') return String(pair?.created ?? 0) === one['create_revision']
      if (one['target'] === 'MOD') return String(pair?.modified ?? 0) === one['mod_revision']
      return (pair?.lease ?? NO_LEASE) === one['lease']
    })
    if (!holds) return { succeeded: false }
    for (const { request_put: put } of success as readonly { readonly request_put: Json }[]) {
      this.#putOf(put)
    }
    return { succeeded: true, header: { revision: String(this.#revision) } }
  }

  #revoke(lease: string): void {
    this.#leases.delete(lease)
    for (const [key, pair] of [...this.#pairs]) if (pair.lease === lease) this.#pairs.delete(key)
  }
}
