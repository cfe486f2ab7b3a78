// What listeners count.
import type { Declared } from '../../numbers/declared.ts'

const PROTOCOLS = ['nameServer', 'remoting', 'mqtt', 'amqp']
/** Addresses of all protocols together. */
const LISTENERS_MAX = 64

/** What may turn a connection away, as the settings name it. */
export const CONNECTION_LIMITS = [
  'connectionsMax',
  'connectionsPerAddressMax',
  'openFiles',
] as const
export type ConnectionLimit = (typeof CONNECTION_LIMITS)[number]

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
  help: 'Connections that were refused, by the limit that they met.',
  unit: 'connections',
  labels: { protocol_type: PROTOCOLS, reason: CONNECTION_LIMITS },
}
