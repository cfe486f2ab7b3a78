// Our codes in AMQP's terms, and the one error class with which this front-end refuses what a peer
// does. The scope says what is lost by it: the delivery's link, its session or the whole
// connection.
import { BrokerError, type ErrorCode } from '../../errors.ts'
import { splitAddress } from '../../model/host.ts'

/** Conditions of AMQP 2.8.15 to 2.8.18 and 4.5.8 that we use. */
export const CONDITION = {
  internalError: 'amqp:internal-error',
  notFound: 'amqp:not-found',
  unauthorized: 'amqp:unauthorized-access',
  decodeError: 'amqp:decode-error',
  resourceLimit: 'amqp:resource-limit-exceeded',
  notAllowed: 'amqp:not-allowed',
  invalidField: 'amqp:invalid-field',
  notImplemented: 'amqp:not-implemented',
  resourceLocked: 'amqp:resource-locked',
  illegalState: 'amqp:illegal-state',
  connectionForced: 'amqp:connection:forced',
  redirect: 'amqp:connection:redirect',
  framingError: 'amqp:connection:framing-error',
  handleInUse: 'amqp:session:handle-in-use',
  unattachedHandle: 'amqp:session:unattached-handle',
  stolen: 'amqp:link:stolen',
  transferLimit: 'amqp:link:transfer-limit-exceeded',
  messageSize: 'amqp:link:message-size-exceeded',
  unknownTransaction: 'amqp:transaction:unknown-id',
  rolledBack: 'amqp:transaction:rollback',
  transactionTimeout: 'amqp:transaction:timeout',
} as const

export type Condition = (typeof CONDITION)[keyof typeof CONDITION]

export type ErrorScope = 'connection' | 'session' | 'link'

/**
 * The `info` map of an AMQP error, by symbols, for programs; a text is a symbol too, unless it is
 * in `string`, and a number has 16 bits.
 */
export type ErrorInfo = Readonly<
  Record<string, string | true | Uint8Array | number | { readonly string: string }>
>

export class AmqpError extends Error {
  readonly condition: Condition
  readonly scope: ErrorScope
  readonly info: ErrorInfo | undefined

  constructor(
    condition: Condition,
    message: string,
    scope: ErrorScope = 'connection',
    info?: ErrorInfo,
  ) {
    super(message)
    this.name = 'AmqpError'
    this.condition = condition
    this.scope = scope
    this.info = info
  }
}

export const decodeError = (message: string): AmqpError =>
  new AmqpError(CONDITION.decodeError, message)

/** The broker is a copy that only native clients read from. `master`: host:port, if it is known. */
export function elsewhere(master: string | undefined): AmqpError {
  const text = 'this broker is a copy that only RocketMQ clients read from'
  if (master === undefined) {
    return new AmqpError(CONDITION.connectionForced, `${text}, and its master is not known now`)
  }
  const { host, port } = splitAddress(master)
  const hostname = { string: host }
  return new AmqpError(CONDITION.redirect, `${text}: its master is at ${master}`, 'connection', {
    ...{ hostname, 'network-host': hostname, port },
  })
}

export const linkError = (condition: Condition, message: string): AmqpError =>
  new AmqpError(condition, message, 'link')

const CONDITIONS = {
  TOPIC_NOT_FOUND: CONDITION.notFound,
  TOPIC_EXISTS: CONDITION.notAllowed,
  GROUP_NOT_FOUND: CONDITION.notFound,
  QUEUE_NOT_FOUND: CONDITION.notFound,
  MESSAGE_NOT_FOUND: CONDITION.notFound,
  CLIENT_NOT_FOUND: CONDITION.notFound,
  NAME_INVALID: CONDITION.invalidField,
  ARGUMENT_INVALID: CONDITION.invalidField,
  MESSAGE_INVALID: CONDITION.invalidField,
  MESSAGE_TOO_LARGE: CONDITION.messageSize,
  FILTER_INVALID: CONDITION.invalidField,
  SUBSCRIPTION_CONFLICT: CONDITION.illegalState,
  QUEUE_LOCKED: CONDITION.resourceLocked,
  RECEIPT_EXPIRED: CONDITION.illegalState,
  STATE_CONFLICT: CONDITION.illegalState,
  CLAIM_LOST: CONDITION.stolen,
  OFFSET_OUT_OF_RANGE: CONDITION.invalidField,
  UNAUTHENTICATED: CONDITION.unauthorized,
  PERMISSION_DENIED: CONDITION.unauthorized,
  QUOTA_EXCEEDED: CONDITION.resourceLimit,
  BUSY: CONDITION.resourceLimit,
  READ_ONLY: CONDITION.resourceLimit,
  NOT_REPLICATED: CONDITION.internalError,
  NO_REPLICA: CONDITION.internalError,
  REPLICAS_TOO_FEW: CONDITION.resourceLimit,
  STORE_CORRUPT: CONDITION.internalError,
  TIMED_OUT: CONDITION.internalError,
  ABORTED: CONDITION.internalError,
  CLOSED: CONDITION.connectionForced,
  UNREACHABLE: CONDITION.internalError,
  NO_ROUTE: CONDITION.notFound,
  PROTOCOL_ERROR: CONDITION.decodeError,
  NOT_SUPPORTED: CONDITION.notImplemented,
  CONFIG_INVALID: CONDITION.internalError,
  INTERNAL: CONDITION.internalError,
} as const satisfies Record<ErrorCode, Condition>

export const conditionOf = (code: ErrorCode): Condition => CONDITIONS[code]

/** The fields of an AMQP `error`. */
export interface ErrorDescription {
  readonly condition: Condition
  readonly description: string
  readonly info?: ErrorInfo | undefined
}

/**
 * A refusal is one frame with what belongs to it, and a peer may take no more than 512 bytes (AMQP
 * 2.7.1).
 */
const DESCRIPTION_BYTES_MAX = 320

/** As much of an error's text as fits into every peer's frames. */
export function shortDescription(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length <= DESCRIPTION_BYTES_MAX) return text
  let end = DESCRIPTION_BYTES_MAX
  // Not in the middle of a character.
  while ((bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

export function describeError(thrown: unknown): ErrorDescription {
  if (thrown instanceof AmqpError) {
    const { condition, message, info } = thrown
    return { condition, description: message, ...(info && { info }) }
  }
  const error = BrokerError.from(thrown)
  return { condition: conditionOf(error.code), description: error.message }
}
