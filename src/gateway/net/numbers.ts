// What listeners count.
import { counter, gauge } from '../../numbers/declared.ts'

const PROTOCOLS = ['nameServer', 'remoting', 'mqtt', 'amqp', 'http']
/** Addresses of all protocols together. */
const LISTENERS_MAX = 64

/** What may turn a connection away: limits as the settings name them, and TLS. */
const REFUSALS = ['connectionsMax', 'connectionsPerAddressMax', 'openFiles', 'tls'] as const
export type Refusal = (typeof REFUSALS)[number]

export const CONNECTIONS = gauge('trivet_connections', 'connections', {
  help: 'Open connections of each listener.',
  labels: { protocol_type: PROTOCOLS, listener: LISTENERS_MAX },
})
export const CONNECTIONS_REFUSED = counter('trivet_connections_refused_total', 'connections', {
  help: 'Connections that were refused, by the limit that they met or for their TLS.',
  labels: { protocol_type: PROTOCOLS, reason: REFUSALS },
})
