// flow, the session's windows and a link's credit (AMQP 2.7.4). Clients send one for every few
// messages, so it is read into one reused value.
import { putU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'
import { CODE, descriptorBytes } from './performatives.ts'
import { listCount, listStart } from './scalar-list.ts'
import { booleanAt, uintAt, writeFrameStart, writeUint } from './transfer.ts'
import { ValueReader } from './value-reader.ts'
import { skipValue } from './value-size.ts'

const FIELDS_MAX = 11
const ABSENT = -1

export class Flow {
  /** Numbers are -1 when absent. */
  nextIncomingId = ABSENT
  incomingWindow = ABSENT
  nextOutgoingId = ABSENT
  outgoingWindow = ABSENT
  handle = ABSENT
  deliveryCount = ABSENT
  linkCredit = ABSENT
  drain = false
  echo = false
  /** What is sent for this credit is to belong to a transaction (AMQP 4.4.3). */
  isTransactional = false

  /** @throws AmqpError decode-error */
  read(bytes: Buffer, at: number, end: number): void {
    this.nextIncomingId = this.incomingWindow = this.nextOutgoingId = this.outgoingWindow = ABSENT
    this.handle = this.deliveryCount = this.linkCredit = ABSENT
    this.drain = this.echo = this.isTransactional = false
    const list = at + descriptorBytes(bytes, at, end)
    if (skipValue(bytes, list, end) !== end) throw decodeError('bytes behind flow')
    const count = listCount(bytes, list, FIELDS_MAX, 'flow')
    let next = listStart(bytes, list)
    for (let field = 0; field < count; field++) {
      const after = skipValue(bytes, next, end)
      if (bytes[next] !== 0x40) this.#field(field, bytes, next, after)
      next = after
    }
    if (next !== end) throw decodeError("flow's size does not match its fields")
    if (this.incomingWindow < 0 || this.nextOutgoingId < 0 || this.outgoingWindow < 0) {
      throw decodeError('flow without a window or next-outgoing-id')
    }
  }

  #field(field: number, bytes: Buffer, at: number, end: number): void {
    switch (field) {
      case 0:
        this.nextIncomingId = uintAt(bytes, at)
        break
      case 1:
        this.incomingWindow = uintAt(bytes, at)
        break
      case 2:
        this.nextOutgoingId = uintAt(bytes, at)
        break
      case 3:
        this.outgoingWindow = uintAt(bytes, at)
        break
      case 4:
        this.handle = uintAt(bytes, at)
        break
      case 5:
        this.deliveryCount = uintAt(bytes, at)
        break
      case 6:
        this.linkCredit = uintAt(bytes, at)
        break
      case 8:
        this.drain = booleanAt(bytes, at)
        break
      case 9:
        this.echo = booleanAt(bytes, at)
        break
      case 10: {
        const properties = new ValueReader(bytes, at, end).read()
        this.isTransactional = properties instanceof Map && properties.has('txn-id')
        break
      }
      default:
    }
  }
}

export interface SessionWindow {
  channel: number
  nextIncomingId: number
  incomingWindow: number
  nextOutgoingId: number
  outgoingWindow: number
}

export interface LinkFlow {
  handle: number
  deliveryCount: number
  linkCredit: number
  drain: boolean
}

export const FLOW_BYTES_MAX = 64

/** Writes a whole flow frame at `out[at...]`, for the session alone or for one link of it. */
export function writeFlow(
  out: Buffer,
  at: number,
  window: SessionWindow,
  link: LinkFlow | undefined,
): number {
  const list = writeFrameStart(out, at, window.channel, CODE.flow)
  let p = writeUint(out, list + 3, window.nextIncomingId)
  p = writeUint(out, p, window.incomingWindow)
  p = writeUint(out, p, window.nextOutgoingId)
  p = writeUint(out, p, window.outgoingWindow)
  if (link !== undefined) {
    p = writeUint(out, p, link.handle)
    p = writeUint(out, p, link.deliveryCount)
    p = writeUint(out, p, link.linkCredit)
    out[p++] = 0x40
    out[p++] = link.drain ? 0x41 : 0x42
  }
  out[list] = 0xc0
  out[list + 1] = p - list - 2
  out[list + 2] = link === undefined ? 4 : 9
  putU32(out, at, p - at)
  return p
}
