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
  /** Views are being built again from the log: some reads wait for that. */
  readonly isRebuilding: boolean
  readonly logStart: LogPosition
  readonly logEnd: LogPosition
  readonly diskBytes: number
  readonly topics: number
  readonly groups: number
  readonly clients: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly rates: BrokerRates
  readonly pendingDelayed: number
  readonly settings: ShownSettings
}

/** Those that RocketMQ's tools know by names of their own. */
export interface ShownSettings {
  readonly autoCreateTopics: boolean
  readonly autoCreateGroups: boolean
  readonly queuesDefault: number
  readonly bodyBytesMax: number
  readonly delayMsMax: number
}

/** Of `messagesIn`, of `messagesOut`, and of the reads that found messages or none. */
export interface BrokerRates {
  readonly stored: Rate
  readonly read: Rate
  readonly readsFound: Rate
  readonly readsEmpty: Rate
}

/** Messages of late; a span begins later where the broker's process did. */
export interface RecentCounts {
  readonly minute: SpanCount
  readonly hour: SpanCount
  readonly day: SpanCount
}

export interface SpanCount {
  readonly messages: number
  /** Its length. */
  readonly seconds: number
}

export interface Rate {
  /**
   * Over the last 10 seconds, minute and ten minutes; each span begins with the sample that is as
   * old at least, or with the start.
   */
  readonly perSecond: readonly number[]
  /** The count at the last midnight, and at the one before; 0 before the start. */
  readonly thisMorning: number
  readonly yesterdayMorning: number
}
