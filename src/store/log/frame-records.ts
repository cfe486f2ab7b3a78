// The records of a frame, one by one, where speed does not matter.
import { RecordView } from '../../model/record.ts'
import type { Frame } from './commit-log.ts'

/** Views into the frame: valid as long as the frame is. */
export function* recordsIn({ bytes, start, stop }: Frame): Generator<RecordView> {
  for (let at = start; at < stop; ) {
    const record = new RecordView(bytes, at)
    yield record
    at += record.size
  }
}
