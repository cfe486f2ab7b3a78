// Writes a delivery as PUBLISH into a connection's output.
//
//   0x30 | dup << 3 | qos << 1 | retain    length    topic length u16, topic
//   packet id u16 (QoS 1, 2)    property length, subscription ids, expiry, the rest (5)    payload
import type { Delivery } from './delivery.ts'
import { COPY_BYTES_MAX } from './limits.ts'
import type { Output } from './output.ts'
import type { Qos } from './protocol.ts'

export interface PublishHeader {
  readonly qos: Qos
  readonly dup: boolean
  readonly retain: boolean
  /** 0 for QoS 0. */
  readonly packetId: number
  /** Of every matching subscription that has one. */
  readonly subscriptionIds: readonly number[]
  /** Seconds left, or -1 when the message does not expire. */
  readonly expirySeconds: number
}

const EXPIRY_BYTES = 5
const SUBSCRIPTION_ID = 0x0b
const MESSAGE_EXPIRY = 0x02

/** Bytes of the whole packet. */
export function publishBytes(delivery: Delivery, header: PublishHeader, isV5: boolean): number {
  const length = remainingLength(delivery, header, isV5)
  return 1 + varintBytes(length) + length
}

export function writePublish(
  out: Output,
  delivery: Delivery,
  header: PublishHeader,
  isV5: boolean,
): void {
  const payloadBytes = delivery.payloadEnd - delivery.payloadStart
  const length = remainingLength(delivery, header, isV5)
  const total = 1 + varintBytes(length) + length
  if (total > COPY_BYTES_MAX) {
    const head = Buffer.allocUnsafe(total - payloadBytes)
    putHead(head, 0, delivery, header, length, isV5)
    out.append(head)
    out.append(delivery.bytes.subarray(delivery.payloadStart, delivery.payloadEnd))
    return
  }
  const block = out.reserve(total)
  const at = putHead(block, out.at, delivery, header, length, isV5)
  out.at = at + delivery.bytes.copy(block, at, delivery.payloadStart, delivery.payloadEnd)
}

function putHead(
  block: Buffer,
  from: number,
  delivery: Delivery,
  header: PublishHeader,
  length: number,
  isV5: boolean,
): number {
  const topicBytes = delivery.topicEnd - delivery.topicStart
  let at = from
  block[at++] = 0x30 | (header.dup ? 8 : 0) | (header.qos << 1) | (header.retain ? 1 : 0)
  at = putVarint(block, at, length)
  block[at++] = topicBytes >>> 8
  block[at++] = topicBytes
  at += delivery.topicSource.copy(block, at, delivery.topicStart, delivery.topicEnd)
  if (header.qos > 0) {
    block[at++] = header.packetId >>> 8
    block[at++] = header.packetId
  }
  return isV5 ? putProperties(block, at, delivery, header) : at
}

function remainingLength(delivery: Delivery, header: PublishHeader, isV5: boolean): number {
  const fixed =
    2 +
    (delivery.topicEnd - delivery.topicStart) +
    (header.qos > 0 ? 2 : 0) +
    (delivery.payloadEnd - delivery.payloadStart)
  if (!isV5) return fixed
  const section = sectionBytes(delivery, header)
  return fixed + varintBytes(section) + section
}

function sectionBytes(delivery: Delivery, header: PublishHeader): number {
  let bytes = delivery.properties.length
  if (header.expirySeconds >= 0) bytes += EXPIRY_BYTES
  for (const id of header.subscriptionIds) bytes += 1 + varintBytes(id)
  return bytes
}

function putProperties(block: Buffer, from: number, delivery: Delivery, header: PublishHeader) {
  let at = putVarint(block, from, sectionBytes(delivery, header))
  if (header.expirySeconds >= 0) {
    block[at] = MESSAGE_EXPIRY
    block[at + 1] = header.expirySeconds >>> 24
    block[at + 2] = header.expirySeconds >>> 16
    block[at + 3] = header.expirySeconds >>> 8
    block[at + 4] = header.expirySeconds
    at += EXPIRY_BYTES
  }
  for (const id of header.subscriptionIds) {
    block[at++] = SUBSCRIPTION_ID
    at = putVarint(block, at, id)
  }
  return at + delivery.properties.copy(block, at)
}

export const varintBytes = (value: number): number =>
  value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4

function putVarint(block: Buffer, from: number, value: number): number {
  let at = from
  let left = value
  for (; left > 127; left >>>= 7) block[at++] = (left & 127) | 128
  block[at++] = left
  return at
}
