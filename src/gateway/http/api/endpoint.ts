// One question or order of the admin API: what it takes is declared, and checked before it is
// served. The API's document is made from the same declarations.
import { z } from 'zod'
import type { Principal } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import type { GatewayContext } from '../../../port/gateway.ts'
import { type HttpAnswer, json } from '../answer.ts'
import { HttpError } from '../errors.ts'
import { BODY_BYTES_MAX } from '../limits.ts'
import type { HttpCall, HttpMethod, Route } from '../routes.ts'

/** The context of the API: that of a front-end, and what only the process knows. */
export interface ApiContext extends GatewayContext {
  /** The settings, without what is secret in them. */
  readonly settings: unknown
}

/** A question, checked. */
export interface ApiQuestion<Query, Body> {
  readonly params: Readonly<Record<string, string>>
  readonly query: Query
  readonly body: Body
  readonly principal: Principal
  readonly context: ApiContext
  /** Of the client. */
  readonly address: string
  readonly signal: AbortSignal
}

export interface Endpoint {
  readonly method: HttpMethod
  readonly path: string
  /** Below /api/v1. */
  readonly summary: string
  readonly query: z.ZodType | undefined
  readonly body: z.ZodType | undefined
  /** In words. */
  readonly answers: string
  /** Default: `BODY_BYTES_MAX`. */
  bodyBytesMax?(context: ApiContext): Promise<number>
  /** undefined: done, with nothing to say. */
  serve(asked: ApiQuestion<unknown, unknown>): unknown
}

/** Keeps the types of a declaration while the table holds plain endpoints. */
export function endpoint<
  Q extends z.ZodType = z.ZodUndefined,
  B extends z.ZodType = z.ZodUndefined,
>(declared: {
  readonly method: HttpMethod
  readonly path: string
  readonly summary: string
  readonly query?: Q
  readonly body?: B
  readonly answers: string
  bodyBytesMax?(context: ApiContext): Promise<number>
  serve(asked: ApiQuestion<z.output<Q>, z.output<B>>): unknown
}): Endpoint {
  return { query: undefined, body: undefined, ...declared } as unknown as Endpoint
}

export const API_PREFIX = '/api/v1'

/** `context`: undefined while the broker is not there. */
export const routeOf = (one: Endpoint, context: () => ApiContext | undefined): Route => ({
  method: one.method,
  path: API_PREFIX + one.path,
  async serve(call) {
    checkOrigin(one, call)
    const principal = await call.principal()
    const running = context()
    if (running === undefined) {
      throw new BrokerError('BUSY', 'the broker is not there yet, or stopping; come again')
    }
    const { params, address, signal } = call
    const query = one.query === undefined ? noQuery(call) : checked(one.query, queryOf(call))
    const body = await bodyOf(one, call, running)
    const asked = { params, query, body, principal, context: running, address, signal }
    return answerOf(await one.serve(asked))
  },
})

const answerOf = (value: unknown): HttpAnswer =>
  value === undefined ? { status: 204, type: 'application/json', body: '' } : json(value)

/**
 * A browser sends what a page of another site asks for. It tells so, or asks first where the
 * request is none that a plain form could make; such a question is never answered.
 * @throws HttpError 403, 415
 */
function checkOrigin({ method, body }: Endpoint, { headers }: HttpCall): void {
  if (method === 'GET') return
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') {
    throw new HttpError(403, 'a page of another site may change nothing here')
  }
  const { origin } = headers
  if (origin !== undefined && hostIn(origin) !== headers.host) {
    throw new HttpError(403, `a page of '${origin.slice(0, 100)}' may change nothing here`)
  }
  if (body === undefined) return
  const [type = ''] = (headers['content-type'] ?? '').split(';')
  if (type.trim().toLowerCase() !== 'application/json') {
    throw new HttpError(415, 'the body has to be application/json')
  }
}

const hostIn = (origin: string): string => origin.replace(/^[a-z]+:\/\//, '')

async function bodyOf(one: Endpoint, call: HttpCall, context: ApiContext): Promise<unknown> {
  if (one.body === undefined) return undefined
  const bytes = await call.body((await one.bodyBytesMax?.(context)) ?? BODY_BYTES_MAX)
  let given: unknown
  try {
    given = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw new HttpError(400, `the body is no JSON: ${(error as Error).message}`)
  }
  return checked(one.body, given)
}

const queryOf = ({ query }: HttpCall): Record<string, string> => Object.fromEntries(query)

function noQuery({ query }: HttpCall): undefined {
  const [name] = query.keys()
  if (name === undefined) return undefined
  throw new HttpError(400, `nothing is asked for by '${name.slice(0, 80)}' here`)
}

function checked(schema: z.ZodType, given: unknown): unknown {
  const result = schema.safeParse(given)
  if (result.success) return result.data
  throw new HttpError(400, z.prettifyError(result.error).replaceAll('\n', ' ').slice(0, 1000))
}
