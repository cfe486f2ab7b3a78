// Our codes as statuses of HTTP, and what HTTP alone refuses, as problem documents (RFC 9457).
import { BrokerError, type ErrorCode } from '../../errors.ts'
import type { HttpAnswer } from './answer.ts'

const STATUS: Readonly<Record<ErrorCode, number>> = {
  TOPIC_NOT_FOUND: 404,
  TOPIC_EXISTS: 409,
  GROUP_NOT_FOUND: 404,
  QUEUE_NOT_FOUND: 404,
  MESSAGE_NOT_FOUND: 404,
  CLIENT_NOT_FOUND: 404,
  NAME_INVALID: 400,
  ARGUMENT_INVALID: 400,
  MESSAGE_INVALID: 400,
  MESSAGE_TOO_LARGE: 413,
  FILTER_INVALID: 400,
  SUBSCRIPTION_CONFLICT: 409,
  QUEUE_LOCKED: 409,
  RECEIPT_EXPIRED: 409,
  STATE_CONFLICT: 409,
  CLAIM_LOST: 409,
  OFFSET_OUT_OF_RANGE: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  QUOTA_EXCEEDED: 409,
  BUSY: 503,
  READ_ONLY: 503,
  NOT_REPLICATED: 504,
  NO_REPLICA: 503,
  REPLICAS_TOO_FEW: 503,
  STORE_CORRUPT: 500,
  TIMED_OUT: 504,
  ABORTED: 503,
  CLOSED: 503,
  UNREACHABLE: 502,
  NO_ROUTE: 502,
  PROTOCOL_ERROR: 502,
  NOT_SUPPORTED: 501,
  CONFIG_INVALID: 500,
  INTERNAL: 500,
}

const BUSY_AGAIN_SECONDS = '1'

/** A request that is refused before it reaches the broker. */
export class HttpError extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, text: string, headers: Readonly<Record<string, string>> = {}) {
    super(text)
    this.name = 'HttpError'
    this.status = status
    this.headers = headers
  }
}

/** What the client is told of an error. A defect is told without its text, which is in the log. */
export function problemOf(thrown: unknown): HttpAnswer {
  if (thrown instanceof HttpError) {
    return problem(thrown.status, { detail: thrown.message }, thrown.headers)
  }
  const { code, message, retryable } = BrokerError.from(thrown)
  const status = STATUS[code]
  const detail = code === 'INTERNAL' ? 'the broker failed; its log says why' : message
  const headers: Record<string, string> = {}
  // Not Basic: a browser would ask for a password, keep it, and send it with the requests that
  // other sites make.
  if (status === 401) headers['WWW-Authenticate'] = 'Bearer realm="trivet"'
  if (status === 503 && retryable) headers['Retry-After'] = BUSY_AGAIN_SECONDS
  return problem(status, { detail, code, retryable }, headers)
}

function problem(
  status: number,
  members: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>>,
): HttpAnswer {
  const body = JSON.stringify({ status, title: TITLES[status] ?? 'Error', ...members })
  return { status, type: 'application/problem+json', headers, body }
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  401: 'Credentials are needed',
  403: 'Not allowed',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'The request took too long',
  409: 'Conflict',
  413: 'Too large',
  415: 'Unsupported media type',
  421: 'Misdirected request',
  431: 'Header too large',
  500: 'The broker failed',
  501: 'Not supported',
  502: 'The cluster does not answer',
  503: 'Not now',
  504: 'Timed out',
}
