// The numbers of MQTT 3.1, 3.1.1 and 5: packet types, reason codes, and the error that bad input
// is.

export const PACKET = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const

/** 3 = MQTT 3.1, 4 = 3.1.1, 5 = 5. */
export type Version = 3 | 4 | 5
export type Qos = 0 | 1 | 2

export const REASON = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  unspecified: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  unsupportedVersion: 0x84,
  clientIdInvalid: 0x85,
  badCredentials: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  serverShuttingDown: 0x8b,
  badAuthMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  payloadFormatInvalid: 0x99,
  maximumConnectTime: 0xa0,
  useAnotherServer: 0x9c,
} as const

export type ReasonCode = number

/** CONNACK return codes of 3.1 and 3.1.1. */
export const RETURN_CODE = {
  accepted: 0,
  unacceptableVersion: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badCredentials: 4,
  notAuthorized: 5,
} as const

/**
 * A peer broke the protocol: its connection ends, nothing else does. `silent`: the stream or the
 * peer cannot be trusted far enough for an answer, so it is closed without one.
 */
export class ProtocolError extends Error {
  readonly reason: ReasonCode
  readonly silent: boolean

  constructor(reason: ReasonCode, message: string, silent = false) {
    super(message)
    this.name = 'ProtocolError'
    this.reason = reason
    this.silent = silent
  }
}

export const malformed = (message: string): ProtocolError =>
  new ProtocolError(REASON.malformedPacket, message)

export const violation = (message: string): ProtocolError =>
  new ProtocolError(REASON.protocolError, message)

export const packetTooLarge = (packetBytes: number, bytesMax: number): ProtocolError =>
  new ProtocolError(
    REASON.packetTooLarge,
    `a packet of ${packetBytes} bytes is over the limit of ${bytesMax}`,
  )

interface PacketRule {
  readonly name: string
  /** The fixed header's flags; -1 = the packet's own decoder checks them. */
  readonly flags: number
  readonly badFlags: ReasonCode
  /** Sent by clients? The others are refused from them. */
  readonly fromClient: boolean
}

const { malformedPacket, protocolError } = REASON
const rule = (
  name: string,
  flags: number,
  fromClient: boolean,
  badFlags: ReasonCode,
): PacketRule => ({ name, flags, fromClient, badFlags })

// Wrong flags are a malformed packet (MQTT-2.1.3-1); which of the two codes the peer is told is
// only advice, and here follows what peers' published wire tests expect.
const RULES: readonly (PacketRule | undefined)[] = [
  undefined,
  rule('CONNECT', -1, true, protocolError),
  rule('CONNACK', -1, false, protocolError),
  rule('PUBLISH', -1, true, malformedPacket),
  rule('PUBACK', 0, true, malformedPacket),
  rule('PUBREC', 0, true, malformedPacket),
  rule('PUBREL', 2, true, protocolError),
  rule('PUBCOMP', 0, true, malformedPacket),
  rule('SUBSCRIBE', 2, true, malformedPacket),
  rule('SUBACK', 0, false, malformedPacket),
  rule('UNSUBSCRIBE', 2, true, malformedPacket),
  rule('UNSUBACK', 0, false, malformedPacket),
  rule('PINGREQ', 0, true, malformedPacket),
  rule('PINGRESP', 0, false, malformedPacket),
  rule('DISCONNECT', 0, true, protocolError),
  rule('AUTH', 0, true, protocolError),
]

export const packetName = (type: number): string => RULES[type]?.name ?? `packet type ${type}`

/** Checks type, direction and flags of a packet after CONNECT from its first byte alone. */
export function checkFirstByte(first: number, version: Version): void {
  const type = first >>> 4
  const known = RULES[type]
  if (known === undefined || (type === PACKET.auth && version < 5)) {
    throw violation(`${packetName(type)} does not exist in this version`)
  }
  // 3.1 marks a SUBSCRIBE, UNSUBSCRIBE or PUBREL that is sent again as a duplicate.
  const flags = version === 3 && known.flags === 2 ? first & 7 : first & 15
  if (known.flags !== -1 && flags !== known.flags) {
    throw new ProtocolError(
      known.badFlags,
      `${known.name} has flags ${first & 15} instead of ${known.flags}`,
    )
  }
  if (!known.fromClient) throw violation(`${known.name} is sent by servers only`)
}

/** By a peer that no answer would be understood by. */
export const silentViolation = (message: string): ProtocolError =>
  new ProtocolError(REASON.malformedPacket, message, true)
