// A broker's identity and state: role, writability, sizes and counts.
import type { Host } from './host.ts'
import type { LogPosition } from './positions.ts'

export interface BrokerIdentity {
  readonly clusterName: string
  readonly brokerName: string
  /** 0 = master. */
  readonly brokerId: number
  /** Written into records and message ids. */
  readonly storeHost: Host
}

export interface BrokerStatus {
  readonly identity: BrokerIdentity
  readonly startedAtMs: number
  readonly flush: 'sync' | 'async'
  readonly writable: boolean
  /** Why not, when not writable. */
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
