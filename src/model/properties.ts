// The properties of a record: `name 0x01 value 0x02` repeated, UTF-8, no escaping. Kept
// as bytes on the hot path; a lookup scans, and only a front-end that shows properties builds a
// Map.
import { BrokerError } from '../errors.ts'
import { viewOf } from './bytes.ts'

export const NAME_END = 1
export const VALUE_END = 2
const VALUE_END_WORD = VALUE_END * 0x01010101

/** Names with a meaning to RocketMQ or to us. Every other name is the user's. */
export const PROPERTY = {
  keys: 'KEYS',
  tags: 'TAGS',
  wait: 'WAIT',
  delay: 'DELAY',
  uniqueKey: 'UNIQ_KEY',
  retryTopic: 'RETRY_TOPIC',
  realTopic: 'REAL_TOPIC',
  realQueueId: 'REAL_QID',
  originMessageId: 'ORIGIN_MESSAGE_ID',
  reconsumeTime: 'RECONSUME_TIME',
  maxReconsumeTimes: 'MAX_RECONSUME_TIMES',
  messageRegion: 'MSG_REGION',
  traceOn: 'TRACE_ON',
  cluster: 'CLUSTER',
  transactionPrepared: 'TRAN_MSG',
  producerGroup: 'PGROUP',
  /** Of a half message: seconds after which it is checked first. */
  checkImmunitySeconds: 'CHECK_IMMUNITY_TIME_IN_SECONDS',
  /** How often a half message was checked, as RocketMQ counts. */
  transactionCheckTimes: 'TRANSACTION_CHECK_TIMES',
  transactionId: '__transactionId__',
  /** Of a half message that came by MQTT: where its client is answered and asked. */
  transactionReplyTo: '__TX_REPLY_TO',
  /** Base64. */
  transactionCorrelation: '__TX_CORRELATION',
  orderingKey: '__SHARDINGKEY',
  /** RocketMQ 5.4's: the number of the message's queue, from the lowest up. */
  priority: '_SYS_MSG_PRIORITY_',
  /** Of a native sender: light queues that get the message too (names.ts). */
  multiDispatch: 'INNER_MULTI_DISPATCH',
  /** The ordering key as ali-ons and the Go client write it. */
  orderingKeyAliOns: '__SHARDING_KEY',
  orderingKeyGo: 'SHARDING_KEY',
  correlationId: 'CORRELATION_ID',
  replyTo: 'REPLY_TO_CLIENT',
  contentType: 'CONTENT_TYPE',
  timerDelaySeconds: 'TIMER_DELAY_SEC',
  timerDelayMs: 'TIMER_DELAY_MS',
  timerDeliverMs: 'TIMER_DELIVER_MS',
  /** When a parked message is due, epoch ms; RocketMQ's TIMER_OUT_MS. */
  dueMs: 'TIMER_OUT_MS',
  /** What a parked record waits for; absent: a delayed message. */
  dueKind: '__DUE_KIND',
  /** Of a parked record that waits in rounds: see due-rounds.ts. */
  dueRounds: '__DUE_ROUNDS',
  /** A POP client's name of one delivery: RocketMQ's receipt handle. */
  popCheck: 'POP_CK',
  /** Retry copies of what was received by POP: the group, and when it was first handed out. */
  originGroup: 'ORIGIN_GROUP',
  firstPopTime: '1ST_POP_TIME',
  /** Why a message was dead-lettered. */
  deadLetterReason: 'DLQ_REASON',
  /**
   * Retry copies only: the light queue or dead-letter topic it was received from, if not its own.
   */
  receivedFrom: '__RECEIVED_FROM',
  /**
   * Retry copies and dead letters only: what a consumer said of the message when it handed it back.
   */
  note: '__NOTE',
  /** Aliyun's absolute delivery time, epoch ms; what ali-ons sets. */
  startDeliverMs: '__STARTDELIVERTIME',
  /** The MQTT topic name exactly as published. */
  mqttTopic: 'MQTT_TOPIC',
  /** 0 or 2 as published; absent = 1. */
  mqttQos: 'MQTT_QOS',
  /** '1' when it was published to be retained. */
  mqttRetain: 'MQTT_RETAIN',
  /** Client id of the publisher, kept only when that client does not want its own messages back. */
  mqttClient: 'MQTT_CLIENT',
  /** When the message expires, epoch ms; with the bit of sysFlag that says so. */
  expiresMs: 'TRIVET_EXPIRES_MS',
  /** How long the message lives from when it is published; `expiresMs` takes its place. */
  timeToLiveMs: 'TRIVET_TTL_MS',
  /** '1': sent again after an attempt whose answer was lost, under the same unique key. */
  resent: 'TRIVET_RESENT',
  /** When a message of MQTT expires, as the first versions kept it. */
  mqttExpires: 'MQTT_EXPIRES',
  /** MQTT 5's payload format indicator. */
  mqttPayloadFormat: 'MQTT_PFI',
  /** The exact wire form, which only the sender's own protocol understands, base64. */
  native: '__WIRE',
} as const

/** Of RocketMQ's request-reply, and a user's like others: how long a requester waits, in ms. */
export const TIME_TO_LIVE = 'TTL'
/** Of a reply: 'reply'. */
export const MESSAGE_TYPE = 'MSG_TYPE'

/** Under whichever name the sender's client keeps it. */
export const orderingKeyOf = (property: (name: string) => string | undefined): string | undefined =>
  property(PROPERTY.orderingKey) ??
  property(PROPERTY.orderingKeyAliOns) ??
  property(PROPERTY.orderingKeyGo)

/**
 * Written by a broker or a front-end about a message, and believed by those that read the record: a
 * sender that sets one of them would choose another name, another topic or another time for its
 * message than it is allowed to.
 */
export const BROKER_PROPERTIES: ReadonlySet<string> = new Set([
  PROPERTY.retryTopic,
  PROPERTY.originMessageId,
  PROPERTY.realTopic,
  PROPERTY.realQueueId,
  PROPERTY.dueMs,
  PROPERTY.dueKind,
  PROPERTY.dueRounds,
  PROPERTY.cluster,
  PROPERTY.messageRegion,
  PROPERTY.traceOn,
  PROPERTY.popCheck,
  PROPERTY.originGroup,
  PROPERTY.firstPopTime,
  PROPERTY.deadLetterReason,
  PROPERTY.receivedFrom,
  PROPERTY.note,
  PROPERTY.mqttTopic,
  PROPERTY.mqttQos,
  PROPERTY.mqttRetain,
  PROPERTY.mqttClient,
  PROPERTY.mqttExpires,
  PROPERTY.mqttPayloadFormat,
  PROPERTY.transactionReplyTo,
  PROPERTY.transactionCorrelation,
  PROPERTY.native,
])

/**
 * Those of them that a native consumer says again in the copy that it sends to its group's retry
 * topic.
 */
export const RETRY_PROPERTIES: ReadonlySet<string> = new Set([
  PROPERTY.retryTopic,
  PROPERTY.originMessageId,
])

/**
 * Properties that carry machinery; other protocols' consumers are not shown them as user
 * properties.
 */
export const INTERNAL_PROPERTIES: ReadonlySet<string> = new Set([
  ...Object.values(PROPERTY),
  'MIN_OFFSET',
  'MAX_OFFSET',
  'CONSUME_START_TIME',
  'INSTANCE_ID',
  'TRAN_PREPARED_QUEUE_OFFSET',
  'TIMER_ENQUEUE_MS',
  'TIMER_DEQUEUE_MS',
  'TIMER_ROLL_TIMES',
  'TIMER_DELAY_LEVEL',
  'TIMER_DEL_UNIQKEY',
  'DLQ_ORIGIN_TOPIC',
  'DLQ_ORIGIN_MESSAGE_ID',
])

/**
 * @throws BrokerError MESSAGE_INVALID for a name or value with 0x01 or 0x02, or an empty name.
 * An empty value is left out: RocketMQ's readers skip it.
 */
export function encodeProperties(entries: Iterable<readonly [string, string]>): Buffer {
  let text = ''
  for (const [name, value] of entries) {
    checkProperty(name, value)
    if (value !== '') text += `${name}\u0001${value}\u0002`
  }
  return Buffer.from(text, 'utf8')
}

function checkProperty(name: string, value: string): void {
  if (name !== '' && !hasSeparator(name) && !hasSeparator(value)) return
  throw new BrokerError(
    'MESSAGE_INVALID',
    `the property ${JSON.stringify(name.slice(0, 64))} has an empty name or a character U+0001 or U+0002`,
  )
}

export const hasSeparator = (text: string): boolean =>
  text.includes('\u0001') || text.includes('\u0002')

/** Tolerant as RocketMQ's own reader: pieces without a name, separator or value are skipped. */
export function decodeProperties(
  bytes: Uint8Array,
  start = 0,
  end = bytes.length,
): Map<string, string> {
  const properties = new Map<string, string>()
  if (start === end) return properties
  const text = asBuffer(bytes).toString('utf8', start, end)
  for (const piece of text.split('\u0002')) {
    const at = piece.indexOf('\u0001')
    if (at > 0 && at < piece.length - 1) properties.set(piece.slice(0, at), piece.slice(at + 1))
  }
  return properties
}

/** Of a name that is there twice the first value, as `findProperty` answers. */
export function firstProperties(bytes: Buffer, start: number, end: number): Map<string, string> {
  const properties = new Map<string, string>()
  for (const piece of bytes.toString('utf8', start, end).split('\u0002')) {
    const at = piece.indexOf('\u0001')
    if (at <= 0 || at === piece.length - 1) continue
    const name = piece.slice(0, at)
    if (!properties.has(name)) properties.set(name, piece.slice(at + 1))
  }
  return properties
}

/** The value of the ASCII-named property, or undefined; scans bytes and decodes only the hit. */
export function findProperty(
  bytes: Uint8Array,
  name: string,
  start = 0,
  end = bytes.length,
): string | undefined {
  const at = valueStart(bytes, name, start, end)
  return at === -1 ? undefined : textOf(bytes, at, valueEnd(bytes, at, end))
}

/** Where the value of the ASCII-named property begins, which is not empty; -1: there is none. */
export function valueStart(bytes: Uint8Array, name: string, start: number, end: number): number {
  const length = name.length
  const first = name.charCodeAt(0)
  for (let at = start; at + length + 1 < end; at = valueEnd(bytes, at, end) + 1) {
    if (bytes[at] !== first || bytes[at + length] !== NAME_END) continue
    let i = 1
    while (i < length && bytes[at + i] === name.charCodeAt(i)) i++
    if (i < length) continue
    const from = at + length + 1
    if (from < end && bytes[from] !== VALUE_END) return from
  }
  return -1
}

/** Where the next VALUE_END is, or the end; four bytes at a time. */
export function valueEnd(bytes: Uint8Array, start: number, end: number): number {
  const view = viewOf(bytes)
  let at = start
  for (; at + 4 <= end; at += 4) {
    const difference = view.getInt32(at, true) ^ VALUE_END_WORD
    // Not 0 exactly when one of the four bytes is VALUE_END; its lowest bit is the first one's.
    const ends = (difference - 0x01010101) & ~difference & 0x80808080
    if (ends !== 0) return at + ((31 - Math.clz32(ends & -ends)) >> 3)
  }
  while (at < end && bytes[at] !== VALUE_END) at++
  return at
}

/** Short values come again and again: the last of each hash, and few calls into Node. */
const KNOWN_TEXTS = 1024
const KNOWN_CHARS_MAX = 16
const knownTexts = new Array<string>(KNOWN_TEXTS).fill('')

function textOf(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start
  if (length > KNOWN_CHARS_MAX) return asBuffer(bytes).toString('utf8', start, end)
  let hash = length
  for (let at = start; at < end; at++) hash = Math.imul(hash, 31) + bytes[at]!
  const slot = (hash ^ (hash >>> 10)) & (KNOWN_TEXTS - 1)
  const known = knownTexts[slot]!
  if (known.length === length) {
    let i = 0
    // Of other than ASCII the bytes and the characters differ.
    while (i < length && bytes[start + i] === known.charCodeAt(i) && bytes[start + i]! < 0x80) i++
    if (i === length) return known
  }
  const text = asBuffer(bytes).toString('utf8', start, end)
  knownTexts[slot] = text
  return text
}

/**
 * The same bytes, each property closed, without the `removed` names and followed by `added`, which
 * take the place of any that have their names. What a sender said twice stays there twice: which of
 * them holds is not for an edit to change.
 * @throws BrokerError MESSAGE_INVALID for one of `added`, not for what is there
 */
export function editProperties(
  bytes: Uint8Array,
  added: Iterable<readonly [string, string]>,
  removed: ReadonlySet<string> = new Set(),
): Buffer {
  const last = new Map(added)
  const kept = withoutProperties(bytes, new Set([...removed, ...last.keys()]))
  return Buffer.concat([kept, encodeProperties(last)])
}

/** The same bytes, each property closed, without those of the given names; never throws. */
export function withoutProperties(
  bytes: Uint8Array,
  removed: ReadonlySet<string>,
  kept: ReadonlySet<string> = new Set(),
): Buffer {
  const from = asBuffer(bytes)
  const out = Buffer.allocUnsafe(bytes.length + 1)
  let length = 0
  for (let at = 0; at < from.length; ) {
    const found = from.indexOf(VALUE_END, at)
    const stop = found === -1 ? from.length : found
    const nameEnd = from.subarray(at, stop).indexOf(NAME_END)
    const name = from.latin1Slice(at, nameEnd === -1 ? stop : at + nameEnd)
    if (!removed.has(name) || kept.has(name)) {
      length += from.copy(out, length, at, stop)
      out[length++] = VALUE_END
    }
    at = stop + 1
  }
  return out.subarray(0, length)
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
