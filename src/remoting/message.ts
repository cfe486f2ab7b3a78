// A record as a consumer wants it: plain values, its body inflated.
import { inflateSync } from 'node:zlib'
import { formatHost } from '../model/host.ts'
import { INFLATED_BODY_BYTES_MAX } from '../model/limits.ts'
import { offsetMessageId } from '../model/message-id.ts'
import type { LogPosition, QueueOffset } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import { type RecordView, recordsOf, SYS_FLAG } from '../model/record.ts'
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

const COMPRESSION_SHIFT = 8
const COMPRESSION_MASK = 0x7
const COMPRESSION_NAMES = ['zlib', 'LZ4', 'ZSTD', 'zlib']

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
  const kind = COMPRESSION_NAMES[(sysFlag >>> COMPRESSION_SHIFT) & COMPRESSION_MASK]
  if (kind !== 'zlib') {
    throw protocolError(
      `a message body is compressed with ${kind ?? 'an unknown method'}; only zlib is read`,
    )
  }
  try {
    return inflateSync(body, { maxOutputLength: INFLATED_BODY_BYTES_MAX })
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ERR_BUFFER_TOO_LARGE') {
      const text = `a compressed message body has more than ${INFLATED_BODY_BYTES_MAX} bytes when it is inflated`
      throw protocolError(text)
    }
    throw protocolError(`a compressed message body cannot be inflated: ${message.slice(0, 120)}`)
  }
}
