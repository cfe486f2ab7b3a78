// What replication counts, on a master and on a slave.
import { counter, gauge } from '../numbers/declared.ts'

export const REPLICAS = gauge('trivet_replication_slaves', 'connections', {
  help: 'Slaves that are connected to this master.',
})
export const IN_SYNC = gauge('trivet_replication_in_sync_replicas', 'connections', {
  help: 'Copies of the log that are in sync, that of the master among them.',
})
/** By RocketMQ's meaning: how far the slave that is furthest behind is. */
export const BEHIND_BYTES = gauge('trivet_replication_behind_bytes', 'bytes', {
  help: 'On a master: synced bytes that its slowest connected slave has not confirmed. On a slave: bytes of its master that it has not synced.',
})
export const UNCONFIRMED = counter('trivet_replication_timeouts_total', 'requests', {
  help: 'How often what waited for slaves was answered without them, because its time was over.',
})
export const CONNECTED = gauge('trivet_replication_connected', '0 or 1', {
  help: 'Whether this slave follows its master at present.',
})
export const STANDING = gauge('trivet_replication_standing', '0 or 1', {
  help: 'Whether this slave cannot go on without an operator; the log says why.',
})
export const RECONNECTS = counter('trivet_replication_reconnects_total', 'connections', {
  help: 'Connections to the master that ended and were tried again.',
})
