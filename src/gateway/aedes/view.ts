// What aedes keeps, as operators look at it.

import { ownerName } from '../../access/auth.ts'
import type { MqttSessionView, MqttView } from '../../port/gateway.ts'
import type { AedesParts } from './parts.ts'

type ViewParts = Pick<AedesParts, 'holders' | 'kept' | 'options' | 'retained' | 'persistence'>

export const aedesView = (parts: ViewParts): MqttView => ({
  *sessions() {
    for (const clientId of clientIds(parts)) yield { clientId }
  },
  session: (clientId) => viewOf(parts, clientId),
  retained: (filter, after, max) => parts.retained.matching(filter, after, max),
})

/** For the gauges. */
export function sessionCounts({ holders, kept, persistence }: ViewParts) {
  let away = 0
  for (const clientId of kept.clientIds) if (!holders.has(clientId)) away++
  let subscriptions = 0
  for (const clientId of kept.clientIds) {
    subscriptions += persistence.subscriptions.of(clientId).length
  }
  return { connected: holders.size, away, subscriptions }
}

const clientIds = ({ holders, kept }: ViewParts): ReadonlySet<string> =>
  new Set([...holders.keys(), ...kept.clientIds])

function viewOf(
  { holders, kept, options, persistence }: ViewParts,
  clientId: string,
): MqttSessionView | undefined {
  const holder = holders.get(clientId)
  const known = kept.find(clientId)
  if (holder === undefined && known === undefined) return undefined
  const principal = holder?.principal
  return {
    clientId,
    user: principal === undefined ? known?.user : ownerName(principal),
    isConnected: holder !== undefined,
    disconnectedMs: holder === undefined ? known?.seenMs : undefined,
    expiryMs: holder?.isClean ? 0 : options.sessionExpiryMs,
    inFlight: 0,
    subscriptions: holder?.filters ?? persistence.subscriptions.of(clientId).map(filterOf),
  }
}

const filterOf = ({ topic, qos }: { topic: string; qos: number }) => ({ filter: topic, qos })
