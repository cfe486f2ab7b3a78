// The body of SEND_BATCH_MESSAGE, repeated per message:
//
//   0 i32 size   4 i32 magic (0)   8 i32 crc (0)   12 i32 flag
//   16 i32 length, body   . i16 length, properties
import { BrokerError } from '../errors.ts'
import { getI32, getU16, partOf, putU16, putU32 } from '../model/bytes.ts'
import { invalidRequest } from './protocol-error.ts'

const ITEM_FIXED_BYTES = 22
const BODY_AT = 20

/**
 * Of one batch. Each costs us hundreds of bytes and 2 us, however little it says; Java's have 64
 * bytes at least beside their body.
 */
export const BATCH_MESSAGES_MAX = 32_768

export interface BatchItem {
  readonly flag: number
  readonly body: Uint8Array
  /** Encoded as in model/properties.ts. */
  readonly properties: Uint8Array
}

/** The items are views on `bytes`. @throws BrokerError ARGUMENT_INVALID, MESSAGE_TOO_LARGE */
export function* decodeBatchBody(bytes: Buffer): Generator<BatchItem, void> {
  for (let at = 0, count = 0; at < bytes.length; count++) {
    if (bytes.length - at < ITEM_FIXED_BYTES) throw badItem(count)
    const end = at + getI32(bytes, at)
    const bodyEnd = at + BODY_AT + getI32(bytes, at + 16)
    if (end > bytes.length || bodyEnd < at + BODY_AT || bodyEnd + 2 > end) throw badItem(count)
    if (bodyEnd + 2 + getU16(bytes, bodyEnd) !== end) throw badItem(count)
    if (count >= BATCH_MESSAGES_MAX) throw tooMany()
    yield {
      flag: getI32(bytes, at + 12),
      body: partOf(bytes, at + BODY_AT, bodyEnd),
      properties: partOf(bytes, bodyEnd + 2, end),
    }
    at = end
  }
}

const tooMany = (): BrokerError =>
  new BrokerError(
    'MESSAGE_TOO_LARGE',
    `a batch has more than ${BATCH_MESSAGES_MAX} messages, which is the most; send them in several`,
  )

const badItem = (index: number): Error =>
  invalidRequest(`message ${index} of the batch is malformed: its lengths do not fit`)

export function encodeBatchBody(items: readonly BatchItem[]): Buffer {
  let bytes = 0
  for (const item of items) bytes += ITEM_FIXED_BYTES + item.body.length + item.properties.length
  const out = Buffer.alloc(bytes)
  let at = 0
  for (const { flag, body, properties } of items) {
    const size = ITEM_FIXED_BYTES + body.length + properties.length
    putU32(out, at, size)
    putU32(out, at + 12, flag)
    putU32(out, at + 16, body.length)
    out.set(body, at + BODY_AT)
    putU16(out, at + BODY_AT + body.length, properties.length)
    out.set(properties, at + BODY_AT + body.length + 2)
    at += size
  }
  return out
}
