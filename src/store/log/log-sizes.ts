// The sizes of a log, with their defaults.
import { type CommitLogOptions, FRAME_BYTES_MAX } from './commit-log.ts'

const MIB = 1024 * 1024

export interface LogSizes {
  readonly segmentBytes: number
  readonly frameBytesMax: number
  readonly chunkBytes: number
  readonly tailBytesMax: number
  readonly unsyncedBytesMax: number
  readonly aheadBytes: number
  readonly fillPieceBytes: number
  /** Of a log that catches up. */
  readonly bulkBytes: number
  readonly reserveBytes: number
  readonly recordsAtOnceMax: number
}

export function sizesOf(options: CommitLogOptions): LogSizes {
  const { frameBytesMax = FRAME_BYTES_MAX, segmentBytes = 128 * MIB } = options
  const fillPieceBytes = options.fillPieceBytes ?? MIB
  const chunkBytes = Math.min(options.chunkBytes ?? 8 * MIB, frameBytesMax)
  return {
    segmentBytes: Math.max(segmentBytes, chunkBytes),
    frameBytesMax,
    chunkBytes,
    tailBytesMax: options.tailBytesMax ?? 64 * MIB,
    unsyncedBytesMax: options.unsyncedBytesMax ?? 32 * MIB,
    aheadBytes: options.aheadBytes ?? 4 * MIB,
    fillPieceBytes,
    bulkBytes: 2 * fillPieceBytes,
    reserveBytes: options.reserveBytes ?? 64 * MIB,
    recordsAtOnceMax: options.recordsAtOnceMax ?? 4096,
  }
}
