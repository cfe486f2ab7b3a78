// A packet of aedes <-> a message of the log. Names are those of the MQTT front-end: see
// routing-name.ts. What aedes tells its like under $SYS/ has a topic of its own, which no other
// subscriber's filter selects.
import { NO_HOST } from '../model/host.ts'
import { ANY_QUEUE, type NewMessage, newMessage } from '../model/message.ts'
import { encodeProperties, PROPERTY } from '../model/properties.ts'
import type { RecordView } from '../model/record.ts'
import { escaped, mqttPlace, originalTopic, routingName } from '../model/routing-name.ts'
import { bytesOf, type Packet } from './packet.ts'

/** Where the aedes processes before one broker tell each other of their clients. */
export const AEDES_TOPIC = 'TRIVET_AEDES'
export const SYSTEM_PREFIX = '$SYS/'
const SYSTEM_NAME = 'AEDES_NAME'

export const isSystemName = (name: string): boolean => name.startsWith(SYSTEM_PREFIX)

/** States of retained messages, which the MQTT front-end and aedes share: whole records. */
export const RETAINED_PREFIX = 'mqtt/retained/'

/** `isThere`: the first level of the name is a topic. */
export const topicOfName = (name: string, isThere: boolean): string =>
  isSystemName(name) ? AEDES_TOPIC : mqttPlace(name, isThere).topic

/** `isThere`: the first level of its name is a topic. */
export function toMessage(
  packet: Packet,
  isThere: boolean,
  uniqueKey: string,
  nowMs: number,
): NewMessage {
  const { topic: name, qos = 0, retain = false } = packet
  const body = bytesOf(packet.payload)
  const entries: [string, string][] = [[PROPERTY.uniqueKey, uniqueKey]]
  if (isSystemName(name)) {
    entries.push([SYSTEM_NAME, name])
    const place = { topic: AEDES_TOPIC, queueId: ANY_QUEUE, createTopic: true }
    return newMessage(place, AEDES_TOPIC, body, encodeProperties(entries), NO_HOST, nowMs)
  }
  const { topic, isBound, tag, key } = mqttPlace(name, isThere)
  entries.push([PROPERTY.mqttTopic, name])
  if (tag !== undefined) entries.push([PROPERTY.tags, tag])
  if (key !== undefined) entries.push([PROPERTY.keys, key])
  if (qos !== 1) entries.push([PROPERTY.mqttQos, String(qos)])
  if (retain) entries.push([PROPERTY.mqttRetain, '1'])
  // A topic may have gone since; the catch-all is made again.
  const place = { topic, queueId: ANY_QUEUE, createTopic: !isBound }
  return newMessage(place, name, body, encodeProperties(entries), NO_HOST, nowMs)
}

/** Characters that MQTT forbids in a topic name. */
const UNSAFE = /[+#\p{Cc}\p{Noncharacter_Code_Point}]/gu

export function nameOf(record: RecordView): string {
  if (record.topic === AEDES_TOPIC) return record.property(SYSTEM_NAME) ?? AEDES_TOPIC
  const tag = record.property(PROPERTY.tags)
  const name = routingName(originalTopic(record), tag, record.property(PROPERTY.mqttTopic))
  return escaped(name, UNSAFE)
}

/** As it was published; of one of another protocol the subscription decides between 0 and 1. */
export function qosOf(record: RecordView): 0 | 1 | 2 {
  if (record.topic === AEDES_TOPIC) return 0
  const qos = record.property(PROPERTY.mqttQos)
  return qos === '0' ? 0 : qos === '2' ? 2 : 1
}

export const isRetained = (record: RecordView): boolean =>
  record.property(PROPERTY.mqttRetain) === '1'

/** With a payload of its own: the record's bytes are of a whole batch. */
export const toPacket = (record: RecordView): Packet & { cmd: string } => ({
  cmd: 'publish',
  topic: nameOf(record),
  payload: Buffer.from(record.body),
  qos: qosOf(record),
  retain: isRetained(record),
  dup: false,
})
