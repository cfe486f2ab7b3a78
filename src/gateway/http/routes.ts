// From a method and a path to what answers it.
import type { Principal } from '../../access/auth.ts'
import type { HttpAnswer } from './answer.ts'
import { HttpError } from './errors.ts'

export type HttpMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** Those that routes look at. */
export interface CallHeaders {
  readonly host?: string | undefined
  readonly origin?: string | undefined
  readonly 'content-type'?: string | undefined
  readonly 'sec-fetch-site'?: string | undefined
}

/** One request, as its route sees it. */
export interface HttpCall {
  /** Of the path, by their names in the route, decoded. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  readonly headers: CallHeaders
  /** Of the client. */
  readonly address: string
  /** The client's user. @throws BrokerError UNAUTHENTICATED, BUSY */
  principal(): Promise<Principal>
  /** The whole body. @throws HttpError 413 beyond `bytesMax` */
  body(bytesMax: number): Promise<Buffer>
  /** Aborted when the client is gone. */
  readonly signal: AbortSignal
}

export interface Route {
  readonly method: HttpMethod
  /** '/api/v1/topics/:topic': a segment that begins with a colon is a parameter. */
  readonly path: string
  /** Answered however many requests are under way: it costs nothing. */
  readonly isCheap?: boolean
  serve(call: HttpCall): HttpAnswer | Promise<HttpAnswer>
}

export interface FoundRoute {
  readonly route: Route
  readonly params: Readonly<Record<string, string>>
}

interface Entry {
  readonly segments: readonly string[]
  readonly methods: Map<string, Route>
}

export class HttpRoutes {
  readonly #entries: readonly Entry[]

  constructor(routes: readonly Route[]) {
    const byPath = new Map<string, Entry>()
    for (const route of routes) {
      const known = byPath.get(route.path)
      const entry = known ?? { segments: route.path.split('/'), methods: new Map() }
      byPath.set(route.path, entry)
      entry.methods.set(route.method, route)
    }
    // Where both match, fixed words come before a parameter.
    this.#entries = [...byPath.values()].toSorted((a, b) => parameters(a) - parameters(b))
  }

  has(path: string): boolean {
    const segments = path.split('/')
    return this.#entries.some((one) => matches(one.segments, segments))
  }

  /** @throws HttpError 404 for no such path, 405 for another method, 400 for a broken path */
  find(method: string, path: string): FoundRoute {
    const segments = path.split('/')
    const entry = this.#entries.find((one) => matches(one.segments, segments))
    if (entry === undefined) throw new HttpError(404, `there is nothing at ${path.slice(0, 200)}`)
    const route = entry.methods.get(method === 'HEAD' ? 'GET' : method)
    if (route === undefined) {
      const allowed = [...entry.methods.keys()].join(', ')
      throw new HttpError(405, `${path.slice(0, 200)} takes ${allowed}`, { Allow: allowed })
    }
    const params: Record<string, string> = {}
    for (const [at, name] of entry.segments.entries()) {
      if (name.startsWith(':')) params[name.slice(1)] = decoded(segments[at]!)
    }
    return { route, params }
  }
}

const parameters = ({ segments }: Entry): number =>
  segments.filter((segment) => segment.startsWith(':')).length

const matches = (wanted: readonly string[], segments: readonly string[]): boolean =>
  wanted.length === segments.length &&
  wanted.every((segment, at) => {
    return segment.startsWith(':') ? segments[at] !== '' : segment === segments[at]
  })

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new HttpError(400, 'the path has a broken percent-encoding')
  }
}
