// Codes of frames, performatives, sections and outcomes (AMQP 2.7, 3.2, 3.4, 5.3), and how a
// descriptor is read wherever one may stand: a small or full ulong, or a symbol.
import { getU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'

export const FRAME_AMQP = 0
export const FRAME_SASL = 1
export const FRAME_HEADER_BYTES = 8

export const CODE = {
  open: 0x10,
  begin: 0x11,
  attach: 0x12,
  flow: 0x13,
  transfer: 0x14,
  disposition: 0x15,
  detach: 0x16,
  end: 0x17,
  close: 0x18,
  error: 0x1d,
  accepted: 0x24,
  rejected: 0x25,
  released: 0x26,
  modified: 0x27,
  received: 0x23,
  declare: 0x31,
  discharge: 0x32,
  declared: 0x33,
  transactionalState: 0x34,
  source: 0x28,
  target: 0x29,
  coordinator: 0x30,
  saslMechanisms: 0x40,
  saslInit: 0x41,
  saslChallenge: 0x42,
  saslResponse: 0x43,
  saslOutcome: 0x44,
  header: 0x70,
  deliveryAnnotations: 0x71,
  messageAnnotations: 0x72,
  properties: 0x73,
  applicationProperties: 0x74,
  data: 0x75,
  sequence: 0x76,
  value: 0x77,
  footer: 0x78,
} as const

const SYMBOLS: ReadonlyMap<string, number> = new Map([
  ['amqp:open:list', CODE.open],
  ['amqp:begin:list', CODE.begin],
  ['amqp:attach:list', CODE.attach],
  ['amqp:flow:list', CODE.flow],
  ['amqp:transfer:list', CODE.transfer],
  ['amqp:disposition:list', CODE.disposition],
  ['amqp:detach:list', CODE.detach],
  ['amqp:end:list', CODE.end],
  ['amqp:close:list', CODE.close],
  ['amqp:error:list', CODE.error],
  ['amqp:accepted:list', CODE.accepted],
  ['amqp:rejected:list', CODE.rejected],
  ['amqp:released:list', CODE.released],
  ['amqp:modified:list', CODE.modified],
  ['amqp:received:list', CODE.received],
  ['amqp:declare:list', CODE.declare],
  ['amqp:discharge:list', CODE.discharge],
  ['amqp:declared:list', CODE.declared],
  ['amqp:transactional-state:list', CODE.transactionalState],
  ['amqp:source:list', CODE.source],
  ['amqp:target:list', CODE.target],
  ['amqp:coordinator:list', CODE.coordinator],
  ['amqp:sasl-init:list', CODE.saslInit],
  ['amqp:sasl-response:list', CODE.saslResponse],
  ['amqp:header:list', CODE.header],
  ['amqp:delivery-annotations:map', CODE.deliveryAnnotations],
  ['amqp:message-annotations:map', CODE.messageAnnotations],
  ['amqp:properties:list', CODE.properties],
  ['amqp:application-properties:map', CODE.applicationProperties],
  ['amqp:data:binary', CODE.data],
  ['amqp:amqp-sequence:list', CODE.sequence],
  ['amqp:amqp-value:*', CODE.value],
  ['amqp:footer:map', CODE.footer],
])

/** The code for a descriptor's symbol, or -1. */
export const codeOfSymbol = (symbol: string): number => SYMBOLS.get(symbol) ?? -1

const SMALL_ULONG_DESCRIPTOR_BYTES = 3
const ULONG_DESCRIPTOR_BYTES = 10

const isSmall = (bytes: Buffer, at: number, end: number): boolean =>
  bytes[at] === 0 && bytes[at + 1] === 0x53 && at + SMALL_ULONG_DESCRIPTOR_BYTES < end

/**
 * The code of the described value at `at`, -1 for a symbol we do not know.
 * @throws AmqpError decode-error when no described value with one of the three forms is there
 */
export function descriptorCode(bytes: Buffer, at: number, end: number): number {
  if (isSmall(bytes, at, end)) return bytes[at + 2]!
  const length = descriptorBytes(bytes, at, end)
  const form = bytes[at + 1]!
  if (form === 0x80) return getU32(bytes, at + 2) === 0 ? getU32(bytes, at + 6) : -1
  return SYMBOLS.get(bytes.latin1Slice(at + (form === 0xa3 ? 3 : 6), at + length)) ?? -1
}

/** Bytes from `at` to where the described value's own value begins; at least one is there. */
export function descriptorBytes(bytes: Buffer, at: number, end: number): number {
  if (isSmall(bytes, at, end)) return SMALL_ULONG_DESCRIPTOR_BYTES
  const form = bytes[at] === 0 && end - at > 6 ? bytes[at + 1]! : -1
  let length = end - at
  if (form === 0x80) length = ULONG_DESCRIPTOR_BYTES
  else if (form === 0xa3) length = 3 + bytes[at + 2]!
  else if (form === 0xb3) length = 6 + getU32(bytes, at + 2)
  if (length >= end - at) {
    throw decodeError('no described value where a performative or section must be')
  }
  return length
}

/** Annotations of ours; a peer's are taken as orders and then dropped, ours are made anew. */
export const OWN_ANNOTATION = 'x-opt-rmq-'
