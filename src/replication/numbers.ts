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
export const BEHIND_SECONDS = gauge('trivet_replication_behind_seconds', 'seconds', {
  help: 'How long ago the slowest copy had all that its master had then; 0 where it has all. On a slave: of this copy.',
})
/** Of a label; a log has no more feeds. */
const SLAVES_MAX = 64
export const SLAVE_BEHIND_BYTES = gauge('trivet_replication_slave_behind_bytes', 'bytes', {
  help: 'Synced bytes that a connected slave has not confirmed.',
  labels: { broker_id: SLAVES_MAX },
})
export const SLAVE_IN_SYNC = gauge('trivet_replication_slave_in_sync', '0 or 1', {
  help: 'Whether a connected slave is in sync.',
  labels: { broker_id: SLAVES_MAX },
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
export const ELECTION = gauge('trivet_election_number', 'elections', {
  help: 'The newest election of a master that this copy knows of.',
})
export const ELECTED = gauge('trivet_election_is_master', '0 or 1', {
  help: 'Whether this copy was elected, and is the master.',
})
export const VACANT = gauge('trivet_election_is_vacant', '0 or 1', {
  help: 'Whether no copy was the master when etcd answered last.',
})
export const REACHED = gauge('trivet_election_is_reached', '0 or 1', {
  help: 'Whether etcd did what this copy asked of it last.',
})
