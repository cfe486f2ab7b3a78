// The binary ("ROCKETMQ") header codec:
//
//   0 i16 code   2 i8 language   3 i16 version   5 i32 opaque   9 i32 flag
//  13 i32 length, remark   . i32 length, fields: (i16 length, name, i32 length, value) repeated
//
// The code has 16 bits: the codes of the POP family cannot travel this way.
import { getI32, getU16, putU16, putU32 } from '../../model/bytes.ts'
import { LANGUAGE_DEFAULT, LANGUAGES } from '../codes.ts'
import { protocolError } from '../protocol-error.ts'
import type { Header } from './header.ts'

export const VERSION_AT = 3
export const OPAQUE_AT = 5
export const REMARK_AT = 13
export const HEADER_BYTES_MIN = 21
const LANGUAGE_OTHER = 7

/** @throws BrokerError PROTOCOL_ERROR */
export function decodeBinaryHeader(bytes: Buffer, start: number, end: number): Header {
  if (end - start < HEADER_BYTES_MIN) {
    throw protocolError(`a binary header has ${end - start} bytes; ${HEADER_BYTES_MIN} at least`)
  }
  const remarkAt = start + REMARK_AT + 4
  const remarkEnd = textEnd(remarkAt, getI32(bytes, remarkAt - 4), end - 4)
  const fieldsEnd = textEnd(remarkEnd + 4, getI32(bytes, remarkEnd), end)
  return {
    code: signed16(getU16(bytes, start)),
    language: LANGUAGES[bytes[start + 2]!] ?? LANGUAGE_DEFAULT,
    version: signed16(getU16(bytes, start + VERSION_AT)),
    opaque: getI32(bytes, start + OPAQUE_AT),
    flag: getI32(bytes, start + 9),
    remark: remarkEnd > remarkAt ? bytes.utf8Slice(remarkAt, remarkEnd) : undefined,
    fields: decodeFields(bytes, remarkEnd + 4, fieldsEnd),
  }
}

export const signed16 = (value: number): number => (value << 16) >> 16

function decodeFields(bytes: Buffer, start: number, end: number): Map<string, string> {
  const fields = new Map<string, string>()
  for (let at = start; at < end; ) {
    if (end - at < 2) throw protocolError('a binary header ends inside a field')
    const nameEnd = textEnd(at + 2, getU16(bytes, at), end - 4)
    const valueAt = nameEnd + 4
    const valueEnd = textEnd(valueAt, getI32(bytes, nameEnd), end)
    fields.set(bytes.utf8Slice(at + 2, nameEnd), bytes.utf8Slice(valueAt, valueEnd))
    at = valueEnd
  }
  return fields
}

/**
 * Where a text of `length` bytes at `at` ends.
 * @throws BrokerError PROTOCOL_ERROR beyond `limit`
 */
function textEnd(at: number, length: number, limit: number): number {
  if (length < 0 || at + length > limit) {
    throw protocolError(`a text of ${length} bytes in a binary header runs over its end`)
  }
  return at + length
}

/** Of a UTF-16 unit in UTF-8. */
const UNIT_BYTES_MAX = 3

export function encodeBinaryHeader(header: Header): Buffer {
  const remark = header.remark ?? ''
  let bytesMax = HEADER_BYTES_MIN + remark.length * UNIT_BYTES_MAX
  for (const [name, value] of header.fields) {
    bytesMax += 6 + (name.length + value.length) * UNIT_BYTES_MAX
  }
  const bytes = Buffer.allocUnsafe(bytesMax)
  const language = (LANGUAGES as readonly string[]).indexOf(header.language)
  putU16(bytes, 0, header.code)
  bytes[2] = language === -1 ? LANGUAGE_OTHER : language
  putU16(bytes, VERSION_AT, header.version)
  putU32(bytes, OPAQUE_AT, header.opaque)
  putU32(bytes, OPAQUE_AT + 4, header.flag)
  const fieldsAt = putText(bytes, REMARK_AT, remark) + 4
  let end = fieldsAt
  for (const [name, value] of header.fields) {
    const nameEnd = end + 2 + bytes.utf8Write(name, end + 2)
    putU16(bytes, end, nameEnd - end - 2)
    end = putText(bytes, nameEnd, value)
  }
  putU32(bytes, fieldsAt - 4, end - fieldsAt)
  return bytes.subarray(0, end)
}

/** @returns where the text ends */
function putText(bytes: Buffer, at: number, text: string): number {
  const length = bytes.utf8Write(text, at + 4)
  putU32(bytes, at, length)
  return at + 4 + length
}
