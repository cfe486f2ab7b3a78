// A native SEND as a message of the log. The properties text is kept as it came. The body is stored
// inflated, because a consumer of any protocol must be able to read it: see `Inflation`.
import { BrokerError } from '../../errors.ts'
import type { Host } from '../../model/host.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { ANY_QUEUE, type NewMessage } from '../../model/message.ts'
import { AUTO_CREATE_TOPIC } from '../../model/names.ts'
import { SYS_FLAG } from '../../model/record.ts'
import { type BatchItem, decodeBatchBody } from '../../remoting/batch-body.ts'
import { VERSION } from '../../remoting/codes.ts'
import { COMPRESSION_BITS } from '../../remoting/inflate/inflate.ts'
import type { SendFields } from '../../remoting/requests/send.ts'

/** Compression is the only thing about a body that its sender may say here. */
const SYS_FLAGS_KEPT = SYS_FLAG.multiTags | COMPRESSION_BITS

export interface Sender {
  readonly host: Host
  readonly version: number
  /** May it create the topic that it sends to? */
  readonly mayCreate: boolean
  /** Longest body of a message. */
  readonly bodyBytesMax: number
}

/**
 * The messages of one SEND: one, or those of its batch. Views on `body`, and compressed as it is.
 * As with Apache's broker, the limit of a body is on the bytes that are sent.
 */
export function* messagesOf(
  fields: SendFields,
  body: Buffer,
  sender: Sender,
): Generator<NewMessage, void> {
  if (!fields.batch) {
    const properties = Buffer.from(fields.properties ?? '', 'utf8')
    yield messageOf(fields, { flag: fields.flag, body, properties }, sender)
    return
  }
  const bytesMax = Math.max(BODY_BYTES_DEFAULT, sender.bodyBytesMax)
  if (body.length > bytesMax) throw batchTooLarge(body.length, bytesMax)
  if (body.length === 0) throw new BrokerError('MESSAGE_INVALID', 'the batch has no messages')
  for (const item of decodeBatchBody(body)) yield messageOf(fields, item, sender)
}

/**
 * RocketMQ bounds a batch as a whole like one message; it may have the default where messages are
 * smaller.
 */
const batchTooLarge = (bytes: number, bytesMax: number): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `a batch of ${bytes} bytes is too large; ${bytesMax} are the most`,
  )

function messageOf(fields: SendFields, item: BatchItem, sender: Sender): NewMessage {
  const isCompressed = (fields.sysFlag & SYS_FLAG.compressed) !== 0
  return {
    topic: fields.topic,
    queueId: fields.queueId < 0 ? ANY_QUEUE : fields.queueId,
    body: item.body,
    properties: item.properties,
    flag: item.flag,
    sysFlag: fields.sysFlag & (isCompressed ? SYS_FLAGS_KEPT : SYS_FLAG.multiTags),
    bornTimestamp: Math.max(0, fields.bornTimestamp),
    bornHost: sender.host,
    reconsumeTimes: fields.reconsumeTimes ?? 0,
    createTopic: sender.mayCreate && fields.defaultTopic === AUTO_CREATE_TOPIC,
    createQueues: fields.defaultTopicQueueNums > 0 ? fields.defaultTopicQueueNums : undefined,
    retryTimesMax:
      fields.maxReconsumeTimes !== undefined && sender.version >= VERSION.v3_4_9
        ? fields.maxReconsumeTimes
        : undefined,
  }
}
