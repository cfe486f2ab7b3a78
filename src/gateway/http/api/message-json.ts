// A stored message as the API shows it: the SDK's view of a record, as JSON.
import { isUtf8 } from 'node:buffer'
import type { Message } from '../../../client/consume/delivery.ts'
import { BrokerError } from '../../../errors.ts'

/** A body in a list is for people to look at. */
const PREVIEW_BYTES = 1024

/** @param isWhole with all of the body */
export function messageJson(message: Message, isWhole: boolean): Readonly<Record<string, unknown>> {
  return {
    messageId: message.messageId,
    offsetMessageId: message.offsetMessageId,
    topic: message.topic,
    storedTopic: message.storedTopic,
    brokerName: message.brokerName,
    queueId: message.queueId,
    queueOffset: message.queueOffset,
    tag: message.tag,
    keys: message.keys,
    orderingKey: message.orderingKey,
    properties: Object.fromEntries(message.properties),
    attempt: message.attempt,
    bornMs: message.bornTimestamp,
    bornHost: message.bornHost,
    storedMs: message.storeTimestamp,
    reason: message.property('DLQ_REASON'),
    ...bodyJson(message, isWhole),
  }
}

/** Text as `body`, other bytes as `bodyBase64`. */
function bodyJson(message: Message, isWhole: boolean): Readonly<Record<string, unknown>> {
  let body: Buffer
  try {
    const { buffer, byteOffset, byteLength } = message.body
    body = Buffer.from(buffer, byteOffset, byteLength)
  } catch (error) {
    return { bodyError: BrokerError.from(error).message }
  }
  const bodyBytes = body.length
  if (!isWhole && bodyBytes > PREVIEW_BYTES) {
    // The last character may be cut in two.
    const start = body.subarray(0, PREVIEW_BYTES)
    const preview = isUtf8(body) ? { body: start.toString('utf8') } : base64(start)
    return { ...preview, bodyBytes, isTruncated: true }
  }
  return { ...(isUtf8(body) ? { body: body.toString('utf8') } : base64(body)), bodyBytes }
}

const base64 = (body: Buffer) => ({ bodyBase64: body.toString('base64') })
