// A record as a consumer wants it: plain values, its body inflated.
import { formatHost } from '../../../src/model/host.ts'
import { offsetMessageId } from '../../../src/model/message-id.ts'
import type { LogPosition, QueueOffset } from '../../../src/model/positions.ts'
import { PROPERTY } from '../../../src/model/properties.ts'
import { type RecordView, recordsOf } from '../../../src/model/record.ts'
import { inflateBody } from '../../../src/remoting/inflated-body.ts'

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

function decodeMessage(record: RecordView): WireMessage {
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
