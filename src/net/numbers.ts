// What listeners count.
import { counter, gauge } from '../numbers/declared.ts'

const PROTOCOLS = ['nameServer', 'remoting', 'mqtt', 'amqp', 'http', 'replication', 'any']
/** Addresses of all protocols together. */
const LISTENERS_MAX = 64

/**
 * What may turn a connection away: limits as the settings name them, its transport, or that it
 * begins as another protocol does.
 */
const REFUSALS = [
  'connectionsMax',
  'connectionsPerAddressMax',
  'openFiles',
  'tls',
  'webSocket',
  'proxy',
  'protocol',
] as const
export type Refusal = (typeof REFUSALS)[number]

export const CONNECTIONS = gauge('trivet_connections', 'connections', {
  help: 'Open connections of each listener.',
  labels: { protocol_type: PROTOCOLS, listener: LISTENERS_MAX },
})
export const CONNECTIONS_REFUSED = counter('trivet_connections_refused_total', 'connections', {
  help: 'Connections that were refused, by the limit that they met, their transport, or the wrong protocol.',
  labels: { protocol_type: PROTOCOLS, reason: REFUSALS },
})
export const CERTIFICATE_EXPIRY = gauge('trivet_certificate_expiry_timestamp_seconds', 'seconds', {
  help: 'When the first certificate of a file expires, in seconds since 1970.',
  labels: { setting: ['tls.certificate', 'tls.ca'] },
})
