// The broker's state for operators, put together from its parts.
import type { BrokerIdentity, BrokerStatus } from '../model/status.ts'
import type { BrokerParts } from './parts.ts'

export function brokerStatus(identity: BrokerIdentity, parts: BrokerParts): BrokerStatus {
  const { autoCreateTopics, autoCreateGroups, queuesDefault, bodyBytesMax, delayMsMax } =
    parts.options
  const { pendingDue, isBusy: _, ...store } = parts.store.status()
  return {
    identity,
    startedAtMs: parts.startedAtMs,
    ...store,
    topics: parts.topics.list().length,
    groups: parts.groups.size,
    clients: parts.clients.size,
    messagesIn: parts.counters.stored.value,
    messagesOut: parts.counters.read.value,
    rates: parts.rates.now(),
    pendingDelayed: pendingDue,
    settings: { autoCreateTopics, autoCreateGroups, queuesDefault, bodyBytesMax, delayMsMax },
  }
}
