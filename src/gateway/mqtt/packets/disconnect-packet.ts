// DISCONNECT.
import { PacketReader } from './packet-reader.ts'
import { encodeReason, type Properties, readProperties } from './properties.ts'
import { malformed, PACKET, REASON, type ReasonCode } from './protocol.ts'

export interface DisconnectPacket {
  readonly reason: ReasonCode
  readonly properties: Properties
}

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

/** MQTT 5 only. */
export const encodeDisconnect = (
  reason: ReasonCode,
  reasonString: string | undefined,
  packetBytesMax: number,
): Buffer => encodeReason(0xe0, [reason], reasonString, packetBytesMax)
