// The header section of a message that goes out (AMQP 3.2.1): on the first delivery as its sender
// wrote it, or none where there was none; on a later one with the failed attempts added and no
// longer acquired first.

import { CODE } from '../codec/performatives.ts'
import { encodedFields } from '../codec/scalar-list.ts'
import { booleanAt, uintAt, writeUint } from '../codec/transfer.ts'
import { decodeError } from '../errors.ts'

const NULL = Buffer.from([0x40])
const NOTHING = Buffer.alloc(0)
const FIELDS = 5
const FALSE = 0x42

export class OutboundHeader {
  /** The section of a first delivery, whole; empty when there is none. */
  readonly #first: Buffer
  /** durable, priority, ttl and first-acquirer of a later one. */
  readonly #fields: Buffer
  /** Attempts that the sender reported. */
  readonly #count: number

  constructor(first: Buffer, fields: readonly Buffer[], count: number) {
    this.#first = first
    this.#fields = Buffer.concat(fields)
    this.#count = count
  }

  /** @param attempt 1 for the first delivery */
  bytes(attempt: number): number {
    if (attempt === 1) return this.#first.length
    const count = this.#countAt(attempt)
    return 6 + this.#fields.length + (count < 256 ? 2 : 5)
  }

  /** Writes the section at `out[at...]`: 00 53 70 c0 size 5, the four fields, delivery-count. */
  write(out: Buffer, at: number, attempt: number): number {
    if (attempt === 1) {
      if (this.#first.length > 0) out.set(this.#first, at)
      return at + this.#first.length
    }
    out[at] = 0
    out[at + 1] = 0x53
    out[at + 2] = CODE.header
    out[at + 3] = 0xc0
    out[at + 4] = this.bytes(attempt) - 5
    out[at + 5] = FIELDS
    out.set(this.#fields, at + 6)
    return writeUint(out, at + 6 + this.#fields.length, this.#countAt(attempt))
  }

  #countAt(attempt: number): number {
    return Math.min(0xffff_ffff, this.#count + attempt - 1)
  }
}

/** For records of other protocols: durable, and acquired first as long as nothing failed. */
export const OWN_HEADER = new OutboundHeader(
  Buffer.from([0, 0x53, CODE.header, 0xc0, 6, FIELDS, 0x41, 0x40, 0x40, 0x41, 0x43]),
  [Buffer.from([0x41]), NULL, NULL, Buffer.from([FALSE])],
  0,
)

/** No header, and on a later delivery one with a count alone. */
const NO_HEADER = new OutboundHeader(NOTHING, [NULL, NULL, NULL, NULL], 0)

/** `header` is the section's list, as the record keeps it; empty when there was none. */
export function headerAsSent(header: Buffer): OutboundHeader {
  if (header.length === 0) return NO_HEADER
  const first = Buffer.concat([Buffer.from([0, 0x53, CODE.header]), header])
  try {
    const [durable = NULL, priority = NULL, ttl = NULL, acquired = NULL, count = NULL] =
      encodedFields(first, 0, FIELDS, 'header')
    checkTypes(durable, priority, ttl, acquired)
    // A message that is delivered again has been acquired before.
    const isAcquiredFirst = acquired[0] !== 0x40 && booleanAt(acquired, 0)
    const later = isAcquiredFirst ? Buffer.from([FALSE]) : acquired
    const reported = count[0] === 0x40 ? 0 : uintAt(count, 0)
    return new OutboundHeader(first, [durable, priority, ttl, later], reported)
  } catch {
    // A strict reader cannot decode a header of other types, and would lose the message by it.
    return NO_HEADER
  }
}

/** @throws AmqpError decode-error for a field that is none of its type */
function checkTypes(durable: Buffer, priority: Buffer, ttl: Buffer, acquired: Buffer): void {
  for (const flag of [durable, acquired]) if (flag[0] !== 0x40) booleanAt(flag, 0)
  if (ttl[0] !== 0x40) uintAt(ttl, 0)
  if (priority[0] !== 0x40 && priority[0] !== 0x50) {
    throw decodeError('header.priority is no ubyte')
  }
}
