// Do stored views fit the log and the marker that names them? LevelDB loses entries and files with
// a clean open, and copies of a directory get mixed up: what the root says must agree with both.
import { logPosition } from '../../model/positions.ts'
import type { CommitLog } from '../log/commit-log.ts'
import { ViewsDamaged } from './pairs/sealed.ts'
import { recordCheck } from './record-scan.ts'
import type { ViewMarker } from './view-marker.ts'
import type { Root } from './views.ts'

/** @throws ViewsDamaged */
export function checkRoot(
  commitLog: CommitLog,
  root: Root | undefined,
  marker: ViewMarker,
): asserts root is Root {
  if (root === undefined) throw new ViewsDamaged('the views are empty')
  if (root.identity !== marker.identity) throw new ViewsDamaged('the views are others')
  if (root.opening < marker.opening) throw new ViewsDamaged('the views are older ones')
  if (root.logId !== commitLog.id) throw new ViewsDamaged('the views are of another log')
  if (root.mark > commitLog.end) throw new ViewsDamaged('the views are ahead of the log')
  if (root.mark < commitLog.start) throw new ViewsDamaged('the views end before the log starts')
  const { position, size, check } = root.last
  // A record that is damaged since does not speak against the views.
  const isLost = commitLog.damage().some(({ from, to }) => position < to && position + size > from)
  if (position < commitLog.start || isLost) return
  const record = Buffer.alloc(size)
  const isRead = commitLog.readSync(record, 0, logPosition(position), size)
  if (isRead && recordCheck(record, 0, size) === check) return
  throw new ViewsDamaged('the log is not the one that the views were made from')
}
