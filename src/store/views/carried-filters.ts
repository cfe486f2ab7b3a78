// Which light queues were bound before the log starts: retention took the note that bound them and
// left a later one with their next offset. A rebuild must know them from the first record on.
import type { Slice } from '../../clock.ts'
import { FACT_TOPIC, isLightQueue, LIGHT_QUEUE_PREFIX } from '../../model/names.ts'
import type { LogPosition } from '../../model/positions.ts'
import type { CommitLog } from '../log/commit-log.ts'
import { recordsIn } from '../log/frame-records.ts'
import { decodeNotes, type Note } from './notes.ts'

/**
 * Reads the notes of the log from its start, or from where it is about to start. That may take
 * long: `rest` is awaited whenever a slice of it is over.
 */
export async function carriedFilters(
  commitLog: CommitLog,
  from: LogPosition,
  slice: Slice,
  rest: () => Promise<void>,
): Promise<string[]> {
  const carried: string[] = []
  const seen = new Set<string>()
  for (const frame of commitLog.replay(from)) {
    for (const record of recordsIn(frame)) {
      if (record.topic !== FACT_TOPIC) continue
      for (const note of decodeNotes(record.body)) {
        const filter = filterOf(note)
        if (filter === undefined || seen.has(filter)) continue
        seen.add(filter)
        if (note.is === 'queueEnd') carried.push(filter)
      }
    }
    if (slice.isOver) await rest()
  }
  return carried
}

function filterOf(note: Note): string | undefined {
  if (note.is === 'bind' || note.is === 'unbind') return note.filter
  if (note.is !== 'queueEnd' || !isLightQueue(note.topic)) return undefined
  return note.topic.slice(LIGHT_QUEUE_PREFIX.length)
}
