// A message as the user writes it, and its RocketMQ form: body bytes and encoded properties.
import { Buffer } from 'node:buffer'
import { BrokerError } from '../../errors.ts'
import { delayLevelOf } from '../../model/delay-levels.ts'
import { BODY_BYTES_DEFAULT, PROPERTIES_BYTES_MAX } from '../../model/limits.ts'
import { checkTopicName } from '../../model/names.ts'
import { encodeProperties, INTERNAL_PROPERTIES, PROPERTY } from '../../model/properties.ts'
import { checkNames, KIND, type Kind } from './option-names.ts'

export interface OutgoingMessage {
  readonly topic: string
  /** A string is sent as UTF-8. */
  readonly body: Uint8Array | string
  readonly tag?: string | undefined
  /** Business keys, by which the message can be looked up. */
  readonly keys?: readonly string[] | undefined
  /** Messages of one key stay on one queue, in order. */
  readonly orderingKey?: string | undefined
  readonly properties?: Readonly<Record<string, string>> | ReadonlyMap<string, string> | undefined
  /**
   * Deliver this much later; at once when it is not above zero. The 18 lengths of RocketMQ's levels
   * work on every broker, others on 5.x.
   */
  readonly delayMs?: number | undefined
  /**
   * 0 and up: the number of the queue, the topic's last one at most; consumers that want the
   * highest first read that one first. Not with an ordering key or a delay. RocketMQ obeys it from
   * 5.4 on.
   */
  readonly priority?: number | undefined
  /** Not delivered when this much later no consumer has got it. TrivetMQ alone obeys it. */
  readonly ttlMs?: number | undefined
}

/** The parts of a send that are the same in every attempt. */
export interface EncodedMessage {
  readonly topic: string
  readonly orderingKey: string | undefined
  readonly body: Uint8Array
  readonly properties: Buffer
  readonly uniqueId: string
  /** In a batch its delay or priority would be ignored. */
  readonly isAlone: boolean
  /** Of a transaction. */
  readonly isHalf?: boolean
}

/** Java's int. */
const PRIORITY_MAX = 2 ** 31 - 1

const NAMES: Readonly<Record<keyof OutgoingMessage, Kind | true>> = {
  topic: KIND.text,
  body: true,
  tag: KIND.text,
  keys: KIND.texts,
  orderingKey: KIND.text,
  properties: KIND.object,
  delayMs: KIND.number,
  priority: KIND.number,
  ttlMs: KIND.number,
}

/**
 * `further`: properties that are not the user's.
 * @throws BrokerError NAME_INVALID, MESSAGE_INVALID, MESSAGE_TOO_LARGE
 */
export function encodeMessage(
  message: OutgoingMessage,
  uniqueId: string,
  bodyBytesMax = BODY_BYTES_DEFAULT,
  further: readonly (readonly [string, string])[] = [],
): EncodedMessage {
  checkNames('field of a message', message, NAMES, 'MESSAGE_INVALID')
  checkTopicName(message.topic)
  const body = typeof message.body === 'string' ? Buffer.from(message.body) : message.body
  if (!(body instanceof Uint8Array)) {
    throw invalid(`the body of a message to '${message.topic}' is no Uint8Array and no string`)
  }
  if (body.length > bodyBytesMax) {
    throw new BrokerError(
      'MESSAGE_TOO_LARGE',
      `the body of a message to '${message.topic}' has ${body.length} bytes; ` +
        `${bodyBytesMax} is the most ('bodyBytesMax' of connect, and of the broker); send a reference to the content instead`,
    )
  }
  const properties = encodeProperties([...propertiesOf(message, uniqueId), ...further])
  if (properties.length > PROPERTIES_BYTES_MAX) {
    throw new BrokerError(
      'MESSAGE_TOO_LARGE',
      `the properties of a message to '${message.topic}' have ${properties.length} bytes; ` +
        `${PROPERTIES_BYTES_MAX} is the most`,
    )
  }
  const { topic, orderingKey } = message
  const isDelayed = message.delayMs !== undefined && message.delayMs > 0
  const isAlone = isDelayed || message.priority !== undefined
  return { topic, orderingKey, body, properties, uniqueId, isAlone }
}

function propertiesOf(message: OutgoingMessage, uniqueId: string): [string, string][] {
  const all: [string, string][] = []
  if (message.tag !== undefined) all.push([PROPERTY.tags, checkTag(message.tag)])
  if (message.keys !== undefined && message.keys.length > 0) {
    all.push([PROPERTY.keys, message.keys.map(checkKey).join(' ')])
  }
  if (message.orderingKey !== undefined) {
    if (message.orderingKey === '') throw invalid('the ordering key is empty; leave it out')
    all.push([PROPERTY.orderingKey, message.orderingKey])
  }
  if (message.delayMs !== undefined) {
    if (!Number.isFinite(message.delayMs)) {
      throw invalid(`'delayMs' is ${message.delayMs}; a number is due`)
    }
    if (message.delayMs > 0) all.push(delayProperty(message.delayMs))
  }
  if (message.priority !== undefined) all.push([PROPERTY.priority, checkPriority(message)])
  if (message.ttlMs !== undefined) {
    if (!Number.isSafeInteger(message.ttlMs) || message.ttlMs < 0) {
      throw invalid(`'ttlMs' is ${message.ttlMs}; a whole number of ms is due`)
    }
    all.push([PROPERTY.timeToLiveMs, String(message.ttlMs)])
  }
  const given = message.properties ?? []
  for (const [name, value] of Symbol.iterator in given ? given : Object.entries(given)) {
    if (INTERNAL_PROPERTIES.has(name)) {
      throw invalid(
        `the property name '${name}' is reserved; choose another` +
          " ('tag', 'keys', 'orderingKey', 'delayMs', 'priority' and 'ttlMs' are fields of the message)",
      )
    }
    if (typeof value !== 'string') throw invalid(`the property '${name}' is not a string`)
    all.push([name, value])
  }
  all.push([PROPERTY.uniqueKey, uniqueId], ['WAIT', 'true'])
  return all
}

function checkTag(tag: string): string {
  if (tag === '' || tag.includes('|') || tag.trim() !== tag) {
    throw invalid(`the tag ${JSON.stringify(tag)} is empty, has a '|' or blanks at its ends`)
  }
  return tag
}

function checkKey(key: string): string {
  if (key === '' || /\s/.test(key)) {
    throw invalid(`the key ${JSON.stringify(key)} is empty or has a blank in it`)
  }
  return key
}

function checkPriority({ priority = 0, orderingKey, delayMs = 0 }: OutgoingMessage): string {
  if (!Number.isInteger(priority) || priority < 0 || priority > PRIORITY_MAX) {
    throw invalid(`'priority' is ${priority}; a whole number from 0 on is due`)
  }
  if (orderingKey !== undefined || delayMs > 0) {
    throw invalid("a 'priority' chooses the queue: leave 'orderingKey' and 'delayMs' out")
  }
  return String(priority)
}

function delayProperty(delayMs: number): [string, string] {
  const level = delayLevelOf(delayMs)
  if (level !== undefined) return [PROPERTY.delay, String(level)]
  return [PROPERTY.timerDelayMs, String(Math.ceil(delayMs))]
}

const invalid = (text: string): BrokerError => new BrokerError('MESSAGE_INVALID', text)
