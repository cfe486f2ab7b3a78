// One record as MQTT subscribers get it. Made once per read and shared by every session that
// delivers it: the topic and payload are copied from the record's bytes as they are.
import { LastText } from '../../../model/bytes.ts'
import { expiresMsOf } from '../../../model/expiry.ts'
import type { LogPosition, QueueOffset } from '../../../model/positions.ts'
import { NAME_END, PROPERTY } from '../../../model/properties.ts'
import { RecordView } from '../../../model/record.ts'
import { originalTopic } from '../../../model/routing-name.ts'
import { toWireProperties } from '../message.ts'
import type { Qos } from '../packets/protocol.ts'
import { decodeName } from '../packets/utf8.ts'
import { type Home, stampOf } from './home.ts'

/** Characters that MQTT forbids in a topic name, or for which a client may close the connection. */
const CHARACTERS_UNSAFE = /[+#\p{Cc}\p{Noncharacter_Code_Point}]/gu
const PLUS = 43
const HASH = 35
const OUR_PREFIX = Buffer.from('MQTT_')
const RETRY_TOPIC = Buffer.from(PROPERTY.retryTopic)
/** Messages that follow each other are mostly of one topic. */
const topics = new LastText()

/** A whole packet as most subscribers get it, all but the flags and the packet id. */
export interface PreparedPublish {
  readonly bytes: Buffer
  /** Where the packet id goes. */
  readonly idAt: number
}

export class OutgoingMessage implements Home {
  /** The broker that has the record. */
  readonly brokerName: string
  /** Comparable among the records of one broker. */
  readonly position: LogPosition
  readonly queueId: number
  readonly offset: QueueOffset
  /** When the message was stored, epoch ms. */
  readonly storedMs: number
  /** The topic name's UTF-8 bytes are `topicSource[topicStart, topicEnd)`. */
  topicSource: Buffer
  topicStart = 0
  topicEnd = 0
  /** The payload is `bytes[payloadStart, payloadEnd)`. */
  readonly bytes: Buffer
  readonly payloadStart: number
  readonly payloadEnd: number
  /** As published; a native message counts as QoS 2, so that the subscription decides. */
  qos: Qos = 1
  retain = false
  /** Client id of the publisher if it must not get the message back. */
  publisher: string | undefined = undefined
  expiresMs = Number.POSITIVE_INFINITY
  /** Published by MQTT, so that its topic and properties are shown exactly as they were sent. */
  readonly isMqtt: boolean
  /** Written for one subscriber already. */
  isShared = false
  /** Kept by publish-output.ts, by version and presence of a packet id. */
  prepared: (PreparedPublish | undefined)[] | undefined = undefined
  readonly #record: RecordView
  /** Of a copy in a retry or dead-letter topic: where the message was published. */
  #retryTopic: string | undefined = undefined
  #properties: Buffer | undefined = undefined
  #topic: string | undefined = undefined
  #topicName: string | undefined = undefined

  /** The record at `bytes[start...]`; holds on to the buffer. */
  constructor(bytes: Buffer, start: number, brokerName: string) {
    const record = new RecordView(bytes, start)
    this.brokerName = brokerName
    this.bytes = bytes
    this.#record = record
    this.position = record.position
    this.queueId = record.queueId
    this.offset = record.queueOffset
    this.storedMs = record.storeTimestamp
    this.payloadStart = record.bodyStart
    this.payloadEnd = record.bodyStart + record.bodyLength
    this.topicSource = bytes
    this.expiresMs = expiresMsOf(record)
    this.#scan(record.propertiesStart, record.propertiesEnd)
    this.isMqtt = this.topicEnd > 0
    if (!this.isMqtt) {
      this.qos = 2
      this.#makeName(nativeName(record))
    } else if (isUnsafe(bytes, this.topicStart, this.topicEnd)) {
      this.#makeName(bytes.utf8Slice(this.topicStart, this.topicEnd))
    }
  }

  /** The topic name as text. */
  get topicName(): string {
    this.#topicName ??= this.topicSource.utf8Slice(this.topicStart, this.topicEnd)
    return this.#topicName
  }

  /** The topic whose queue has the record. */
  get topic(): string {
    this.#topic ??= topics.textOf(this.bytes, this.#record.topicStart, this.#record.topicEnd)
    return this.#topic
  }

  get stamp(): number {
    return stampOf(this.storedMs)
  }

  /** The topic the record was published to, for authorization. */
  get recordTopic(): string {
    return this.#retryTopic ?? this.topic
  }

  /** The MQTT 5 property section but for what differs per subscriber. */
  get properties(): Buffer {
    this.#properties ??= toWireProperties(this.#record, this.isMqtt)
    return this.#properties
  }

  /** A name of another protocol may hold what MQTT reserves for filters (MQTT-3.3.2-2). */
  #makeName(name: string): void {
    this.topicSource = Buffer.from(name.replace(CHARACTERS_UNSAFE, escaped))
    this.topicStart = 0
    this.topicEnd = this.topicSource.length
  }

  /** One pass over the properties picks out ours; nothing else is decoded. */
  #scan(from: number, end: number): void {
    const bytes = this.bytes
    let at = from
    while (at < end) {
      let nameEnd = at
      while (nameEnd < end && bytes[nameEnd]! > 2) nameEnd++
      let stop = nameEnd
      while (stop < end && bytes[stop] !== 2) stop++
      const isNamed = stop > nameEnd + 1 && bytes[nameEnd] === NAME_END
      if (isNamed && startsWith(bytes, at, OUR_PREFIX)) this.#note(at, nameEnd, nameEnd + 1, stop)
      else if (
        isNamed &&
        nameEnd - at === RETRY_TOPIC.length &&
        startsWith(bytes, at, RETRY_TOPIC)
      ) {
        this.#retryTopic ??= bytes.utf8Slice(nameEnd + 1, stop)
      }
      at = stop + 1
    }
  }

  #note(at: number, nameEnd: number, valueAt: number, stop: number): void {
    const bytes = this.bytes
    switch (bytes.latin1Slice(at, nameEnd)) {
      case PROPERTY.mqttTopic:
        this.topicStart = valueAt
        this.topicEnd = stop
        break
      case PROPERTY.mqttQos:
        this.qos = bytes[valueAt] === 0x30 ? 0 : bytes[valueAt] === 0x32 ? 2 : 1
        break
      case PROPERTY.mqttRetain:
        this.retain = bytes[valueAt] === 0x31
        break
      case PROPERTY.mqttClient:
        this.publisher = bytes.utf8Slice(valueAt, stop)
        break
      case PROPERTY.mqttExpires:
        this.expiresMs = finite(Number(bytes.latin1Slice(valueAt, stop)))
        break
      default:
        break
    }
  }
}

function startsWith(bytes: Buffer, at: number, text: Buffer): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false
  return true
}

const finite = (value: number): number =>
  Number.isFinite(value) ? value : Number.POSITIVE_INFINITY

const escaped = (character: string): string =>
  `%${character.codePointAt(0)!.toString(16).toUpperCase().padStart(2, '0')}`

/** Anyone may have written the property. */
function isUnsafe(bytes: Buffer, start: number, end: number): boolean {
  let isAscii = true
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    if (byte === PLUS || byte === HASH || byte < 0x20) return true
    if (byte > 0x7e) isAscii = false
  }
  return !isAscii && decodeName(bytes, start, end) === undefined
}

/** R2 for a message of another protocol: `topic`, or `topic/tag` when it is tagged. */
function nativeName(record: RecordView): string {
  const topic = originalTopic(record)
  const tag = record.property(PROPERTY.tags)
  return tag === undefined ? topic : `${topic}/${tag}`
}
