// Our error codes in RocketMQ's words. Java producers repeat a send on 1, 2, 14, 16 and 17, and
// show any other code to their caller at once, so a code for a mistake of the caller must be none
// of those.
import type { BrokerError, ErrorCode } from '../../errors.ts'
import { RESPONSE } from '../../remoting/codes.ts'

const RESPONSE_OF_ERROR = {
  TOPIC_NOT_FOUND: RESPONSE.topicNotExist,
  TOPIC_EXISTS: RESPONSE.topicExists,
  GROUP_NOT_FOUND: RESPONSE.groupNotExist,
  QUEUE_NOT_FOUND: RESPONSE.invalidParameter,
  MESSAGE_NOT_FOUND: RESPONSE.queryNotFound,
  CLIENT_NOT_FOUND: RESPONSE.consumerNotOnline,
  NAME_INVALID: RESPONSE.invalidParameter,
  ARGUMENT_INVALID: RESPONSE.invalidParameter,
  MESSAGE_INVALID: RESPONSE.messageIllegal,
  MESSAGE_TOO_LARGE: RESPONSE.messageIllegal,
  FILTER_INVALID: RESPONSE.subscriptionParseFailed,
  SUBSCRIPTION_CONFLICT: RESPONSE.subscriptionNotLatest,
  QUEUE_LOCKED: RESPONSE.systemBusy,
  RECEIPT_EXPIRED: RESPONSE.invalidParameter,
  STATE_CONFLICT: RESPONSE.systemBusy,
  CLAIM_LOST: RESPONSE.invalidParameter,
  OFFSET_OUT_OF_RANGE: RESPONSE.pullOffsetMoved,
  UNAUTHENTICATED: RESPONSE.noPermission,
  PERMISSION_DENIED: RESPONSE.noPermission,
  QUOTA_EXCEEDED: RESPONSE.flowControl,
  BUSY: RESPONSE.systemBusy,
  READ_ONLY: RESPONSE.serviceNotAvailable,
  NOT_REPLICATED: RESPONSE.flushSlaveTimeout,
  NO_REPLICA: RESPONSE.slaveNotAvailable,
  // Apache's IN_SYNC_REPLICAS_NOT_ENOUGH has no code of its own on the wire.
  REPLICAS_TOO_FEW: RESPONSE.systemError,
  STORE_CORRUPT: RESPONSE.systemError,
  TIMED_OUT: RESPONSE.systemBusy,
  ABORTED: RESPONSE.systemError,
  CLOSED: RESPONSE.serviceNotAvailable,
  UNREACHABLE: RESPONSE.serviceNotAvailable,
  NO_ROUTE: RESPONSE.topicNotExist,
  PROTOCOL_ERROR: RESPONSE.systemError,
  NOT_SUPPORTED: RESPONSE.requestCodeNotSupported,
  CONFIG_INVALID: RESPONSE.systemError,
  INTERNAL: RESPONSE.systemError,
} as const satisfies Record<ErrorCode, number>

export const responseCodeOf = (error: BrokerError): number => RESPONSE_OF_ERROR[error.code]

/** A Java consumer asks again every 20 ms on flow control, and every 3 s on any other refusal. */
export const pullResponseCodeOf = (error: BrokerError): number => {
  const code = responseCodeOf(error)
  return code === RESPONSE.flowControl ? RESPONSE.systemBusy : code
}

/** Is the fault ours rather than the peer's, so that someone should read of it in the log? */
export const isOurFault = (error: BrokerError): boolean =>
  error.code === 'INTERNAL' || error.code === 'STORE_CORRUPT'
