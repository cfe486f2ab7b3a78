// The parts of an AMQP message that no other protocol understands, as the record's `__WIRE`
// property keeps them: with them and the record's body the bare message is rebuilt byte for byte.
// Base64 of
//
//   u8 mark 0xa1   u8 body form   { u8 item   u16 length   bytes }*
//
// A native client can write this property too, so reading trusts nothing.
import { BrokerError } from '../../../errors.ts'
import { getU16, getU32, putU16, putU32 } from '../../../model/bytes.ts'
import { BODY, type BodyForm, Sections } from './sections.ts'
import { ValueReader } from './value-reader.ts'
import { skipValue } from './value-size.ts'

const MARK = 0xa1
const ITEM = {
  header: 1,
  annotations: 2,
  sections: 3,
  bodyHead: 4,
  suffix: 5,
  format: 6,
} as const
const ITEM_BYTES_MAX = 0xffff
const NOTHING = Buffer.alloc(0)

export interface WireForm {
  readonly form: BodyForm
  /** The header's list as sent, without delivery-count's meaning; empty when there was none. */
  readonly header: Buffer
  /** Keys and values of the message annotations, back to back. */
  readonly annotations: Buffer
  /** Properties and application properties, whole sections. */
  readonly sections: Buffer
  /** The body's descriptor and type code, without its length, when they are not the shortest. */
  readonly bodyHead: Buffer
  /** The footer. */
  readonly suffix: Buffer
  /** The transfer's message-format; 0 for a message of AMQP 3.2. */
  readonly format: number
}

export const PLAIN_WIRE: WireForm = {
  form: BODY.data,
  header: NOTHING,
  annotations: NOTHING,
  sections: NOTHING,
  bodyHead: NOTHING,
  suffix: NOTHING,
  format: 0,
}

/** @throws BrokerError MESSAGE_TOO_LARGE when a part is longer than any record could keep */
export function encodeWire(wire: WireForm): string {
  const items: [number, Uint8Array][] = [
    [ITEM.header, wire.header],
    [ITEM.annotations, wire.annotations],
    [ITEM.sections, wire.sections],
    [ITEM.bodyHead, wire.bodyHead],
    [ITEM.suffix, wire.suffix],
  ]
  if (wire.format !== 0) {
    const format = Buffer.alloc(4)
    putU32(format, 0, wire.format)
    items.push([ITEM.format, format])
  }
  const parts: Uint8Array[] = [Buffer.from([MARK, wire.form])]
  for (const [item, bytes] of items) {
    if (bytes.length === 0) continue
    checkItemBytes(bytes.length)
    const head = Buffer.alloc(3)
    head[0] = item
    putU16(head, 1, bytes.length)
    parts.push(head, bytes)
  }
  return Buffer.concat(parts).toString('base64')
}

/** @throws BrokerError MESSAGE_TOO_LARGE */
export function checkItemBytes(bytes: number): void {
  if (bytes <= ITEM_BYTES_MAX) return
  throw new BrokerError(
    'MESSAGE_TOO_LARGE',
    `the sections beside the body have ${bytes} bytes; about 20 KiB is the most`,
  )
}

/**
 * undefined for a value that another protocol wrote, or that would put a malformed message on the
 * wire.
 */
export function decodeWire(text: string): WireForm | undefined {
  const bytes = Buffer.from(text, 'base64')
  const form = bytes[1]
  if (bytes[0] !== MARK || form === undefined || form > BODY.encoded) return undefined
  const items = new Map<number, Buffer>()
  for (let at = 2; at < bytes.length; ) {
    const from = at + 3
    const to = from + (from <= bytes.length ? getU16(bytes, at + 1) : 0)
    if (to > bytes.length || to === at) return undefined
    items.set(bytes[at]!, bytes.subarray(from, to))
    at = Math.max(to, from)
  }
  const format = items.get(ITEM.format)
  const wire: WireForm = {
    form: form as BodyForm,
    header: items.get(ITEM.header) ?? NOTHING,
    annotations: items.get(ITEM.annotations) ?? NOTHING,
    sections: items.get(ITEM.sections) ?? NOTHING,
    bodyHead: items.get(ITEM.bodyHead) ?? NOTHING,
    suffix: items.get(ITEM.suffix) ?? NOTHING,
    format: format?.length === 4 ? getU32(format, 0) : 0,
  }
  return isSound(wire) ? wire : undefined
}

/** Message annotations, which every message that goes out has before the others. */
const ANNOTATIONS = Buffer.from([0, 0x53, 0x72, 0xc1, 1, 0])

/** Everything but the body's own bytes decodes, and the pieces make sections in the right order. */
function isSound(wire: WireForm): boolean {
  if (wire.format !== 0) return true
  try {
    if (wire.header.length > 0) readAll(wire.header)
    if (readAll(wire.annotations) % 2 !== 0) return false
    readAll(wire.sections)
    readAll(wire.suffix)
    const probe = Buffer.concat([ANNOTATIONS, wire.sections, bodyProbe(wire), wire.suffix])
    const sections = new Sections()
    sections.scan(probe, 0, probe.length)
    const { form, bodyHead } = wire
    const isBodyKept = bodyHead.length === 0 || (form !== BODY.encoded && sections.form === form)
    return isBodyKept && sections.bodyAt === ANNOTATIONS.length + wire.sections.length
  } catch {
    return false
  }
}

/** An empty body of the same form, to scan the pieces around it. */
function bodyProbe(wire: WireForm): Buffer {
  if (wire.bodyHead.length === 0) return Buffer.from([0, 0x53, 0x75, 0xa0, 0])
  return Buffer.concat([wire.bodyHead, Buffer.alloc(isWide(wire.bodyHead) ? 4 : 1)])
}

/** Does the length behind this body head take four bytes? */
export const isWide = (bodyHead: Buffer): boolean => bodyHead.at(-1)! >= 0xb0

function readAll(bytes: Buffer): number {
  const reader = new ValueReader(bytes)
  let values = 0
  for (; reader.at < bytes.length; values++) reader.read()
  return values
}

/** Calls `each` with the range of every key and value of an encoded map's entries. */
export function eachEntry(
  bytes: Buffer,
  at: number,
  end: number,
  each: (keyAt: number, valueAt: number, next: number) => void,
): void {
  while (at < end) {
    const valueAt = skipValue(bytes, at, end)
    const next = skipValue(bytes, valueAt, end)
    each(at, valueAt, next)
    at = next
  }
}
