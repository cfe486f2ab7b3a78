// From a decoded CONNECT to what the connection works with: its user, its limits, its session.

import { randomUUID } from 'node:crypto'
import type { Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { reasonOf, returnCodeOf } from './errors.ts'
import type { Extended } from './extended-login.ts'
import { CLIENT_ID_BYTES_MAX } from './limits.ts'
import type { MqttOptions } from './options.ts'
import {
  type ConnectPacket,
  ConnectRefused,
  encodeConnack,
  type WillMessage,
} from './packets/connect-packet.ts'
import { type Properties, tooManyUserProperties } from './packets/properties.ts'
import { PACKET, ProtocolError, REASON, RETURN_CODE, type Version } from './packets/protocol.ts'
import { checkName } from './packets/topic-name.ts'
import { NEVER, type Will } from './session/session.ts'

const EXPIRY_NEVER = 0xffff_ffff
const RECEIVE_MAXIMUM_DEFAULT = 65_535

/** The outcome of a CONNECT, before the session is known. */
export interface Terms {
  readonly clientId: string
  /** The client left the choice of its id to us. */
  readonly isAssigned: boolean
  readonly expiryMs: number
  readonly will: Will | undefined
  readonly keepAliveSeconds: number
  readonly isKeepAliveOurs: boolean
  /** Messages of QoS 1 and 2 the client takes at a time. */
  readonly window: number
  /** Largest packet the client takes. */
  readonly packetBytesMax: number
  /** Topic aliases the client takes. */
  readonly aliasMax: number
  readonly wantsReasons: boolean
}

/**
 * `user`: that the client's certificate names, or that it proved to be by AUTH packets.
 * @throws ProtocolError with a CONNACK code, BrokerError
 */
export function termsOf(packet: ConnectPacket, options: MqttOptions, user?: string): Terms {
  const { properties, version, clean } = packet
  const asked = (options.usernameAsClientId && (packet.username ?? user)) || packet.clientId
  if (asked === '' && (version === 3 || (version === 4 && !clean))) {
    throw new ProtocolError(REASON.clientIdInvalid, 'an empty client id needs a clean session')
  }
  checkClientId(asked)
  if (packet.will !== undefined) checkWill(packet.will, options)
  const isAssigned = asked === ''
  const ownKeepAlive = version === 5 ? keepAliveOf(packet.keepAliveSeconds, options) : undefined
  const expiryMs = expiryOf(packet, options)
  return {
    clientId: isAssigned ? `auto-${randomUUID()}` : asked,
    isAssigned,
    expiryMs,
    will: packet.will && {
      ...packet.will,
      delayMs: (packet.will.properties.willDelay ?? 0) * 1000,
    },
    keepAliveSeconds: ownKeepAlive ?? packet.keepAliveSeconds,
    isKeepAliveOurs: ownKeepAlive !== undefined,
    window: Math.min(properties.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT, options.inFlightMax),
    packetBytesMax: properties.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    aliasMax: properties.topicAliasMaximum ?? 0,
    wantsReasons: properties.requestProblemInfo !== 0,
  }
}

/**
 * Client ids that the standard allows and we do not take are refused by a code, in every version.
 */
function checkClientId(clientId: string): void {
  const bytes = Buffer.byteLength(clientId)
  if (bytes <= CLIENT_ID_BYTES_MAX) return
  throw new ProtocolError(
    REASON.clientIdInvalid,
    `the client id has ${bytes} bytes; ${CLIENT_ID_BYTES_MAX} is the most`,
  )
}

/** @throws BrokerError */
function checkWill({ topic, properties }: WillMessage, options: MqttOptions): void {
  checkName(topic, options)
  if (properties.hasMoreUser) throw tooManyUserProperties()
}

/**
 * The keep alive that the client is to use instead of its own (MQTT-3.1.2-21); undefined: its own.
 */
function keepAliveOf(asked: number, options: MqttOptions): number | undefined {
  const { serverKeepAlive, keepAliveSecondsMax: limit } = options
  if (serverKeepAlive !== undefined) return serverKeepAlive
  return limit > 0 && (asked === 0 || asked > limit) ? limit : undefined
}

function expiryOf(packet: ConnectPacket, options: MqttOptions): number {
  if (packet.version < 5) return packet.clean ? 0 : options.sessionExpiryMs
  return cappedExpiry(packet.properties.sessionExpiry ?? 0, options)
}

/** Seconds as MQTT 5 gives them, as ms within the allowed range. */
export function cappedExpiry(seconds: number, options: MqttOptions): number {
  const asked = seconds === EXPIRY_NEVER ? NEVER : seconds * 1000
  return Math.min(asked, options.sessionExpiryMsMax)
}

/** Rejects with UNAUTHENTICATED, BUSY, or the signal's reason when the connection ends first. */
export async function authenticate(
  { username, password }: ConnectPacket,
  { auth }: GatewayContext,
  { remoteAddress, certifiedUser }: Pick<GatewaySocket, 'remoteAddress' | 'certifiedUser'>,
  signal: AbortSignal,
): Promise<Principal> {
  // Without users there is nothing to check a password against, and everyone is anonymous.
  if (auth.anonymousAllowed) return auth.anonymous()
  if (certifiedUser !== undefined && password === undefined) {
    if (username === undefined || username === certifiedUser) return auth.certified(certifiedUser)
    throw new BrokerError(
      'UNAUTHENTICATED',
      `the user name is '${username}', and the certificate is for '${certifiedUser}'`,
    )
  }
  if (username === undefined) {
    if (password !== undefined) return auth.verifyToken(password.toString(), remoteAddress, signal)
    throw new BrokerError('UNAUTHENTICATED', 'this broker wants a user name and a password')
  }
  return auth.verifyPassword(username, password?.toString() ?? '', remoteAddress, signal)
}

/**
 * CONNACK's properties: only what differs from the standard's defaults, so that it stays small.
 * @throws ProtocolError when the client takes no packet as large (MQTT-3.1.2-24)
 */
export function connackProperties(
  packet: ConnectPacket,
  terms: Terms,
  options: MqttOptions,
  extended?: Extended,
): Properties {
  if (packet.version < 5) return {}
  const asked = packet.properties.sessionExpiry ?? 0
  const properties: Properties = {
    receiveMaximum: options.receiveMaximum,
    topicAliasMaximum: options.topicAliasMax,
    maximumPacketSize: options.packetBytesMax,
  }
  if (extended !== undefined) {
    properties.authMethod = extended.authMethod
    if (extended.authData !== undefined) properties.authData = extended.authData
  }
  if (terms.isAssigned) properties.assignedClientId = terms.clientId
  if (terms.isKeepAliveOurs) properties.serverKeepAlive = terms.keepAliveSeconds
  const askedMs = asked === EXPIRY_NEVER ? NEVER : asked * 1000
  if (askedMs > terms.expiryMs) properties.sessionExpiry = Math.floor(terms.expiryMs / 1000)
  if (encodeConnack(5, false, REASON.success, properties).length > terms.packetBytesMax) {
    throw new ProtocolError(REASON.packetTooLarge, 'CONNACK is too large for the client', true)
  }
  return properties
}

/**
 * 3.1 and 3.1.1 have codes for a few reasons only; undefined: nothing that the peer would
 * understand. A malformed client id is answered by closing, one that may not be empty by its code
 * (MQTT-3.1.3-8).
 */
export function refusedConnack(
  version: Version,
  error: unknown,
  packetBytesMax: number,
): Buffer | undefined {
  if (!(error instanceof ProtocolError)) {
    if (version < 5) return encodeConnack(version, false, returnCodeOf(error))
    return connackOf5(reasonOf(error, PACKET.connack), BrokerError.from(error), packetBytesMax)
  }
  if (error.silent) return undefined
  if (version === 5) return encodeConnack(version, false, error.reason, {})
  const isIdRefused = error.reason === REASON.clientIdInvalid && !(error instanceof ConnectRefused)
  return isIdRefused ? encodeConnack(version, false, RETURN_CODE.identifierRejected) : undefined
}

/** With the reason as text where the client takes so long a packet. */
function connackOf5(reason: number, { message }: BrokerError, packetBytesMax: number): Buffer {
  const connack = encodeConnack(5, false, reason, { reasonString: message })
  return connack.length <= packetBytesMax ? connack : encodeConnack(5, false, reason)
}
