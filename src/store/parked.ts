// Finding a parked record by the place that its clients know, and its entry in the due index.
import type { SharedSlice } from '../clock.ts'
import { getI32 } from '../model/bytes.ts'
import { ROUNDS_MAX, roundsOf } from '../model/due-rounds.ts'
import { SCHEDULE_TOPIC } from '../model/names.ts'
import { type LogPosition, logPosition } from '../model/positions.ts'
import { PROPERTY } from '../model/properties.ts'
import { checkRecord, RECORD_FIXED_BYTES, RecordView } from '../model/record.ts'
import type { CommitLog } from './log/commit-log.ts'
import type { DueEntry, Parked } from './store.ts'
import { dueTime } from './views/due-index.ts'
import { placeHash } from './views/queue-table.ts'
import type { Views } from './views/views.ts'

/** Copies what waits at the place and is in memory, where there is room for it. */
export function copyParked(
  { due }: Views,
  log: CommitLog,
  place: LogPosition,
  target: Buffer,
  at: number,
): DueEntry | undefined {
  const head = log.lendTail(place, RECORD_FIXED_BYTES)
  if (head === undefined) return undefined
  const size = getI32(head.bytes, place - head.base)
  if (size < RECORD_FIXED_BYTES || size > target.length - at) return undefined
  const part = log.lendTail(place, size)
  if (part === undefined) return undefined
  const start = place - part.base
  // Any bytes may stand there, but an entry leads to nothing but the beginning of a record.
  if (checkRecord(part.bytes, start, start + size, false) !== size) return undefined
  part.bytes.copy(target, at, start, start + size)
  const youngMs = due.youngDueMs(place)
  if (youngMs !== undefined) return { dueMs: youngMs, position: place }
  const dueMs = due.savingDueMs(place) ?? firstDueMs(new RecordView(target, at))
  return due.isNear(dueMs, place) ? { dueMs, position: place } : undefined
}

const firstDueMs = (record: RecordView): number => dueTime(Number(record.property(PROPERTY.dueMs)))

/** Under which the record waits; undefined: it is done. @throws ViewsDamaged */
export function entryOf({ due }: Views, record: RecordView): DueEntry | undefined {
  const { position } = record
  const firstMs = firstDueMs(record)
  if (due.has(firstMs, position)) return { dueMs: firstMs, position }
  const rounds = roundsOf(record)
  if (rounds === undefined) return undefined
  const { periodMs } = rounds
  const over = Math.ceil((due.firstDueMs - firstMs) / periodMs)
  for (let n = Math.max(1, over); n <= ROUNDS_MAX; n++) {
    const dueMs = firstMs + n * periodMs
    if (due.has(dueMs, position)) return { dueMs, position }
  }
  return undefined
}

/**
 * What was parked at the place, or the newest copy of it.
 * @throws ViewsDamaged
 */
export async function findParked(
  views: Views,
  place: LogPosition,
  readAt: (position: LogPosition) => Promise<Buffer | undefined>,
  slice: SharedSlice,
): Promise<Parked | undefined> {
  const first = parkedIn(await readAt(place))
  const entry = first && entryOf(views, first)
  if (entry !== undefined) return { record: first!, entry }
  for (const position of views.keys.candidates(placeHash(place), place)) {
    if (slice.isOver) await slice.rest()
    if (position === undefined) continue
    const copy = parkedIn(await readAt(logPosition(position)))
    if (copy === undefined || roundsOf(copy)?.firstPlace !== place) continue
    return { record: copy, entry: entryOf(views, copy) }
  }
  return first && { record: first, entry: undefined }
}

function parkedIn(bytes: Buffer | undefined): RecordView | undefined {
  if (bytes === undefined) return undefined
  const record = new RecordView(bytes)
  return record.topic === SCHEDULE_TOPIC ? record : undefined
}
