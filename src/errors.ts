// One error class with a closed set of codes. Each front-end maps every code to its wire in its own
// `errors.ts` (an exhaustive table), so a new code does not compile until all three have an answer.

export const ERROR_CODES = [
  'TOPIC_NOT_FOUND',
  'TOPIC_EXISTS',
  'GROUP_NOT_FOUND',
  'QUEUE_NOT_FOUND',
  'MESSAGE_NOT_FOUND',
  'CLIENT_NOT_FOUND',
  'NAME_INVALID',
  'ARGUMENT_INVALID',
  'MESSAGE_INVALID',
  'MESSAGE_TOO_LARGE',
  'FILTER_INVALID',
  'SUBSCRIPTION_CONFLICT',
  'QUEUE_LOCKED',
  'RECEIPT_EXPIRED',
  'STATE_CONFLICT',
  'CLAIM_LOST',
  'OFFSET_OUT_OF_RANGE',
  'UNAUTHENTICATED',
  'PERMISSION_DENIED',
  'QUOTA_EXCEEDED',
  'BUSY',
  'READ_ONLY',
  'NOT_REPLICATED',
  'NO_REPLICA',
  'REPLICAS_TOO_FEW',
  'STORE_CORRUPT',
  'TIMED_OUT',
  'ABORTED',
  'CLOSED',
  'UNREACHABLE',
  'NO_ROUTE',
  'PROTOCOL_ERROR',
  'NOT_SUPPORTED',
  'CONFIG_INVALID',
  'INTERNAL',
] as const

export type ErrorCode = (typeof ERROR_CODES)[number]

/** Codes after which the same call may succeed later without a change by the caller. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'BUSY',
  'READ_ONLY',
  'NOT_REPLICATED',
  'NO_REPLICA',
  'REPLICAS_TOO_FEW',
  'TIMED_OUT',
  'UNREACHABLE',
  'QUEUE_LOCKED',
])

export class BrokerError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean

  /** The message names the thing, the value, the limit and the fix. */
  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; retryable?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'BrokerError'
    this.code = code
    this.retryable = options.retryable ?? RETRYABLE.has(code)
  }

  /**
   * Any thrown value as a BrokerError: one of another kind becomes INTERNAL with its cause kept.
   */
  static from(thrown: unknown): BrokerError {
    if (thrown instanceof BrokerError) return thrown
    const text = thrown instanceof Error ? thrown.message : String(thrown)
    return new BrokerError('INTERNAL', text, { cause: thrown })
  }
}

/** The call was done here, and is not confirmed elsewhere: NOT_REPLICATED and NO_REPLICA. */
export class Unconfirmed<T> extends BrokerError {
  /** What the call would have answered. */
  readonly done: T

  constructor(cause: BrokerError, done: T) {
    super(cause.code, cause.message, { cause })
    this.done = done
  }
}

/** Is it what was to be stored that is refused? A store that takes nothing now says otherwise. */
export const isOfContent = ({ code }: BrokerError): boolean =>
  code === 'MESSAGE_INVALID' || code === 'MESSAGE_TOO_LARGE' || code === 'INTERNAL'

/** Stands for errors after which what was to be stored stands in the log all the same. */
export const isUnconfirmed = ({ code }: BrokerError): boolean =>
  code === 'NOT_REPLICATED' || code === 'NO_REPLICA'

/** For the `catch` of what is done once the log has it. @throws what is thrown in other cases */
export function ifNotStored(thrown: unknown): void {
  if (!isUnconfirmed(BrokerError.from(thrown))) throw thrown
}
