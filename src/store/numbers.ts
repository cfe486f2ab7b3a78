// What the store counts, and what its state comes to in numbers.
import { counter, gauge } from '../numbers/declared.ts'
import type { Numbers } from '../numbers/numbers.ts'
import type { Disk } from './disk/disk.ts'
import type { StoreStatus } from './store.ts'

export const DAMAGED_RECORDS = counter('trivet_store_damaged_records_total', 'records', {
  help: 'Records that did not check when they were to be served; each was skipped and logged.',
})
export const REBUILDS = counter('trivet_views_rebuilds_total', 'builds', {
  help: 'Builds of the views from the log that were begun since the start, that of a new log included.',
})
const LOG_BYTES = gauge('trivet_store_log_bytes', 'bytes', {
  help: 'Length of the log, from its start to its end.',
})
/** By RocketMQ's name. */
const DISK_BYTES = gauge('rocketmq_storage_size', 'bytes', {
  help: "Size of the log's files on the disk.",
})
const FREE_BYTES = gauge('trivet_store_disk_free_bytes', 'bytes', {
  help: 'Free space of the file system that the log is on.',
})
const TOTAL_BYTES = gauge('trivet_store_disk_bytes', 'bytes', {
  help: 'Size of that file system.',
})
const READ_ONLY = gauge('trivet_store_read_only', '0 or 1', {
  help: 'Whether the log takes no messages at present: a full or failing disk.',
})
const DAMAGED_RANGES = gauge('trivet_store_damaged_ranges', 'ranges', {
  help: 'Ranges of the log that were durable and do not check any more; they are not served.',
})
const DAMAGED_BYTES = gauge('trivet_store_damaged_bytes', 'bytes', {
  help: 'Bytes in the damaged ranges.',
})
const REBUILDING = gauge('trivet_views_rebuilding', '0 or 1', {
  help: 'Whether the views are being built again from the log at present.',
})
/** By RocketMQ's name. */
const WAITING_MESSAGES = gauge('rocketmq_timing_messages', 'messages', {
  help: 'Delayed messages and retries that wait for their time.',
})

export function showStore(
  numbers: Numbers,
  status: () => StoreStatus,
  disk: Disk,
  directory: string,
): void {
  const state = [
    LOG_BYTES,
    DISK_BYTES,
    READ_ONLY,
    DAMAGED_RANGES,
    DAMAGED_BYTES,
    REBUILDING,
    WAITING_MESSAGES,
  ]
  numbers.gauges(state, (set) => {
    const { logStart, logEnd, diskBytes, writable, damage, pendingDue, isRebuilding } = status()
    set(LOG_BYTES, logEnd - logStart)
    set(DISK_BYTES, diskBytes)
    set(READ_ONLY, writable ? 0 : 1)
    set(DAMAGED_RANGES, damage.length)
    set(
      DAMAGED_BYTES,
      damage.reduce((bytes, { from, to }) => bytes + to - from, 0),
    )
    set(REBUILDING, isRebuilding ? 1 : 0)
    set(WAITING_MESSAGES, pendingDue)
  })
  numbers.gauge(FREE_BYTES, () => disk.freeBytes(directory))
  numbers.gauge(TOTAL_BYTES, () => disk.totalBytes(directory))
}
