// PUBACK, PUBREC, PUBREL, PUBCOMP: a packet id, and in MQTT 5 a reason code and properties.
import { PacketReader } from './packet-reader.ts'
import { encodeReason, readProperties } from './properties.ts'
import { malformed, PACKET, packetName, REASON, type ReasonCode, violation } from './protocol.ts'

const PUBLISH_REASONS: ReadonlySet<ReasonCode> = new Set([
  0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99,
])
const RELEASE_REASONS: ReadonlySet<ReasonCode> = new Set([0x00, REASON.packetIdNotFound])

/**
 * Packet id and reason code as one number: `id << 8 | reason`, so that the hot path allocates
 * nothing.
 */
export function decodeAck(
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
  isV5: boolean,
): number {
  const length = end - start
  if (length < 2 || (!isV5 && length !== 2)) {
    throw malformed(`${packetName(type)} has ${length} bytes`)
  }
  const id = (bytes[start]! << 8) | bytes[start + 1]!
  if (id === 0) throw violation(`${packetName(type)} has the packet id 0`)
  return length === 2 ? id << 8 : (id << 8) | readReason(type, bytes, start + 2, end)
}

export const ackId = (ack: number): number => ack >>> 8
export const ackReason = (ack: number): ReasonCode => ack & 255

function readReason(type: number, bytes: Buffer, start: number, end: number): ReasonCode {
  const reader = new PacketReader(bytes, start, end)
  const reason = reader.u8('the reason code')
  if (reader.left > 0) {
    readProperties(reader, type)
    reader.finish(packetName(type))
  }
  const known = type === PACKET.puback || type === PACKET.pubrec ? PUBLISH_REASONS : RELEASE_REASONS
  if (!known.has(reason)) throw violation(`${packetName(type)} has the reason code ${reason}`)
  return reason
}

/** MQTT 5, with a reason. */
export const encodeAck = (
  first: number,
  packetId: number,
  reason: ReasonCode,
  reasonString: string | undefined,
  packetBytesMax: number,
): Buffer =>
  encodeReason(first, [packetId >>> 8, packetId & 0xff, reason], reasonString, packetBytesMax)
