// Our error codes in MQTT's terms. Exhaustive: a new code does not compile until it has an answer
// here.
import { BrokerError, type ErrorCode } from '../../errors.ts'
import { PACKET, REASON, RETURN_CODE, type ReasonCode } from './packets/protocol.ts'

interface WireCode {
  /**
   * MQTT 5, where the packet knows the code; else `ackReason` and `subackReason` find a substitute.
   */
  readonly reason: ReasonCode
  /** CONNACK of 3.1 and 3.1.1. */
  readonly returnCode: number
  /** From the broker: would the same PUBLISH be refused whenever it is sent? */
  readonly isFinal: boolean
}

const { unspecified, implementationSpecific, quotaExceeded, serverBusy, serverUnavailable } = REASON
const refused = (reason: ReasonCode, returnCode: number): WireCode => ({
  ...{ reason, returnCode },
  isFinal: false,
})
const final = (reason: ReasonCode, returnCode: number): WireCode => ({
  ...{ reason, returnCode },
  isFinal: true,
})
const unavailable = refused(serverUnavailable, RETURN_CODE.serverUnavailable)
const failed = refused(implementationSpecific, RETURN_CODE.serverUnavailable)
const badName = final(REASON.topicNameInvalid, RETURN_CODE.notAuthorized)
const badMessage = final(implementationSpecific, RETURN_CODE.serverUnavailable)

const WIRE = {
  // The topic was deleted a moment ago: sent again, the message goes to the catch-all topic.
  TOPIC_NOT_FOUND: refused(REASON.topicNameInvalid, RETURN_CODE.notAuthorized),
  TOPIC_EXISTS: failed,
  GROUP_NOT_FOUND: failed,
  QUEUE_NOT_FOUND: failed,
  MESSAGE_NOT_FOUND: failed,
  CLIENT_NOT_FOUND: failed,
  NAME_INVALID: badName,
  ARGUMENT_INVALID: badMessage,
  MESSAGE_INVALID: badMessage,
  MESSAGE_TOO_LARGE: final(REASON.packetTooLarge, RETURN_CODE.serverUnavailable),
  FILTER_INVALID: refused(REASON.topicFilterInvalid, RETURN_CODE.notAuthorized),
  SUBSCRIPTION_CONFLICT: failed,
  QUEUE_LOCKED: failed,
  RECEIPT_EXPIRED: failed,
  STATE_CONFLICT: failed,
  CLAIM_LOST: refused(REASON.sessionTakenOver, RETURN_CODE.serverUnavailable),
  OFFSET_OUT_OF_RANGE: failed,
  UNAUTHENTICATED: refused(REASON.badCredentials, RETURN_CODE.badCredentials),
  // The topic takes no messages for now: grants are looked at before the broker is asked.
  PERMISSION_DENIED: refused(REASON.notAuthorized, RETURN_CODE.notAuthorized),
  QUOTA_EXCEEDED: final(quotaExceeded, RETURN_CODE.serverUnavailable),
  BUSY: refused(serverBusy, RETURN_CODE.serverUnavailable),
  READ_ONLY: unavailable,
  NOT_REPLICATED: unavailable,
  NO_REPLICA: unavailable,
  REPLICAS_TOO_FEW: unavailable,
  STORE_CORRUPT: unavailable,
  TIMED_OUT: refused(serverBusy, RETURN_CODE.serverUnavailable),
  ABORTED: failed,
  CLOSED: refused(REASON.serverShuttingDown, RETURN_CODE.serverUnavailable),
  UNREACHABLE: unavailable,
  NO_ROUTE: unavailable,
  PROTOCOL_ERROR: refused(REASON.protocolError, RETURN_CODE.serverUnavailable),
  NOT_SUPPORTED: failed,
  CONFIG_INVALID: failed,
  INTERNAL: refused(unspecified, RETURN_CODE.serverUnavailable),
} as const satisfies Record<ErrorCode, WireCode>

const allowed = (...codes: ReasonCode[]): ReadonlySet<ReasonCode> => new Set(codes)

// Which codes a packet may carry (MQTT 5: 3.2.2.2, 3.4.2.1, 3.9.3, 3.11.3, 3.14.2.1).
const CONNACK_CODES = allowed(
  ...[0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8c, 0x90, 0x95, 0x97],
)
const PUBLISH_ACK_CODES = allowed(0x80, 0x83, 0x87, 0x90, 0x97, 0x99)
const UNSUBACK_CODES = allowed(0x80, 0x83, 0x87, 0x8f)
const SUBACK_CODES = allowed(0x80, 0x83, 0x87, 0x8f, 0x97, 0x9e)
const DISCONNECT_CODES = allowed(
  ...[0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x97],
)

function codesOf(packet: number): ReadonlySet<ReasonCode> {
  switch (packet) {
    case PACKET.connack:
      return CONNACK_CODES
    case PACKET.unsuback:
      return UNSUBACK_CODES
    case PACKET.suback:
      return SUBACK_CODES
    case PACKET.disconnect:
      return DISCONNECT_CODES
    default:
      return PUBLISH_ACK_CODES
  }
}

/** The MQTT 5 reason code for what was thrown, in a packet that may carry it. */
export function reasonOf(thrown: unknown, packet: number): ReasonCode {
  const { reason } = WIRE[BrokerError.from(thrown).code]
  const codes = codesOf(packet)
  if (codes.has(reason)) return reason
  const isTooMuch = reason === REASON.packetTooLarge || reason === serverBusy
  if (isTooMuch && codes.has(quotaExceeded)) return quotaExceeded
  return implementationSpecific
}

/**
 * Can a PUBLISH that the broker refuses never be taken as it is? 3.1 and 3.1.1 have no code to say
 * so, and their clients send what is not acknowledged again on every connection.
 */
export const isFinalRefusal = (error: BrokerError): boolean => WIRE[error.code].isFinal

/** The CONNACK code of 3.1 and 3.1.1 for what was thrown. */
export const returnCodeOf = (thrown: unknown): number =>
  WIRE[BrokerError.from(thrown).code].returnCode
