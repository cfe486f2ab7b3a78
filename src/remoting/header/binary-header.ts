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

const REMARK_AT = 13
const HEADER_BYTES_MIN = 21
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
    version: signed16(getU16(bytes, start + 3)),
    opaque: getI32(bytes, start + 5),
    flag: getI32(bytes, start + 9),
    remark: remarkEnd > remarkAt ? bytes.utf8Slice(remarkAt, remarkEnd) : undefined,
    fields: decodeFields(bytes, remarkEnd + 4, fieldsEnd),
  }
}

const signed16 = (value: number): number => (value << 16) >> 16

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

export function encodeBinaryHeader(header: Header): Buffer {
  const remark = Buffer.from(header.remark ?? '', 'utf8')
  const fields = encodeFields(header.fields)
  const bytes = Buffer.allocUnsafe(HEADER_BYTES_MIN + remark.length + fields.length)
  const language = (LANGUAGES as readonly string[]).indexOf(header.language)
  putU16(bytes, 0, header.code)
  bytes[2] = language === -1 ? LANGUAGE_OTHER : language
  putU16(bytes, 3, header.version)
  putU32(bytes, 5, header.opaque)
  putU32(bytes, 9, header.flag)
  putU32(bytes, REMARK_AT, remark.length)
  bytes.set(remark, REMARK_AT + 4)
  const fieldsAt = REMARK_AT + 4 + remark.length + 4
  putU32(bytes, fieldsAt - 4, fields.length)
  bytes.set(fields, fieldsAt)
  return bytes
}

function encodeFields(fields: Header['fields']): Buffer {
  const pieces: Buffer[] = []
  for (const [name, value] of fields) {
    const nameBytes = Buffer.from(name, 'utf8')
    const valueBytes = Buffer.from(value, 'utf8')
    const piece = Buffer.allocUnsafe(6 + nameBytes.length + valueBytes.length)
    putU16(piece, 0, nameBytes.length)
    piece.set(nameBytes, 2)
    putU32(piece, 2 + nameBytes.length, valueBytes.length)
    piece.set(valueBytes, 6 + nameBytes.length)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}
