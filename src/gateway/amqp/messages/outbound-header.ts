// The header section of a message that goes out (AMQP 3.2.1): on the first delivery as its sender
// wrote it, or none where there was none; on a later one with the failed attempts added and no
// longer acquired first. Of a message that expires the ttl is what is left of it.
import { putU32 } from '../../../model/bytes.ts'
import { CODE } from '../codec/performatives.ts'
import { encodedFields } from '../codec/scalar-list.ts'
import { booleanAt, uintAt, writeUint } from '../codec/transfer.ts'
import { decodeError } from '../errors.ts'

const NULL = Buffer.from([0x40])
const TRUE = Buffer.from([0x41])
const NOTHING = Buffer.alloc(0)
const FIELDS = 5
const FALSE = 0x42
const UINT_MAX = 0xffff_ffff
/** A ttl to be filled in. */
const TTL = Buffer.from([0x70, 0, 0, 0, 0])
/** Behind descriptor, list code, size and count. */
const FIELDS_AT = 6

export class OutboundHeader {
  /** The section of a first delivery, whole; empty when there is none. */
  readonly #first: Buffer
  /** durable, priority, ttl and first-acquirer of a later one. */
  readonly #fields: Buffer
  /** Attempts that the sender reported. */
  readonly #count: number
  /** Where the ttl's four bytes are in the section, of any delivery; -1 when they are as sent. */
  readonly #ttlAt: number

  constructor(first: Buffer, fields: readonly Buffer[], count: number, ttlAt = -1) {
    this.#first = first
    this.#fields = Buffer.concat(fields)
    this.#count = count
    this.#ttlAt = ttlAt
  }

  /** @param attempt 1 for the first delivery */
  bytes(attempt: number): number {
    if (attempt === 1) return this.#first.length
    const count = this.#countAt(attempt)
    return FIELDS_AT + this.#fields.length + (count < 256 ? 2 : 5)
  }

  /** Writes the section at `out[at...]`; `leftMs`: what is left of the message's time. */
  write(out: Buffer, at: number, attempt: number, leftMs: number): number {
    const end =
      attempt === 1 ? this.#writeFirst(out, at) : this.#writeLater(out, at, this.#countAt(attempt))
    if (this.#ttlAt >= 0) putU32(out, at + this.#ttlAt, Math.max(0, Math.min(leftMs, UINT_MAX)))
    return end
  }

  #writeFirst(out: Buffer, at: number): number {
    if (this.#first.length > 0) out.set(this.#first, at)
    return at + this.#first.length
  }

  /** 00 53 70 c0 size 5, the four fields, delivery-count. */
  #writeLater(out: Buffer, at: number, count: number): number {
    out[at] = 0
    out[at + 1] = 0x53
    out[at + 2] = CODE.header
    out[at + 3] = 0xc0
    out[at + 4] = 1 + this.#fields.length + (count < 256 ? 2 : 5)
    out[at + 5] = FIELDS
    out.set(this.#fields, at + FIELDS_AT)
    return writeUint(out, at + FIELDS_AT + this.#fields.length, count)
  }

  #countAt(attempt: number): number {
    return Math.min(UINT_MAX, this.#count + attempt - 1)
  }
}

function ttlAtOf(durable: Buffer, priority: Buffer, isExpiring: boolean): number {
  return isExpiring ? FIELDS_AT + durable.length + priority.length + 1 : -1
}

/**
 * For records of other protocols: durable, and acquired first as long as nothing failed.
 * `priority`: undefined for AMQP's own default.
 */
export function ownHeader(priority: number | undefined, isExpiring: boolean): OutboundHeader {
  const level = priority === undefined ? NULL : Buffer.from([0x50, Math.min(priority, 9)])
  const ttl = isExpiring ? TTL : NULL
  const first = section([TRUE, level, ttl, TRUE, Buffer.from([0x43])])
  const later = [TRUE, level, ttl, Buffer.from([FALSE])]
  return new OutboundHeader(first, later, 0, ttlAtOf(TRUE, level, isExpiring))
}

export const OWN_HEADER = ownHeader(undefined, false)

/** No header, and on a later delivery one with a count alone. */
const NO_HEADER = new OutboundHeader(NOTHING, [NULL, NULL, NULL, NULL], 0)

/** `header` is the section's list, as the record keeps it; empty when there was none. */
export function headerAsSent(header: Buffer, isExpiring = false): OutboundHeader {
  if (header.length === 0) return NO_HEADER
  const first = Buffer.concat([Buffer.from([0, 0x53, CODE.header]), header])
  try {
    const sent = encodedFields(first, 0, FIELDS, 'header')
    const [durable = NULL, priority = NULL, ttl = NULL, acquired = NULL, count = NULL] = sent
    checkTypes(durable, priority, ttl, acquired)
    // A message that is delivered again has been acquired before.
    const isAcquiredFirst = acquired[0] !== 0x40 && booleanAt(acquired, 0)
    const later = isAcquiredFirst ? Buffer.from([FALSE]) : acquired
    const reported = count[0] === 0x40 ? 0 : uintAt(count, 0)
    if (!isExpiring || ttl[0] === 0x40) {
      return new OutboundHeader(first, [durable, priority, ttl, later], reported)
    }
    sent[2] = TTL
    const ttlAt = ttlAtOf(durable, priority, true)
    return new OutboundHeader(section(sent), [durable, priority, TTL, later], reported, ttlAt)
  } catch {
    // A strict reader cannot decode a header of other types, and would lose the message by it.
    return NO_HEADER
  }
}

function section(fields: readonly Buffer[]): Buffer {
  const all = Buffer.concat(fields)
  const head = [0, 0x53, CODE.header, 0xc0, all.length + 1, fields.length]
  return Buffer.concat([Buffer.from(head), all])
}

/** @throws AmqpError decode-error for a field that is none of its type */
function checkTypes(durable: Buffer, priority: Buffer, ttl: Buffer, acquired: Buffer): void {
  for (const flag of [durable, acquired]) if (flag[0] !== 0x40) booleanAt(flag, 0)
  if (ttl[0] !== 0x40) uintAt(ttl, 0)
  if (priority[0] !== 0x40 && priority[0] !== 0x50) {
    throw decodeError('header.priority is no ubyte')
  }
}
