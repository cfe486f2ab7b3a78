// Opens the store in a data directory: takes the lock, recovers the log, brings the views up to its end.
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Host } from '../model/host.ts'
import type { Disk } from './disk.ts'
import { LogStore } from './log-store.ts'
import { nodeDisk } from './node-disk.ts'
import { openCommitLog } from './segmented-log.ts'
import type { FlushMode, MessageStore } from './store.ts'
import { Views } from './views.ts'

export interface StoreOptions {
  /** Of this store alone; created when missing. */
  readonly directory: string
  /** Written into records and message ids. */
  readonly storeHost: Host
  readonly clock: Clock
  readonly log: Logger
  /** Default 'sync': acknowledged = on the disk. */
  readonly flush?: FlushMode
  /** Size of a segment file. Default 128 MiB. */
  readonly segmentBytes?: number
  /** A message is kept at least this long. Default 72 hours. */
  readonly retentionMs?: number
  /** The log is cut to this size from its old end. Default: no limit but the disk. */
  readonly retentionBytes?: number
  /** Default: the real one. */
  readonly disk?: Disk
}

/** @throws BrokerError STORE_CORRUPT, READ_ONLY, and what the file system says */
export async function openStore(options: StoreOptions): Promise<MessageStore> {
  const { directory, clock, log, storeHost, flush = 'sync', disk = nodeDisk } = options
  const commitLog = openCommitLog({
    directory: join(directory, 'log'),
    disk,
    clock,
    log,
    storeHost,
    flush,
    ...(options.segmentBytes !== undefined && { segmentBytes: options.segmentBytes }),
  })
  return new LogStore({ commitLog, views: new Views(), clock, log, storeHost, flush })
}
