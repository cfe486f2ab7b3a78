// Writes a delivery as PUBLISH into a connection's output.
//
//   0x30 | dup << 3 | qos << 1 | retain    length    topic length u16, topic
//   packet id u16 (QoS 1, 2)    property length, expiry, alias, subscription ids, the rest (5)
//   payload

import { copyBytes } from '../../../model/bytes.ts'
import { COPY_BYTES_MAX, type Output } from '../../../output.ts'
import type { Qos } from '../packets/protocol.ts'
import type { OutgoingMessage, PreparedPublish } from './outgoing-message.ts'

/**
 * The fields that differ from subscriber to subscriber. One object serves a connection again and
 * again.
 */
export interface PublishHeader {
  qos: Qos
  dup: boolean
  retain: boolean
  /** 0 for QoS 0. */
  packetId: number
  /** Of every matching subscription that has one. */
  subscriptionIds: readonly number[]
  /** Seconds left, or -1 when the message does not expire. */
  expirySeconds: number
  /** Topic alias, or 0. */
  alias: number
  /** The client knows the alias: the topic itself is left out. */
  isAliasKnown: boolean
}

export const NO_IDS: readonly number[] = []

export const emptyHeader = (): PublishHeader => ({
  qos: 0,
  dup: false,
  retain: false,
  packetId: 0,
  subscriptionIds: NO_IDS,
  expirySeconds: -1,
  alias: 0,
  isAliasKnown: false,
})

/**
 * To write a shorter one anew costs less than to keep a packet; a larger one is copied once only.
 */
const PREPARED_PAYLOAD_MIN = 256
const PREPARED_PAYLOAD_MAX = 4096
const EXPIRY_BYTES = 5
const ALIAS_BYTES = 3
/** The most that an alias adds to a packet: itself, and a byte to each of the two lengths. */
export const ALIAS_GROWTH_MAX = ALIAS_BYTES + 2
const TOPIC_ALIAS = 0x23
const SUBSCRIPTION_ID = 0x0b
const MESSAGE_EXPIRY = 0x02

/** Bytes of the whole packet. */
export function publishBytes(
  delivery: OutgoingMessage,
  header: PublishHeader,
  isV5: boolean,
): number {
  const length = remainingLength(delivery, header, isV5)
  return 1 + varintBytes(length) + length
}

export function writePublish(
  out: Output,
  delivery: OutgoingMessage,
  header: PublishHeader,
  isV5: boolean,
): void {
  const prepared = preparedFor(delivery, header, isV5)
  if (prepared !== undefined) {
    writePrepared(out, prepared, header)
    return
  }
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
  out.at = copyBytes(block, at, delivery.bytes, delivery.payloadStart, delivery.payloadEnd)
}

/** From the second subscriber on a message is encoded once and copied. */
function preparedFor(
  delivery: OutgoingMessage,
  header: PublishHeader,
  isV5: boolean,
): PreparedPublish | undefined {
  const differs = header.subscriptionIds.length > 0 || header.expirySeconds >= 0 || header.alias > 0
  const payloadBytes = delivery.payloadEnd - delivery.payloadStart
  if (differs || payloadBytes < PREPARED_PAYLOAD_MIN || payloadBytes > PREPARED_PAYLOAD_MAX) {
    return undefined
  }
  const kind = (isV5 ? 2 : 0) + (header.qos > 0 ? 1 : 0)
  const known = delivery.prepared?.[kind]
  if (known !== undefined) return known
  if (!delivery.isShared) {
    delivery.isShared = true
    return undefined
  }
  const length = remainingLength(delivery, header, isV5)
  const bytes = Buffer.allocUnsafe(1 + varintBytes(length) + length)
  const at = putHead(bytes, 0, delivery, header, length, isV5)
  copyBytes(bytes, at, delivery.bytes, delivery.payloadStart, delivery.payloadEnd)
  const idAt = 1 + varintBytes(length) + 2 + (delivery.topicEnd - delivery.topicStart)
  const prepared = { bytes, idAt }
  delivery.prepared ??= [undefined, undefined, undefined, undefined]
  delivery.prepared[kind] = prepared
  return prepared
}

function writePrepared(out: Output, { bytes, idAt }: PreparedPublish, header: PublishHeader) {
  const block = out.reserve(bytes.length)
  const at = out.at
  block.set(bytes, at)
  block[at] = firstByte(header)
  if (header.qos > 0) {
    block[at + idAt] = header.packetId >>> 8
    block[at + idAt + 1] = header.packetId
  }
  out.at = at + bytes.length
}

const firstByte = (header: PublishHeader): number =>
  0x30 | (header.dup ? 8 : 0) | (header.qos << 1) | (header.retain ? 1 : 0)

function putHead(
  block: Buffer,
  from: number,
  delivery: OutgoingMessage,
  header: PublishHeader,
  length: number,
  isV5: boolean,
): number {
  const topicBytes = topicBytesOf(delivery, header)
  let at = from
  block[at++] = firstByte(header)
  at = putVarint(block, at, length)
  block[at++] = topicBytes >>> 8
  block[at++] = topicBytes
  if (topicBytes > 0) {
    at = copyBytes(block, at, delivery.topicSource, delivery.topicStart, delivery.topicEnd)
  }
  if (header.qos > 0) {
    block[at++] = header.packetId >>> 8
    block[at++] = header.packetId
  }
  return isV5 ? putProperties(block, at, delivery, header) : at
}

function remainingLength(delivery: OutgoingMessage, header: PublishHeader, isV5: boolean): number {
  const fixed =
    2 +
    topicBytesOf(delivery, header) +
    (header.qos > 0 ? 2 : 0) +
    (delivery.payloadEnd - delivery.payloadStart)
  if (!isV5) return fixed
  const section = sectionBytes(delivery, header)
  return fixed + varintBytes(section) + section
}

const topicBytesOf = (delivery: OutgoingMessage, header: PublishHeader): number =>
  header.isAliasKnown ? 0 : delivery.topicEnd - delivery.topicStart

function sectionBytes(delivery: OutgoingMessage, header: PublishHeader): number {
  let bytes = delivery.properties.length
  if (header.expirySeconds >= 0) bytes += EXPIRY_BYTES
  if (header.alias > 0) bytes += ALIAS_BYTES
  for (const id of header.subscriptionIds) bytes += 1 + varintBytes(id)
  return bytes
}

function putProperties(
  block: Buffer,
  from: number,
  delivery: OutgoingMessage,
  header: PublishHeader,
) {
  let at = putVarint(block, from, sectionBytes(delivery, header))
  if (header.expirySeconds >= 0) {
    block[at] = MESSAGE_EXPIRY
    block[at + 1] = header.expirySeconds >>> 24
    block[at + 2] = header.expirySeconds >>> 16
    block[at + 3] = header.expirySeconds >>> 8
    block[at + 4] = header.expirySeconds
    at += EXPIRY_BYTES
  }
  if (header.alias > 0) {
    block[at] = TOPIC_ALIAS
    block[at + 1] = header.alias >>> 8
    block[at + 2] = header.alias
    at += ALIAS_BYTES
  }
  for (const id of header.subscriptionIds) {
    block[at++] = SUBSCRIPTION_ID
    at = putVarint(block, at, id)
  }
  return copyBytes(block, at, delivery.properties, 0, delivery.properties.length)
}

const varintBytes = (value: number): number =>
  value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4

function putVarint(block: Buffer, from: number, value: number): number {
  let at = from
  let left = value
  for (; left > 127; left >>>= 7) block[at++] = (left & 127) | 128
  block[at++] = left
  return at
}
