// The broker's state for people: role, writability, sizes and counts.
import type { Host } from '../model/host.ts'
import type { LogPosition } from '../model/positions.ts'
import type { BrokerParts } from './broker.ts'

export interface BrokerIdentity {
  readonly clusterName: string
  readonly brokerName: string
  readonly brokerId: number
  readonly storeHost: Host
}

export interface BrokerStatus {
  readonly identity: BrokerIdentity
  readonly startedAtMs: number
  readonly flush: 'sync' | 'async'
  readonly writable: boolean
  readonly reason: string | undefined
  readonly logStart: LogPosition
  readonly logEnd: LogPosition
  readonly diskBytes: number
  readonly topics: number
  readonly groups: number
  readonly clients: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly pendingDelayed: number
}

export function brokerStatus(identity: BrokerIdentity, parts: BrokerParts): BrokerStatus {
  const { pendingDue, ...store } = parts.store.status()
  return {
    identity,
    startedAtMs: parts.startedAtMs,
    ...store,
    topics: parts.topics.list().length,
    groups: parts.groups.size,
    clients: parts.clients.size,
    messagesIn: parts.publisher.published,
    messagesOut: parts.puller.pulled + parts.receiver.received,
    pendingDelayed: pendingDue,
  }
}
