// PUBLISH, the hot packet. Decoding notes where things lie and copies nothing; one packet object
// per connection is filled again and again.
//
//   topic length u16, topic    packet id u16 (QoS 1, 2)    property length, properties (5)
//   payload
import { PacketReader } from './packet-reader.ts'
import { type Properties, readProperties } from './properties.ts'
import { malformed, PACKET, type Qos, violation } from './protocol.ts'

export const NO_PROPERTIES: Properties = Object.freeze({})

export interface PublishPacket {
  qos: Qos
  retain: boolean
  dup: boolean
  /** 0 for QoS 0. */
  packetId: number
  /** The topic's bytes; empty = see the alias. */
  topicStart: number
  topicEnd: number
  payloadStart: number
  payloadEnd: number
  properties: Properties
}

export const emptyPublish = (): PublishPacket => ({
  qos: 0,
  retain: false,
  dup: false,
  packetId: 0,
  topicStart: 0,
  topicEnd: 0,
  payloadStart: 0,
  payloadEnd: 0,
  properties: NO_PROPERTIES,
})

/** Fills `into`. The topic's text is the caller's to check: it knows most topics already. */
export function decodePublish(
  into: PublishPacket,
  first: number,
  bytes: Buffer,
  start: number,
  end: number,
  isV5: boolean,
): void {
  const qos = (first >>> 1) & 3
  if (qos === 3) throw malformed('PUBLISH has QoS 3')
  into.qos = qos as Qos
  into.dup = (first & 8) !== 0
  into.retain = (first & 1) !== 0
  if (qos === 0 && into.dup) throw malformed('PUBLISH of QoS 0 is marked as a duplicate')
  const topicStart = start + 2
  if (topicStart > end) throw malformed('PUBLISH ends within the topic')
  const topicEnd = topicStart + ((bytes[start]! << 8) | bytes[start + 1]!)
  let at = topicEnd + (qos === 0 ? 0 : 2)
  if (at > end) throw malformed('PUBLISH ends within the topic or the packet id')
  into.topicStart = topicStart
  into.topicEnd = topicEnd
  into.packetId = 0
  if (qos !== 0) {
    into.packetId = (bytes[at - 2]! << 8) | bytes[at - 1]!
    if (into.packetId === 0) throw violation('PUBLISH has the packet id 0')
  }
  into.properties = NO_PROPERTIES
  if (isV5) {
    if (at < end && bytes[at] === 0) at++
    else at = decodeProperties(into, bytes, at, end)
  }
  into.payloadStart = at
  into.payloadEnd = end
}

function decodeProperties(into: PublishPacket, bytes: Buffer, at: number, end: number): number {
  const reader = new PacketReader(bytes, at, end)
  const properties = readProperties(reader, PACKET.publish)
  if (properties.subscriptionIds !== undefined) {
    throw violation('PUBLISH from a client has a subscription identifier')
  }
  into.properties = properties
  return reader.at
}
