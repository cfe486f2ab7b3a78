// What an opening finds in the directory of a log: its segments, where it starts, and the end that
// recovery came to. A passive log that is empty begins where it is told.
import { BrokerError } from '../../errors.ts'
import type { CommitLogOptions } from './commit-log.ts'
import { EpochHistory } from './epochs/epoch-history.ts'
import { LogStart } from './log-start.ts'
import { type Recovered, recover } from './recovery.ts'
import { Segments } from './segments.ts'
import { cutTail } from './tail-cut.ts'

/** The parts that an opening finds. */
export interface FoundLog {
  readonly segments: Segments
  readonly logStart: LogStart
  /** Files that an earlier process meant to remove. */
  readonly leftovers: readonly string[]
  readonly recovered: Recovered
  readonly history: EpochHistory
}

/** Recovers, cuts a torn tail. @throws BrokerError STORE_CORRUPT, READ_ONLY, CONFIG_INVALID */
export function findLog(options: CommitLogOptions): FoundLog {
  const { disk, directory, log } = options
  disk.makeDirectory(directory)
  const segments = new Segments(disk, directory)
  segments.load()
  const logStart = new LogStart(disk, directory)
  const leftovers = segments.dropBefore(logStart.position ?? 0)
  const find = (): Recovered => {
    const found = recover({ disk, directory, log, segments, logStart })
    return followed(options, segments, found)
  }
  let recovered = find()
  const cut = options.follows?.cut
  if (cut !== undefined && cut.to < recovered.end) {
    cutTail(options, segments, recovered, cut)
    recovered = find()
  }
  const history = new EpochHistory(disk, directory, log)
  history.open(recovered)
  return { segments, logStart, leftovers, recovered, history }
}

function followed(
  { follows, directory }: CommitLogOptions,
  segments: Segments,
  found: Recovered,
): Recovered {
  if (follows === undefined) return found
  const { logId = follows.logId } = found
  if (logId !== follows.logId) {
    const text = `'${directory}' has log ${logId}, and is to follow log ${follows.logId}`
    throw new BrokerError('CONFIG_INVALID', `${text}: name an empty data directory`)
  }
  const end = segments.last === undefined ? follows.start : found.end
  // That of an opening which wrote nothing would keep out the frames of the master.
  const epoch = found.epochs.at(-1)?.epoch ?? 0
  return { ...found, logId, end, epoch }
}
