// A native SEND as a message of the log. The properties text is kept as it came; the body is stored
// inflated, because a consumer of any protocol must be able to read it.
import { BrokerError } from '../../errors.ts'
import type { Host } from '../../model/host.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { ANY_QUEUE, type NewMessage } from '../../model/message.ts'
import { AUTO_CREATE_TOPIC } from '../../model/names.ts'
import { SYS_FLAG } from '../../model/record.ts'
import { type BatchItem, decodeBatchBody } from '../../remoting/batch-body.ts'
import { VERSION } from '../../remoting/codes.ts'
import { COMPRESSION_BITS, methodOf } from '../../remoting/inflate/inflate.ts'
import type { SendFields } from '../../remoting/requests/send.ts'
import type { Inflation } from './inflation.ts'

/** Compression is the only thing about a body that its sender may say here. */
const SYS_FLAGS_KEPT = SYS_FLAG.multiTags | COMPRESSION_BITS

export interface Sender {
  readonly host: Host
  readonly version: number
  /** May it create the topic that it sends to? */
  readonly mayCreate: boolean
  /** Of the chunk that brought the message. */
  /** Longest body of a message. */
  readonly bodyBytesMax: number
  readonly inflation: Inflation
}

/**
 * The messages of one SEND: one, or those of its batch. Views on `body`, but for what had to be
 * inflated.
 */
export function messagesOf(fields: SendFields, body: Buffer, sender: Sender): NewMessage[] {
  if (!fields.batch) {
    const properties = Buffer.from(fields.properties ?? '', 'utf8')
    return [messageOf(fields, { flag: fields.flag, body, properties }, sender)]
  }
  const bytesMax = Math.max(BODY_BYTES_DEFAULT, sender.bodyBytesMax)
  if (body.length > bytesMax) throw batchTooLarge(body.length, bytesMax)
  const items = decodeBatchBody(body)
  if (items.length === 0) throw new BrokerError('MESSAGE_INVALID', 'the batch has no messages')
  return items.map((item) => messageOf(fields, item, sender))
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

/** @throws BrokerError MESSAGE_INVALID */
export function messageOf(fields: SendFields, item: BatchItem, sender: Sender): NewMessage {
  const plain = plainBody(item.body, fields.sysFlag & SYS_FLAGS_KEPT, sender)
  return {
    topic: fields.topic,
    queueId: fields.queueId < 0 ? ANY_QUEUE : fields.queueId,
    body: plain.body,
    properties: item.properties,
    flag: item.flag,
    sysFlag: plain.sysFlag,
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

/**
 * Compression is undone; a method that is not known stays for the consumers that know it, and so
 * does what is larger when it is inflated than a body may be. As with Apache's broker, the limit of
 * a body is on the bytes that are sent.
 */
function plainBody(
  body: Uint8Array,
  sysFlag: number,
  { inflation, bodyBytesMax }: Sender,
): { readonly body: Uint8Array; readonly sysFlag: number } {
  if ((sysFlag & SYS_FLAG.compressed) === 0) return { body, sysFlag: sysFlag & SYS_FLAG.multiTags }
  const method = methodOf(sysFlag)
  if (method === undefined) return { body, sysFlag }
  const inflated = inflation.inflate(method, body, bodyBytesMax)
  if (inflated === undefined) return { body, sysFlag }
  return { body: inflated, sysFlag: sysFlag & ~COMPRESSION_BITS }
}
