// A PUBLISH's properties <-> a record's properties. The record carries what every protocol can
// read; what only MQTT can express exactly (order and duplicates of user properties, binary
// correlation data) rides along in one internal property whenever the plain form would not bring it
// back.

import {
  encodeProperties as encodeRecordProperties,
  hasSeparator,
  INTERNAL_PROPERTIES,
  orderingKeyOf,
  PROPERTY,
} from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'
import {
  formatReplyName,
  mqttNameOf,
  replyAddressOf,
  replyToMqtt,
} from '../shared/reply-address.ts'
import { addressProperties, type MessageAddress } from './address.ts'
import { PacketReader } from './packets/packet-reader.ts'
import {
  encodeProperties,
  encodeVarint,
  type Properties,
  readProperties,
} from './packets/properties.ts'
import { PACKET, type Qos } from './packets/protocol.ts'
import { checkResponseTopic, isTopicName } from './packets/topic-name.ts'
import { decodeText } from './packets/utf8.ts'

/**
 * User properties with a meaning on PUBLISH; the ordering key is kept under RocketMQ's own name.
 */
const TAGS = 'TAGS'
const KEYS = 'KEYS'
const SHARDING_KEY = 'SHARDING_KEY'

/** Replies to requests that came by other protocols are published below it. */
export const REPLY_PREFIX = '$trivet/reply/'

/** The fields of a message beside its route, payload and properties. */
export interface PublishFacts {
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: Properties
  /** The publisher's client id when it must not get the message back. */
  readonly publisher: string | undefined
  /** Identifies the message across repeats of the same PUBLISH. */
  readonly uniqueKey: string | undefined
  readonly nowMs: number
}

export interface RecordProperties {
  readonly encoded: Buffer
  readonly orderingKey: string
}

/** @throws BrokerError MESSAGE_INVALID */
export function toRecordProperties(route: MessageAddress, facts: PublishFacts): RecordProperties {
  const { properties } = facts
  const user = splitUserProperties(properties)
  const entries = addressProperties(
    route.name,
    route.isTagFixed ? route.tag : (user.tag ?? route.tag),
    user.keys ?? route.key,
    facts.qos,
  )
  if (user.orderingKey !== undefined) entries.push([PROPERTY.orderingKey, user.orderingKey])
  if (facts.retain) entries.push([PROPERTY.mqttRetain, '1'])
  if (facts.publisher !== undefined) entries.push([PROPERTY.mqttClient, facts.publisher])
  if (facts.uniqueKey !== undefined) entries.push([PROPERTY.uniqueKey, facts.uniqueKey])
  if (properties.messageExpiry !== undefined) {
    const expiresMs = facts.nowMs + properties.messageExpiry * 1000
    entries.push([PROPERTY.expiresMs, String(expiresMs)])
  }
  const isExact = addContent(entries, properties) && user.isExact
  for (const entry of user.plain) entries.push(entry)
  if (!isExact) {
    const wire = encodeProperties(forwarded(properties))
    entries.push([PROPERTY.native, wire.toString('base64')])
  }
  return {
    encoded: encodeRecordProperties(entries),
    orderingKey: user.orderingKey ?? route.name,
  }
}

/** Can the message go with the route's prepared properties alone? */
export const isPlain = (facts: Omit<PublishFacts, 'nowMs' | 'qos'>): boolean =>
  !facts.retain &&
  facts.publisher === undefined &&
  facts.uniqueKey === undefined &&
  isEmpty(facts.properties)

function isEmpty(properties: Properties): boolean {
  for (const name in properties) if (name !== 'topicAlias') return false
  return true
}

/** They go on to subscribers as they are. */
const FORWARDED: ReadonlySet<keyof Properties> = new Set([
  'payloadFormat',
  'contentType',
  'responseTopic',
  'correlationData',
  'user',
])

function forwarded(properties: Properties): Properties {
  const out: Properties = {}
  for (const name of FORWARDED) copy(name, properties, out)
  return out
}

function copy<Name extends keyof Properties>(name: Name, from: Properties, to: Properties): void {
  const value = from[name]
  if (value !== undefined) to[name] = value
}

/** Answers whether the plain entries bring everything back. */
function addContent(entries: [string, string][], properties: Properties): boolean {
  let isExact = true
  const put = (name: string, value: string | undefined): void => {
    if (value === undefined) return
    if (value === '' || hasSeparator(value)) isExact = false
    else entries.push([name, value])
  }
  put(PROPERTY.mqttPayloadFormat, properties.payloadFormat?.toString())
  put(PROPERTY.contentType, properties.contentType)
  const { responseTopic } = properties
  put(PROPERTY.replyTo, responseTopic && replyToMqtt(responseTopic))
  const data = properties.correlationData
  put(PROPERTY.correlationId, data && correlationText(data))
  return isExact
}

const BASE64 = 'base64:'

/** Correlation data as responders of every protocol say it again: what is no text in base64. */
export function correlationText(data: Buffer): string {
  const text = decodeText(data, 0, data.length)
  const isText = text !== undefined && !hasSeparator(text) && !text.startsWith(BASE64)
  return isText ? text : BASE64 + data.toString('base64')
}

const correlationData = (text: string): Buffer =>
  text.startsWith(BASE64) ? Buffer.from(text.slice(BASE64.length), 'base64') : Buffer.from(text)

/** Where a subscriber replies: at its requester's topic, or by a request to this broker. */
function responseTopicOf(
  address: string | undefined,
  correlationId: string | undefined,
): string | undefined {
  if (address === undefined) return undefined
  const name = mqttNameOf(address)
  if (name === undefined) return REPLY_PREFIX + formatReplyName({ address, correlationId })
  return isTopicName(name) ? name : undefined
}

interface UserProperties {
  tag: string | undefined
  keys: string | undefined
  orderingKey: string | undefined
  plain: [string, string][]
  /** Do the plain ones, in their order, equal what was sent? */
  isExact: boolean
}

function splitUserProperties(properties: Properties): UserProperties {
  const out: UserProperties = {
    tag: undefined,
    keys: undefined,
    orderingKey: undefined,
    plain: [],
    isExact: true,
  }
  if (properties.user === undefined) return out
  const seen = new Set<string>()
  for (const [name, value] of properties.user) {
    const isStorable = name !== '' && value !== '' && !hasSeparator(name) && !hasSeparator(value)
    if (!isStorable || isSpecial(name, value, out) || isHidden(name) || seen.has(name)) {
      out.isExact = false
      continue
    }
    seen.add(name)
    out.plain.push([name, value])
  }
  return out
}

/** TAGS, KEYS and SHARDING_KEY; the first of each counts. */
function isSpecial(name: string, value: string, out: UserProperties): boolean {
  if (name === TAGS) out.tag ??= value
  else if (name === KEYS) out.keys ??= value
  else if (name === SHARDING_KEY) out.orderingKey ??= value
  else return false
  return true
}

/** A client must not forge what steers the broker. */
const isHidden = (name: string): boolean => INTERNAL_PROPERTIES.has(name)

/**
 * The section that an MQTT 5 subscriber gets, without its length, expiry and subscription
 * identifiers. `isMqtt`: published by MQTT, so that nothing may be added to what was sent.
 */
export function toWireProperties(record: RecordView, isMqtt: boolean): Buffer {
  const properties = record.properties()
  const wire = properties.get(PROPERTY.native)
  if (isMqtt && wire !== undefined) {
    const section = Buffer.from(wire, 'base64')
    if (isSection(section)) return section
  }
  const out: Properties = {}
  const user: [string, string][] = []
  for (const [name, value] of properties) {
    if (value.includes('\u0000') || name.includes('\u0000')) continue
    if (name === KEYS && !isMqtt) user.push([name, value])
    else if (!INTERNAL_PROPERTIES.has(name)) user.push([name, value])
  }
  const orderingKey = isMqtt ? undefined : orderingKeyOf((name) => properties.get(name))
  if (orderingKey !== undefined) user.push([SHARDING_KEY, orderingKey])
  const payloadFormat = properties.get(PROPERTY.mqttPayloadFormat)
  const contentType = properties.get(PROPERTY.contentType)
  const correlation = properties.get(PROPERTY.correlationId)
  const responseTopic = responseTopicOf(replyAddressOf(properties), correlation)
  if (payloadFormat !== undefined) out.payloadFormat = payloadFormat === '1' ? 1 : 0
  if (contentType !== undefined) out.contentType = contentType
  if (responseTopic !== undefined) out.responseTopic = responseTopic
  if (correlation !== undefined) out.correlationData = correlationData(correlation)
  if (user.length > 0) out.user = user
  return encodeProperties(out)
}

/** Anyone may have written the property; only a section that parses goes on the wire. */
function isSection(section: Buffer): boolean {
  const packet = Buffer.concat([encodeVarint(section.length), section])
  try {
    const reader = new PacketReader(packet, 0, packet.length)
    const properties = readProperties(reader, PACKET.publish)
    checkResponseTopic(properties)
    const names = Object.keys(properties) as (keyof Properties)[]
    return reader.left === 0 && names.every((name) => FORWARDED.has(name))
  } catch {
    return false
  }
}
