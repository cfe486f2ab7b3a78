// AUTH, of MQTT 5 alone.
import { PacketReader } from './packet-reader.ts'
import { encodeProperties, encodeVarint, type Properties, readProperties } from './properties.ts'
import { PACKET, type ReasonCode, violation } from './protocol.ts'

export const AUTH_REASON = { success: 0x00, continue: 0x18, reauthenticate: 0x19 } as const

export interface AuthPacket {
  readonly reason: ReasonCode
  readonly properties: Properties
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(AUTH_REASON))

/** @throws ProtocolError */
export function decodeAuth(bytes: Buffer, start: number, end: number): AuthPacket {
  const reader = new PacketReader(bytes, start, end)
  const reason = reader.left > 0 ? reader.u8('the reason code') : AUTH_REASON.success
  if (!KNOWN.has(reason)) throw violation(`AUTH has the reason code ${reason}`)
  const properties = reader.left > 0 ? readProperties(reader, PACKET.auth) : {}
  reader.finish('AUTH')
  return { reason: reason as ReasonCode, properties }
}

export function encodeAuth(
  reason: ReasonCode,
  authMethod: string,
  authData: Buffer | undefined,
): Buffer {
  const section = encodeProperties({ authMethod, ...(authData !== undefined && { authData }) })
  const length = encodeVarint(section.length)
  const total = encodeVarint(1 + length.length + section.length)
  return Buffer.concat([Buffer.of(PACKET.auth << 4), total, Buffer.of(reason), length, section])
}
