// DISCONNECT and AUTH.
import { PacketReader } from './packet-reader.ts'
import { encodeProperties, encodeVarint, type Properties, readProperties } from './properties.ts'
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

/** MQTT 5 only; the text rides along when it is there and fits. */
export function encodeDisconnect(
  reason: ReasonCode,
  reasonString: string | undefined,
  packetBytesMax: number,
): Buffer {
  if (reasonString !== undefined) {
    const section = encodeProperties({ reasonString })
    const length = encodeVarint(section.length)
    const total = encodeVarint(1 + length.length + section.length)
    const packet = Buffer.concat([Buffer.of(0xe0), total, Buffer.of(reason), length, section])
    if (packet.length <= packetBytesMax) return packet
  }
  return Buffer.of(0xe0, 1, reason)
}
