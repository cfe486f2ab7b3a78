// The name by which topic filters select a message, whatever protocol it came by; and the topic,
// tag and key that an MQTT topic name means:
//
//   orders/eu/42   topic `orders` exists: that topic, TAGS=eu, KEYS=42
//   a/b/c          no topic `a`: the catch-all topic MQTT, TAGS=a
import { createHash } from 'node:crypto'
import {
  isDeadLetterTopic,
  isLightQueue,
  isRetryTopic,
  isSystemTopic,
  MQTT_CATCH_ALL_TOPIC,
  STATE_TOPIC,
} from './names.ts'
import { PROPERTY } from './properties.ts'
import type { RecordView } from './record.ts'

/** MQTT topic if published by MQTT, else `topic/tag` when tagged, else `topic`. */
export function routingName(
  topic: string,
  tag: string | undefined,
  mqttTopic: string | undefined,
): string {
  return mqttTopic ?? (tag === undefined ? topic : `${topic}/${tag}`)
}

/** A retried or dead-lettered record says where it was first published. */
export const originalTopic = (record: RecordView): string =>
  record.property(PROPERTY.retryTopic) ?? record.topic

export interface MqttPlace {
  readonly topic: string
  /** Of its own, not the catch-all. */
  readonly isBound: boolean
  readonly tag: string | undefined
  readonly key: string | undefined
}

/** `isThere`: of a topic that `isMqttAddressable`. */
export function mqttPlace(name: string, isThere: boolean): MqttPlace {
  const [first = '', second = '', third = ''] = name.split('/', 3)
  return {
    topic: isThere ? first : MQTT_CATCH_ALL_TOPIC,
    isBound: isThere,
    tag: isThere ? second || undefined : catchAllTag(first),
    key: isThere && third !== '' ? third : undefined,
  }
}

const TAG_CHARS_MAX = 64
const TAG_CHARACTER = /[^a-zA-Z0-9_-]/gu

/** Each of these characters as %XX of its UTF-8 bytes. */
export const escaped = (text: string, characters: RegExp): string =>
  text.replace(characters, (character) =>
    Buffer.from(character).toString('hex').toUpperCase().replace(/../g, '%$&'),
  )

/**
 * By it brokers filter messages of the catch-all topic: their first level, escaped, for to RocketMQ
 * `*` and `||` have a meaning; of a long one its beginning and its digest.
 */
export function catchAllTag(first: string): string {
  if (first === '') return '%'
  const isLong = first.length > TAG_CHARS_MAX
  const tag = escaped(isLong ? first.slice(0, TAG_CHARS_MAX) : first, TAG_CHARACTER)
  return isLong ? `${tag}%${createHash('sha256').update(first).digest('hex').slice(0, 16)}` : tag
}

export const isMqttAddressable = (topic: string): boolean =>
  topic !== MQTT_CATCH_ALL_TOPIC &&
  topic !== STATE_TOPIC &&
  !isSystemTopic(topic) &&
  !isRetryTopic(topic) &&
  !isDeadLetterTopic(topic) &&
  !isLightQueue(topic)
