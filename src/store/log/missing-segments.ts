// Segments that are gone from between others. A segment ends where the next one starts, and retention
// takes the oldest only: a file that ends before that had a neighbour which it lost.
import { logPosition } from '../../model/positions.ts'
import type { DamagedRange } from './commit-log.ts'
import { FrameScan } from './frame-scan.ts'
import { type Segment, type Segments, segmentName } from './segments.ts'

/** Below the segment of this index, whose frames are looked at anyway. */
export function missingBetween(
  segments: Segments,
  index: number,
  logId: number | undefined,
): DamagedRange[] {
  const missing: DamagedRange[] = []
  for (const [at, segment] of segments.list.slice(0, index).entries()) {
    const to = segments.list[at + 1]!.start
    if (segment.start + segment.fileBytes >= to) continue
    const from = logPosition(framesEnd(segments, segment, logId))
    const reason = 'a segment is missing, and retention did not remove it'
    missing.push({ from, to, segment: segmentName(from), reason })
  }
  return missing
}

/** Behind the last whole frame of the segment. */
function framesEnd(segments: Segments, segment: Segment, logId: number | undefined): number {
  const read = (target: Buffer, at: number, position: number, size: number): number =>
    segments.readSync(target, at, position, size)
  const limit = segment.start + segment.fileBytes
  const scan = new FrameScan(read, segment.start, limit, logId)
  let end: number = segment.start
  while (scan.next() !== undefined || scan.search() !== undefined) end = scan.position
  return end
}
