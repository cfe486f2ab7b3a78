// How many bytes an encoded value takes, without decoding it: for bodies, which pass through
// untouched.
import { getU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'
import { DECODE_DEPTH_MAX } from '../limits.ts'
import { fixedWidth } from './value-reader.ts'

/**
 * The position behind the value at `at`.
 * @throws AmqpError decode-error when it does not end by `end`
 */
export function skipValue(bytes: Buffer, at: number, end: number, depth = 0): number {
  if (at >= end) throw decodeError('a value is missing')
  const code = bytes[at]!
  const next =
    code === 0
      ? skipDescribed(bytes, at, end, depth)
      : at + 1 + contentBytes(code, bytes, at + 1, end)
  if (next > end) throw decodeError('a value ends beyond its section')
  return next
}

function skipDescribed(bytes: Buffer, at: number, end: number, depth: number): number {
  if (depth >= DECODE_DEPTH_MAX) {
    throw decodeError(`descriptors nest deeper than ${DECODE_DEPTH_MAX} levels`)
  }
  return skipValue(bytes, skipValue(bytes, at + 1, end, depth + 1), end, depth + 1)
}

/**
 * Bytes of a value whose type code is known and whose content begins at `at`.
 * @throws AmqpError decode-error
 */
export function contentBytes(code: number, bytes: Buffer, at: number, end: number): number {
  switch (code >>> 4) {
    case 0x4:
      return 0
    case 0x5:
    case 0x6:
    case 0x7:
    case 0x8:
    case 0x9:
      return fixedWidth(code)
    case 0xa:
    case 0xc:
    case 0xe:
      if (at >= end) break
      return 1 + bytes[at]!
    case 0xb:
    case 0xd:
    case 0xf:
      if (at + 3 >= end) break
      return 4 + getU32(bytes, at)
    default:
      throw decodeError(`0x${code.toString(16)} is no type code`)
  }
  throw decodeError('a value is cut short')
}
