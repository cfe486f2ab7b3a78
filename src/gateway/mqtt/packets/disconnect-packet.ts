// DISCONNECT and AUTH.
import { PacketReader } from './packet-reader.ts'
import { encodeReason, type Properties, readProperties } from './properties.ts'
import { malformed, PACKET, REASON, type ReasonCode, violation } from './protocol.ts'

export interface DisconnectPacket {
  readonly reason: ReasonCode
  readonly properties: Properties
}

const AUTH_SUCCESS = 0x00
const AUTH_CONTINUE = 0x18
const REAUTHENTICATE = 0x19

export function decodeDisconnect(
  bytes: Buffer,
  start: number,
  end: number,
  isV5: boolean,
): DisconnectPacket {
  const reader = new PacketReader(bytes, start, end)
  if (!isV5 && reader.left > 0) throw malformed('DISCONNECT is longer than its header')
  const reason = reader.left > 0 ? reader.u8('the reason code') : REASON.success
  const properties = reader.left > 0 ? readProperties(reader, PACKET.disconnect) : {}
  reader.finish('DISCONNECT')
  return { reason, properties }
}

/**
 * Extended authentication is not offered, so that any AUTH is out of place; its form is checked
 * first.
 */
export function refuseAuth(bytes: Buffer, start: number, end: number): never {
  const reader = new PacketReader(bytes, start, end)
  const reason = reader.left > 0 ? reader.u8('the reason code') : AUTH_SUCCESS
  if (reason !== AUTH_SUCCESS && reason !== AUTH_CONTINUE && reason !== REAUTHENTICATE) {
    throw violation(`AUTH has the reason code ${reason}`)
  }
  throw violation('AUTH without an authentication method in CONNECT')
}

/** MQTT 5 only. */
export const encodeDisconnect = (
  reason: ReasonCode,
  reasonString: string | undefined,
  packetBytesMax: number,
): Buffer => encodeReason(0xe0, [reason], reasonString, packetBytesMax)
