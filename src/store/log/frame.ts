// A frame: what one group commit writes, and the unit that is whole or not there. Its header:
//
//   0 u32 magic   4 u32 crc32 of bytes [8, length)   8 u32 length, header included   12 u32 records
//  16 u32 epoch  20 u32 log id  24 u64 sequence   32 u64 position of this header   40 u64 syncedTo
//  48 u64 storeTimestamp of the last record   56 records, back to back (model/record.ts)
//
// The header names its own position, so that bytes that landed elsewhere never pass. The epoch
// grows with every opening of the log, the sequence with every frame. `syncedTo` is the end of what
// fdatasync had confirmed when the frame was made: the proof, for a recovery that finds a hole
// before it, that the hole is damage and not a write that never finished (docs/internals/store.md).
// The log's id is a random number that no client ever sees: a message body cannot carry something
// that passes for a frame.
import { getU32, getU64, putU32, putU64 } from '../../model/bytes.ts'
import { crc32 } from '../../model/crc32.ts'
import { RECORD_FIXED_BYTES } from '../../model/record.ts'

export const FRAME_HEADER_BYTES = 56
const MAGIC = 0x54524647
/** The magic as it lies in a file, to search for. */
export const FRAME_MAGIC_BYTES: Buffer = Buffer.from([0x54, 0x52, 0x46, 0x47])

export interface FrameHeader {
  readonly length: number
  readonly records: number
  readonly epoch: number
  readonly logId: number
  readonly sequence: number
  readonly position: number
  readonly syncedTo: number
  readonly storeTimestamp: number
}

/** Completes a frame whose records are in place after the header at `bytes[at]`. */
export function writeFrameHeader(bytes: Buffer, at: number, header: FrameHeader): void {
  putU32(bytes, at, MAGIC)
  putU32(bytes, at + 8, header.length)
  putU32(bytes, at + 12, header.records)
  putU32(bytes, at + 16, header.epoch)
  putU32(bytes, at + 20, header.logId)
  putU64(bytes, at + 24, header.sequence)
  putU64(bytes, at + 32, header.position)
  putU64(bytes, at + 40, header.syncedTo)
  putU64(bytes, at + 48, header.storeTimestamp)
  putU32(bytes, at + 4, crc32(bytes, at + 8, at + header.length))
}

/**
 * Length that the frame at `bytes[at]` claims, when its place, its log (undefined = any) and the
 * claim are possible; else 0. Reads the header only, so that bytes that cannot be a frame cost no
 * checksum.
 */
export function claimedLength(
  bytes: Buffer,
  at: number,
  position: number,
  logId: number | undefined,
): number {
  if (getU32(bytes, at) !== MAGIC || getU64(bytes, at + 32) !== position) return 0
  if (logId !== undefined && getU32(bytes, at + 20) !== logId) return 0
  const length = getU32(bytes, at + 8)
  const atLeast = FRAME_HEADER_BYTES + getU32(bytes, at + 12) * RECORD_FIXED_BYTES
  return length >= atLeast ? length : 0
}

/** The checksum that the frame at `bytes[at]` carries. */
export const sumOf = (bytes: Buffer, at: number): number => getU32(bytes, at + 4)

/**
 * The header of the frame of this claimed length at `bytes[at]`, or undefined when its checksum is
 * wrong.
 */
export function checkFrame(bytes: Buffer, at: number, length: number): FrameHeader | undefined {
  if (sumOf(bytes, at) !== crc32(bytes, at + 8, at + length)) return undefined
  return headerOf(bytes, at)
}

/** What the bytes say when they begin as a frame does; nothing of it is checked. */
export function headerAt(bytes: Buffer, at: number): FrameHeader | undefined {
  if (at + FRAME_HEADER_BYTES > bytes.length || getU32(bytes, at) !== MAGIC) return undefined
  return headerOf(bytes, at)
}

function headerOf(bytes: Buffer, at: number): FrameHeader {
  return {
    length: getU32(bytes, at + 8),
    records: getU32(bytes, at + 12),
    epoch: getU32(bytes, at + 16),
    logId: getU32(bytes, at + 20),
    sequence: getU64(bytes, at + 24),
    position: getU64(bytes, at + 32),
    syncedTo: getU64(bytes, at + 40),
    storeTimestamp: getU64(bytes, at + 48),
  }
}
