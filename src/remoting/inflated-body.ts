// A record as a consumer wants it: plain values, its body inflated.
import { formatHost } from '../model/host.ts'
import { INFLATED_BODY_BYTES_MAX } from '../model/limits.ts'
import { offsetMessageId } from '../model/message-id.ts'
import type { LogPosition, QueueOffset } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import { type RecordView, recordsOf, SYS_FLAG } from '../model/record.ts'
import { inflateBy, methodOf } from './inflate/inflate.ts'
import { protocolError } from './protocol-error.ts'

export interface WireMessage {
  /**
   * The topic of the record; a retried message says in RETRY_TOPIC where it was first published.
   */
  readonly topic: string
  readonly queueId: number
  readonly queueOffset: QueueOffset
  readonly position: LogPosition
  /** Where it stands, as an id: what RocketMQ calls offsetMsgId. */
  readonly offsetMessageId: string
  /** The sender's id, else the offset message id: what clients call msgId. */
  readonly messageId: string
  readonly flag: number
  readonly sysFlag: number
  readonly bornTimestamp: number
  readonly bornHost: string
  readonly storeTimestamp: number
  readonly storeHost: string
  readonly reconsumeTimes: number
  readonly preparedPosition: LogPosition
  readonly body: Buffer
  readonly properties: ReadonlyMap<string, string>
}

/** The messages of a pull answer; bodies are copies or views on `records`. @throws BrokerError */
export function decodeMessages(records: Buffer): WireMessage[] {
  return Array.from(recordsOf(records), decodeMessage)
}

/** @throws BrokerError PROTOCOL_ERROR when the body cannot be inflated */
export function decodeMessage(record: RecordView): WireMessage {
  const properties = record.properties()
  const offsetId = offsetMessageId(record.storeHost, record.position)
  return {
    topic: record.topic,
    queueId: record.queueId,
    queueOffset: record.queueOffset,
    position: record.position,
    offsetMessageId: offsetId,
    messageId: properties.get(PROPERTY.uniqueKey) ?? offsetId,
    flag: record.flag,
    sysFlag: record.sysFlag,
    bornTimestamp: record.bornTimestamp,
    bornHost: formatHost(record.bornHost),
    storeTimestamp: record.storeTimestamp,
    storeHost: formatHost(record.storeHost),
    reconsumeTimes: record.reconsumeTimes,
    preparedPosition: record.preparedPosition,
    body: inflateBody(record.body, record.sysFlag),
    properties,
  }
}

/** A body as its sender gave it. Inflates to `INFLATED_BODY_BYTES_MAX` and no further. */
export function inflateBody(body: Buffer, sysFlag: number): Buffer {
  if ((sysFlag & SYS_FLAG.compressed) === 0) return body
  const method = methodOf(sysFlag)
  if (method === undefined) {
    throw protocolError('a message body is compressed with an unknown method')
  }
  let inflated: Buffer | undefined
  try {
    inflated = inflateBy(method, body, INFLATED_BODY_BYTES_MAX)
  } catch (cause) {
    const { message } = cause as Error
    throw protocolError(`a compressed message body cannot be inflated: ${message.slice(0, 120)}`)
  }
  if (inflated !== undefined) return inflated
  throw protocolError(
    `a compressed message body has more than ${INFLATED_BODY_BYTES_MAX} bytes when it is inflated`,
  )
}
