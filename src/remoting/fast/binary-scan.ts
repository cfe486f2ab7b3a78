// Reads a binary header as HeaderScan reads a JSON one: where each field is, and nothing built.
// What the general decoder refuses, or would replace in a text, is left to it.
import { isUtf8 } from 'node:buffer'
import { getI32, getU16 } from '../../model/bytes.ts'
import {
  HEADER_BYTES_MIN,
  OPAQUE_AT,
  REMARK_AT,
  signed16,
  VERSION_AT,
} from '../header/binary-header.ts'
import { FIELDS_MAX, type HeaderScan } from './header-scan.ts'

/** False: `scan` holds nothing of use, and the general decoder says what the bytes are. */
export function scanBinaryHeader(
  scan: HeaderScan,
  bytes: Buffer,
  start: number,
  end: number,
): boolean {
  if (end - start < HEADER_BYTES_MIN) return false
  const remarkBytes = getI32(bytes, start + REMARK_AT)
  const fieldsAt = start + HEADER_BYTES_MIN + remarkBytes
  if (remarkBytes < 0 || fieldsAt > end) return false
  const fieldsBytes = getI32(bytes, fieldsAt - 4)
  if (fieldsBytes < 0 || fieldsAt + fieldsBytes > end) return false
  scan.bytes = bytes
  scan.code = signed16(getU16(bytes, start))
  scan.version = signed16(getU16(bytes, start + VERSION_AT))
  scan.opaque = getI32(bytes, start + OPAQUE_AT)
  scan.flag = getI32(bytes, start + OPAQUE_AT + 4)
  return scanFields(scan, bytes, fieldsAt, fieldsAt + fieldsBytes)
}

function scanFields(scan: HeaderScan, bytes: Buffer, start: number, end: number): boolean {
  let count = 0
  for (let at = start; at < end; count++) {
    if (count === FIELDS_MAX || end - at < 2) return false
    const nameAt = at + 2
    const nameEnd = nameAt + getU16(bytes, at)
    const valueAt = nameEnd + 4
    if (valueAt > end) return false
    const valueBytes = getI32(bytes, nameEnd)
    at = valueAt + valueBytes
    if (valueBytes < 0 || at > end) return false
    if (!isText(bytes, nameAt, nameEnd) || !isText(bytes, valueAt, at)) return false
    scan.nameAt[count] = nameAt
    scan.nameEnd[count] = nameEnd
    scan.valueAt[count] = valueAt
    scan.valueEnd[count] = at
    scan.isEscaped[count] = 0
  }
  scan.count = count
  return true
}

/** Bytes that are no UTF-8 are another text once decoded. */
function isText(bytes: Buffer, from: number, to: number): boolean {
  let seen = 0
  for (let i = from; i < to; i++) seen |= bytes[i]!
  return seen < 128 || isUtf8(bytes.subarray(from, to))
}
