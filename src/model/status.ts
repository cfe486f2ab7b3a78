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

/** `BrokerStatus.reason` of a slave that does what a slave does. */
export const FOLLOWS_MASTER = 'this log follows the log of a master: send to the master'

/** One copy of a broker's log, on another machine. */
export interface ReplicaStatus {
  readonly brokerId: number
  readonly address: string
  /** Synced there. */
  readonly confirmedTo: number
  readonly isInSync: boolean
}

/** How a broker stands to its copies. */
export interface ReplicationStatus {
  readonly isMaster: boolean
  /** The newest that the log has. */
  readonly epoch: number
  readonly syncedEnd: number
  /** Of a master: slaves that are connected. */
  readonly replicas: readonly ReplicaStatus[]
  /** Of a master: copies in sync, its own among them. */
  readonly inSync: number
  /** Of a slave: host:port of its master, and what that had when it was last heard of. */
  readonly master?: {
    readonly address: string
    readonly isConnected: boolean
    readonly end: number | undefined
    /** Why the slave cannot go on without an operator. */
    readonly standing: string | undefined
  }
  /** Where masters are elected: what was seen last. */
  readonly election?: ElectionStatus
}

export interface ElectionStatus {
  /** The name of this copy. */
  readonly copy: string
  /** Of the newest election; undefined: there was none yet. */
  readonly number: number | undefined
  /** The copy that is the master; undefined: none. */
  readonly master: string | undefined
  /** Copies that may be elected. */
  readonly inSync: readonly string[]
  /** The coordinator answered the last call, and did not refuse it. */
  readonly isReached: boolean
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
