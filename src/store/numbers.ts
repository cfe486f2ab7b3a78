// What the store counts, and what its state comes to in numbers.
import type { Declared } from '../numbers/declared.ts'
import type { Numbers } from '../numbers/numbers.ts'
import type { Disk } from './disk/disk.ts'
import type { StoreStatus } from './store.ts'

export const DAMAGED_RECORDS: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_store_damaged_records_total',
  help: 'Records that did not check when they were to be served; each was skipped and logged.',
  unit: 'records',
}
export const REBUILDS: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_views_rebuilds_total',
  help: 'Builds of the views from the log that were begun since the start, that of a new log included.',
  unit: 'builds',
}
const LOG_BYTES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_store_log_bytes',
  help: 'Length of the log, from its start to its end.',
  unit: 'bytes',
}
/** By RocketMQ's name. */
const DISK_BYTES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'rocketmq_storage_size',
  help: "Size of the log's files on the disk.",
  unit: 'bytes',
}
const FREE_BYTES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_store_disk_free_bytes',
  help: 'Free space of the file system that the log is on.',
  unit: 'bytes',
}
const TOTAL_BYTES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_store_disk_bytes',
  help: 'Size of that file system.',
  unit: 'bytes',
}
const READ_ONLY: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_store_read_only',
  help: 'Whether the log takes no messages at present: a full or failing disk.',
  unit: '0 or 1',
}
const DAMAGED_RANGES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_store_damaged_ranges',
  help: 'Ranges of the log that were durable and do not check any more; they are not served.',
  unit: 'ranges',
}
const DAMAGED_BYTES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_store_damaged_bytes',
  help: 'Bytes in the damaged ranges.',
  unit: 'bytes',
}
const REBUILDING: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_views_rebuilding',
  help: 'Whether the views are being built again from the log at present.',
  unit: '0 or 1',
}
/** By RocketMQ's name. */
const WAITING_MESSAGES: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'rocketmq_timing_messages',
  help: 'Delayed messages and retries that wait for their time.',
  unit: 'messages',
}

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
