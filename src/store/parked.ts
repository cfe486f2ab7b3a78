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

const sizeRoom = Buffer.alloc(4)

/** What waits at the place and is in memory; what is not, or waits no longer, takes a search. */
export function parkedOfLate(
  { due }: Views,
  log: CommitLog,
  place: LogPosition,
): Parked | undefined {
  if (!log.copyTail(sizeRoom, 0, place, sizeRoom.length)) return undefined
  const size = getI32(sizeRoom, 0)
  if (size < RECORD_FIXED_BYTES || size > log.end - place) return undefined
  const bytes = Buffer.allocUnsafe(size)
  if (!log.copyTail(bytes, 0, place, size)) return undefined
  // Any bytes may stand there, but an entry leads to nothing but the beginning of a record.
  if (checkRecord(bytes, 0, size, false) !== size) return undefined
  const record = new RecordView(bytes)
  const dueMs = due.dueMsOf(place) ?? dueTime(Number(record.property(PROPERTY.dueMs)))
  return due.isNear(dueMs, place) ? { record, entry: { dueMs, position: place } } : undefined
}

/** Under which the record waits; undefined: it is done. @throws ViewsDamaged */
export function entryOf({ due }: Views, record: RecordView): DueEntry | undefined {
  const { position } = record
  const firstMs = dueTime(Number(record.property(PROPERTY.dueMs)))
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
