// What listeners count.
import type { Declared } from '../../numbers/declared.ts'

const PROTOCOLS = ['nameServer', 'remoting', 'mqtt', 'amqp']
/** Addresses of all protocols together. */
const LISTENERS_MAX = 64

/** What may turn a connection away: limits as the settings name them, and TLS. */
const REFUSALS = ['connectionsMax', 'connectionsPerAddressMax', 'openFiles', 'tls'] as const
export type Refusal = (typeof REFUSALS)[number]

export const CONNECTIONS: Declared<'gauge'> = {
  kind: 'gauge',
  name: 'trivet_connections',
  help: 'Open connections of each listener.',
  unit: 'connections',
  labels: { protocol_type: PROTOCOLS, listener: LISTENERS_MAX },
}
export const CONNECTIONS_REFUSED: Declared<'counter'> = {
  kind: 'counter',
  name: 'trivet_connections_refused_total',
  help: 'Connections that were refused, by the limit that they met or for their TLS.',
  unit: 'connections',
  labels: { protocol_type: PROTOCOLS, reason: REFUSALS },
}
