// Calls of etcd's v3 API over HTTP and JSON, as its gateway offers them beside gRPC. Several
// endpoints are one service: a call goes to the one that answered last, and to the next one if no
// byte of it can have been carried out, or if carrying it out twice is no harm.
import { type ClientRequest, request as requestPlain } from 'node:http'
import { Agent, type AgentOptions, request as requestTls } from 'node:https'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'

/** Of an answer: a state and a few candidates have some KiB. */
const ANSWER_BYTES_MAX = 1024 * 1024
const CLOSED = 'the client was closed'
/** Of an answer that is no JSON, in the error: etcd refuses some certificates in plain text. */
const TOLD_CHARS_MAX = 200
/** Errors of a connection that was never made: nothing was sent. */
const UNSENT: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENETUNREACH',
])
/** gRPC's numbers. etcd says 3 to a wrong password. */
const CODE_INVALID = 3
const CODE_NOT_FOUND = 5
const CODE_FORBIDDEN = 7
const CODE_UNAUTHENTICATED = 16
/**
 * A token is no good any more: forgotten, or, of those that etcd signs (JWT), older than the last
 * change of any user or role, which etcd calls an invalid argument.
 */
const OF_TOKEN: ReadonlySet<number> = new Set([CODE_INVALID, CODE_UNAUTHENTICATED])
const OF_USER: ReadonlySet<number> = new Set([CODE_INVALID, CODE_FORBIDDEN, CODE_UNAUTHENTICATED])

export interface EtcdOptions {
  /** `http://host:port` or `https://host:port`, 1 to 16. */
  readonly endpoints: readonly string[]
  /** Of one endpoint's answer. */
  readonly timeoutMs: number
  readonly user?: { readonly name: string; readonly password: string } | undefined
  /**
   * PEM: the authorities to trust, and a certificate to show; as they are at each new connection.
   */
  readonly tls?: AgentOptions | undefined
}

export type EtcdJson = Readonly<Record<string, unknown>>

/** An answer that is an error of etcd's own: it was understood, and not carried out. */
class EtcdRefusal extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** No answer. */
class NoAnswer extends Error {
  /** It cannot have been carried out. */
  readonly isUnsent: boolean

  constructor(message: string, isUnsent: boolean) {
    super(message)
    this.isUnsent = isUnsent
  }
}

export class EtcdHttp {
  readonly #options: EtcdOptions
  readonly #clock: Clock
  readonly #agent: Agent | undefined
  /** Index of the endpoint that answered last. */
  #current = 0
  #token: string | undefined
  readonly #open = new Set<ClientRequest>()
  #isClosed = false

  constructor(options: EtcdOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
    if (options.tls !== undefined) this.#agent = new Agent({ keepAlive: true })
  }

  /**
   * `isRepeatable`: carried out twice it is as once.
   * @throws BrokerError UNREACHABLE, TIMED_OUT: it may have been carried out; MESSAGE_NOT_FOUND,
   * PERMISSION_DENIED, PROTOCOL_ERROR: it was not
   */
  async call(path: string, body: EtcdJson, isRepeatable: boolean): Promise<EtcdJson> {
    try {
      if (this.#options.user !== undefined) this.#token ??= await this.#authenticate()
      try {
        return await this.#callAny(path, body, isRepeatable)
      } catch (error) {
        const isOfToken = error instanceof EtcdRefusal && OF_TOKEN.has(error.code)
        if (!isOfToken || this.#options.user === undefined) throw error
        this.#token = await this.#authenticate()
        return await this.#callAny(path, body, isRepeatable)
      }
    } catch (error) {
      throw explained(error)
    }
  }

  /** Calls fail from here on, those under way too. Idempotent. */
  close(): void {
    this.#isClosed = true
    for (const open of this.#open) open.destroy(new Error(CLOSED))
    this.#agent?.destroy()
  }

  async #authenticate(): Promise<string> {
    const body = { ...this.#options.user }
    const { token } = await this.#callAny('/v3/auth/authenticate', body, true)
    if (typeof token !== 'string') throw new EtcdRefusal(CODE_UNAUTHENTICATED, 'no token was given')
    return token
  }

  async #callAny(path: string, body: EtcdJson, isRepeatable: boolean): Promise<EtcdJson> {
    const { endpoints } = this.#options
    let failure: unknown
    for (let n = 0; n < endpoints.length; n++) {
      if (this.#isClosed) throw new NoAnswer(CLOSED, true)
      const index = (this.#current + n) % endpoints.length
      try {
        const answer = await this.#callOne(endpoints[index]!, path, body)
        this.#current = index
        return answer
      } catch (error) {
        failure = error
        if (!(error instanceof NoAnswer) || !(isRepeatable || error.isUnsent)) break
      }
    }
    // The next call begins elsewhere.
    if (failure instanceof NoAnswer) this.#current = (this.#current + 1) % endpoints.length
    throw failure
  }

  #callOne(endpoint: string, path: string, body: EtcdJson): Promise<EtcdJson> {
    const url = new URL(path, endpoint)
    const text = Buffer.from(JSON.stringify(body))
    const headers: Record<string, string | number> = {
      'content-type': 'application/json',
      'content-length': text.length,
      ...(this.#token !== undefined && { authorization: this.#token }),
    }
    const { timeoutMs, tls } = this.#options
    const isTls = url.protocol === 'https:'
    const secured = isTls && this.#agent !== undefined && { ...tls, agent: this.#agent }
    return new Promise((resolve, reject) => {
      const fail = (error: Error & { code?: unknown }): void => {
        reject(new NoAnswer(`${endpoint}: ${error.message}`, UNSENT.has(error.code)))
      }
      const make = isTls ? requestTls : requestPlain
      const call = make(url, { method: 'POST', headers, ...secured }, (answer) => {
        const pieces: Buffer[] = []
        let size = 0
        answer.on('data', (piece: Buffer) => {
          size += piece.length
          pieces.push(piece)
          if (size > ANSWER_BYTES_MAX) answer.destroy(new Error('the answer is too long'))
        })
        answer.on('error', fail)
        answer.on('end', () => {
          try {
            resolve(answerOf(answer.statusCode ?? 0, Buffer.concat(pieces).toString('utf8')))
          } catch (error) {
            reject(error as Error)
          }
        })
      })
      this.#open.add(call)
      const late = this.#clock.after(timeoutMs, () =>
        call.destroy(new Error(`no answer within ${Math.round(timeoutMs)} ms`)),
      )
      call.on('close', () => {
        late.cancel()
        this.#open.delete(call)
      })
      call.on('error', fail)
      call.end(text)
    })
  }
}

function answerOf(status: number, text: string): EtcdJson {
  let value: unknown
  try {
    // A stream, as keep-alive is one, has its answers line by line: one was asked for.
    value = JSON.parse(text.split('\n', 1)[0]!)
  } catch {
    const told = text.trim().split('\n', 1)[0]!.slice(0, TOLD_CHARS_MAX)
    throw new NoAnswer(`status ${status} with something that is no JSON: ${told}`, false)
  }
  if (value === null || typeof value !== 'object') throw new NoAnswer('no object in it', false)
  const answer = value as EtcdJson
  if (status === 200 && answer['error'] === undefined) return answer
  const inner = answer['error']
  const { code, message } = (typeof inner === 'object' ? inner : answer) as EtcdJson
  // A member without a leader, or one that gave up, says nothing of what becomes of the call.
  if (status >= 500) throw new NoAnswer(`status ${status}: ${String(message)}`, false)
  throw new EtcdRefusal(Number(code ?? 0), String(message ?? `status ${status}`))
}

function explained(error: unknown): unknown {
  if (error instanceof EtcdRefusal) {
    if (error.code === CODE_NOT_FOUND) {
      return new BrokerError('MESSAGE_NOT_FOUND', `etcd: ${error.message}`)
    }
    const code = OF_USER.has(error.code) ? 'PERMISSION_DENIED' : 'PROTOCOL_ERROR'
    return new BrokerError(code, `etcd refused: ${error.message}`)
  }
  if (!(error instanceof NoAnswer)) return error
  const remedy = 'see that a majority of its members run and can be reached'
  return new BrokerError('UNREACHABLE', `etcd does not answer (${error.message}): ${remedy}`)
}
