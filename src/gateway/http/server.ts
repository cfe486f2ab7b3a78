// The HTTP front-end: takes sockets from the listener and answers requests by its routes. It is
// there before the broker is, to say that the broker is not ready.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Authenticator } from '../../access/auth.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { Connections } from '../../net/connections.ts'
import type { Counter, Numbers } from '../../numbers/numbers.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import type { HttpAnswer } from './answer.ts'
import type { ApiContext } from './api/endpoint.ts'
import { HttpConnection } from './connection.ts'
import { HttpError, problemOf } from './errors.ts'
import { healthRoutes, Readiness } from './health.ts'
import { BODIES_BYTES_MAX, HEADER_BYTES_MAX, PIPELINED_MAX } from './limits.ts'
import { checkHost, principalOf } from './login.ts'
import { metricsRoutes } from './metrics.ts'
import { requestCounters, type StatusClass } from './numbers.ts'
import type { HttpOptions } from './options.ts'
import { type CallHeaders, type FoundRoute, type HttpCall, HttpRoutes } from './routes.ts'

export interface HttpContext {
  readonly auth: Authenticator
  readonly log: Logger
  readonly clock: Clock
  readonly numbers: Numbers
  /** Of every number that Apache RocketMQ has too: cluster, node_type and node_id. */
  readonly node: Readonly<Record<string, string>>
  /** Those of the process, without what is secret in them. */
  readonly settings?: unknown
}

const SWEEP_MS = 1_000

export class HttpGateway implements Gateway {
  readonly protocol = 'http'
  readonly #context: HttpContext
  readonly #options: HttpOptions
  readonly #readiness: Readiness
  /** What machines ask for. */
  readonly #probes: HttpRoutes
  /** What people and their tools ask for, from the first of them on. */
  #pages: Promise<HttpRoutes> | undefined
  readonly #server: Server
  readonly #connections: Connections<HttpConnection>
  readonly #byStream = new WeakMap<object, HttpConnection>()
  readonly #counts: Readonly<Record<StatusClass, Counter>>
  #running: ApiContext | undefined
  /** Requests under way that cost something. */
  #underWay = 0
  #bodyBytes = 0

  constructor(context: HttpContext, options: HttpOptions) {
    this.#context = context
    this.#options = options
    this.#readiness = new Readiness(context.clock)
    this.#probes = new HttpRoutes([
      ...healthRoutes(this.#readiness),
      ...metricsRoutes(context, options.openMetrics),
    ])
    this.#counts = requestCounters(context.numbers)
    this.#server = createServer({ maxHeaderSize: HEADER_BYTES_MAX }, (request, response) => {
      void this.#answer(request, response)
    })
    // Their bytes bound them: of fields beyond a number node would leave out the length of a body.
    this.#server.maxHeadersCount = 0
    this.#server.on('clientError', (error: NodeJS.ErrnoException, stream) => {
      refuseUnread(error, stream as NodeJS.WritableStream & { destroy(): void })
    })
    this.#connections = new Connections(context.clock)
    this.#connections.every(SWEEP_MS, (nowMs) => {
      for (const connection of this.#connections) {
        if (connection.isOverdue(nowMs, options.requestMs)) connection.destroy()
      }
    })
  }

  /** The broker and its front-ends are there. */
  ready(context: GatewayContext): void {
    this.#readiness.running(context)
    this.#running = { ...context, settings: this.#context.settings }
  }

  /** From now on what asks is told not to send more. */
  stopping(): void {
    this.#readiness.stopping()
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    this.#connections.accept(socket, (_serial, gone) => {
      const connection = new HttpConnection(socket, this.#context.clock.monotonic(), gone)
      this.#byStream.set(connection.stream, connection)
      this.#server.emit('connection', connection.stream)
      return connection
    })
  }

  close(deadlineMs: number): Promise<void> {
    return this.#connections.close(deadlineMs)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const connection = this.#byStream.get(request.socket)
    if (connection === undefined) return
    const { clock } = this.#context
    const gone = new AbortController()
    connection.began()
    if (hasBody(request)) request.once('end', () => connection.received())
    else connection.received()
    response.once('close', () => {
      if (!response.writableFinished) gone.abort(clientGone())
      connection.ended(clock.monotonic())
    })
    const answer = await this.#serve(request, connection, gone.signal)
    const { status = 200, type, headers = {}, body } = answer
    this.#counts[`${Math.floor(status / 100)}xx` as StatusClass].value++
    // What of the body was not read is not worth its bytes.
    const isLast = connection.isClosing || !request.complete
    response.writeHead(status, {
      ...COMMON_HEADERS,
      // 204 says that there is no body, and may not say how long it is (RFC 9110, 8.6).
      ...(status !== 204 && { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }),
      ...headers,
      ...(isLast && { Connection: 'close' }),
    })
    response.end(body)
    // Without a reader it would never end.
    request.resume()
  }

  async #serve(
    request: IncomingMessage,
    { remoteAddress: address, isOverfull }: HttpConnection,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    try {
      if (isOverfull) {
        throw new BrokerError('BUSY', `${PIPELINED_MAX} requests of a connection wait at most`)
      }
      const { path, query } = targetOf(request)
      const routes = this.#probes.has(path) ? this.#probes : await this.#loadPages()
      const found = routes.find(request.method ?? '', path)
      const call: HttpCall = {
        params: found.params,
        query,
        headers: request.headers as CallHeaders,
        address,
        signal,
        principal: () => this.#outside(() => this.#principal(request, address, signal)),
        body: (bytesMax) => this.#outside(() => this.#body(request, bytesMax, signal)),
      }
      return found.route.isCheap ? await found.route.serve(call) : await this.#serveOne(found, call)
    } catch (error) {
      const { code } = error instanceof HttpError ? { code: undefined } : BrokerError.from(error)
      if (code === 'INTERNAL') {
        const fields = { evt: 'http.failed', method: request.method, path: request.url, err: error }
        this.#context.log.error(fields, 'a request failed by a defect; please report it')
      }
      return problemOf(error)
    }
  }

  async #loadPages(): Promise<HttpRoutes> {
    this.#pages ??= Promise.all([import('./api/table.ts'), import('./dashboard/routes.ts')]).then(
      ([{ apiRoutes }, { dashboardRoutes }]) =>
        new HttpRoutes([...apiRoutes(() => this.#running), ...dashboardRoutes()]),
    )
    try {
      return await this.#pages
    } catch (error) {
      // Files that cannot be opened now may be later.
      this.#pages = undefined
      throw error
    }
  }

  async #serveOne({ route }: FoundRoute, call: HttpCall): Promise<HttpAnswer> {
    this.#checkRoom()
    this.#underWay++
    try {
      return await route.serve(call)
    } finally {
      this.#underWay--
    }
  }

  /**
   * What waits for its client's bytes, or for its turn among the logins, keeps no other from being
   * answered: these have limits of their own.
   */
  async #outside<T>(waiting: () => Promise<T>): Promise<T> {
    this.#underWay--
    try {
      const result = await waiting()
      this.#checkRoom()
      return result
    } finally {
      this.#underWay++
    }
  }

  /** @throws BrokerError BUSY */
  #checkRoom(): void {
    const { requestsMax } = this.#options
    if (this.#underWay < requestsMax) return
    throw new BrokerError('BUSY', `${requestsMax} requests are answered at one time; come again`)
  }

  /**
   * @throws HttpError 413; BrokerError BUSY while the bodies of others take the room, ABORTED when
   * the client is gone before the end
   */
  async #body(request: IncomingMessage, bytesMax: number, signal: AbortSignal): Promise<Buffer> {
    signal.throwIfAborted()
    const { headers } = request
    const isChunked = headers['transfer-encoding'] !== undefined
    const bytes = isChunked ? bytesMax : Number(headers['content-length'] ?? 0)
    if (bytes > bytesMax) throw tooLong(bytesMax)
    if (this.#bodyBytes + bytes > BODIES_BYTES_MAX) {
      throw new BrokerError('BUSY', `bodies under way have ${BODIES_BYTES_MAX} bytes at most`)
    }
    this.#bodyBytes += bytes
    request.once('close', () => {
      this.#bodyBytes -= bytes
    })
    try {
      return await bodyOf(request, bytesMax)
    } catch (error) {
      throw error instanceof HttpError ? error : clientGone()
    }
  }

  async #principal(request: IncomingMessage, address: string, signal: AbortSignal) {
    const { auth } = this.#context
    const principal = await principalOf(auth, request.headers.authorization, address, signal)
    if (principal.anonymous) checkHost(request.headers.host, this.#options)
    return principal
  }
}

const clientGone = (): BrokerError => new BrokerError('ABORTED', 'the client is gone')

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** Nothing here is to be kept by a cache or guessed at by a browser. */
const COMMON_HEADERS = {
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
}

/** Proxies may ask with a whole URL. @throws HttpError */
function targetOf({ url = '/' }: IncomingMessage): { path: string; query: URLSearchParams } {
  const [target = ''] = url.split('#', 1)
  const from = target.startsWith('/') ? 0 : target.indexOf('/', target.indexOf('//') + 2)
  if (from < 0) throw new HttpError(400, 'the request has no path')
  const mark = target.indexOf('?', from)
  const path = mark < 0 ? target.slice(from) : target.slice(from, mark)
  return { path, query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)) }
}

/** @throws HttpError 413 */
async function bodyOf(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw tooLong(bytesMax)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const tooLong = (bytesMax: number): HttpError =>
  new HttpError(413, `a body may have ${bytesMax} bytes here`)

/** Bytes that are no request, or too many of them. */
function refuseUnread(
  error: NodeJS.ErrnoException,
  stream: NodeJS.WritableStream & { destroy(): void },
): void {
  if (!stream.writable || error.code === 'ECONNRESET') {
    stream.destroy()
    return
  }
  const isLong = error.code === 'HPE_HEADER_OVERFLOW'
  const [status, phrase, text] = isLong
    ? [431, 'Request Header Fields Too Large', `a header may have ${HEADER_BYTES_MAX} bytes`]
    : [400, 'Bad Request', 'this is no HTTP request']
  const { type, body } = problemOf(new HttpError(status, text))
  stream.end(
    `HTTP/1.1 ${status} ${phrase}\r\nContent-Type: ${type}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
