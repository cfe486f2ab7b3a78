// Opens the store in a data directory: takes the lock, recovers the log, brings the views up to its
// end.
import type { Clock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Host } from '../model/host.ts'
import { BODY_BYTES_DEFAULT } from '../model/limits.ts'
import { Numbers } from '../numbers/numbers.ts'
import { explainDisk, openDataDirectory } from './disk/data-directory.ts'
import type { Disk } from './disk/disk.ts'
import { nodeDisk } from './disk/node-disk.ts'
import type { CommitLog, CommitLogOptions, FlushMode } from './log/commit-log.ts'
import { readEpochMarker } from './log/epochs/epoch-marker.ts'
import type { LogHistory } from './log/epochs/history.ts'
import type { Followed, TailCut } from './log/following.ts'
import { SYNC_SECONDS } from './log/numbers.ts'
import { openCommitLog } from './log/segmented-log.ts'
import { LogStore } from './log-store.ts'
import { REBUILDS } from './numbers.ts'
import type { RetentionLimits } from './retention.ts'
import type { MessageStore } from './store.ts'
import type { KeyValuePlace } from './views/pairs/key-value.ts'
import { levelPlace, lockByKernel } from './views/pairs/level.ts'
import { ViewKeeper } from './views/view-keeper.ts'

export interface StoreOptions extends RetentionLimits {
  /** Of this store alone; created when missing. */
  readonly directory: string
  /** Written into records and message ids. */
  readonly storeHost: Host
  readonly clock: Clock
  readonly log: Logger
  /** Of the process; default: numbers that are not read. */
  readonly numbers?: Numbers | undefined
  /** Default 'sync': acknowledged = on the disk. */
  readonly flush?: FlushMode
  /** Size of a segment file. Default 128 MiB. */
  readonly segmentBytes?: number
  /** Opens a passive store, which follows the log of a master (`Replication`). */
  readonly follows?: FollowedStore
  /** Longest body of a message: what may wait for the disk grows with it. Default 4 MiB. */
  readonly bodyBytesMax?: number
}

export interface FollowedStore extends Followed {
  /**
   * Asked before the views are opened, which then need not be built again where the log is cut: the
   * last position that the master has in common. undefined: it is not known yet, or all.
   */
  readonly compare?: (mine: LogHistory) => Promise<TailCut | undefined>
}

const MIB = 1024 * 1024
/** As many of the largest messages may wait for the disk at least. */
const UNSYNCED_BODIES_MIN = 4

/**
 * @throws BrokerError BUSY when another process has the directory, CONFIG_INVALID, STORE_CORRUPT
 */
export async function openStore(options: StoreOptions): Promise<MessageStore> {
  const { path, logPath, viewsPath, close } = openDataDirectory(options.directory)
  const { log } = options
  // Before anything is read: what recovery takes for a torn tail may be what a living process is
  // writing.
  const unlock = await lockByKernel(`${path}/lock.kernel`, log)
  if (unlock === undefined) {
    close()
    throw new BrokerError(
      'BUSY',
      `the data directory '${options.directory}' is in use by a process that cannot be seen from here ` +
        '(in another container?); stop that process, or name another data directory',
    )
  }
  const closed = async (): Promise<void> => {
    await unlock()
    close()
  }
  const place = levelPlace(viewsPath, log)
  try {
    return await openStoreIn({ ...options, logPath, viewsPath, disk: nodeDisk, place, closed })
  } catch (error) {
    await closed()
    throw explainDisk(options.directory, error)
  }
}

/** Of the log that is in the directory; undefined: there is none, or nothing says it. */
export function logIdIn(directory: string): number | undefined {
  const { logPath, close } = openDataDirectory(directory)
  try {
    nodeDisk.makeDirectory(logPath)
    return readEpochMarker(nodeDisk, logPath)?.logId
  } finally {
    close()
  }
}

/** The store over a given disk and key-value store: what the simulator opens. */
export interface StoreParts extends Omit<StoreOptions, 'directory'> {
  readonly logPath: string
  readonly viewsPath: string
  readonly disk: Disk
  readonly place: KeyValuePlace
  /** Called when the store is closed. */
  readonly closed: () => void | Promise<void>
  /** Sizes that tests make small. */
  readonly logOptions?: Partial<CommitLogOptions>
  readonly cachedBlocksMax?: number
  readonly flushEntries?: number
  readonly memoryBytesMax?: number
}

export async function openStoreIn(parts: StoreParts): Promise<MessageStore> {
  const { clock, log, storeHost, flush = 'sync', disk, place, closed, logPath } = parts
  const { segmentBytes, bodyBytesMax = BODY_BYTES_DEFAULT, follows, logOptions } = parts
  const { numbers = new Numbers() } = parts
  const unsyncedBytesMax = Math.max(32 * MIB, UNSYNCED_BODIES_MIN * (bodyBytesMax + MIB))
  const commitLog = await openLog(parts, {
    directory: logPath,
    disk,
    clock,
    log,
    syncSeconds: numbers.histogram(SYNC_SECONDS),
    storeHost,
    flush,
    follows,
    unsyncedBytesMax,
    tailBytesMax: Math.max(64 * MIB, unsyncedBytesMax),
    ...(segmentBytes !== undefined && { segmentBytes }),
    ...logOptions,
  })
  const { viewsPath, cachedBlocksMax, flushEntries, memoryBytesMax } = parts
  const keeper = new ViewKeeper({
    commitLog,
    place,
    disk,
    directory: viewsPath,
    clock,
    log,
    rebuilds: numbers.counter(REBUILDS),
    cachedBlocksMax,
    flushEntries,
    memoryBytesMax,
  })
  try {
    await keeper.open()
  } catch (error) {
    await commitLog.close()
    throw error
  }
  return new LogStore({
    commitLog,
    keeper,
    clock,
    log,
    storeHost,
    flush,
    disk,
    directory: logPath,
    limits: parts,
    numbers,
    closed,
  })
}

/** A log that parts from the one that it is to follow is cut, before anything else reads it. */
async function openLog(
  { follows }: Pick<StoreOptions, 'follows'>,
  options: CommitLogOptions,
): Promise<CommitLog> {
  const commitLog = openCommitLog(options)
  if (follows?.compare === undefined) return commitLog
  let cut: TailCut | undefined
  try {
    cut = await follows.compare(commitLog.history)
  } catch (error) {
    await commitLog.close()
    throw error
  }
  if (cut === undefined || cut.to >= commitLog.end) return commitLog
  await commitLog.close()
  return openCommitLog({ ...options, follows: { ...follows, cut } })
}
