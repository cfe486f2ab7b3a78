// CRC-32 (IEEE). Tables of eight for short ranges, where entering zlib costs more than the sum
// itself; zlib beyond (measured crossover about 224 bytes).
import { crc32 as zlibCrc32 } from 'node:zlib'

const POLYNOMIAL = 0xedb88320
const SHORT_BYTES_MAX = 224
const tables = buildTables()

/** CRC-32 of `bytes[start, end)` as an unsigned 32-bit number, continuing from `seed`. */
export function crc32(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  if (end - start > SHORT_BYTES_MAX) return zlibCrc32(bytes.subarray(start, end), seed)
  const t = tables
  let c = ~seed
  let at = start
  for (; at + 8 <= end; at += 8) {
    c ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    c =
      t[1792 + (c & 255)]! ^
      t[1536 + ((c >>> 8) & 255)]! ^
      t[1280 + ((c >>> 16) & 255)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + bytes[at + 4]!]! ^
      t[512 + bytes[at + 5]!]! ^
      t[256 + bytes[at + 6]!]! ^
      t[bytes[at + 7]!]!
  }
  for (; at < end; at++) c = t[(c ^ bytes[at]!) & 255]! ^ (c >>> 8)
  return ~c >>> 0
}

function buildTables(): Int32Array {
  const t = new Int32Array(8 * 256)
  for (let n = 0; n < 256; n++) {
    let c = n
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ POLYNOMIAL : c >>> 1
    t[n] = c
  }
  for (let n = 256; n < t.length; n++) t[n] = (t[n - 256]! >>> 8) ^ t[t[n - 256]! & 255]!
  return t
}
