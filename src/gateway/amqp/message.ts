// The whole truth about how AMQP's sections and a record's properties stand for each other, both
// ways:
//
//   message-id       UNIQ_KEY              subject            TAGS, when it is a legal tag
//   group-id         __SHARDINGKEY         correlation-id     CORRELATION_ID
//   reply-to         REPLY_TO_CLIENT, by reply-address.ts both ways
//                                          content-type       CONTENT_TYPE
//   creation-time    the born timestamp    to                 the topic
//   priority         _SYS_MSG_PRIORITY_, but for AMQP's default of 4
//   ttl              TRIVET_TTL_MS (sent), what is left of it (received)
//   absolute-expiry-time                   TRIVET_EXPIRES_MS, where there is no ttl
//   application-properties                 user properties as text; KEYS is KEYS
//   x-opt-rmq-tag, -keys                   TAGS, KEYS (sent: they win over subject and KEYS)
//   x-opt-delivery-time, -delay            when to deliver (sent)
//   x-opt-rmq-topic, -queue, -offset, -store-time, -msg-id, -dlq-reason, -mqtt-topic    (received)
import {
  hasSeparator,
  INTERNAL_PROPERTIES,
  orderingKeyOf,
  PROPERTY,
} from '../../model/properties.ts'
import type { RecordView } from '../../model/record.ts'
import { originalTopic } from '../../model/routing-name.ts'
import { replyAddressOf } from '../shared/reply-address.ts'
import { bareName, replyAddressAt, replyNodeOf } from './address.ts'
import type { FieldList } from './codec/control-frames.ts'
import { millisecondsOf } from './codec/disposition.ts'
import { CODE, OWN_ANNOTATION } from './codec/performatives.ts'
import { uintAt } from './codec/transfer.ts'
import { type AmqpMap, AmqpSymbol, type AmqpValue, Timestamp, Uuid } from './codec/value-reader.ts'
import type { ValueWriter } from './codec/value-writer.ts'

export type Properties = Map<string, string>

/** Reads the properties that a sender sets by its message annotations. */
export function takeAnnotations(annotations: AmqpMap, into: Properties): void {
  put(into, PROPERTY.tags, legalTag(wordOf(annotations.get(`${OWN_ANNOTATION}tag`))))
  put(into, PROPERTY.keys, wordOf(annotations.get(`${OWN_ANNOTATION}keys`)))
  const at =
    millisecondsOf(annotations.get('x-opt-delivery-time')) ??
    millisecondsOf(annotations.get('x-opt-scheduled-enqueue-time'))
  const delay = millisecondsOf(annotations.get('x-opt-delivery-delay'))
  if (at !== undefined) into.set(PROPERTY.timerDeliverMs, String(at))
  else if (delay) into.set(PROPERTY.timerDelayMs, String(delay))
}

/** As every message has it that says none (AMQP 3.2.1). */
const PRIORITY_DEFAULT = 4

/** Of the header's encoded fields; what is of another type is passed on and means nothing here. */
export function takeHeader([, priority, ttl]: readonly Buffer[], into: Properties): void {
  if (priority?.[0] === 0x50 && priority[1] !== PRIORITY_DEFAULT) {
    into.set(PROPERTY.priority, String(priority[1]))
  }
  const isUint = ttl?.[0] === 0x52 || ttl?.[0] === 0x70
  const aliveMs = isUint ? uintAt(ttl, 0) : 0
  // Clients say 0 for none.
  if (aliveMs > 0) into.set(PROPERTY.timeToLiveMs, String(aliveMs))
}

/** The priority of a record of another protocol; undefined where it says none. */
export function priorityOf(properties: ReadonlyMap<string, string>): number | undefined {
  const text = properties.get(PROPERTY.priority) ?? ''
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined
}

/** Machinery of ours cannot be set by an application property of its name. */
export function takeApplication(map: AmqpMap, into: Properties): void {
  for (const [key, value] of map) {
    if (typeof key !== 'string') continue
    const isKeys = key === PROPERTY.keys && !into.has(key)
    if (isKeys || !INTERNAL_PROPERTIES.has(key)) put(into, key, textOf(value))
  }
}

/** Later times are further off than a record can say, and than anything lasts: no expiry. */
const EXPIRES_MS_END = 1e15

/** Answers where the message itself says it goes. */
export function takeProperties(fields: FieldList, into: Properties): string | undefined {
  put(into, PROPERTY.uniqueKey, idText(fields.at(0)))
  if (!into.has(PROPERTY.tags)) put(into, PROPERTY.tags, legalTag(textAt(fields, 3, 'subject')))
  const replyTo = textAt(fields, 4, 'reply-to')
  put(into, PROPERTY.replyTo, replyTo && replyAddressAt(replyTo))
  // Responders of AMQP answer with the id of the message where there is no correlation id.
  const correlation = fields.at(5) ?? (replyTo === undefined ? null : fields.at(0))
  put(into, PROPERTY.correlationId, idText(correlation))
  put(into, PROPERTY.contentType, textAt(fields, 6, 'content-type'))
  const expiry = fields.at(8)
  const isExpiring = expiry instanceof Timestamp && expiry.ms > 0 && expiry.ms < EXPIRES_MS_END
  if (isExpiring && !into.has(PROPERTY.timeToLiveMs)) {
    into.set(PROPERTY.expiresMs, String(expiry.ms))
  }
  put(into, PROPERTY.orderingKey, textAt(fields, 10, 'group-id'))
  return textAt(fields, 2, 'to')
}

/** As long as it may be: what does not fit into a record is refused as a whole. */
const textAt = (fields: FieldList, index: number, name: string): string | undefined =>
  fields.text(index, name, Infinity)

/**
 * The annotations that a receiver gets of a record: its texts; numbers and ids are filled in per
 * message.
 */
export function annotationsOf(
  record: RecordView,
  properties: ReadonlyMap<string, string>,
): [name: string, text: string][] {
  const texts: [string, string | undefined][] = [
    [`${OWN_ANNOTATION}topic`, originalTopic(record)],
    [`${OWN_ANNOTATION}tag`, properties.get(PROPERTY.tags)],
    [`${OWN_ANNOTATION}keys`, properties.get(PROPERTY.keys)],
    [`${OWN_ANNOTATION}mqtt-topic`, properties.get(PROPERTY.mqttTopic)],
    [`${OWN_ANNOTATION}dlq-reason`, properties.get(PROPERTY.deadLetterReason)],
  ]
  return texts.filter((entry): entry is [string, string] => entry[1] !== undefined)
}

/** Where the values are that differ from message to message, for the caller to fill in. */
export interface Holes {
  /** Eight bytes. */
  readonly createdAt: number
  /** As many bytes as this record's unique id has; -1 without one. */
  readonly messageIdAt: number
}

/** The properties section of a record that came by another protocol. */
export function writeProperties(
  writer: ValueWriter,
  record: RecordView,
  properties: ReadonlyMap<string, string>,
  expiresMs: number,
): Holes {
  const text = (value: string | undefined): ValueWriter =>
    value === undefined ? writer.null() : writer.string(value)
  const id = properties.get(PROPERTY.uniqueKey)
  let createdAt = 0
  let messageIdAt = -1
  writer.descriptor(CODE.properties).list(11, () => {
    text(id)
    if (id !== undefined) messageIdAt = writer.length - Buffer.byteLength(id)
    writer.null()
    text(bareName(originalTopic(record)))
    text(properties.get(PROPERTY.tags))
    const correlationId = properties.get(PROPERTY.correlationId)
    text(replyNode(properties, correlationId))
    text(correlationId)
    const contentType = properties.get(PROPERTY.contentType)
    if (contentType === undefined || NOT_ASCII.test(contentType)) writer.null()
    else writer.symbol(contentType)
    writer.null()
    if (expiresMs === Number.POSITIVE_INFINITY) writer.null()
    else writer.timestamp(expiresMs)
    writer.timestamp(0)
    createdAt = writer.length - 8
    text(orderingKeyOf((name) => properties.get(name)))
  })
  return { createdAt, messageIdAt }
}

function replyNode(
  properties: ReadonlyMap<string, string>,
  correlationId: string | undefined,
): string | undefined {
  const address = replyAddressOf(properties)
  return address && replyNodeOf({ address, correlationId })
}

/** The application properties of such a record; no section when it has none. */
export function writeApplication(
  writer: ValueWriter,
  properties: ReadonlyMap<string, string>,
): void {
  const users = [...properties].filter(([name]) => !INTERNAL_PROPERTIES.has(name))
  const keys = properties.get(PROPERTY.keys)
  if (keys !== undefined) users.unshift([PROPERTY.keys, keys])
  if (users.length === 0) return
  writer.descriptor(CODE.applicationProperties).map(users.length, () => {
    for (const [name, value] of users) writer.string(name).string(value)
  })
}

/** Left out when the log's property encoding has no room for it; the wire form still holds it. */
function put(into: Properties, name: string, value: string | undefined): void {
  if (value === undefined || value === '' || name === '') return
  if (!hasSeparator(name) && !hasSeparator(value)) into.set(name, value)
}

/** Symbols are ASCII (AMQP 1.6.21); MQTT's content type is any text. */
const NOT_ASCII = /\P{ASCII}/u

const ILLEGAL_IN_TAG = /[\s\p{Cc}]|\|\|/u

/** A subject that is no legal tag stays a subject only. */
const legalTag = (text: string | undefined): string | undefined =>
  text === undefined || text === '*' || ILLEGAL_IN_TAG.test(text) ? undefined : text

const wordOf = (value: AmqpValue | undefined): string | undefined =>
  value instanceof AmqpSymbol ? value.text : typeof value === 'string' ? value : undefined

const ID_CHARS_MAX = 256
const ILLEGAL_IN_ID = /[\s\p{Cc}]/u

/** Message ids index the message: text without blanks, of any of the four types. */
function idText(id: AmqpValue): string | undefined {
  const text = Buffer.isBuffer(id) ? id.toString('hex') : textOf(id)
  const isIndexable = text !== undefined && text.length <= ID_CHARS_MAX && !ILLEGAL_IN_ID.test(text)
  return isIndexable ? text : undefined
}

/** A simple value as a user property; compound ones stay in the wire form. */
function textOf(value: AmqpValue): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') {
    return String(value)
  }
  if (value instanceof AmqpSymbol || value instanceof Uuid) return value.text
  if (value instanceof Timestamp) return String(value.ms)
  if (Buffer.isBuffer(value)) return value.toString('base64')
  return undefined
}
