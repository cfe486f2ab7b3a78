// transfer, the frame every message rides in (AMQP 2.7.5): read straight into one reused value,
// written straight into an output buffer. Its rcv-settle-mode is skipped, and its state but for a
// transaction's: nothing here transfers a state before the receiver had a say.
import { getU32, putU16, putU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'
import { DELIVERY_TAG_BYTES_MAX } from '../limits.ts'
import { CODE, descriptorBytes, descriptorCode } from './performatives.ts'
import { listCount, listStart } from './scalar-list.ts'
import { readTransactionalState } from './transaction.ts'
import { skipValue } from './value-size.ts'

const FIELDS_MAX = 11

export class Transfer {
  handle = 0
  /** -1 when absent: a continuation. */
  deliveryId = -1
  /** -1 when absent. */
  tagBytes = -1
  /** Where the delivery-tag's bytes begin. */
  tagAt = 0
  messageFormat = 0
  settled = false
  more = false
  aborted = false
  resume = false
  /** Of the transaction that the message is posted in; a view of the frame. */
  txnId: Buffer | undefined
  /** Where the message's bytes begin. */
  payloadAt = 0

  /** Reads the performative at `at`. @throws AmqpError decode-error */
  read(bytes: Buffer, at: number, end: number): void {
    this.handle = -1
    this.deliveryId = -1
    this.tagBytes = -1
    this.messageFormat = 0
    this.settled = this.more = this.aborted = this.resume = false
    this.txnId = undefined
    const list = at + descriptorBytes(bytes, at, end)
    const stop = skipValue(bytes, list, end)
    const count = listCount(bytes, list, FIELDS_MAX, 'transfer')
    let next = listStart(bytes, list)
    for (let field = 0; field < count; field++) {
      next = bytes[next] === 0x40 ? next + 1 : this.#field(field, bytes, next, stop)
    }
    if (next !== stop) throw decodeError("transfer's size does not match its fields")
    if (this.handle < 0) throw decodeError('transfer without a handle')
    this.payloadAt = stop
  }

  #field(field: number, bytes: Buffer, at: number, stop: number): number {
    const next = skipValue(bytes, at, stop)
    switch (field) {
      case 0:
        this.handle = uintAt(bytes, at)
        break
      case 1:
        this.deliveryId = uintAt(bytes, at)
        break
      case 2:
        this.tagBytes = binaryBytesAt(bytes, at)
        this.tagAt = next - this.tagBytes
        break
      case 3:
        this.messageFormat = uintAt(bytes, at)
        break
      case 4:
        this.settled = booleanAt(bytes, at)
        break
      case 5:
        this.more = booleanAt(bytes, at)
        break
      case 7:
        if (descriptorCode(bytes, at, stop) === CODE.transactionalState) {
          this.txnId = readTransactionalState(bytes.subarray(at, next)).txnId
        }
        break
      case 8:
        this.resume = booleanAt(bytes, at)
        break
      case 9:
        this.aborted = booleanAt(bytes, at)
        break
      default:
    }
    return next
  }
}

/** The caller has checked that the whole value is there. */
export function uintAt(bytes: Buffer, at: number): number {
  const code = bytes[at]
  if (code === 0x43) return 0
  if (code === 0x52) return bytes[at + 1]!
  if (code === 0x70) return getU32(bytes, at + 1)
  throw decodeError(`0x${code?.toString(16)} where a uint must be`)
}

export function booleanAt(bytes: Buffer, at: number): boolean {
  const code = bytes[at]
  if (code === 0x41 || code === 0x42) return code === 0x41
  if (code === 0x56 && bytes[at + 1]! <= 1) return bytes[at + 1] === 1
  throw decodeError(`0x${code?.toString(16)} where a boolean must be`)
}

function binaryBytesAt(bytes: Buffer, at: number): number {
  const code = bytes[at]
  if (code !== 0xa0 && code !== 0xb0) throw decodeError('delivery-tag is no binary')
  const length = code === 0xa0 ? bytes[at + 1]! : getU32(bytes, at + 1)
  if (length > DELIVERY_TAG_BYTES_MAX) {
    throw decodeError(`a delivery-tag of ${length} bytes; ${DELIVERY_TAG_BYTES_MAX} is the most`)
  }
  return length
}

/** Frame header and performative of a delivery's first frame; a bound for buffer room. */
export const TRANSFER_HEAD_BYTES_MAX = 48

/**
 * Writes frame header and performative at `out[at...]`; the message follows. The delivery tag is
 * the delivery id: unique among the unsettled of every link of the session.
 *
 *   size 4 | 02 00 channel 2 | 00 53 14 | c0 size count
 *   handle | 70 id | a0 04 tag | format | settled | more
 */
export function writeTransferHead(
  out: Buffer,
  at: number,
  head: TransferHead,
  payloadBytes: number,
): number {
  let p = writeFrameStart(out, at, head.channel, CODE.transfer)
  const list = p
  p += 3
  p = writeUint(out, p, head.handle)
  if (head.isFirst) {
    out[p] = 0x70
    putU32(out, p + 1, head.deliveryId)
    out[p + 5] = 0xa0
    out[p + 6] = 4
    putU32(out, p + 7, head.deliveryId)
    p = writeUint(out, p + 11, head.messageFormat)
  } else {
    out[p] = out[p + 1] = out[p + 2] = 0x40
    p += 3
  }
  out[p++] = head.settled ? 0x41 : 0x42
  out[p++] = head.more ? 0x41 : 0x42
  out[list] = 0xc0
  out[list + 1] = p - list - 2
  out[list + 2] = 6
  putU32(out, at, p - at + payloadBytes)
  return p
}

export interface TransferHead {
  channel: number
  handle: number
  deliveryId: number
  messageFormat: number
  settled: boolean
  more: boolean
  isFirst: boolean
}

/** All of a frame before the performative's list but its size. */
export function writeFrameStart(out: Buffer, at: number, channel: number, code: number): number {
  out[at + 4] = 2
  out[at + 5] = 0
  putU16(out, at + 6, channel)
  out[at + 8] = 0
  out[at + 9] = 0x53
  out[at + 10] = code
  return at + 11
}

export function writeUint(out: Buffer, at: number, value: number): number {
  if (value === 0) {
    out[at] = 0x43
    return at + 1
  }
  if (value < 256) {
    out[at] = 0x52
    out[at + 1] = value
    return at + 2
  }
  out[at] = 0x70
  putU32(out, at + 1, value)
  return at + 5
}
