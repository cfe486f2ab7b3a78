// The property section of MQTT 5 packets: one table says what each property is and where it may
// stand.
import { BrokerError } from '../../../errors.ts'
import { putU16 } from '../../../model/bytes.ts'
import { USER_PROPERTIES_MAX, USER_PROPERTY_BYTES_MAX } from '../limits.ts'
import type { PacketReader } from './packet-reader.ts'
import { malformed, PACKET, ProtocolError, packetName, REASON, violation } from './protocol.ts'

export type UserProperty = readonly [name: string, value: string]

interface Values {
  byte: number
  flag: number
  u16: number
  u32: number
  text: string
  binary: Buffer
  /** May stand several times, as pairs may. */
  varint: number[]
  pair: UserProperty[]
}
type Kind = keyof Values

interface Rule<K extends Kind> {
  readonly id: number
  readonly kind: K
  /** Bit n set: allowed in section n. */
  readonly places: number
  readonly least: number
}

const rule = <K extends Kind>(
  id: number,
  kind: K,
  places: readonly number[],
  least = 0,
): Rule<K> => ({ id, kind, least, places: places.reduce((bits, place) => bits | (1 << place), 0) })

/** Where a property section stands: a packet type, or the will inside CONNECT. */
export const WILL = 16
const IN_ACKS = [PACKET.puback, PACKET.pubrec, PACKET.pubrel, PACKET.pubcomp]
const EVERYWHERE = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, WILL]
const { connect, connack, publish, subscribe, disconnect, auth } = PACKET

const TABLE = {
  payloadFormat: rule(0x01, 'flag', [publish, WILL]),
  messageExpiry: rule(0x02, 'u32', [publish, WILL]),
  contentType: rule(0x03, 'text', [publish, WILL]),
  responseTopic: rule(0x08, 'text', [publish, WILL]),
  correlationData: rule(0x09, 'binary', [publish, WILL]),
  subscriptionIds: rule(0x0b, 'varint', [publish, subscribe], 1),
  sessionExpiry: rule(0x11, 'u32', [connect, connack, disconnect]),
  assignedClientId: rule(0x12, 'text', [connack]),
  serverKeepAlive: rule(0x13, 'u16', [connack]),
  authMethod: rule(0x15, 'text', [connect, connack, auth]),
  authData: rule(0x16, 'binary', [connect, connack, auth]),
  requestProblemInfo: rule(0x17, 'flag', [connect]),
  willDelay: rule(0x18, 'u32', [WILL]),
  requestResponseInfo: rule(0x19, 'flag', [connect]),
  responseInfo: rule(0x1a, 'text', [connack]),
  serverReference: rule(0x1c, 'text', [connack, disconnect]),
  reasonString: rule(0x1f, 'text', [connack, ...IN_ACKS, 9, 11, disconnect, auth]),
  receiveMaximum: rule(0x21, 'u16', [connect, connack], 1),
  topicAliasMaximum: rule(0x22, 'u16', [connect, connack]),
  topicAlias: rule(0x23, 'u16', [publish]),
  maximumQos: rule(0x24, 'flag', [connack]),
  retainAvailable: rule(0x25, 'flag', [connack]),
  user: rule(0x26, 'pair', EVERYWHERE),
  maximumPacketSize: rule(0x27, 'u32', [connect, connack], 1),
  wildcardAvailable: rule(0x28, 'flag', [connack]),
  subscriptionIdsAvailable: rule(0x29, 'flag', [connack]),
  sharedAvailable: rule(0x2a, 'flag', [connack]),
}

/** Every property of every packet; absent = not sent. */
export type Properties = {
  -readonly [Name in keyof typeof TABLE]?: (typeof TABLE)[Name] extends Rule<infer K>
    ? Values[K]
    : never
} & {
  /** There were more user properties than are taken: those behind the limit were passed over. */
  hasMoreUser?: true
}

type PropertyRule = Rule<Kind> & { readonly name: keyof typeof TABLE }

/** By identifier. */
const RULES: (PropertyRule | undefined)[] = []
for (const name of Object.keys(TABLE) as (keyof typeof TABLE)[]) {
  RULES[TABLE[name].id] = { name, ...TABLE[name] }
}

/** Reads a section of properties. @throws ProtocolError */
export function readProperties(reader: PacketReader, place: number): Properties {
  const properties: Properties = {}
  const length = reader.varint('the property length')
  const end = reader.at + length
  if (end > reader.end) throw malformed('the properties go beyond the packet')
  if (length === 0) return properties
  let userBytes = 0
  while (reader.at < end) {
    const id = reader.varint('a property identifier')
    const known = RULES[id]
    if (known === undefined) throw malformed(`property 0x${id.toString(16)} does not exist`)
    const start = reader.at
    const isPassedOver = known.kind === 'pair' && properties.hasMoreUser === true
    if (isPassedOver) {
      reader.skip('a user property name')
      reader.skip('a user property value')
    }
    const value = isPassedOver ? undefined : readValue(reader, known, end)
    if (reader.at > end) throw malformed(`the property ${known.name} is cut off`)
    checkPlace(known, place)
    if (known.kind === 'pair') userBytes += reader.at - start
    if (value !== undefined) store(properties, known, value, userBytes, place)
  }
  return properties
}

type Value = number | string | Buffer | UserProperty

function readValue(reader: PacketReader, known: PropertyRule, end: number): Value {
  if (reader.at >= end) throw malformed(`the property ${known.name} has no value`)
  switch (known.kind) {
    case 'byte':
    case 'flag':
      return reader.u8(known.name)
    case 'u16':
      return reader.u16(known.name)
    case 'u32':
      return reader.u32(known.name)
    case 'varint':
      return reader.varint(known.name)
    case 'text':
      return reader.text(known.name)
    case 'binary':
      return reader.binary(known.name)
    case 'pair':
      return [reader.text('a user property name'), reader.text('a user property value')]
  }
}

export const tooManyUserProperties = (): BrokerError =>
  new BrokerError(
    'QUOTA_EXCEEDED',
    `a message may carry ${USER_PROPERTIES_MAX} user properties of ${USER_PROPERTY_BYTES_MAX} bytes in all`,
  )

/**
 * A known property in the wrong packet. Packets with a list of filters are taken as malformed, the
 * others as a protocol error: either code is advice (4.13), peers' wire tests expect it so.
 */
function checkPlace(known: PropertyRule, place: number): void {
  if ((known.places & (1 << place)) !== 0) return
  const filters = place === PACKET.subscribe || place === PACKET.unsubscribe
  throw new ProtocolError(
    filters ? REASON.malformedPacket : REASON.protocolError,
    `the property ${known.name} may not stand in ${place === WILL ? 'a will' : packetName(place)}`,
  )
}

function store(
  properties: Properties,
  known: PropertyRule,
  value: Value,
  userBytes: number,
  place: number,
): void {
  if (known.kind === 'pair') {
    properties.user ??= []
    const { length } = properties.user
    if (length < USER_PROPERTIES_MAX && userBytes <= USER_PROPERTY_BYTES_MAX) {
      properties.user.push(value as UserProperty)
    } else properties.hasMoreUser = true
    return
  }
  if (typeof value === 'number') {
    if (value < known.least) throw violation(`the property ${known.name} is ${value}`)
    if (known.kind === 'flag' && value > 1) throw violation(`${known.name} is neither 0 nor 1`)
  }
  if (known.name === 'subscriptionIds') {
    if (properties.subscriptionIds !== undefined && place !== PACKET.publish) {
      throw violation('SUBSCRIBE has two subscription identifiers')
    }
    properties.subscriptionIds ??= []
    properties.subscriptionIds.push(value as number)
    return
  }
  if (properties[known.name] !== undefined)
    throw violation(`the property ${known.name} is there twice`)
  ;(properties as Record<string, Value>)[known.name] = value
}

/**
 * The section without its length, in ascending order of identifiers, user properties in their
 * order.
 */
export function encodeProperties(properties: Properties): Buffer {
  const parts: Buffer[] = []
  for (let id = 0; id < RULES.length; id++) {
    const known = RULES[id]
    const value = known && properties[known.name]
    if (known === undefined || value === undefined) continue
    if (known.kind === 'pair') parts.push(encodePairs(id, value as UserProperty[]))
    else if (known.kind === 'varint') {
      for (const number of value as number[]) parts.push(Buffer.of(id), encodeVarint(number))
    } else {
      parts.push(Buffer.of(id), encodeValue(known.kind, value as number | string | Buffer))
    }
  }
  return Buffer.concat(parts)
}

/** Of native senders a message may have thousands: a buffer for each would take milliseconds. */
function encodePairs(id: number, pairs: readonly UserProperty[]): Buffer {
  let most = 0
  for (const [name, value] of pairs) most += 5 + 3 * (name.length + value.length)
  const out = Buffer.allocUnsafe(most)
  let at = 0
  for (const [name, value] of pairs) {
    out[at] = id
    at = putText(out, putText(out, at + 1, name), value)
  }
  return out.subarray(0, at)
}

function putText(out: Buffer, at: number, text: string): number {
  const bytes = out.write(text, at + 2)
  putU16(out, at, bytes)
  return at + 2 + bytes
}

function encodeValue(kind: Kind, value: number | string | Buffer): Buffer {
  if (typeof value === 'string') return encodeText(value)
  if (typeof value !== 'number') return Buffer.concat([u16(value.length), value])
  if (kind === 'u16') return u16(value)
  if (kind !== 'u32') return Buffer.of(value)
  return Buffer.of(value >>> 24, value >>> 16, value >>> 8, value)
}

export function encodeVarint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  for (; left > 127; left >>>= 7) bytes.push((left & 127) | 128)
  bytes.push(left)
  return Buffer.from(bytes)
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([u16(bytes.length), bytes])
}

export const u16 = (value: number): Buffer => Buffer.of(value >>> 8, value)

/** A packet of `fields`, with a reason as text where there is one and it fits. */
export function encodeReason(
  first: number,
  fields: readonly number[],
  reasonString: string | undefined,
  packetBytesMax: number,
): Buffer {
  if (reasonString !== undefined) {
    const section = encodeProperties({ reasonString })
    const length = encodeVarint(section.length)
    const total = encodeVarint(fields.length + length.length + section.length)
    const packet = Buffer.concat([Buffer.of(first), total, Buffer.from(fields), length, section])
    if (packet.length <= packetBytesMax) return packet
  }
  return Buffer.of(first, fields.length, ...fields)
}
